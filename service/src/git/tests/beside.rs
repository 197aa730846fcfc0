//! Branches beside the one that everybody reads, at a remote that is a path.

use super::*;
use crate::command;
use crate::git::remote::{Branch, Endpoint, History, Limits, Settings};

const BRANCH: &str = "kmlflow/production/models/fraud";
const FRAUD: &str = "production/models/fraud";

/// A bare repository with one commit on `main`, and a clone of it.
struct Far {
    directory: TempDir,
    repository: Repository,
}

/// The remote `remote.git` of a directory.
pub(super) fn settings(directory: &Path) -> Settings {
    Settings {
        endpoint: Endpoint::parse(directory.join("remote.git").to_str().unwrap()).unwrap(),
        branch: Branch::parse("main").unwrap(),
        credentials: None,
        renewal: None,
        ca_file: None,
        allow_plain_http: false,
        ssh: None,
        push_options: Vec::new(),
        directory: directory.to_owned(),
        limits: Limits::default(),
    }
}

impl Far {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let run = |arguments: &[&str]| text(git(directory.path(), arguments));
        run(&["init", "-q", "--bare", "--initial-branch=main", "remote.git"]);
        run(&["clone", "-q", "remote.git", "person"]);
        let person = directory.path().join("person");
        for arguments in [&["commit", "-q", "--allow-empty", "-m", "first"][..], &["push", "-q", "origin", "HEAD:main"]]
        {
            text(git(&person, arguments));
        }
        let program = command::Git::find(None).await.unwrap();
        let repository = Repository::open_clone(
            &directory.path().join("clone.git"),
            settings(directory.path()),
            &program,
            History::Since,
        )
        .await
        .unwrap();
        Self { directory, repository }
    }

    fn person(&self, arguments: &[&str]) -> String {
        text(git(&self.directory.path().join("person"), arguments)).trim().to_owned()
    }

    /// A commit of a person on the branch, and its id.
    fn person_adds_a_commit(&self) -> String {
        self.person(&["fetch", "-q"]);
        self.person(&["checkout", "-q", "-b", "theirs", &format!("origin/{BRANCH}")]);
        self.person(&["commit", "-q", "--allow-empty", "-m", "theirs"]);
        self.person(&["push", "-q", "origin", &format!("HEAD:{BRANCH}")]);
        self.person(&["rev-parse", "HEAD"])
    }

    fn at_remote(&self, arguments: &[&str]) -> String {
        text(git(&self.directory.path().join("remote.git"), arguments)).trim().to_owned()
    }

    /// A commit of a draft that is not pushed.
    fn commit(&self, on: &CommitId, text: &str) -> CommitId {
        let mut draft = self.repository.draft(on).unwrap();
        draft.commit(files(FRAUD, text), "x", &author(), now()).unwrap().unwrap()
    }
}

#[tokio::test]
async fn a_branch_beside_is_made_moved_on_and_forgotten_and_the_target_stays() {
    let far = Far::new().await;
    let base = far.repository.tip().unwrap();
    assert_eq!(far.repository.beside(BRANCH).unwrap(), None);
    let first = far.commit(&base, "a");
    assert_eq!(far.repository.push_beside(BRANCH, &first).await.unwrap(), Offered::Done);
    let second = far.commit(&first, "b");
    assert_eq!(far.repository.push_beside(BRANCH, &second).await.unwrap(), Offered::Done);
    assert_eq!(far.at_remote(&["rev-parse", BRANCH]), second.as_str());
    assert_eq!(far.repository.beside(BRANCH).unwrap(), Some(second.clone()));
    assert_eq!(
        (far.repository.tip().unwrap(), far.at_remote(&["rev-parse", "main"])),
        (base.clone(), base.to_string())
    );
    assert_eq!(far.repository.common(&base, &second).unwrap(), Some(base));
    far.repository.forget_beside(BRANCH).unwrap();
    far.repository.forget_beside(BRANCH).unwrap();
    assert_eq!(far.repository.beside(BRANCH).unwrap(), None);
    far.repository.look_beside("kmlflow/*").await.unwrap();
    assert_eq!(far.repository.beside(BRANCH).unwrap(), Some(second));
}

#[tokio::test]
async fn what_somebody_else_put_on_a_branch_beside_is_never_overwritten() {
    let far = Far::new().await;
    let base = far.repository.tip().unwrap();
    let first = far.commit(&base, "a");
    assert_eq!(far.repository.push_beside(BRANCH, &first).await.unwrap(), Offered::Done);
    let theirs = far.person_adds_a_commit();
    let second = far.commit(&first, "b");
    assert_eq!(far.repository.push_beside(BRANCH, &second).await.unwrap(), Offered::Moved);
    assert_eq!(far.repository.beside(BRANCH).unwrap().unwrap().as_str(), theirs);
    far.person(&["push", "-q", "origin", &format!(":{BRANCH}")]);
    let third = far.commit(&far.repository.beside(BRANCH).unwrap().unwrap(), "c");
    assert_eq!(far.repository.push_beside(BRANCH, &third).await.unwrap(), Offered::Moved, "it is gone");
    assert_eq!(far.repository.beside(BRANCH).unwrap(), None);
    let again = far.commit(&base, "c");
    assert_eq!(far.repository.push_beside(BRANCH, &again).await.unwrap(), Offered::Done);
}

#[tokio::test]
async fn a_branch_beside_is_deleted_only_where_it_was_seen() {
    let far = Far::new().await;
    let base = far.repository.tip().unwrap();
    let first = far.commit(&base, "a");
    assert_eq!(far.repository.push_beside(BRANCH, &first).await.unwrap(), Offered::Done);
    let theirs = CommitId::parse(&far.person_adds_a_commit()).unwrap();
    assert_eq!(far.repository.delete_beside(BRANCH).await.unwrap(), Deleted::Moved(theirs.clone()));
    assert_eq!(far.at_remote(&["rev-parse", BRANCH]), theirs.as_str());
    // Now it was seen there.
    assert_eq!(far.repository.delete_beside(BRANCH).await.unwrap(), Deleted::Gone);
    assert_eq!(far.at_remote(&["for-each-ref", "refs/heads/kmlflow"]), "");
    assert_eq!(far.repository.beside(BRANCH).unwrap(), None);
    assert_eq!(far.repository.delete_beside(BRANCH).await.unwrap(), Deleted::Gone, "once more");

    let again = far.commit(&base, "b");
    assert_eq!(far.repository.push_beside(BRANCH, &again).await.unwrap(), Offered::Done);
    far.person(&["push", "-q", "origin", &format!(":{BRANCH}")]);
    assert_eq!(far.repository.delete_beside(BRANCH).await.unwrap(), Deleted::Gone, "by somebody else");
    let third = far.commit(&base, "c");
    assert_eq!(far.repository.push_beside(BRANCH, &third).await.unwrap(), Offered::Done);
    far.at_remote(&["config", "receive.denyDeletes", "true"]);
    assert!(matches!(far.repository.delete_beside(BRANCH).await.unwrap(), Deleted::Refused(_)));
    assert_eq!(far.repository.beside(BRANCH).unwrap(), Some(third));
}

#[tokio::test]
async fn a_refusal_of_a_branch_beside_has_the_remotes_words() {
    let far = Far::new().await;
    let hook = far.directory.path().join("remote.git/hooks/update");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, "#!/bin/sh\necho 'no such branches here' >&2\nexit 1\n").unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let first = far.commit(&far.repository.tip().unwrap(), "a");
    let Offered::Refused(words) = far.repository.push_beside(BRANCH, &first).await.unwrap() else { panic!("taken") };
    assert!(words.contains("no such branches here"), "{words}");
    let embedded = Fixture::new();
    let tip = embedded.repository.tip().unwrap();
    assert!(matches!(embedded.repository.push_beside(BRANCH, &tip).await, Ok(Offered::Refused(_))));
}

#[tokio::test]
async fn a_joined_history_has_the_files_of_the_other_and_both_parents() {
    let far = Far::new().await;
    let base = far.repository.tip().unwrap();
    let ours = far.commit(&base, "a");
    far.person(&["commit", "-q", "--allow-empty", "-m", "theirs"]);
    far.person(&["push", "-q", "origin", "HEAD:main"]);
    far.repository.look().await.unwrap();
    let theirs = far.repository.tip().unwrap();
    let mut draft = far.repository.draft(&ours).unwrap();
    let joined = draft.join(&theirs, "Join\n", &author(), now()).unwrap();
    assert_eq!(draft.tip(), &joined);
    assert_eq!(far.repository.tree_id(&joined, "releases").unwrap(), None, "what ours had is gone");
    let changed = draft.commit(files(FRAUD, "b"), "x", &author(), now()).unwrap().unwrap();
    assert_eq!(far.repository.push_beside(BRANCH, &changed).await.unwrap(), Offered::Done);
    let parents = far.at_remote(&["log", "-1", "--format=%P", joined.as_str()]);
    assert_eq!(parents, format!("{ours} {theirs}"));
    assert_eq!(far.repository.common(&theirs, &changed).unwrap(), Some(theirs));
    far.at_remote(&["fsck", "--strict"]);
}
