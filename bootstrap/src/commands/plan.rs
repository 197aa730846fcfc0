//! `plan`: what `up` would do, offline.

use serde::Serialize;

use crate::arguments::{General, UpArguments};
use crate::checkout::Checkout;
use crate::fault::Fault;
use crate::options::Options;
use crate::session::Session;
use crate::{addresses, answer, steps};

#[derive(Debug, Serialize)]
struct Plan {
    profile: &'static str,
    cluster: &'static str,
    requests: Sum,
    budget: Sum,
    steps: Vec<Planned>,
}

#[derive(Debug, Serialize)]
struct Sum {
    cpu: String,
    memory: String,
}

#[derive(Debug, Serialize)]
struct Planned {
    step: &'static str,
    title: &'static str,
    does: Vec<String>,
}

pub(super) fn run(asked: &UpArguments, general: &General, checkout: Checkout) -> Result<(), Fault> {
    let options = Options::new(asked, None)?.with_overlay(&checkout)?;
    let mut session = Session::new(options, checkout, general.poll, asked.timeout)?;
    addresses::refuse_others(&session.catalogue, asked)?;
    session.offline_images.clone_from(&asked.offline_images);
    // Paths as they are in the checkout, so that the plan is the same on every machine.
    let gitops = session.checkout.gitops.display().to_string();
    let root = session.checkout.root.as_ref().map(|root| root.display().to_string());
    let plain = |line: String| {
        let line = line.replace(&gitops, "gitops-repo");
        match &root {
            Some(root) => line.replace(root.as_str(), "."),
            None => line,
        }
    };
    let mut planned = Vec::new();
    for step in steps::table(&session.options, session.offline_images.is_some()) {
        let does = step.plan(&session)?.into_iter().map(plain).collect();
        planned.push(Planned { step: step.name(), title: step.title(), does });
    }
    let profile = session.options.profile;
    let requests = session.catalogue.requests(profile);
    let budget = session.catalogue.size(profile).map(|size| size.budget.clone()).unwrap_or_default();
    let plan = Plan {
        profile: profile.name(),
        cluster: session.options.cluster.name(),
        requests: Sum { cpu: requests.cpu.to_string(), memory: requests.memory.to_string() },
        budget: Sum { cpu: budget.cpu.to_string(), memory: budget.memory.to_string() },
        steps: planned,
    };
    answer::write(general.output, &plan, || told(&plan))
}

fn told(plan: &Plan) -> String {
    let mut text = format!(
        "Profile {} on {}: requests {} of processor and {} of memory (budget {}, {})\n",
        plan.profile, plan.cluster, plan.requests.cpu, plan.requests.memory, plan.budget.cpu, plan.budget.memory
    );
    for (number, step) in plan.steps.iter().enumerate() {
        text.push_str(&format!("\n{:>2}. {}\n", number + 1, step.title));
        for line in &step.does {
            text.push_str(&format!("    {line}\n"));
        }
    }
    text.push_str(
        "\nNothing was changed, and no cluster was asked. `cargo bootstrap up` with the same options does it; where a platform is there already, the options that it was brought up with count too.\n",
    );
    text
}
