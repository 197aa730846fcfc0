//! What is counted. The names are part of what users rely on: alerts and dashboards are written against them. Labels hold validated names and fixed words only.

use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::AtomicU64;

use crate::event::{DeliveryState, Source};
use crate::names::EnvironmentName;
use crate::release::Action;

type Labels = Vec<(&'static str, String)>;

/// How a push ends.
const PUSH_OUTCOMES: [&str; 4] = ["pushed", "rejected", "refused", "failed"];

/// What becomes of a tag that the registry does not take at once.
const WRITE_BACK_OUTCOMES: [&str; 2] = ["retried", "failed"];

/// What most often becomes of a request for MLflow's pages.
const PROXY_OUTCOMES: [&str; 2] = ["answered", "unreachable"];

/// What should become of MLflow's index page.
const PAGE_OUTCOMES: [&str; 1] = ["with-button"];

/// What becomes of telling a door of Argo CD of a push.
const DOOR_OUTCOMES: [&str; 3] = ["told", "retried", "failed"];

/// Why a forge is not told how a release fares: too many wait to be told, too many changed lately to tell all again at a start, it refuses for good.
const UNTOLD_REASONS: [&str; 3] = ["waiting", "start", "refused"];

/// The pages of MLflow that the button has a place on.
const BUTTON_PAGES: [&str; 2] = ["model", "version"];

/// Everything that is counted.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    deliveries: Family<Labels, Counter>,
    delivery_duration: Histogram,
    inbox_depth: Family<Labels, Gauge>,
    leads: Gauge,
    lease: Family<Labels, Gauge>,
    releases: Family<Labels, Gauge>,
    weight: Family<Labels, Gauge<f64, AtomicU64>>,
    changed: Family<Labels, Gauge>,
    commits: Family<Labels, Counter>,
    push_duration: Histogram,
    pushes: Family<Labels, Counter>,
    pushed_releases: Histogram,
    render_duration: Histogram,
    sync_duration: Histogram,
    decisions: Family<Labels, Counter>,
    sweep_differences: Family<Labels, Gauge>,
    write_backs: Family<Labels, Counter>,
    proxied: Family<Labels, Counter>,
    pages: Family<Labels, Counter>,
    anchors: Family<Labels, Counter>,
    told_doors: Family<Labels, Counter>,
    untold: Family<Labels, Counter>,
    removed: Family<Labels, Counter>,
}

impl Metrics {
    /// All at zero, for these environments.
    pub(super) fn of<'e>(environments: impl Iterator<Item = &'e EnvironmentName>) -> Self {
        let metrics = Self::new();
        for environment in environments {
            drop(metrics.removed.get_or_create(&vec![("environment", environment.to_string())]));
        }
        metrics
    }

    /// All at zero.
    fn new() -> Self {
        // From a tenth of a millisecond to about seven minutes: an idle commit takes a few, a stuck disk minutes.
        let seconds = || Histogram::new(exponential_buckets(0.000_1, 2.0, 22));
        let mut metrics = Self {
            registry: Registry::with_prefix("kmlflow"),
            deliveries: Family::default(),
            delivery_duration: seconds(),
            inbox_depth: Family::default(),
            leads: Gauge::default(),
            lease: Family::default(),
            releases: Family::default(),
            weight: Family::default(),
            changed: Family::default(),
            commits: Family::default(),
            push_duration: seconds(),
            pushes: Family::default(),
            // Up to twice the 64 that a turn takes up, by itself and by deliveries; one request may change several.
            pushed_releases: Histogram::new(exponential_buckets(1.0, 2.0, 9)),
            render_duration: seconds(),
            sync_duration: Histogram::new(exponential_buckets(0.5, 2.0, 12)),
            decisions: Family::default(),
            sweep_differences: Family::default(),
            write_backs: Family::default(),
            proxied: Family::default(),
            pages: Family::default(),
            anchors: Family::default(),
            told_doors: Family::default(),
            untold: Family::default(),
            removed: Family::default(),
        };
        metrics.register();
        metrics.begin_at_zero();
        metrics
    }

    /// Shows what alerts count before it happens: to Prometheus a counter that begins at 1 has not grown, so that the first failure would be missed.
    fn begin_at_zero(&self) {
        let zero = |family: &Family<Labels, Counter>, name: &'static str, values: &[&str]| {
            for value in values {
                drop(family.get_or_create(&vec![(name, (*value).to_owned())]));
            }
        };
        let concluded = DeliveryState::ALL.into_iter().filter(|state| *state != DeliveryState::Accepted);
        for (source, outcome) in Source::ALL.into_iter().flat_map(|source| concluded.clone().map(move |o| (source, o)))
        {
            let labels = vec![("source", source.as_str().to_owned()), ("outcome", outcome.as_str().to_owned())];
            drop(self.deliveries.get_or_create(&labels));
        }
        zero(&self.pushes, "outcome", &PUSH_OUTCOMES);
        zero(&self.write_backs, "outcome", &WRITE_BACK_OUTCOMES);
        zero(&self.proxied, "outcome", &PROXY_OUTCOMES);
        zero(&self.pages, "outcome", &PAGE_OUTCOMES);
        zero(&self.anchors, "page", &BUTTON_PAGES);
        zero(&self.told_doors, "outcome", &DOOR_OUTCOMES);
        zero(&self.untold, "reason", &UNTOLD_REASONS);
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("deliveries", "Deliveries by door and outcome", self.deliveries.clone());
        registry.register_with_unit(
            "delivery_duration",
            "From arrival to outcome",
            Unit::Seconds,
            self.delivery_duration.clone(),
        );
        registry.register("inbox_depth", "Deliveries in the inbox by state", self.inbox_depth.clone());
        registry.register("leads", "1 for the service that carries out what is accepted", self.leads.clone());
        registry.register("lease_held", "1 for the replica that the Lease of the leader names", self.lease.clone());
        registry.register("releases", "Releases that are deployed", self.releases.clone());
        registry.register("release_weight_ratio", "Share of the answers that a predictor gives", self.weight.clone());
        registry.register("release_changed_timestamp_seconds", "When a release was last changed", self.changed.clone());
        registry.register("commits", "Commits by what they do", self.commits.clone());
        registry.register_with_unit(
            "push_duration",
            "From the first object to the moved branch",
            Unit::Seconds,
            self.push_duration.clone(),
        );
        registry.register("push", "Pushes by outcome", self.pushes.clone());
        registry.register_with_unit(
            "sync_duration",
            "From a release's commit to live",
            Unit::Seconds,
            self.sync_duration.clone(),
        );
        registry.register("pushed_releases_per_push", "Releases that one push changed", self.pushed_releases.clone());
        registry.register_with_unit(
            "render_duration",
            "Rendering and checking one release",
            Unit::Seconds,
            self.render_duration.clone(),
        );
        registry.register("rollout_decisions", "Steps that were decided without a person", self.decisions.clone());
        registry.register(
            "sweep_differences",
            "Where registry and Git differed at the last sweep",
            self.sweep_differences.clone(),
        );
        registry.register("write_back", "Tags that were not written to the registry at once", self.write_backs.clone());
        registry.register("mlflow_proxied", "Requests for MLflow's pages and API by outcome", self.proxied.clone());
        registry.register("mlflow_pages", "MLflow's index page by what became of it", self.pages.clone());
        registry.register(
            "button_anchors_missing",
            "Pages of MLflow on which the button found no place",
            self.anchors.clone(),
        );
        registry.register("releases_removed", "Releases that went from Git, by whomever", self.removed.clone());
        registry.register(
            "forge_untold",
            "Releases of which the forge may not know how they fare",
            self.untold.clone(),
        );
        registry.register(
            "argocd_pushes",
            "What became of telling a door of Argo CD of a push",
            self.told_doors.clone(),
        );
    }

    /// Counts the end of a delivery.
    pub(super) fn concluded(&self, source: Source, outcome: &'static str, took: Option<Duration>) {
        self.deliveries
            .get_or_create(&vec![("source", source.as_str().to_owned()), ("outcome", outcome.to_owned())])
            .inc();
        if let Some(took) = took {
            self.delivery_duration.observe(took.as_secs_f64());
        }
    }

    /// Counts a commit.
    pub(super) fn committed(&self, action: Action) {
        self.commits.get_or_create(&vec![("action", action.as_str().to_owned())]).inc();
    }

    /// Counts a commit that became live, and how long that took.
    pub(super) fn became_live(&self, took: Duration) {
        self.sync_duration.observe(took.as_secs_f64());
    }

    /// Counts a push.
    pub(super) fn pushed(&self, outcome: &'static str, releases: usize, took: Duration) {
        self.pushes.get_or_create(&vec![("outcome", outcome.to_owned())]).inc();
        self.push_duration.observe(took.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "at most a few hundred")]
        self.pushed_releases.observe(releases as f64);
    }

    /// Counts a render.
    pub(super) fn rendered(&self, took: Duration) {
        self.render_duration.observe(took.as_secs_f64());
    }

    /// Counts an attempt to tell a door of Argo CD of a push.
    pub(super) fn told_door(&self, outcome: &'static str) {
        self.told_doors.get_or_create(&vec![("outcome", outcome.to_owned())]).inc();
    }

    /// Counts releases of which the forge is not told how they fare.
    pub(super) fn left_untold(&self, reason: &'static str, count: u64) {
        self.untold.get_or_create(&vec![("reason", reason.to_owned())]).inc_by(count);
    }

    /// Counts a release that is in Git no more.
    pub(super) fn removed(&self, environment: &EnvironmentName) {
        self.removed.get_or_create(&vec![("environment", environment.to_string())]).inc();
    }

    /// Counts an automatic step.
    pub(super) fn decided(&self, action: Action) {
        self.decisions.get_or_create(&vec![("decision", action.as_str().to_owned())]).inc();
    }

    /// Sets what the last sweep found.
    pub(super) fn swept(&self, differences: &[(&'static str, usize)]) {
        for (kind, count) in differences {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            self.sweep_differences.get_or_create(&vec![("kind", (*kind).to_owned())]).set(count);
        }
    }

    /// Counts what could not be written to the registry at once.
    pub(super) fn wrote_back(&self, outcome: &'static str) {
        self.write_backs.get_or_create(&vec![("outcome", outcome.to_owned())]).inc();
    }

    /// Counts a request that was passed on to MLflow, or that could not be.
    pub(super) fn proxied(&self, outcome: &'static str) {
        self.proxied.get_or_create(&vec![("outcome", outcome.to_owned())]).inc();
    }

    /// Counts an index page of MLflow.
    pub(super) fn paged(&self, outcome: &'static str) {
        self.pages.get_or_create(&vec![("outcome", outcome.to_owned())]).inc();
    }

    /// Counts a page of MLflow on which the button found no place.
    pub(super) fn anchor_missing(&self, page: &'static str) {
        self.anchors.get_or_create(&vec![("page", page.to_owned())]).inc();
    }

    /// Sets what is read off the present state.
    pub(super) fn set(&self, state: Present) {
        let Present { inbox, leads, lease, releases } = state;
        self.leads.set(leads.into());
        if let Some((name, is_held)) = lease {
            self.lease.get_or_create(&vec![("lease", name)]).set(is_held.into());
        }
        for (state, count) in inbox {
            self.inbox_depth
                .get_or_create(&vec![("state", state.to_owned())])
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.releases.clear();
        self.weight.clear();
        self.changed.clear();
        for release in releases {
            self.releases.get_or_create(&release.kind).inc();
            for (labels, weight) in release.weights {
                self.weight.get_or_create(&labels).set(f64::from(weight) / 100.0);
            }
            self.changed.get_or_create(&release.place).set(release.changed_at);
        }
    }

    /// All of it in the OpenMetrics text format.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(error) => {
                tracing::error!(error = %error, "The metrics could not be written: {error}");
                String::new()
            }
        }
    }
}

/// The present state in numbers.
pub(super) struct Present {
    pub(super) inbox: Vec<(&'static str, u64)>,
    pub(super) leads: bool,
    /// The Lease of the leader, where one is configured, and whether it names this service.
    pub(super) lease: Option<(String, bool)>,
    pub(super) releases: Vec<ReleaseNumbers>,
}

/// One release in numbers.
pub(super) struct ReleaseNumbers {
    /// Environment, strategy, phase, status.
    pub(super) kind: Labels,
    /// Environment, namespace, release.
    pub(super) place: Labels,
    pub(super) weights: Vec<(Labels, u8)>,
    /// In seconds since 1970.
    pub(super) changed_at: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_alerts_count_is_there_before_it_happens() {
        let text = Metrics::new().text();
        for line in [
            "kmlflow_push_total{outcome=\"failed\"} 0",
            "kmlflow_push_total{outcome=\"refused\"} 0",
            "kmlflow_deliveries_total{source=\"mlflow\",outcome=\"failed\"} 0",
            "kmlflow_write_back_total{outcome=\"failed\"} 0",
            "kmlflow_button_anchors_missing_total{page=\"model\"} 0",
            "kmlflow_argocd_pushes_total{outcome=\"failed\"} 0",
            "kmlflow_forge_untold_total{reason=\"start\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        assert!(!text.contains("outcome=\"accepted\""), "what waits has no outcome: {text}");
    }

    #[test]
    fn a_lease_is_shown_where_one_is_configured() {
        let (metrics, line) =
            (Metrics::new(), |held: u8| format!("\nkmlflow_lease_held{{lease=\"kmlflow\"}} {held}\n"));
        let present = |lease| Present { inbox: Vec::new(), leads: true, lease, releases: Vec::new() };
        metrics.set(present(None));
        assert!(!metrics.text().contains("\nkmlflow_lease_held"), "{}", metrics.text());
        for held in [false, true] {
            metrics.set(present(Some(("kmlflow".to_owned(), held))));
            assert!(metrics.text().contains(&line(held.into())), "{}", metrics.text());
        }
    }

    #[test]
    fn the_first_failure_is_one_more_than_before() {
        let metrics = Metrics::new();
        metrics.pushed("failed", 0, Duration::ZERO);
        assert!(metrics.text().contains("kmlflow_push_total{outcome=\"failed\"} 1"));
    }
}
