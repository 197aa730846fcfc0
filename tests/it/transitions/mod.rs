//! How a release goes from state to state: every cell of the table, the laws, and every interleaving with the cluster.

mod back;
mod cluster;
mod laws;
mod runtime;
mod table;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kmlflow::names::{CommitId, Digest, ReleaseKey, Version};
use kmlflow::plan::{self, EnvironmentTarget, Settled};
use kmlflow::release::*;
use kmlflow::rollout::{self, Decision};

/// A repository of one release in memory, driven by `plan` and `decide` alone.
#[derive(Debug, Clone)]
pub(crate) struct Repository {
    pub(crate) key: ReleaseKey,
    pub(crate) release: Option<Release>,
    /// Every commit, oldest first; none where the release was retracted.
    pub(crate) commits: Vec<(CommitId, Action, Option<Release>)>,
    pub(crate) retracted: Option<Retracted>,
    pub(crate) now: Timestamp,
    pub(crate) delay: Period,
    /// What waits, and is planned again whenever something may have changed. A newer request replaces it.
    pub(crate) pending: Option<Intent>,
    more: bool,
}

/// What became of an intent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Became {
    Committed(Action),
    Nothing,
    Waits(String),
    Refused(RefusalKind),
}

impl Repository {
    pub(crate) fn new(delay: Period) -> Self {
        let key = ReleaseKey::parse("production/models/fraud").unwrap();
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        Self { key, release: None, commits: Vec::new(), retracted: None, now, delay, pending: None, more: false }
    }

    pub(crate) fn situation(&self, restorable: Option<Restorable>, observed: Observed) -> plan::Situation {
        let images = (1..=40).map(|v| (version(v), format!("registry.example/fraud:{v}"))).collect();
        plan::Situation {
            key: self.key.clone(),
            deployed: self.deployed(),
            restorable,
            retracted: self.retracted.clone(),
            observed,
            occupant: None,
            target: plan::target(&self.key, &environment()).unwrap(),
            serving: Serving::default(),
            default_images: images,
            findings: plan::Findings::default(),
            rules: plan::ServingRules::default(),
            origin: Origin::default(),
            requested_by: Some("ada".to_owned()),
            now: self.now,
        }
    }

    pub(crate) fn deployed(&self) -> Option<Deployed> {
        let commit = self.commits.last()?.0.clone();
        Some(Deployed { release: self.release.clone()?, commit })
    }

    /// The settled states, newest first, since the release was last created.
    pub(crate) fn history(&self) -> Vec<Settled> {
        let alive = self.commits.iter().rev().map_while(|(commit, _, release)| Some((commit, release.as_ref()?)));
        alive
            .filter(|(_, release)| release.rollout.phase == Phase::Settled)
            .map(|(commit, release)| Settled { commit: commit.clone(), release: release.clone(), was_live: None })
            .collect()
    }

    pub(crate) fn restorable(&self, commit: Option<&CommitId>) -> Option<Restorable> {
        let commit = commit?;
        let (_, _, release) = self.commits.iter().find(|(id, _, _)| id == commit)?;
        Some(Restorable { commit: commit.clone(), release: release.clone()? })
    }

    fn blind(&self) -> Observed {
        Observed::Blind { delay: self.delay }
    }

    /// Plans once and commits what comes of it.
    pub(crate) fn plan_once(&mut self, intent: &Intent, observed: Observed) -> Became {
        let restores = match intent {
            Intent::Rollback { to } => Some(to.clone()),
            _ => self.release.as_ref().and_then(|release| release.rollout.restores.clone()),
        };
        let situation = self.situation(self.restorable(restores.as_ref()), observed);
        match plan::plan(intent, &situation) {
            ReleasePlan::Create(change) | ReleasePlan::Update(change) => {
                let action = change.action;
                self.commit(*change);
                Became::Committed(action)
            }
            ReleasePlan::Delete(retracted) => {
                self.retracted = Some(retracted);
                self.release = None;
                self.commits.push((self.next_commit(), Action::Retract, None));
                Became::Committed(Action::Retract)
            }
            ReleasePlan::Nothing(_) => Became::Nothing,
            ReleasePlan::Wait(why) => Became::Waits(why),
            ReleasePlan::Refused(refusal) => Became::Refused(refusal.kind),
        }
    }

    fn commit(&mut self, change: Change) {
        assert!(change.summary.chars().count() <= 50, "{}", change.summary);
        self.more = change.more.is_some();
        let mut release = change.release;
        match change.files {
            Files::Restore(commit) => {
                let restored = self.restorable(Some(&commit)).expect("a restored commit is in the history");
                assert_eq!(release.spec, restored.release.spec);
                release.rendered = restored.release.rendered;
            }
            Files::Render => release.rendered = rendered(&release),
        }
        assert_eq!(release.violations(), vec![], "{}", release.to_yaml());
        self.retracted = None;
        self.commits.push((self.next_commit(), change.action, Some(release.clone())));
        self.release = Some(release);
    }

    fn next_commit(&self) -> CommitId {
        CommitId::parse(&format!("{:040x}", self.commits.len() + 1)).unwrap()
    }

    /// What comes by itself at this moment, until nothing does.
    pub(crate) fn go_on(&mut self) -> Decision {
        for _ in 0..32 {
            let decision = self.decide();
            let Some(pending) = self.pending.take() else { return decision };
            match self.plan_once(&pending, self.blind()) {
                Became::Committed(_) if self.more => self.pending = Some(pending),
                Became::Committed(_) => {}
                Became::Waits(_) => {
                    self.pending = Some(pending);
                    return decision;
                }
                Became::Nothing | Became::Refused(_) => return decision,
            }
        }
        panic!("it never comes to rest");
    }

    fn decide(&mut self) -> Decision {
        for _ in 0..32 {
            let Some(release) = self.release.clone() else { return Decision::Done };
            let restorable = self.restorable(release.rollout.restores.as_ref());
            match rollout::decide(&release, restorable.as_ref(), &self.blind(), self.now) {
                Decision::Go(intent) => {
                    let became = self.plan_once(&intent, self.blind());
                    assert!(matches!(became, Became::Committed(_)), "decided {intent:?}, planned {became:?}");
                }
                other => return other,
            }
        }
        panic!("it never comes to rest: {:?}", self.commits.iter().map(|(_, action, _)| action).collect::<Vec<_>>());
    }

    /// An intent and all that follows at this moment, as the service does it.
    pub(crate) fn intend(&mut self, intent: &Intent) -> Became {
        let became = self.plan_once(intent, self.blind());
        let waits = matches!(became, Became::Waits(_)) || (matches!(became, Became::Committed(_)) && self.more);
        if !matches!(became, Became::Refused(_) | Became::Nothing) {
            self.pending = waits.then(|| intent.clone());
        }
        self.go_on();
        became
    }

    /// An act of a person.
    pub(crate) fn act(&mut self, act: &Act) -> Became {
        let Some(deployed) = self.deployed() else { return Became::Refused(RefusalKind::NotFound) };
        match plan::absolute(act, &deployed, &self.history()) {
            Ok(intent) => self.intend(&intent),
            Err(refusal) => Became::Refused(refusal.kind),
        }
    }

    pub(crate) fn put(&mut self, request: &str) -> Became {
        self.intend(&put(request))
    }

    pub(crate) fn advance_clock(&mut self, seconds: i64) {
        self.now = self.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
    }
}

/// A request as an intent: the short form in YAML, the model filled in.
pub(crate) fn put(request: &str) -> Intent {
    let request: ReleaseRequest = serde_yaml::from_str(&format!("{{model: fraud, {request}}}")).unwrap();
    Intent::Put(Box::new(request.wanted().unwrap()))
}

pub(crate) fn version(number: u32) -> Version {
    Version::parse(&number.to_string()).unwrap()
}

fn environment() -> EnvironmentTarget {
    EnvironmentTarget {
        cluster: "in-cluster".to_owned(),
        namespace_prefix: String::new(),
        host_suffix: "k5w.localhost".to_owned(),
        gateway: GatewayRef { namespace: "gateway".to_owned(), name: "models".to_owned() },
        monitoring: MonitoringTarget { mode: MonitoringMode::Operator, labels: BTreeMap::new() },
        links: Links::default(),
    }
}

/// Stands for the render: what restarts pods, digested. The real digest is tested with the real render.
fn rendered(release: &Release) -> Rendered {
    let pods = release.spec.variants.iter().map(|variant| {
        let serving = Serving { replicas: None, docs_path: None, ..release.serving_of(variant) };
        (variant.predictor.clone(), Digest::of(format!("{:?}{serving:?}", variant.artifact).as_bytes()))
    });
    Rendered { templates: None, files: Default::default(), pods: pods.collect() }
}
