//! Which predictors a release's routes name, with what weight: what the render writes down and what the laws of the plan are about.

use super::{HeaderMatch, Phase, Release, Role, Strategy};
use crate::names::PredictorName;

/// The traffic of a release in its present phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traffic {
    /// Whom the release's own Service reaches.
    pub own: OwnSelector,
    /// Rules by header, tried before the weights, in order.
    pub matches: Vec<(HeaderMatch, PredictorName)>,
    /// The main rule.
    pub main: MainRule,
    /// The predictor behind the preview host, where there is one.
    pub preview: Option<PredictorName>,
    /// A copy of this percentage of the requests goes to this predictor.
    pub mirror: Option<(PredictorName, u8)>,
}

/// Whom the release's own Service reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnSelector {
    /// Every pod of the release.
    All,
    /// The pods of one predictor.
    One(PredictorName),
}

/// Where requests go that no header match takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MainRule {
    /// To the release's own Service.
    Own,
    /// To predictors by weight: each from 1 on, together 100.
    Split(Vec<(PredictorName, u8)>),
}

impl Traffic {
    /// Every predictor that a route or the own Service's selector names.
    pub fn named(&self) -> Vec<&PredictorName> {
        let mut named: Vec<&PredictorName> = Vec::new();
        if let OwnSelector::One(predictor) = &self.own {
            named.push(predictor);
        }
        if let MainRule::Split(split) = &self.main {
            named.extend(split.iter().map(|(predictor, _)| predictor));
        }
        named.extend(self.matches.iter().map(|(_, predictor)| predictor));
        named.extend(&self.preview);
        named.extend(self.mirror.iter().map(|(predictor, _)| predictor));
        named.sort();
        named.dedup();
        named
    }
}

impl Release {
    /// The traffic in the present phase; none for a document without variants, which is invalid.
    pub fn traffic(&self) -> Option<Traffic> {
        let stable = &self.stable()?.predictor;
        let only = |predictor: &PredictorName| Traffic {
            own: OwnSelector::One(predictor.clone()),
            matches: Vec::new(),
            main: MainRule::Split(vec![(predictor.clone(), 100)]),
            preview: None,
            mirror: None,
        };
        Some(match self.rollout.phase {
            Phase::Settled => Traffic { own: OwnSelector::All, main: MainRule::Own, ..only(stable) },
            Phase::Entering | Phase::Leaving => only(stable),
            Phase::Running => self.running_traffic(only(stable)),
        })
    }

    fn running_traffic(&self, stable_only: Traffic) -> Traffic {
        let predictor = |role: Role| self.variant(role).map(|variant| variant.predictor.clone());
        let spec = &self.spec;
        match spec.strategy {
            Strategy::Single => stable_only,
            Strategy::Canary => {
                let step = self.rollout.step.unwrap_or(0) as usize;
                let weight = spec
                    .canary
                    .as_ref()
                    .and_then(|canary| canary.steps.get(step))
                    .map_or(0, |step| step.weight.min(100));
                let arms = [(predictor(Role::Stable), 100 - weight), (predictor(Role::Candidate), weight)];
                let split = arms.into_iter().filter_map(|(p, w)| Some((p?, w))).filter(|(_, w)| *w > 0).collect();
                Traffic { main: MainRule::Split(split), ..stable_only }
            }
            Strategy::Ab => {
                let Some(ab) = &spec.ab else { return stable_only };
                let split = ab
                    .weights
                    .iter()
                    .filter_map(|(role, w)| Some((predictor(*role)?, *w)))
                    .filter(|(_, w)| *w > 0)
                    .collect();
                let matches = ab.matches.iter().filter_map(|m| Some((m.clone(), predictor(m.variant)?))).collect();
                Traffic { main: MainRule::Split(split), matches, ..stable_only }
            }
            Strategy::BlueGreen => {
                let active = spec.blue_green.as_ref().map_or(Role::Blue, |bg| bg.active);
                let idle = if active == Role::Blue { Role::Green } else { Role::Blue };
                let Some(active) = predictor(active) else { return stable_only };
                Traffic {
                    own: OwnSelector::One(active.clone()),
                    main: MainRule::Split(vec![(active, 100)]),
                    preview: predictor(idle),
                    ..stable_only
                }
            }
            Strategy::Shadow => {
                let percent = spec.shadow.as_ref().map_or(100, |shadow| shadow.percent);
                Traffic { mirror: predictor(Role::Shadow).map(|p| (p, percent)), ..stable_only }
            }
        }
    }
}
