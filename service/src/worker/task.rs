//! What shall be done to one release, and who wants it.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::event::{Delivery, Guard, Requested, Source};
use crate::git::Asker;
use crate::names::{DeliveryId, ReleaseId, ReleaseKey};
use crate::plan::Findings;
use crate::release::{Intent, Origin};

/// What shall be done to one release.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) key: ReleaseKey,
    pub(super) intent: Intent,
    pub(super) guard: Guard,
    /// The person or program that asks; none where policy or time does.
    pub(super) requested_by: Option<String>,
    /// Who asked for what this follows from in the same turn, where it follows from something.
    pub(super) follows_from: Option<Asker>,
    /// Why, for `origin`; none: as it is (what happens by itself has the reason of what began it).
    pub(super) origin: Option<Origin>,
    pub(super) delivery: Option<DeliveryId>,
    /// The id of the intent, the same in every commit that carries it out, in whatever turn.
    pub(super) id: ReleaseId,
    /// Whether an event asks, so that the storm guard counts a new release.
    pub(super) by_event: bool,
    /// What was found out about what it would serve.
    pub(super) findings: Arc<Findings>,
}

impl Task {
    /// What a request asks for.
    pub(super) fn of(delivery: &Delivery, requested: &Requested) -> Self {
        let Requested { key, intent, guard, requested_by } = requested.clone();
        let is_ours = delivery.source == Source::Api;
        let sender = (!is_ours).then(|| delivery.source.to_string());
        Self {
            key,
            intent,
            guard,
            requested_by: requested_by.or(sender).or_else(|| Some("somebody".to_owned())),
            follows_from: None,
            origin: None,
            delivery: Some(delivery.id.clone()),
            id: id_of(delivery, &requested.key),
            by_event: !is_ours,
            findings: Arc::default(),
        }
    }

    /// What happens to a release by itself.
    pub(super) fn by_itself(key: ReleaseKey, intent: Intent) -> Self {
        Self {
            key,
            intent,
            guard: Guard::default(),
            requested_by: None,
            follows_from: None,
            origin: None,
            delivery: None,
            id: new_id(),
            by_event: false,
            findings: Arc::default(),
        }
    }

    /// Who stands in its commits as having asked: what follows at once was asked for with what it follows from.
    pub(super) fn asker(&self) -> Asker {
        let policy = self.origin.as_ref().and_then(|origin| origin.policy.as_ref());
        match (&self.requested_by, &self.follows_from, policy) {
            (Some(who), _, _) => Asker::Somebody(who.clone()),
            (None, Some(asker), _) => asker.clone(),
            (None, None, Some(policy)) => Asker::Itself(format!("policy {policy}")),
            (None, None, None) => Asker::Itself("by itself".to_owned()),
        }
    }
}

/// The id of what a delivery wants of a release: the same whenever it is planned, by whomever, since what waits is planned again and again.
pub(super) fn id_of(delivery: &Delivery, key: &ReleaseKey) -> ReleaseId {
    let named = format!("{}\n{}\n{key}", delivery.source, delivery.id);
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(Sha256::digest(named)).for_each(|(byte, hashed)| *byte = hashed);
    release_id(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

/// An id that nothing else has.
pub(super) fn new_id() -> ReleaseId {
    release_id(uuid::Uuid::now_v7())
}

#[expect(clippy::expect_used, reason = "a UUID is a valid release id whatever its bits")]
fn release_id(id: uuid::Uuid) -> ReleaseId {
    ReleaseId::parse(&id.to_string()).expect("a UUID is printable")
}
