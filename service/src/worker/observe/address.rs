//! Whether an address by which Argo CD reads a repository is that of ours: everybody reaches it in a way of their own.

use crate::sync::host_and_path;
use crate::worker::shared::Shared;

/// The path of the embedded repository below every address of the service.
const EMBEDDED: &str = "http://any/git/gitops.git";

/// Whether an address may be that of our repository.
pub(super) fn is_ours(shared: &Shared, address: &str) -> bool {
    let ours = shared.repository.address().unwrap_or(EMBEDDED);
    let told = shared.settings.doors.as_ref().map(|doors| doors.repository());
    [Some(ours), told].into_iter().flatten().any(|ours| is_same(ours, address))
}

/// Whether two addresses may be of one repository: the shorter path is the end of the longer one. Hosts have several names, protocols have ports,
/// and what stands before a forge in its address is nobody else's business.
fn is_same(ours: &str, address: &str) -> bool {
    // A path of this machine is read by others at an address that it does not tell, and no address is none that differs.
    if address.is_empty() || ours.starts_with(['/', '.']) || ours.starts_with("file:") {
        return true;
    }
    let path = |address| host_and_path(address).map_or_else(String::new, |(_, path)| path.to_lowercase());
    let (ours, address) = (path(ours), path(address));
    let parts = |path: &'_ str| path.split('/').rev().map(str::to_owned).collect::<Vec<_>>();
    parts(&ours).into_iter().zip(parts(&address)).all(|(one, other)| one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_repository_has_many_addresses_and_another_one_is_told_from_it() {
        let ours = "https://github.com/team/gitops.git";
        for same in [
            ours,
            "https://github.com/Team/gitops",
            "https://robot@github.com:443/team/gitops/",
            "git@github.com:team/gitops.git",
            "ssh://git@github.com:22/team/gitops.git",
            "http://gitea-http.gitea.svc:3000/team/gitops.git",
            "https://git.example.com/forge/team/gitops.git",
            "",
        ] {
            assert!(is_same(ours, same), "{same}");
        }
        for other in [
            "https://github.com/other/gitops.git",
            "git@github.com:team/apps.git",
            "http://other/",
            "oci://registry.example/gitops-chart",
        ] {
            assert!(!is_same(ours, other), "{other}");
        }
        assert!(is_same(EMBEDDED, "http://kmlflow.k5w.svc.cluster.local/git/gitops.git"));
        assert!(!is_same(EMBEDDED, "https://elsewhere/x.git"));
        for local in ["/srv/gitops.git", "file:///srv/gitops.git"] {
            assert!(is_same(local, "http://git.example.com/anything.git"), "{local}");
        }
    }
}
