//! The worker as others see it: everything that can be asked of it, cheap to clone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use super::{
    Accounts, Answer, ClusterDiff, DeliveryView, EnvironmentView, Fault, HistoryEntry, HoldView, Page, PolicyVerdict, Preview,
    ReleaseFilter, ReleaseView, RerenderSelection, Rerendered, Subscription, TimelineEntry,
};
use crate::event::{DeliveryState, NewDelivery, Requested, Source};
use crate::names::{AliasName, CommitId, EnvironmentName, ModelName, ReleaseKey, Version};
use crate::release::{Act, Intent};

/// What others hold of the worker.
#[derive(Debug, Clone)]
pub struct Handle(Arc<()>);

/// What became of a delivery at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// Durable now, and carried out soon (202).
    Accepted,
    /// It was carried out, or concerned nothing, before (200).
    Repeat,
}

/// Which deliveries to list, newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeliveryFilter {
    pub source: Option<Source>,
    pub state: Option<DeliveryState>,
    pub release: Option<ReleaseKey>,
    /// Only those that arrived before the one with this number.
    pub before: Option<i64>,
    pub limit: Option<u32>,
}

impl Handle {
    /// Tokens, idempotency keys and the audit.
    pub fn accounts(&self) -> Accounts {
        todo!()
    }

    /// Stores a delivery durably, then lets it be carried out; does not wait for that.
    pub async fn deliver(&self, delivery: NewDelivery) -> Result<Received, Fault> {
        let _ = delivery;
        todo!()
    }

    /// Carries out a request and waits at most `wait` for its end.
    pub async fn request(&self, request: Requested, wait: Duration) -> Result<Answer, Fault> {
        let _ = (request, wait);
        todo!()
    }

    /// Makes an act absolute against what is deployed now.
    pub async fn absolute(&self, key: &ReleaseKey, act: Act) -> Result<Intent, Fault> {
        let _ = (key, act);
        todo!()
    }

    /// Says what a request would do and touches nothing.
    pub async fn dry_run(&self, request: Requested) -> Result<Preview, Fault> {
        let _ = request;
        todo!()
    }

    /// The releases that a filter lets through, by key.
    pub fn releases(&self, filter: &ReleaseFilter) -> Page<ReleaseView> {
        let _ = filter;
        todo!()
    }

    /// One release.
    pub async fn release(&self, key: &ReleaseKey) -> Result<ReleaseView, Fault> {
        let _ = key;
        todo!()
    }

    /// The commits of a release, newest first.
    pub async fn history(
        &self,
        key: &ReleaseKey,
        before: Option<CommitId>,
        limit: Option<u32>,
    ) -> Result<Page<HistoryEntry>, Fault> {
        let _ = (key, before, limit);
        todo!()
    }

    /// The files of a release, `release.yaml` first, now or at a commit of its history.
    pub async fn manifests(
        &self,
        key: &ReleaseKey,
        commit: Option<CommitId>,
    ) -> Result<IndexMap<String, String>, Fault> {
        let _ = (key, commit);
        todo!()
    }

    /// Git against the cluster.
    pub async fn diff(&self, key: &ReleaseKey) -> Result<ClusterDiff, Fault> {
        let _ = key;
        todo!()
    }

    /// What happened to a release, newest first.
    pub async fn timeline(&self, key: &ReleaseKey) -> Result<Page<TimelineEntry>, Fault> {
        let _ = key;
        todo!()
    }

    /// Deliveries of the inbox, newest first; `next` is the `before` of the next page.
    pub async fn deliveries(&self, filter: DeliveryFilter) -> Result<Page<DeliveryView>, Fault> {
        let _ = filter;
        todo!()
    }

    /// One delivery, by its sender's id or its number.
    pub async fn delivery(&self, id: &str) -> Result<DeliveryView, Fault> {
        let _ = id;
        todo!()
    }

    /// Carries out a delivery once more, whatever became of it.
    pub async fn redeliver(&self, id: &str) -> Result<DeliveryView, Fault> {
        let _ = id;
        todo!()
    }

    /// Accepts and keeps everything from now on, and applies nothing, in one environment or in all.
    pub async fn hold(
        &self,
        environment: Option<EnvironmentName>,
        reason: &str,
        by: &str,
    ) -> Result<Vec<HoldView>, Fault> {
        let _ = (environment, reason, by);
        todo!()
    }

    /// Applies again, beginning with what was kept.
    pub async fn unhold(&self, environment: Option<EnvironmentName>, by: &str) -> Result<Vec<HoldView>, Fault> {
        let _ = (environment, by);
        todo!()
    }

    /// The holds in force.
    pub async fn holds(&self) -> Result<Vec<HoldView>, Fault> {
        todo!()
    }

    /// Renders outdated releases with the present templates.
    pub async fn rerender(
        &self,
        selection: RerenderSelection,
        dry_run: bool,
        by: &str,
    ) -> Result<Vec<Rerendered>, Fault> {
        let _ = (selection, dry_run, by);
        todo!()
    }

    /// Says what the policies make of a registry state; every tag is on every version that an alias names.
    pub async fn policy_test(
        &self,
        model: ModelName,
        aliases: BTreeMap<AliasName, Version>,
        tags: BTreeMap<String, String>,
    ) -> Result<PolicyVerdict, Fault> {
        let _ = (model, aliases, tags);
        todo!()
    }

    /// The environments of the configuration.
    pub fn environments(&self) -> Vec<EnvironmentView> {
        todo!()
    }

    /// Server-sent events from now on, or from after the one with this id.
    pub fn subscribe(&self, after: Option<u64>) -> Subscription {
        let _ = after;
        todo!()
    }

    /// Says that somebody pushed into the embedded repository.
    pub async fn pushed(&self) {
        todo!()
    }

    /// The metrics in OpenMetrics text.
    pub fn metrics(&self) -> String {
        todo!()
    }

    /// Counts a delivery that was turned away at the door; `outcome` is a fixed word such as `unauthorized`.
    pub fn count_turned_away(&self, source: Source, outcome: &'static str) {
        let _ = (source, outcome);
        todo!()
    }

    /// Whether the service can accept: the store answers and the repository opens. One sentence where not.
    pub async fn ready(&self) -> Result<(), String> {
        todo!()
    }

    /// Where the embedded repository lies, for serving it.
    pub fn repository_path(&self) -> std::path::PathBuf {
        todo!()
    }
}
