//! What undoes a commit that stalled by its own fault.

use crate::release::{Act, Phase, Release, Role};

/// The act that undoes what was committed last; nothing where there is no way back, or it has been taken already.
///
/// While a new variant is there beside the stable one, that is its abort. A settled release whose pods were replaced in one commit goes back
/// to the state before. What is itself a way back is not undone: the state before it stalled too, and a person must look.
pub fn undo(release: &Release) -> Option<Act> {
    let has_new = release.staying().nth(1).is_some_and(|variant| variant.role != Role::Leaving);
    match release.rollout.phase {
        _ if release.rollout.restores.is_some() => None,
        Phase::Entering | Phase::Running => has_new.then_some(Act::Abort),
        Phase::Settled => Some(Act::Rollback { to: None }),
        Phase::Leaving => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(strategy: &str, rollout: &str, variants: &str) -> Release {
        Release::parse(&format!(
            "apiVersion: kmlflow.dev/v1\nkind: Release\nmetadata: {{name: f, namespace: m, environment: production}}\nspec:\n  model: f\n  \
             strategy: {strategy}\n  variants: [{variants}]\n  serving: {{}}\n  target: {{cluster: c, namespace: m, gateway: {{namespace: g, name: g}}, \
             host: h, previewHost: p, grpcHost: g, monitoring: {{mode: 'off'}}, links: {{}}}}\nrollout: {{since: 2026-11-23T10:00:00Z, {rollout}}}\n"
        ))
        .unwrap()
    }

    #[test]
    fn a_run_is_aborted_a_settled_release_goes_back_and_a_way_back_is_left_alone() {
        let v7 = "{role: stable, version: '7', predictor: v7, image: a}";
        let v8 = "{role: candidate, version: '8', predictor: v8, image: b}";
        let both = format!("{v7}, {v8}");
        let canary = "canary\n  canary: {steps: [{weight: 5}]}";
        for phase in ["entering", "running"] {
            assert_eq!(undo(&release(canary, &format!("phase: {phase}"), &both)), Some(Act::Abort), "{phase}");
        }
        let live = "{role: live, version: '8', predictor: v8, image: b}";
        assert_eq!(undo(&release("single", "phase: settled", live)), Some(Act::Rollback { to: None }));
        let restores = format!("phase: settled, outcome: rolled-back, restores: {}", "1".repeat(40));
        assert_eq!(undo(&release("single", &restores, live)), None);
        let back = format!("phase: entering, restores: {}", "1".repeat(40));
        assert_eq!(undo(&release("single", &back, &format!("{live}, {v7}").replace("stable", "candidate"))), None);
        let leaving = format!("{}, {}", v7, v8.replace("candidate", "leaving"));
        assert_eq!(undo(&release(canary, "phase: leaving, outcome: aborted", &leaving)), None);
        assert_eq!(undo(&release(canary, "phase: running", v7)), None, "there is nothing new");
    }
}
