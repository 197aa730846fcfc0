//! What registries said a moment ago.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Resolution;

/// How long a digest is believed: a request is planned several times within seconds, and a tag that was pushed anew must not be taken
/// for its old image by the next request.
const PINNED: Duration = Duration::from_secs(10);

/// How long a registry that does not answer is left alone: else every release would wait for its time limit.
const UNREACHABLE: Duration = Duration::from_secs(60);

/// The most images and the most registries that are remembered; a burst of releases names some hundred.
const ENTRIES_MAX: usize = 1_000;

/// Answers with the moment until which they hold.
#[derive(Debug, Default)]
pub(super) struct Memory {
    images: HashMap<String, (Resolution, Instant)>,
    unreachable: HashMap<String, (Resolution, Instant)>,
}

impl Memory {
    /// What is known of an image, or of its registry as a whole.
    pub(super) fn get(&self, image: &str, registry: &str, now: Instant) -> Option<Resolution> {
        let found = [self.images.get(image), self.unreachable.get(registry)];
        found.into_iter().flatten().find(|(_, until)| now < *until).map(|(resolution, _)| resolution.clone())
    }

    pub(super) fn keep(&mut self, image: &str, resolution: &Resolution, now: Instant) {
        insert(&mut self.images, image, resolution, now, PINNED);
    }

    pub(super) fn keep_unreachable(&mut self, registry: &str, resolution: &Resolution, now: Instant) {
        insert(&mut self.unreachable, registry, resolution, now, UNREACHABLE);
    }
}

/// Makes room by what is over; where nothing is, it is simply not remembered.
fn insert(
    known: &mut HashMap<String, (Resolution, Instant)>,
    name: &str,
    resolution: &Resolution,
    now: Instant,
    holds: Duration,
) {
    if known.len() >= ENTRIES_MAX {
        known.retain(|_, (_, until)| now < *until);
    }
    if known.len() < ENTRIES_MAX {
        known.insert(name.to_owned(), (resolution.clone(), now + holds));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pinned(text: &str) -> Resolution {
        Resolution::Pinned(text.to_owned())
    }

    #[test]
    fn a_digest_holds_for_ten_seconds_and_silence_for_a_minute() {
        let mut memory = Memory::default();
        let start = Instant::now();
        let silent = Resolution::Unpinned { reason: "silent".to_owned() };
        memory.keep("r/a:1", &pinned("a"), start);
        memory.keep_unreachable("s", &silent, start);
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!(memory.get("r/a:1", "r", after(9)), Some(pinned("a")));
        assert_eq!(memory.get("r/a:1", "r", after(10)), None);
        assert_eq!(memory.get("s/b:1", "s", after(59)), Some(silent));
        assert_eq!(memory.get("s/b:1", "s", after(60)), None);
        assert_eq!(memory.get("r/b:1", "r", start), None);
    }

    #[test]
    fn it_never_remembers_more_than_its_bound() {
        let mut memory = Memory::default();
        let start = Instant::now();
        for n in 0..=ENTRIES_MAX {
            memory.keep(&n.to_string(), &pinned("a"), start);
        }
        assert_eq!(memory.images.len(), ENTRIES_MAX);
        memory.keep("later", &pinned("a"), start + PINNED);
        assert_eq!(memory.images.len(), 1);
    }
}
