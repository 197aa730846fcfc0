//! A release that goes from one state to the next while its callers go on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::bed::{Bed, Namespace};
use tests::load::{Answers, Load};
use tests::server::Server;

use crate::image;

/// Requests a second to each release: a dozen of them side by side leave two cores to the control plane.
pub(super) const PER_SECOND: u32 = 20;

/// A transition is a handful of commits, each of which takes seconds; more where many are on their way. This only ends a hanging test.
pub(super) const WITHIN: Duration = Duration::from_secs(300);

/// Between two looks at a release: with dozens of them under way, each event of one would have all of them looked at.
const PAUSE: Duration = Duration::from_millis(250);

/// So many answers in a row are those of the new state.
const IN_A_ROW: usize = 20;

/// Who gets which share of the requests.
pub(super) type Split = &'static [(&'static str, u64)];

/// A transition: what is asked, and what becomes of it.
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) ask: Ask,
    pub(super) phase: &'static str,
    /// Who gets which share of the requests then.
    pub(super) split: Split,
}

pub(super) enum Ask {
    Put(Value),
    Act(&'static str, Value),
    /// It comes by itself.
    Nothing,
}

/// The state that each release begins with.
const FIRST: Step = Step { name: "the first version", ask: Ask::Nothing, phase: "settled", split: &[("v7", 100)] };

/// What was seen of each transition: how often, and what was answered meanwhile.
pub(super) type Seen = BTreeMap<&'static str, (usize, Answers)>;

/// A release that goes its way.
pub(super) struct Journey<'a> {
    pub(super) bed: &'a Bed,
    pub(super) server: &'a Server<'a>,
    pub(super) namespace: &'a Namespace<'a>,
    pub(super) name: String,
    pub(super) steps: Vec<Step>,
}

impl Journey<'_> {
    pub(super) fn release(&self) -> String {
        format!("production/{}/{}", self.namespace.name, self.name)
    }

    pub(super) fn host(&self) -> String {
        format!("{}-{}.k5w.localhost", self.name, self.namespace.name)
    }

    /// Waits until the service says that the release is live in this state.
    pub(super) fn until_live(&self, step: &Step) {
        let deadline = Instant::now() + WITHIN;
        loop {
            let view = self.server.get(&format!("/releases/{}", self.release()));
            let is_live = view["status"]["state"] == "live" && view["rollout"]["phase"] == step.phase;
            if is_live && shares(&view) == step.split {
                return;
            }
            assert!(Instant::now() < deadline, "{}: {} is not live: {view:#}", self.name, step.name);
            std::thread::park_timeout(PAUSE);
        }
    }

    pub(super) fn ask(&self, ask: &Ask) {
        let answer = match ask {
            Ask::Put(body) => self.server.put(&self.release(), body),
            Ask::Act(act, body) => self.server.act(&self.release(), act, Some(body)),
            Ask::Nothing => return,
        };
        assert!([200, 202].contains(&answer.status), "{}: {}", self.name, answer.text());
    }

    /// Makes the release with its first version, and its callers begin once it is live.
    pub(super) fn begin(&self) -> Load {
        self.server.put(&self.release(), &image("fraud", "7")).expect(201);
        self.until_live(&FIRST);
        self.bed.predict_until(&self.host(), |answer| answer.status == 200);
        self.bed.load(&self.host(), PER_SECOND)
    }

    pub(super) fn go(&self, seen: &Mutex<Seen>) {
        let load = self.begin();
        let mut before = FIRST.split;
        for step in &self.steps {
            self.ask(&step.ask);
            self.until_live(step);
            let answers = self.settle(&load, before, step);
            let mut seen = seen.lock().unwrap();
            let (times, all) = seen.entry(step.name).or_default();
            *times += 1;
            all.add(answers);
            before = step.split;
        }
        let rest = load.end();
        assert_eq!(rest.failed, 0, "{}, after all: {rest}", self.name);
        self.server.api("DELETE", &format!("/releases/{}", self.release()), None).expect(200);
    }

    /// What was answered in a transition, up to when the answers are those of its end.
    pub(super) fn settle(&self, load: &Load, before: &[(&str, u64)], step: &Step) -> Answers {
        let after: BTreeSet<&str> = step.split.iter().map(|(predictor, _)| *predictor).collect();
        let arrived = load.until_newest(IN_A_ROW, WITHIN, |predictor| after.contains(predictor));
        let answers = load.take();
        assert_eq!(answers.failed, 0, "{}: {}: {answers}", self.name, step.name);
        assert_eq!(arrived, Ok(()), "{}: {}: {answers}", self.name, step.name);
        let strangers = answers.by.keys().filter(|predictor| {
            let was = before.iter().any(|(known, _)| known == predictor);
            !was && !after.contains(predictor.as_str())
        });
        assert_eq!(strangers.collect::<Vec<_>>(), Vec::<&String>::new(), "{}: {}", self.name, step.name);
        answers
    }
}

/// Who gets which share of a release's requests.
pub(super) fn shares(view: &Value) -> Vec<(&str, u64)> {
    let split = view["split"].as_array().into_iter().flatten();
    let shares = split.map(|share| (share["predictor"].as_str().unwrap(), share["weight"].as_u64().unwrap()));
    shares.filter(|(_, weight)| *weight > 0).collect()
}
