//! What was asked for, with every default filled in; kept in the cluster, so that the next call needs to say nothing again.

use serde::{Deserialize, Serialize};

use crate::arguments::{ArgoCd, ClusterKind, Gpu, UpArguments};
use crate::catalogue::Profile;
use crate::checkout::Checkout;
use crate::fault::{Fault, Kind};
use crate::overlay::Overlay;

/// The name of the cluster, the context and the network that a new cluster gets.
pub const MINIKUBE_PROFILE: &str = "k5w";

/// The part that bootstrap installs itself.
pub const ARGO_CD: &str = "argo-cd";

/// The word for no part.
const NONE: &str = "none";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    pub profile: Profile,
    pub cluster: ClusterKind,
    /// The context of an existing cluster; the current one unless given.
    pub context: Option<String>,
    pub nodes: u8,
    pub gpu: Gpu,
    pub argo_cd: ArgoCd,
    /// The folder of `platform/` that the root Application follows: a profile or an overlay.
    pub follows: String,
    /// Parts that are left out: the cluster has them already.
    #[serde(default)]
    pub without: Vec<String>,
    /// Parts that the overlay takes out of its profile.
    #[serde(default)]
    pub absent: Vec<String>,
    /// Values of charts that are not those of the repository.
    #[serde(default)]
    pub set: Vec<Setting>,
}

/// A value of a part's chart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    pub part: String,
    /// Such as `prometheus.prometheusSpec.retention`.
    pub key: String,
    pub value: String,
}

impl Setting {
    /// Reads `PART.KEY=VALUE`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let split =
            text.split_once('=').and_then(|(path, value)| path.split_once('.').map(|(part, key)| (part, key, value)));
        let wrong = || {
            format!(
                "`{text}` is not of the form `PART.KEY=VALUE`, such as `prometheus.prometheus.prometheusSpec.retention=7d`"
            )
        };
        let (part, key, value) =
            split.filter(|(part, key, _)| !part.is_empty() && !key.is_empty()).ok_or_else(wrong)?;
        Ok(Self { part: part.to_owned(), key: key.to_owned(), value: value.to_owned() })
    }
}

impl std::fmt::Display for Setting {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}.{}={}", self.part, self.key, self.value)
    }
}

impl Options {
    /// Those that were named, over those that the cluster was brought up with.
    pub fn new(asked: &UpArguments, kept: Option<&Self>) -> Result<Self, Fault> {
        let profile = asked.profile.or(kept.map(|kept| kept.profile)).unwrap_or(Profile::Core);
        let named = asked.cluster.or(asked.context.as_ref().map(|_| ClusterKind::Existing));
        let cluster = named.or(kept.map(|kept| kept.cluster)).unwrap_or(ClusterKind::Minikube);
        let context = asked.context.clone().or_else(|| kept.and_then(|kept| kept.context.clone()));
        if cluster == ClusterKind::Minikube && asked.context.is_some() {
            return Err(Fault::new(
                "`--context` names an existing cluster",
                "leave `--cluster minikube` out, or `--context`",
            )
            .of(Kind::WrongUsage));
        }
        if cluster == ClusterKind::Existing {
            refuse_of_new(asked)?;
        }
        let argo_cd = asked.argo_cd.or(kept.map(|kept| kept.argo_cd)).unwrap_or(ArgoCd::Install);
        let follows = match &asked.overlay {
            Some(name) => format!("overlays/{name}"),
            None => match kept.filter(|kept| kept.follows.starts_with("overlays/") && asked.profile.is_none()) {
                Some(kept) => kept.follows.clone(),
                None => format!("profiles/{}", profile.name()),
            },
        };
        Ok(Self {
            profile,
            cluster,
            context,
            nodes: asked.nodes.or(kept.map(|kept| kept.nodes)).unwrap_or(1),
            gpu: asked.gpu.or(kept.map(|kept| kept.gpu)).unwrap_or(Gpu::Auto),
            argo_cd,
            without: without(asked, kept, argo_cd),
            absent: Vec::new(),
            set: set(asked, kept),
            follows,
        })
    }

    /// Takes over what the folder that is followed says, where that is an overlay: its profile, and which parts of it are not there.
    pub fn with_overlay(self, checkout: &Checkout) -> Result<Self, Fault> {
        if self.follows.starts_with("profiles/") {
            return Ok(self);
        }
        let Overlay { profile, absent } = Overlay::read(&checkout.platform(""), &self.follows)?;
        Ok(Self { profile, absent, ..self })
    }

    /// Refuses what cannot be changed once the cluster is there.
    pub fn refuse_change(&self, kept: &Self) -> Result<(), Fault> {
        let again = "run `cargo bootstrap down` first, or leave the option out";
        if self.cluster != kept.cluster {
            let (now, was) = (self.cluster.name(), kept.cluster.name());
            return Err(Fault::new(format!("this platform was brought up with `--cluster {was}`, not `{now}`"), again)
                .of(Kind::Conflict));
        }
        if self.cluster == ClusterKind::Minikube && self.nodes != kept.nodes {
            let what =
                format!("the cluster has {} nodes and `--nodes {}` would need another one", kept.nodes, self.nodes);
            return Err(Fault::new(what, again).of(Kind::Conflict));
        }
        Ok(())
    }

    /// The parts that `--without none` would take back: neither those that the overlay takes out, nor an Argo CD that is lent.
    pub fn named_without(&self) -> Vec<&str> {
        let is_lent = |part: &str| self.argo_cd == ArgoCd::Present && part == ARGO_CD;
        self.without.iter().map(String::as_str).filter(|part| !is_lent(part)).collect()
    }

    /// The context that `kubectl` is called with.
    pub fn context(&self) -> Option<&str> {
        match self.cluster {
            ClusterKind::Minikube => Some(MINIKUBE_PROFILE),
            ClusterKind::Existing => self.context.as_deref(),
        }
    }
}

/// The parts that were left out before and those that are named now; the word `none` begins anew.
fn without(asked: &UpArguments, kept: Option<&Options>, argo_cd: ArgoCd) -> Vec<String> {
    let is_anew = asked.without.iter().any(|part| part == NONE);
    // One that is there keeps itself as it is.
    let lent = |argo_cd: ArgoCd, part: &str| argo_cd == ArgoCd::Present && part == ARGO_CD;
    let before = kept
        .iter()
        .filter(|_| !is_anew)
        .flat_map(|kept| kept.without.iter().filter(|part| !lent(kept.argo_cd, part)).map(String::as_str));
    let now = asked.without.iter().map(String::as_str).filter(|part| *part != NONE);
    let own = [ARGO_CD].into_iter().filter(|part| lent(argo_cd, part));
    let mut parts: Vec<String> = Vec::new();
    for part in before.chain(now).chain(own) {
        if !parts.iter().any(|known| known == part) {
            parts.push(part.to_owned());
        }
    }
    parts
}

/// The values that were set before and those that are set now; an empty one is the chart's own again.
fn set(asked: &UpArguments, kept: Option<&Options>) -> Vec<Setting> {
    let mut all: Vec<Setting> = kept.map(|kept| kept.set.clone()).unwrap_or_default();
    for setting in &asked.set {
        all.retain(|known| (&known.part, &known.key) != (&setting.part, &setting.key));
        all.push(setting.clone());
    }
    all.retain(|setting| !setting.value.is_empty());
    all
}

/// Refuses options of a cluster that is made: one that is there has its nodes, its cards and its images.
fn refuse_of_new(asked: &UpArguments) -> Result<(), Fault> {
    let given = [
        ("--nodes", asked.nodes.is_some()),
        ("--gpu", asked.gpu.is_some()),
        ("--offline-images", asked.offline_images.is_some()),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        None => Ok(()),
        Some((option, _)) => {
            let what = format!("`{option}` is about a cluster that is made, and this one is there");
            Err(Fault::new(what, "leave it out, or leave `--cluster existing` out").of(Kind::WrongUsage))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> UpArguments {
        UpArguments::default()
    }

    #[test]
    fn nothing_said_is_a_small_cluster_on_this_machine() {
        let options = Options::new(&asked(), None).unwrap();
        assert_eq!((options.profile, options.cluster, options.nodes), (Profile::Core, ClusterKind::Minikube, 1));
        assert_eq!((options.context(), options.follows.as_str()), (Some("k5w"), "profiles/core"));
    }

    #[test]
    fn what_was_said_before_counts_until_it_is_said_anew() {
        let first = UpArguments { profile: Some(Profile::Full), nodes: Some(3), ..asked() };
        let kept = Options::new(&first, None).unwrap();
        assert_eq!(Options::new(&asked(), Some(&kept)).unwrap(), kept);
        let smaller = Options::new(&UpArguments { profile: Some(Profile::Core), ..asked() }, Some(&kept)).unwrap();
        assert_eq!((smaller.profile, smaller.nodes, smaller.follows.as_str()), (Profile::Core, 3, "profiles/core"));
    }

    #[test]
    fn an_overlay_is_followed_until_a_profile_is_named() {
        let kept = Options::new(&UpArguments { overlay: Some("production".into()), ..asked() }, None).unwrap();
        assert_eq!(Options::new(&asked(), Some(&kept)).unwrap().follows, "overlays/production");
        let profile = UpArguments { profile: Some(Profile::Core), ..asked() };
        assert_eq!(Options::new(&profile, Some(&kept)).unwrap().follows, "profiles/core");
    }

    #[test]
    fn an_argo_cd_that_is_there_is_no_part_of_the_platform() {
        let present = UpArguments { argo_cd: Some(ArgoCd::Present), without: vec!["cert-manager".into()], ..asked() };
        let kept = Options::new(&present, None).unwrap();
        assert_eq!(kept.without, ["cert-manager", "argo-cd"]);
        assert_eq!(Options::new(&asked(), Some(&kept)).unwrap().without, kept.without);
    }

    #[test]
    fn a_value_of_a_chart_is_read_and_kept_and_a_word_alone_is_none() {
        let setting = Setting::parse("prometheus.prometheus.prometheusSpec.retention=7d=x").unwrap();
        assert_eq!((setting.part.as_str(), setting.value.as_str()), ("prometheus", "7d=x"));
        assert_eq!(setting.to_string(), "prometheus.prometheus.prometheusSpec.retention=7d=x");
        let kept = Options::new(&UpArguments { set: vec![setting.clone()], ..asked() }, None).unwrap();
        assert_eq!(Options::new(&asked(), Some(&kept)).unwrap().set, [setting]);
        for wrong in ["", "retention=7d", ".a=b", "prometheus.=b", "prometheus.retention"] {
            assert!(Setting::parse(wrong).unwrap_err().contains("PART.KEY=VALUE"), "{wrong}");
        }
    }

    #[test]
    fn what_is_left_out_or_set_adds_up_and_can_be_taken_back() {
        let parts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let settings = |texts: &[&str]| texts.iter().map(|text| Setting::parse(text).unwrap()).collect::<Vec<_>>();
        let call = |without: &[&str], set: &[&str], kept: Option<&Options>| {
            let now = UpArguments { without: parts(without), set: settings(set), ..asked() };
            Options::new(&now, kept).unwrap()
        };
        let first = call(&["harbor"], &["harbor.a=1", "harbor.b=2"], None);
        let second = call(&["katib", "harbor"], &["harbor.b=3"], Some(&first));
        assert_eq!(second.without, ["harbor", "katib"]);
        assert_eq!(second.set, settings(&["harbor.a=1", "harbor.b=3"]));
        let third = call(&["none", "katib"], &["harbor.a="], Some(&second));
        assert_eq!((third.without, third.set), (parts(&["katib"]), settings(&["harbor.b=3"])));
        assert_eq!(call(&["none"], &["harbor.b="], Some(&second)).without, [] as [&str; 0]);
    }

    #[test]
    fn an_argo_cd_that_is_no_longer_lent_is_a_part_again() {
        let kept = Options::new(&UpArguments { argo_cd: Some(ArgoCd::Present), ..asked() }, None).unwrap();
        let install = UpArguments { argo_cd: Some(ArgoCd::Install), ..asked() };
        assert_eq!(Options::new(&install, Some(&kept)).unwrap().without, [] as [&str; 0]);
    }

    #[test]
    fn what_a_cluster_cannot_become_is_refused() {
        let kept = Options::new(&asked(), None).unwrap();
        let more = Options { nodes: 3, ..kept.clone() };
        let other = Options { cluster: ClusterKind::Existing, ..kept.clone() };
        for changed in [more, other] {
            let fault = changed.refuse_change(&kept).unwrap_err();
            assert!(fault.code() == 5 && fault.cure.contains("down"), "{fault:?}");
        }
        assert_eq!(Options { profile: Profile::Full, ..kept.clone() }.refuse_change(&kept), Ok(()));
        let named = UpArguments { context: Some("c".into()), ..asked() };
        assert_eq!(Options::new(&named, None).unwrap().cluster, ClusterKind::Existing);
        let both = UpArguments { cluster: Some(ClusterKind::Minikube), ..named };
        assert_eq!(Options::new(&both, None).unwrap_err().code(), 2);
    }
}
