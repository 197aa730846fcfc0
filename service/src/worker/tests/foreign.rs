//! What people push: never lost, never overwritten unasked.

use super::*;
use crate::event::DeliveryState;
use crate::release::RefusalKind;
use crate::worker::FileState;

fn with_guard(requested: Requested, force: bool, adopt: bool) -> Requested {
    Requested { guard: Guard { force, adopt, ..Guard::default() }, ..requested }
}

#[tokio::test]
async fn a_changed_release_file_is_rendered() {
    let mut world = with_fraud().await;
    let text = world.read("fraud", "release.yaml").unwrap().replace("replicas: 1", "replicas: 3");
    let theirs = world.push(vec![(path("release.yaml"), Some(text))]).await;
    assert_eq!(world.actions(), ["create", "by hand", "render"]);
    assert!(world.read("fraud", "seldon.yaml").unwrap().contains("replicas: 3"));
    assert_eq!(world.view("fraud").await.release.spec.serving.replicas, Some(3));
    let history = world.handle().history(&key("fraud"), None, None).await.unwrap();
    assert!(history.items.iter().any(|entry| entry.commit == theirs));
    assert!(!world.put("fraud", single("7")).await.changed, "what a person set is kept");
}

#[tokio::test]
async fn the_words_of_a_person_are_shown_as_they_were_written_but_for_what_nobody_sees() {
    let mut world = with_fraud().await;
    let text = world.read("fraud", "release.yaml").unwrap().replace("replicas: 1", "replicas: 3");
    let words = "Give \"fraud\" three replicas, because Ann's campaign begins tomorrow and doubles what it is asked";
    let who = Author { name: "Ann O'Brien".into(), email: "ann@example.com".into() };
    let subject = words.replace("three ", "three\u{202e}");
    let theirs =
        commit_as(&world.repository(), &who, &format!("{subject}\n"), vec![(path("release.yaml"), Some(text))]);
    world.handle().pushed();
    world.run().await;
    let history = world.handle().history(&key("fraud"), None, None).await.unwrap().items;
    let shown = history.into_iter().find(|entry| entry.commit == theirs).unwrap();
    assert_eq!((shown.summary.as_str(), shown.requested_by.as_deref()), (words, Some("Ann O'Brien")));
}

/// A forge says that somebody pushed.
async fn tell_of_push(world: &mut World, id: &str, branch: &str) {
    let (id, received_at) = (DeliveryId::parse(id).unwrap(), world.clock.now_exact());
    let event = Event::Pushed { branch: branch.to_owned() };
    let delivery = NewDelivery { source: Source::Github, id, received_at, body: "{}".into(), event };
    assert_eq!(world.handle().deliver(delivery).await.unwrap(), Received::Accepted);
}

#[tokio::test]
async fn a_push_that_a_forge_tells_of_is_taken_in_by_the_turn_that_hears_of_it() {
    let mut world = with_fraud().await;
    let text = world.read("fraud", "release.yaml").unwrap().replace("replicas: 1", "replicas: 3");
    commit_by_hand(&world.repository(), vec![(path("release.yaml"), Some(text))]);
    world.run().await;
    assert_ne!(world.view("fraud").await.release.spec.serving.replicas, Some(3), "nobody said anything");
    tell_of_push(&mut world, "p-1", "main").await;
    world.run().await;
    assert_eq!(world.view("fraud").await.release.spec.serving.replicas, Some(3));
    let told = world.handle().delivery("p-1").await.unwrap();
    assert_eq!((told.state, told.release, told.commit), (DeliveryState::Unchanged, None, None));
    assert_eq!(told.event, json!({"event": "pushed", "branch": "main"}));
}

#[tokio::test]
async fn a_push_to_another_branch_concerns_nothing_here() {
    let mut world = with_fraud().await;
    tell_of_push(&mut world, "p-1", "topic").await;
    world.run().await;
    let told = world.handle().delivery("p-1").await.unwrap();
    assert_eq!(told.state, DeliveryState::Ignored);
    assert_eq!(told.reason.as_deref(), Some("the push was to `topic`, and the branch that is read is `main`"));
}

#[tokio::test]
async fn a_push_that_was_told_of_before_the_service_ended_is_taken_in_by_the_next_start() {
    let mut world = with_fraud().await;
    let text = world.read("fraud", "release.yaml").unwrap().replace("replicas: 1", "replicas: 3");
    commit_by_hand(&world.repository(), vec![(path("release.yaml"), Some(text))]);
    tell_of_push(&mut world, "p-1", "main").await;
    world.kill();
    world.start().await;
    world.run().await;
    assert_eq!(world.view("fraud").await.release.spec.serving.replicas, Some(3));
    assert_eq!(world.handle().delivery("p-1").await.unwrap().state, DeliveryState::Unchanged);
}

#[tokio::test]
async fn what_the_service_writes_is_not_a_persons_to_edit() {
    let mut world = with_fraud().await;
    let before = world.read("fraud", "release.yaml").unwrap();
    world.push(vec![(path("release.yaml"), Some(before.replace("phase: settled", "phase: leaving")))]).await;
    let view = world.view("fraud").await;
    assert_eq!(view.release.rollout.phase.as_str(), "settled");
    assert!(view.notes.iter().any(|note| note.contains("`rollout` was edited by Ada")), "{:?}", view.notes);
    assert!(world.read("fraud", "release.yaml").unwrap().contains("phase: settled"));
}

#[tokio::test]
async fn a_rendered_file_changed_by_hand_stays_until_somebody_decides() {
    let mut world = with_fraud().await;
    let mine = format!("{}# by hand\n", world.read("fraud", "route.yaml").unwrap());
    world.push(vec![(path("route.yaml"), Some(mine.clone()))]).await;
    assert_eq!(world.view("fraud").await.files, [FileState::Drifted]);
    let refused = refusal(world.ask(put("fraud", single("8"))).await);
    assert!(refused.kind == RefusalKind::Drifted && refused.cure.unwrap().contains("`adopt=true` (`--adopt`)"));
    assert_eq!(world.read("fraud", "route.yaml").as_deref(), Some(mine.as_str()));
    world.kill();
    world.start().await;
    assert_eq!(world.view("fraud").await.files, [FileState::Drifted], "also after a restart");
    let refused = refusal(world.ask(with_guard(put("fraud", single("8")), false, true)).await);
    assert!(refused.kind == RefusalKind::Drifted && refused.reason.contains("by hand"), "{refused}");
    world.done(with_guard(put("fraud", single("7")), true, false)).await;
    assert!(!world.read("fraud", "route.yaml").unwrap().contains("# by hand"));
    assert!(world.view("fraud").await.files.is_empty());
}

#[tokio::test]
async fn what_release_yaml_has_a_field_for_can_be_adopted() {
    let mut world = with_fraud().await;
    let seldon = world.read("fraud", "seldon.yaml").unwrap();
    let mine = seldon.replace("replicas: 1", "replicas: 4");
    assert_ne!(mine, seldon);
    world.push(vec![(path("seldon.yaml"), Some(mine.clone()))]).await;
    world.done(with_guard(put("fraud", single("7")), false, true)).await;
    assert_eq!(world.actions().last().map(String::as_str), Some("adopt"));
    assert_eq!(world.read("fraud", "seldon.yaml").as_deref(), Some(mine.as_str()));
    let view = world.view("fraud").await;
    assert_eq!((view.release.spec.serving.replicas, view.files.len()), (Some(4), 0));
}

/// What a directory holds, as a push that puts it there.
fn all_of(world: &World, commit: &CommitId) -> Vec<(String, Option<String>)> {
    let repository = world.repository();
    let directory = key("fraud").directory();
    let files = repository.list(commit, &directory).unwrap().into_iter();
    files
        .map(|(name, _)| {
            let bytes = repository.read(commit, &format!("{directory}/{name}")).unwrap().unwrap();
            (path(&name), Some(String::from_utf8(bytes).unwrap()))
        })
        .collect()
}

#[tokio::test]
async fn an_older_state_put_back_by_hand_is_taken_over_as_a_rollback_would() {
    let mut world = with_fraud().await;
    let first = world.log().last().unwrap().commit.clone();
    let then = world.view("fraud").await.release;
    world.put("fraud", single("8")).await;
    world.act("fraud", Act::Rollback { to: None }).await;
    world.put("fraud", single("9")).await;
    let restored = all_of(&world, &first);
    world.push(restored.clone()).await;
    assert_eq!(world.actions().last().map(String::as_str), Some("adopt"));
    let view = world.view("fraud").await;
    assert_eq!((view.files.len(), view.notes.len()), (0, 0), "{:?}", view.notes);
    assert_eq!((&view.release.spec, &view.release.rendered), (&then.spec, &then.rendered));
    let rejected: Vec<&str> = view.release.rollout.rejected.iter().map(|one| one.version.as_str()).collect();
    assert_eq!(rejected, ["8"], "what was rejected meanwhile stays so");
    for (path, text) in restored.into_iter().filter(|(path, _)| !path.ends_with("release.yaml")) {
        assert_eq!(world.read("fraud", path.rsplit('/').next().unwrap()), text, "{path}");
    }
    assert!(world.put("fraud", single("8")).await.changed, "the next request needs no consent");
}

/// The words of the service's commit that did this.
fn words_of(world: &World, action: &str) -> String {
    let log = world.log();
    log.iter().rev().find(|entry| trailer(entry, "Action").as_deref() == Some(action)).unwrap().message.clone()
}

#[tokio::test]
async fn what_says_that_the_service_made_it_is_a_persons_where_the_service_did_not() {
    let mut world = with_fraud().await;
    let words = words_of(&world, "create");
    let mine = format!("{}# by hand\n", world.read("fraud", "route.yaml").unwrap());
    commit_as(&world.repository(), &author(), &words, vec![(path("route.yaml"), Some(mine.clone()))]);
    world.handle().pushed();
    world.run().await;
    assert_eq!(world.view("fraud").await.files, [FileState::Drifted]);
    assert_eq!(refusal(world.ask(put("fraud", single("8"))).await).kind, RefusalKind::Drifted);
    world.kill();
    world.start().await;
    assert_eq!(world.view("fraud").await.files, [FileState::Drifted], "also after a restart");
    world.done(with_guard(put("fraud", single("7")), true, false)).await;
    world.kill();
    commit_as(&world.repository(), &author(), &words, vec![(path("route.yaml"), Some(mine.clone()))]);
    world.start().await;
    world.run().await;
    assert_eq!(world.view("fraud").await.files, [FileState::Drifted], "also where nobody ran");
    assert_eq!(world.read("fraud", "route.yaml").as_deref(), Some(mine.as_str()));
}

#[tokio::test]
async fn a_release_removed_by_a_copy_of_the_services_retraction_is_gone() {
    let mut world = with_fraud().await;
    let first = world.log().last().unwrap().commit.clone();
    world.done(request("fraud", Intent::Retract)).await;
    let words = words_of(&world, "retract");
    world.push(all_of(&world, &first)).await;
    assert_eq!(world.state("fraud").await, "single settled live=7");
    commit_as(&world.repository(), &author(), &words, vec![(key("fraud").directory(), None)]);
    world.handle().pushed();
    world.run().await;
    assert!(world.handle().release(&key("fraud")).await.is_err());
}

#[tokio::test]
async fn the_services_own_commits_that_the_store_does_not_know_are_not_taken_for_a_persons() {
    let mut world = with_fraud().await;
    world.put("fraud", single("8")).await;
    world.kill();
    let settings = world.settings();
    let store = crate::store::Store::open(&settings.store, &settings.data_dir).await.unwrap();
    let first = world.log()[0].commit.clone();
    store.commit(crate::store::Batch { indexed_tip: Some(first), ..Default::default() }).await.unwrap();
    drop(store);
    world.start().await;
    world.run().await;
    let view = world.view("fraud").await;
    assert_eq!((view.files.len(), view.notes.len()), (0, 0), "{:?}", view.notes);
    assert_eq!(world.actions(), ["create", "update"]);
}

#[tokio::test]
async fn a_rollback_goes_to_no_state_that_a_person_changed() {
    let mut world = with_fraud().await;
    world.put("fraud", single("8")).await;
    let good = world.read("fraud", "route.yaml");
    let mine = world.push(vec![(path("route.yaml"), Some(format!("{}# by hand\n", good.clone().unwrap())))]).await;
    world.done(with_guard(put("fraud", single("9")), true, false)).await;
    let named = Act::Rollback { to: Some(crate::release::RollbackTo::Commit(mine.clone())) };
    let refused = refusal(world.absolute("fraud", named).await.map(|_| panic!("a drifted commit is no settled state")));
    assert!(refused.reason.contains("no settled state"), "{refused}");
    let queued = refusal(world.ask(request("fraud", Intent::Rollback { to: mine })).await);
    assert_eq!(queued.kind, RefusalKind::Conflict, "{queued}");
    world.act("fraud", Act::Rollback { to: None }).await;
    assert_eq!(world.state("fraud").await, "single settled live=8");
    assert_eq!(world.read("fraud", "route.yaml"), good);
}

#[tokio::test]
async fn the_history_says_of_a_persons_commit_who_made_it_and_no_action() {
    let mut world = with_fraud().await;
    let text = world.read("fraud", "release.yaml").unwrap().replace("replicas: 1", "replicas: 3");
    let theirs = world.push(vec![(path("release.yaml"), Some(text))]).await;
    let history = world.handle().history(&key("fraud"), None, None).await.unwrap();
    let entry = history.items.iter().find(|entry| entry.commit == theirs).unwrap();
    assert_eq!((entry.action, entry.requested_by.as_deref(), entry.release_id.as_str()), (None, Some("Ada"), ""));
}

#[tokio::test]
async fn a_mirrored_share_changed_by_hand_can_be_adopted_where_it_can_be() {
    let mut world = with_fraud().await;
    let shadow = || json!({"version": "8", "strategy": "shadow", "percent": 20});
    world.put("fraud", shadow()).await;
    let route = world.read("fraud", "route.yaml").unwrap();
    assert!(route.contains("percent: 20"), "{route}");
    world.push(vec![(path("route.yaml"), Some(route.replace("percent: 20", "percent: 120")))]).await;
    let adopt = |body: Value| with_guard(put("fraud", body), false, true);
    assert_eq!(refusal(world.ask(adopt(shadow())).await).kind, RefusalKind::Invalid);
    world.push(vec![(path("route.yaml"), Some(route.replace("percent: 20", "percent: 35")))]).await;
    world.done(adopt(json!({"version": "8", "strategy": "shadow", "percent": 35}))).await;
    assert_eq!(world.view("fraud").await.release.spec.shadow.unwrap().percent, 35);
    assert!(world.view("fraud").await.files.is_empty());
}

#[tokio::test]
async fn a_retracted_release_put_back_by_hand_is_there_again_without_its_note() {
    let mut world = with_fraud().await;
    let first = world.log().last().unwrap().commit.clone();
    world.done(request("fraud", Intent::Retract)).await;
    world.push(all_of(&world, &first)).await;
    assert_eq!(world.state("fraud").await, "single settled live=7");
    assert_eq!(world.actions(), ["create", "retract", "by hand", "adopt"]);
    let repository = world.repository();
    assert_eq!(repository.read(&repository.tip().unwrap(), &key("fraud").retracted_path()).unwrap(), None);
}

#[tokio::test]
async fn an_older_state_with_one_word_changed_is_rendered_or_drifted_not_taken_for_the_services() {
    let mut world = with_fraud().await;
    let first = world.log().last().unwrap().commit.clone();
    world.put("fraud", single("8")).await;
    let mut edited = all_of(&world, &first);
    for (path, text) in &mut edited {
        if path.ends_with("release.yaml") {
            *text = text.take().map(|text| text.replace("replicas: 1", "replicas: 3"));
        }
    }
    world.push(edited).await;
    assert_ne!(world.actions().last().map(String::as_str), Some("adopt"));
    assert_eq!(world.view("fraud").await.files, [FileState::Drifted]);
}

#[tokio::test]
async fn an_invalid_release_file_leaves_the_rendered_files_in_force() {
    let mut world = with_fraud().await;
    let good = world.read("fraud", "release.yaml").unwrap();
    let rendered = world.read("fraud", "seldon.yaml");
    world.push(vec![(path("release.yaml"), Some("spec: nothing".into()))]).await;
    assert_eq!(world.view("fraud").await.files, [FileState::Invalid]);
    assert_eq!(refusal(world.ask(put("fraud", single("8"))).await).kind, RefusalKind::Drifted);
    assert_eq!(world.read("fraud", "seldon.yaml"), rendered);
    world.kill();
    world.start().await;
    assert_eq!(world.view("fraud").await.files, [FileState::Invalid], "also after a restart");
    world.push(vec![(path("release.yaml"), Some(good))]).await;
    assert!(world.view("fraud").await.files.is_empty());
    assert!(world.put("fraud", single("8")).await.changed);
}

#[tokio::test]
async fn a_release_file_that_reads_well_but_cannot_be_is_invalid() {
    let mut world = with_fraud().await;
    world.put("fraud", json!({"version": "8", "strategy": "ab", "weights": {"a": 30, "b": 70}})).await;
    let (good, rendered) = (world.read("fraud", "release.yaml").unwrap(), world.read("fraud", "route.yaml"));
    for (from, to, field) in
        [("a: 30", "a: 70", "weights"), ("predictor: v8", "predictor: v9", "spec.variants[1].predictor")]
    {
        assert!(good.contains(from), "{good}");
        let commits = world.log().len();
        world.push(vec![(path("release.yaml"), Some(good.replace(from, to)))]).await;
        world.kill();
        world.start().await;
        let view = world.view("fraud").await;
        assert_eq!(view.files, [FileState::Invalid], "{to}");
        assert!(view.release.to_yaml().contains(from), "the last document that can be is shown");
        let refused = refusal(world.ask(put("fraud", single("9"))).await);
        assert!(refused.kind == RefusalKind::Drifted && refused.to_string().contains(field), "{refused}");
        assert_eq!((world.read("fraud", "route.yaml"), world.log().len()), (rendered.clone(), commits + 1));
    }
    world.push(vec![(path("release.yaml"), Some(good))]).await;
    assert!(world.view("fraud").await.files.is_empty());
}

#[tokio::test]
async fn a_release_made_and_one_removed_by_hand_are_taken_in() {
    let mut world = with_fraud().await;
    let text = world.read("fraud", "release.yaml").unwrap();
    let text = text.replace("name: fraud\n", "name: spam\n").replace("fraud-models", "spam-models");
    let text = text.split("rendered:").next().unwrap().to_owned();
    world.push(vec![("releases/production/models/spam/release.yaml".into(), Some(text))]).await;
    assert_eq!(world.state("spam").await, "single settled live=7");
    assert!(world.read("spam", "seldon.yaml").is_some());
    world.push(vec![("releases/production/models/fraud".into(), None)]).await;
    assert!(world.handle().release(&key("fraud")).await.is_err());
    assert!(world.put("fraud", single("8")).await.created);
}

#[tokio::test]
async fn a_push_that_nobody_told_of_is_planned_on() {
    let mut world = with_fraud().await;
    let theirs = commit_by_hand(&world.repository(), vec![("README.md".into(), Some("mine\n".into()))]);
    world.put("fraud", single("8")).await;
    let log = world.log();
    assert!(log.iter().any(|entry| entry.commit == theirs), "a commit that is not ours is never lost");
    assert_eq!(world.actions(), ["create", "by hand", "update"]);
}

#[tokio::test]
async fn a_push_while_nobody_ran_is_taken_in_at_the_start() {
    let mut world = with_fraud().await;
    world.kill();
    let text = world.read("fraud", "release.yaml").unwrap().replace("replicas: 1", "replicas: 2");
    commit_by_hand(&world.repository(), vec![(path("release.yaml"), Some(text))]);
    world.start().await;
    world.run().await;
    assert_eq!(world.actions(), ["create", "by hand", "render"]);
    assert_eq!(world.view("fraud").await.release.spec.serving.replicas, Some(2));
}

#[tokio::test]
async fn newer_templates_change_nothing_by_themselves() {
    let mut world = with_fraud().await;
    world.put("fraud", canary("8")).await;
    world.kill();
    let overridden = BTreeMap::from([(
        "route.yaml.j2".to_owned(),
        include_str!("../../../../templates/seldon/route.yaml.j2").to_owned() + "\n",
    )]);
    world.templates = Templates::with_overrides(overridden).unwrap();
    let commits = world.log().len();
    world.start().await;
    world.run().await;
    assert_eq!(world.log().len(), commits);
    assert_eq!(world.view("fraud").await.files, [FileState::Outdated]);
    let selection = crate::worker::RerenderSelection::default();
    let planned = world.handle().rerender(selection.clone(), true, "ada").await.unwrap();
    assert_eq!((planned.len(), planned[0].outcome.as_str(), planned[0].restarts.len()), (1, "would-render", 0));
    let handle = world.handle();
    let asked = tokio::spawn(async move { handle.rerender(selection, false, "ada").await });
    while !asked.is_finished() {
        world.run().await;
        super::pause().await;
    }
    assert_eq!(asked.await.unwrap().unwrap()[0].outcome, "rendered");
    assert!(world.view("fraud").await.files.is_empty());
}

#[tokio::test]
async fn templates_that_would_restart_what_stays_are_refused_until_somebody_says_so() {
    let mut world = with_fraud().await;
    world.put("fraud", canary("8")).await;
    world.kill();
    let template = include_str!("../../../../templates/seldon/seldon.yaml.j2").replace("cpu: 50m", "cpu: 60m");
    world.templates = Templates::with_overrides(BTreeMap::from([("seldon.yaml.j2".to_owned(), template)])).unwrap();
    world.start().await;
    let advance = world.absolute("fraud", Act::Advance).await.unwrap();
    let refused = refusal(world.ask(advance.clone()).await);
    assert_eq!(refused.kind, RefusalKind::TemplatesChanged);
    assert!(refused.cure.unwrap().contains("kmlflow rerender fraud -n models -e production"));
    let planned = world.handle().rerender(crate::worker::RerenderSelection::default(), true, "ada").await.unwrap();
    assert_eq!(planned[0].restarts.len(), 2, "it says who restarts");
    world.done(request("fraud", Intent::Rerender)).await;
    assert!(world.done(advance).await.changed);
}

#[tokio::test]
async fn pushes_in_between_are_planned_on_and_nobody_loses_a_commit() {
    /// Enough that some pushes fall between the writer's look at the branch and its own push.
    const ROUNDS: usize = 12;
    /// Fewer than the writer bears with in one turn.
    const PUSHES: usize = 3;
    let mut world = World::immediate().await;
    let mut theirs = Vec::new();
    for round in 0..ROUNDS {
        let directory = world.dir.path().join("gitops.git");
        let person = std::thread::spawn(move || {
            let repository = git2::Repository::open_bare(directory).unwrap();
            (0..PUSHES).map(|n| push_by_hand(&repository, &format!("note-{round}-{n}.md"))).collect::<Vec<CommitId>>()
        });
        assert!(world.put(&format!("fraud-{round}x"), single("7")).await.changed);
        theirs.extend(person.join().unwrap());
    }
    let log = world.log();
    assert!(theirs.iter().all(|commit| log.iter().any(|entry| entry.commit == *commit)));
    assert_eq!(log.iter().filter(|entry| trailer(entry, "Action").is_some()).count(), ROUNDS);
}

/// Commits one file at the top as another program would, with Git's own lock, as often as it takes.
fn push_by_hand(repository: &git2::Repository, name: &str) -> CommitId {
    loop {
        let tip = repository.find_reference("refs/heads/main").unwrap().peel_to_commit().unwrap();
        let mut tree = repository.treebuilder(Some(&tip.tree().unwrap())).unwrap();
        tree.insert(name, repository.blob(b"x\n").unwrap(), 0o100_644).unwrap();
        let tree = repository.find_tree(tree.write().unwrap()).unwrap();
        let person = git2::Signature::now("Ada", "ada@example.com").unwrap();
        let commit = repository.commit(None, &person, &person, "by hand\n", &tree, &[&tip]).unwrap();
        match repository.reference_matching("refs/heads/main", commit, true, tip.id(), "push") {
            Ok(_) => return CommitId::parse(&commit.to_string()).unwrap(),
            // The writer was faster, or is at it.
            Err(_) => std::thread::yield_now(),
        }
    }
}

#[tokio::test]
async fn every_release_that_went_is_counted_whoever_removed_it() {
    let mut world = with_fraud().await;
    let removed = async |world: &World| {
        let text = world.handle().metrics().await;
        let name = "kmlflow_releases_removed_total{environment=\"production\"} ";
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned()
    };
    assert_eq!(removed(&world).await, "0", "an alert needs it to grow from somewhere");
    world.put("churn", single("1")).await;
    world.put("fraud", single("8")).await;
    assert_eq!(removed(&world).await, "0");
    world.done(request("churn", Intent::Retract)).await;
    assert_eq!(removed(&world).await, "1");
    world.push(vec![("releases/production/models/fraud".into(), None)]).await;
    assert_eq!(removed(&world).await, "2");
}
