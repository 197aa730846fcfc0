//! A request as it is written, checked and made absolute as far as that needs no look at what is deployed.

use super::validity::{check_deadline, check_percent};
use super::{
    Artifact, Refusal, ReleaseRequest, ReleaseSpec, Role, Step, StepRequest, Strategy, Variant, Violations, Wanted,
    WantedArm, check_matches, check_steps, check_weights,
};

impl ReleaseRequest {
    /// Checks the request and makes it absolute.
    ///
    /// # Errors
    /// A refusal with every offending field.
    pub fn wanted(self) -> Result<Wanted, Refusal> {
        let mut found = Violations::default();
        self.check(&mut found);
        let found = found.into_vec();
        if !found.is_empty() {
            return Err(Refusal::violations(found));
        }
        let steps = self.steps.map(|steps| steps.into_iter().map(StepRequest::step).collect());
        let artifact = Artifact::new(self.image, self.model_uri);
        Ok(Wanted {
            model: self.model,
            strategy: self.strategy,
            baseline: self.baseline,
            arms: vec![WantedArm { version: self.version, artifact, serving: None }],
            stable: None,
            steps,
            weights: self.weights,
            matches: self.matches,
            percent: self.percent,
            scale_down_delay: self.scale_down_delay,
            auto_promote_after: self.auto_promote_after,
            serving: self.serving,
            deadline: self.deadline,
            target: None,
            by_registry: false,
            allow_breaking_signature: self.allow_breaking_signature,
        })
    }

    fn check(&self, found: &mut Violations) {
        Artifact::new(self.image.clone(), self.model_uri.clone()).check_asked("", found);
        if let Some(serving) = &self.serving {
            serving.check("serving", found);
        }
        let strategy = self.strategy;
        let only = |found: &mut Violations, given: bool, field: &str, of: Strategy| {
            found.require(
                !given || strategy == of,
                field,
                &format!("is for the strategy `{of}`, not for `{strategy}`"),
            );
        };
        only(found, self.steps.is_some(), "steps", Strategy::Canary);
        only(found, self.weights.is_some(), "weights", Strategy::Ab);
        only(found, !self.matches.is_empty(), "match", Strategy::Ab);
        only(found, self.percent.is_some(), "percent", Strategy::Shadow);
        only(found, self.scale_down_delay.is_some(), "scaleDownDelay", Strategy::BlueGreen);
        only(found, self.auto_promote_after.is_some(), "autoPromoteAfter", Strategy::BlueGreen);
        if let Some(steps) = &self.steps {
            let steps: Vec<Step> = steps.iter().cloned().map(StepRequest::step).collect();
            check_steps(&steps, found);
        }
        if let Some(weights) = &self.weights {
            check_weights(weights, 2, found);
        }
        check_matches(&self.matches, 2, found);
        check_percent(self.percent, "percent", found);
        check_deadline(self.deadline, "deadline", found);
    }
}

impl StepRequest {
    /// The step; a weight alone is a step that waits for a person.
    pub fn step(self) -> Step {
        match self {
            Self::Weight(weight) => Step { weight, pause: None },
            Self::Step(step) => step,
        }
    }
}

impl ReleaseSpec {
    /// Reads a whole `spec` as a request: its variants, without those that leave, are what is wanted.
    ///
    /// # Errors
    /// A refusal with every offending field.
    pub fn wanted(self) -> Result<Wanted, Refusal> {
        let mut found = Violations::default();
        self.check(&mut found);
        let found = found.into_vec();
        if !found.is_empty() {
            return Err(Refusal::violations(found));
        }
        let mut arms: Vec<WantedArm> = self.staying().map(WantedArm::of).collect();
        let stable = if arms.len() > 1 { Some(arms.remove(0)) } else { None };
        // A run on its way out wants what it keeps, whatever strategy brought it there.
        let strategy = if stable.is_some() { self.strategy } else { Strategy::Single };
        let canary = self.canary.filter(|_| strategy == Strategy::Canary);
        let ab = self.ab.filter(|_| strategy == Strategy::Ab);
        let blue_green = self.blue_green.filter(|_| strategy == Strategy::BlueGreen);
        let shadow = self.shadow.filter(|_| strategy == Strategy::Shadow);
        Ok(Wanted {
            model: self.model,
            strategy,
            baseline: stable.as_ref().map(|arm| arm.version.clone()),
            arms,
            stable,
            steps: canary.map(|canary| canary.steps),
            weights: ab.as_ref().map(|ab| ab.weights.clone()),
            matches: ab.map(|ab| ab.matches).unwrap_or_default(),
            percent: shadow.map(|shadow| shadow.percent),
            scale_down_delay: blue_green.as_ref().map(|settings| settings.scale_down_delay),
            auto_promote_after: blue_green.and_then(|settings| settings.auto_promote_after),
            serving: Some(self.serving),
            deadline: Some(self.deadline),
            target: Some(Box::new(self.target)),
            by_registry: false,
            allow_breaking_signature: false,
        })
    }

    pub(super) fn staying(&self) -> impl Iterator<Item = &Variant> {
        self.variants.iter().filter(|variant| variant.role != Role::Leaving)
    }

    fn check(&self, found: &mut Violations) {
        self.check_strategy(found);
        self.serving.check("spec.serving", found);
        for (i, variant) in self.staying().enumerate() {
            variant.artifact.check_asked(&format!("spec.variants[{i}]."), found);
            if let Some(serving) = &variant.serving {
                serving.check(&format!("spec.variants[{i}].serving"), found);
            }
        }
    }
}

impl WantedArm {
    fn of(variant: &Variant) -> Self {
        Self { version: variant.version.clone(), artifact: variant.artifact.clone(), serving: variant.serving.clone() }
    }
}
