//! The cluster's events in, what is there of a release out.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::homes::Homes;
use super::objects::{Application, Found, Object, RouteKind};
use crate::release::Release;

/// Where the objects of a release lie in its cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The cluster's namespace: the release's with the environment's prefix.
    pub namespace: Box<str>,
    /// The release's name.
    pub name: Box<str>,
}

impl Place {
    /// That of a release.
    pub fn of(release: &Release) -> Self {
        Self { namespace: release.spec.target.namespace.as_str().into(), name: release.metadata.name.as_str().into() }
    }
}

/// What an event was about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Touched {
    Place(Place),
    /// An Application, by its name.
    Application(Box<str>),
}

/// The kinds that are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Application,
    Seldon,
    Deployment,
    Pod,
    HttpRoute,
    GrpcRoute,
    Service,
}

impl Kind {
    /// Those of a release's own cluster.
    pub const OF_RELEASES: [Self; 6] =
        [Self::Seldon, Self::Deployment, Self::Pod, Self::HttpRoute, Self::GrpcRoute, Self::Service];

    /// Its name as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Application => "Application",
            Self::Seldon => "SeldonDeployment",
            Self::Deployment => "Deployment",
            Self::Pod => "Pod",
            Self::HttpRoute => "HTTPRoute",
            Self::GrpcRoute => "GRPCRoute",
            Self::Service => "Service",
        }
    }
}

/// Why something cannot be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blindness {
    /// One sentence without its capital and its full stop.
    pub reason: String,
    /// What helps, where a person can do something.
    pub cure: Option<String>,
}

/// Everything that was seen in one cluster.
#[derive(Debug, Default)]
pub struct Index {
    places: HashMap<Place, Found>,
    applications: HashMap<Box<str>, Application>,
    homes: Homes,
    /// How each kind fares: absent before its first list.
    watches: HashMap<Kind, Option<Blindness>>,
}

impl Index {
    /// Takes an object in as it is now, also where it was another release's before; nothing where that changes nothing.
    pub fn apply(&mut self, object: Object) -> Vec<Touched> {
        let moved = by_name(&object).and_then(|(kind, to, name)| {
            let from = self.homes.moves(kind, to, name)?;
            self.take_out(kind, from, name)
        });
        moved.into_iter().chain(self.put_in(object)).collect()
    }

    fn put_in(&mut self, object: Object) -> Option<Touched> {
        match object {
            Object::Application(application) => {
                let name = application.name.clone();
                let before = self.applications.insert(name.clone(), application);
                (before.as_ref() != self.applications.get(&name)).then_some(Touched::Application(name))
            }
            Object::Seldon(place, seldon) => self.change(place, |found| replace_one(&mut found.seldon, seldon)),
            Object::Service(place, service) => self.change(place, |found| replace_one(&mut found.service, service)),
            Object::Deployment(place, deployment) => {
                self.change(place, |found| put(&mut found.deployments, deployment, |one, other| one.name == other.name))
            }
            Object::Pod(place, pod) => {
                self.change(place, |found| put(&mut found.pods, pod, |one, other| one.name == other.name))
            }
            Object::Route(place, route) => self.change(place, |found| {
                put(&mut found.routes, route, |one, other| one.name == other.name && one.kind == other.kind)
            }),
        }
    }

    /// Takes in an Application that was read beside the watch: nothing where the watch has it newer, or knows of none.
    pub fn catch_up(&mut self, read: Object) -> Option<Touched> {
        match &read {
            Object::Application(new) if self.application(&new.name).is_some_and(|old| old.version < new.version) => {
                self.apply(read).pop()
            }
            _ => None,
        }
    }

    /// Forgets an object that is gone, or that says no more that it is of a release: by its name, for its labels may be gone first.
    pub fn remove(&mut self, kind: Kind, namespace: &str, name: &str) -> Option<Touched> {
        let own = || Place { namespace: namespace.into(), name: name.into() };
        match kind {
            Kind::Application => self.applications.remove(name).map(|gone| Touched::Application(gone.name)),
            Kind::Seldon => self.change(own(), |found| found.seldon.take().is_some()),
            Kind::Service => self.change(own(), |found| found.service.take().is_some()),
            Kind::Deployment | Kind::Pod | Kind::HttpRoute | Kind::GrpcRoute => {
                let home = self.homes.leaves(kind, namespace, name)?;
                self.take_out(kind, home, name)
            }
        }
    }

    /// Takes what has the name of its own out of the release that it was of.
    fn take_out(&mut self, kind: Kind, place: Place, name: &str) -> Option<Touched> {
        self.change(place, |found| match kind {
            Kind::Deployment => drop_one(&mut found.deployments, |one| *one.name == *name),
            Kind::Pod => drop_one(&mut found.pods, |one| *one.name == *name),
            Kind::HttpRoute | Kind::GrpcRoute => {
                drop_one(&mut found.routes, |one| *one.name == *name && kind_of(one.kind) == kind)
            }
            Kind::Application | Kind::Seldon | Kind::Service => false,
        })
    }

    /// Takes a whole list of a kind in place of what was known of it, at once, and says what differs.
    pub fn replace(&mut self, kind: Kind, objects: Vec<Object>) -> Vec<Touched> {
        let mut before: HashMap<(Touched, Box<str>), Object> =
            self.take_all(kind).into_iter().map(|object| (identity(&object), object)).collect();
        self.homes.forget(kind);
        let mut touched = Vec::new();
        for object in objects {
            let identity = identity(&object);
            let is_known = before.remove(&identity).as_ref() == Some(&object);
            self.apply(object);
            if !is_known {
                touched.push(identity.0);
            }
        }
        touched.extend(before.into_keys().map(|(gone, _)| gone));
        touched.sort();
        touched.dedup();
        self.watches.insert(kind, None);
        touched
    }

    /// Says that a kind cannot be watched now, and why. What is known of it stays, and counts no more.
    pub fn is_blind(&mut self, kind: Kind, why: Blindness) -> bool {
        self.watches.insert(kind, Some(why.clone())) != Some(Some(why))
    }

    /// Whether this is why some kind cannot be watched.
    pub fn says(&self, why: &Blindness) -> bool {
        self.watches.values().any(|watch| watch.as_ref() == Some(why))
    }

    /// Says that a kind is watched, after it was listed.
    pub fn sees(&mut self, kind: Kind) -> bool {
        self.watches.insert(kind, None) != Some(None)
    }

    /// Why one of these kinds cannot be seen; nothing where all are.
    pub fn blindness(&self, kinds: &[Kind]) -> Option<Blindness> {
        kinds.iter().find_map(|kind| match self.watches.get(kind) {
            Some(None) => None,
            Some(Some(why)) => Some(why.clone()),
            None => {
                Some(Blindness { reason: format!("the cluster's {}s are not read yet", kind.as_str()), cure: None })
            }
        })
    }

    /// What is there of a release.
    pub fn found(&self, place: &Place) -> Option<&Found> {
        self.places.get(place)
    }

    /// Every place of which something is there.
    pub fn places(&self) -> impl Iterator<Item = (&Place, &Found)> {
        self.places.iter()
    }

    /// Every Application of Argo CD.
    pub fn applications(&self) -> impl Iterator<Item = &Application> {
        self.applications.values()
    }

    /// Argo CD's Application of that name.
    pub fn application(&self, name: &str) -> Option<&Application> {
        self.applications.get(name)
    }

    /// How many objects are known.
    pub fn len(&self) -> usize {
        let of = |found: &Found| {
            found.deployments.len()
                + found.pods.len()
                + found.routes.len()
                + usize::from(found.seldon.is_some())
                + usize::from(found.service.is_some())
        };
        self.applications.len() + self.places.values().map(of).sum::<usize>()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn take_all(&mut self, kind: Kind) -> Vec<Object> {
        if kind == Kind::Application {
            return self.applications.drain().map(|(_, application)| Object::Application(application)).collect();
        }
        let mut taken = Vec::new();
        for (place, found) in &mut self.places {
            let at = || place.clone();
            match kind {
                Kind::Application => {}
                Kind::Seldon => taken.extend(found.seldon.take().map(|it| Object::Seldon(at(), it))),
                Kind::Service => taken.extend(found.service.take().map(|it| Object::Service(at(), it))),
                Kind::Deployment => taken.extend(found.deployments.drain(..).map(|it| Object::Deployment(at(), it))),
                Kind::Pod => taken.extend(found.pods.drain(..).map(|it| Object::Pod(at(), it))),
                Kind::HttpRoute | Kind::GrpcRoute => {
                    let of = if kind == Kind::HttpRoute { RouteKind::Http } else { RouteKind::Grpc };
                    taken.extend(found.routes.extract_if(.., |it| it.kind == of).map(|it| Object::Route(at(), it)));
                }
            }
        }
        self.places.retain(|_, found| !found.is_empty());
        taken
    }

    fn change(&mut self, place: Place, change: impl FnOnce(&mut Found) -> bool) -> Option<Touched> {
        match self.places.entry(place) {
            Entry::Occupied(mut entry) => {
                let is_changed = change(entry.get_mut());
                let place = entry.key().clone();
                if entry.get().is_empty() {
                    entry.remove();
                }
                is_changed.then_some(Touched::Place(place))
            }
            Entry::Vacant(entry) => {
                let mut found = Found::default();
                if !change(&mut found) {
                    return None;
                }
                let place = entry.key().clone();
                entry.insert(found);
                Some(Touched::Place(place))
            }
        }
    }
}

/// What an object is told from others of its kind by.
fn identity(object: &Object) -> (Touched, Box<str>) {
    let at = |place: &Place| Touched::Place(place.clone());
    match object {
        Object::Application(application) => (Touched::Application(application.name.clone()), "".into()),
        Object::Seldon(place, _) | Object::Service(place, _) => (at(place), "".into()),
        Object::Deployment(place, it) => (at(place), it.name.clone()),
        Object::Pod(place, it) => (at(place), it.name.clone()),
        Object::Route(place, it) => (at(place), it.name.clone()),
    }
}

/// What is of a release by its labels or annotations: its kind, that release, and its own name.
fn by_name(object: &Object) -> Option<(Kind, &Place, &str)> {
    match object {
        Object::Application(_) | Object::Seldon(..) | Object::Service(..) => None,
        Object::Deployment(place, it) => Some((Kind::Deployment, place, &it.name)),
        Object::Pod(place, it) => Some((Kind::Pod, place, &it.name)),
        Object::Route(place, it) => Some((kind_of(it.kind), place, &it.name)),
    }
}

fn kind_of(route: RouteKind) -> Kind {
    match route {
        RouteKind::Http => Kind::HttpRoute,
        RouteKind::Grpc => Kind::GrpcRoute,
    }
}

fn replace_one<T: PartialEq>(at: &mut Option<T>, new: T) -> bool {
    let is_changed = at.as_ref() != Some(&new);
    *at = Some(new);
    is_changed
}

fn put<T: PartialEq>(all: &mut Vec<T>, new: T, is_same: impl Fn(&T, &T) -> bool) -> bool {
    match all.iter_mut().find(|one| is_same(one, &new)) {
        Some(one) if *one == new => false,
        Some(one) => {
            *one = new;
            true
        }
        None => {
            all.push(new);
            true
        }
    }
}

fn drop_one<T>(all: &mut Vec<T>, is_it: impl Fn(&T) -> bool) -> bool {
    let before = all.len();
    all.retain(|one| !is_it(one));
    before != all.len()
}
