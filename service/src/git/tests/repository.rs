use std::fs;

use super::*;

#[test]
fn a_new_repository_holds_the_seed_in_one_commit_on_main() {
    let fixture = Fixture::new();
    assert_eq!(fixture.git(&["rev-list", "--count", "--all"]).trim(), "1");
    assert_eq!(fixture.git(&["symbolic-ref", "HEAD"]).trim(), "refs/heads/main");
    let tip = fixture.repository.tip().unwrap();
    for (path, content) in seed() {
        assert_eq!(fixture.repository.read(&tip, &path).unwrap(), Some(content), "{path}");
    }
    for (key, value) in [("receive.denyNonFastForwards", "true"), ("receive.denyDeletes", "true"), ("gc.auto", "0")] {
        assert_eq!(fixture.git(&["config", key]).trim(), value);
    }
    assert_eq!(fixture.git(&["config", "receive.maxInputSize"]).trim(), "67108864");
}

#[test]
fn opening_again_keeps_what_is_there() {
    let fixture = Fixture::new();
    let commit = fixture.release("production/models/fraud", "a");
    let (again, seeded) = fixture.open().unwrap();
    assert_eq!((again.tip().unwrap(), seeded), (commit, Seeded::Existing));
}

#[test]
fn a_seed_that_was_cut_off_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let half = directory.path().join("gitops.new");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("HEAD"), "ref: ").unwrap();
    let (_, seeded) =
        Repository::open_or_seed(&directory.path().join("gitops.git"), &seed(), &author(), now(), None).unwrap();
    assert_eq!(seeded, Seeded::New);
    assert!(!half.exists());
}

type Damage = fn(&Path);

#[test]
fn a_damaged_repository_is_refused_and_left_as_it_is() {
    let cases: [(&str, Damage); 4] = [
        ("no head", |path| fs::remove_file(path.join("HEAD")).unwrap()),
        ("no branch", |path| fs::remove_file(path.join("refs/heads/main")).unwrap()),
        ("an empty branch", |path| fs::write(path.join("refs/heads/main"), "").unwrap()),
        ("no objects", |path| {
            fs::remove_dir_all(path.join("objects")).unwrap();
            fs::create_dir(path.join("objects")).unwrap();
        }),
    ];
    for (case, damage) in cases {
        let fixture = Fixture::new();
        damage(fixture.repository.path());
        let error = fixture.open().unwrap_err();
        assert!(!error.to_string().contains(&fixture.directory.path().display().to_string()), "{case}: {error}");
        assert!(matches!(error, GitError::Corrupt { .. } | GitError::UnknownCommit(_)), "{case}: {error:?}");
        assert!(fixture.open().is_err(), "{case}: it must not be repaired");
    }
}

#[test]
fn a_foreign_directory_is_not_taken_for_a_repository() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("notes.txt"), "mine").unwrap();
    let error = Repository::open_or_seed(directory.path(), &seed(), &author(), now(), None).unwrap_err();
    assert!(matches!(error, GitError::Corrupt { .. }), "{error:?}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_directory_is_read_by_path() {
    let fixture = Fixture::new();
    let commit = fixture.release("production/models/fraud", "a");
    fixture.release("staging/models/churn", "b");
    let repository = &fixture.repository;
    let tip = repository.tip().unwrap();
    let directory = "releases/production/models/fraud";
    assert_eq!(
        repository.list(&tip, directory).unwrap(),
        [("release.yaml".to_owned(), EntryKind::File), ("seldon.yaml".to_owned(), EntryKind::File)]
    );
    assert_eq!(repository.list(&tip, "nowhere/at/all").unwrap(), []);
    assert_eq!(repository.read(&tip, directory).unwrap(), None);
    assert_eq!(repository.read(&tip, "README.md/x").unwrap(), None);
    assert_eq!(repository.read(&commit, "releases/staging/models/churn/release.yaml").unwrap(), None);
    let tree = fixture.git(&["rev-parse", &format!("main:{directory}")]);
    assert_eq!(repository.tree_id(&tip, directory).unwrap().unwrap().as_str(), tree.trim());
    let keys: Vec<String> = repository.release_keys(&tip).unwrap().iter().map(|(key, _)| key.to_string()).collect();
    assert_eq!(keys, ["production/models/fraud", "staging/models/churn"]);
    assert_eq!(repository.release_keys(&tip).unwrap()[0].1.as_str(), tree.trim());
}

#[test]
fn what_no_service_would_write_is_not_read() {
    let fixture = Fixture::new();
    let repository = &fixture.repository;
    let base = repository.tip().unwrap();
    let mut draft = repository.draft(&base).unwrap();
    let large = Edit { path: "large.bin".to_owned(), content: Some(vec![0; 5 << 20]) };
    let edits = vec![large, put("releases/production/Not_A_Name/x/release.yaml", "x"), put("releases/README.md", "x")];
    let tip = draft.commit(edits, "x", &author(), now()).unwrap().unwrap();
    assert!(matches!(repository.read(&tip, "large.bin"), Err(GitError::TooLarge { .. })));
    assert_eq!(repository.release_keys(&tip).unwrap(), []);
    let unknown = CommitId::parse(&"1".repeat(40)).unwrap();
    assert!(matches!(repository.read(&unknown, "README.md"), Err(GitError::UnknownCommit(_))));
}

#[test]
fn the_seed_is_the_directory() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gitops-repo");
    let mut found = Vec::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => directories.push(path),
                false => {
                    found.push((path.strip_prefix(&root).unwrap().display().to_string(), fs::read(&path).unwrap()))
                }
            }
        }
    }
    found.sort();
    let mut seed = seed();
    seed.sort();
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
    assert_eq!(names(&seed), names(&found));
    assert_eq!(seed, found);
}
