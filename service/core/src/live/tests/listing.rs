//! A list takes the place of all that was known, at once; the index holds thousands of releases.

use std::time::Instant;

use proptest::prelude::*;
use serde_json::json;

use super::world::kept;
use crate::live::{Application, Index, Kind, Object, Place, PodView, Touched, application_key, application_name};

fn pod(release: u8, number: u8, is_ready: bool) -> Object {
    let view = PodView {
        name: format!("r{release}-v1-{number}").into(),
        predictor: "v1".into(),
        is_ready,
        is_deleting: false,
        fault: None,
    };
    Object::Pod(place(release), view)
}

fn place(release: u8) -> Place {
    Place { namespace: "models".into(), name: format!("r{release}").into() }
}

proptest! {
    /// What a list leads to is what the single events lead to, in whatever order they came.
    #[test]
    fn a_list_equals_the_events_that_lead_to_it(
        events in proptest::collection::vec((0_u8..4, 0_u8..3, any::<bool>(), any::<bool>()), 0..60),
        garbage in proptest::collection::vec((0_u8..4, 0_u8..3, any::<bool>()), 0..10),
    ) {
        let (mut replayed, mut listed) = (Index::default(), Index::default());
        let mut there = std::collections::BTreeMap::new();
        for (release, number, is_ready, is_gone) in events {
            let (object, name) = (pod(release, number, is_ready), format!("r{release}-v1-{number}"));
            if is_gone {
                replayed.remove(Kind::Pod, "models", &name);
                there.remove(&(release, number));
            } else {
                there.insert((release, number), object.clone());
                replayed.apply(object);
            }
        }
        for (release, number, is_ready) in garbage {
            listed.apply(pod(release, number, is_ready));
        }
        listed.replace(Kind::Pod, there.into_values().collect());
        for release in 0..4 {
            let of = |index: &Index| {
                let mut pods = index.found(&place(release)).map(|found| found.pods.clone()).unwrap_or_default();
                pods.sort_by(|one, other| one.name.cmp(&other.name));
                pods
            };
            prop_assert_eq!(of(&replayed), of(&listed));
        }
        prop_assert_eq!(replayed.len(), listed.len());
    }
}

#[test]
fn a_list_says_what_is_new_other_and_gone_and_nothing_else() {
    let mut index = Index::default();
    index.replace(Kind::Pod, vec![pod(1, 0, true), pod(2, 0, true), pod(3, 0, true)]);
    let touched = index.replace(Kind::Pod, vec![pod(1, 0, true), pod(2, 0, false), pod(4, 0, true)]);
    assert_eq!(touched, [2, 3, 4].map(|release| Touched::Place(place(release))));
    assert!(index.found(&place(3)).is_none());
}

#[test]
fn what_says_the_same_again_is_no_news() {
    let mut index = Index::default();
    assert_eq!(index.apply(pod(1, 0, true)), [Touched::Place(place(1))]);
    assert_eq!(index.apply(pod(1, 0, true)), []);
    let mut remove = || index.remove(Kind::Pod, "models", "r1-v1-0");
    assert!(remove().is_some() && remove().is_none());
    assert!(index.is_empty());
}

#[test]
fn what_becomes_anothers_is_no_more_where_it_was() {
    let mut index = Index::default();
    let pods = |index: &Index, release: u8| index.found(&place(release)).map_or(0, |found| found.pods.len());
    index.apply(pod(1, 0, true));
    index.apply(pod(1, 1, true));
    // The same pod, with another release's name in its labels.
    let Object::Pod(_, moved) = pod(1, 0, true) else { unreachable!() };
    let touched = index.apply(Object::Pod(place(2), moved));
    assert_eq!(touched, [1, 2].map(|release| Touched::Place(place(release))));
    assert_eq!((pods(&index, 1), pods(&index, 2)), (1, 1));
    // It goes by its name, whatever is known of where it is.
    assert_eq!(index.remove(Kind::Pod, "models", "r1-v1-0"), Some(Touched::Place(place(2))));
    assert_eq!(index.remove(Kind::Pod, "others", "r1-v1-1"), None, "one of that name in another namespace");
    assert_eq!((pods(&index, 1), pods(&index, 2)), (1, 0));
    index.replace(Kind::Pod, vec![pod(3, 0, true)]);
    assert_eq!(index.remove(Kind::Pod, "models", "r1-v1-1"), None, "a list takes the place of all of that too");
}

#[test]
fn objects_of_nobody_we_know_are_not_kept() {
    let stray = json!({"metadata": {"name": "web", "namespace": "models", "labels": {"app": "web"}}});
    for kind in [Kind::Pod, Kind::Deployment, Kind::HttpRoute, Kind::Service] {
        assert_eq!(kept(kind, &stray), None, "{kind:?}");
    }
}

#[test]
fn thousands_of_releases_are_held_and_an_event_is_taken_in_at_once() {
    let mut index = Index::default();
    let pods = |is_ready: bool| {
        (0..20_000_usize).map(move |number| {
            let place = Place { namespace: "models".into(), name: format!("r{}", number / 4).into() };
            let view = PodView {
                name: format!("r{}-v1-0-model-{number}", number / 4).into(),
                predictor: "v1".into(),
                is_ready,
                is_deleting: false,
                fault: None,
            };
            Object::Pod(place, view)
        })
    };
    index.replace(Kind::Pod, pods(false).collect());
    let events: Vec<Object> = pods(true).collect();
    let begin = Instant::now();
    let touched = events.into_iter().map(|object| index.apply(object).len()).sum::<usize>();
    // A debug build on a busy machine; the bound of a release build is fifty microseconds, and it takes about one.
    let each = begin.elapsed() / 20_000;
    assert!(touched == 20_000 && each.as_micros() < 200, "{each:?} an event");
}

#[test]
fn what_is_read_beside_the_watch_counts_where_it_is_newer_and_known() {
    let seen = |version, is_synced| Application {
        name: "production.models.fraud".into(),
        version,
        is_synced,
        ..Application::default()
    };
    let mut index = Index::default();
    assert_eq!(index.catch_up(Object::Application(seen(7, true))), None, "it may be gone by now");
    index.apply(Object::Application(seen(7, false)));
    assert_eq!(index.catch_up(Object::Application(seen(6, true))), None);
    assert!(!index.application("production.models.fraud").unwrap().is_synced);
    let touched = index.catch_up(Object::Application(seen(8, true)));
    assert_eq!(touched, Some(Touched::Application("production.models.fraud".into())));
    assert!(index.application("production.models.fraud").unwrap().is_synced);
}

#[test]
fn an_application_is_of_a_release_by_its_name_alone() {
    let key = application_key("production.models.fraud").unwrap();
    assert_eq!(application_name(&key), "production.models.fraud");
    for other in ["kmlflow", "production.models", "production.models.fraud.more", "production/models/fraud", "a..b", ""]
    {
        assert_eq!(application_key(other), None, "{other}");
    }
}
