//! What people are to see before it goes live never comes into a pull request that merges itself, at a real forge.

use super::review::release_two;
use super::*;
use crate::image;
use crate::reviewed::{review_is, serves};

/// What CI says of a commit, without which nothing is merged.
#[track_caller]
fn say_green(forge: &Forge<'_>, commit: &Value) {
    let status = json!({"context": "ci", "state": "success"});
    drop(forge.team("POST", &format!("/statuses/{}", commit.as_str().unwrap()), &status, 201));
}

/// What the forge noted of a pull request, the oldest first: when it was to merge itself, and no longer, and what came into it.
#[track_caller]
fn events(forge: &Forge<'_>, number: u64) -> Vec<String> {
    let timeline = forge.repository(&forge.ann, "GET", &format!("/issues/{number}/timeline"), None).expect(200).json();
    let kinds = timeline.as_array().unwrap().iter().filter_map(|event| event["type"].as_str());
    kinds.filter(|kind| kind.contains("merge") || *kind == "pull_push").map(ToOwned::to_owned).collect()
}

#[test]
fn a_new_version_in_the_place_of_a_rollback_that_merges_itself_waits_for_a_person() {
    let environment = TestEnvironment::new();
    let forge = Forge::start(&environment);
    let server = forge.reviewed().start();
    release_two(&forge, &server);
    let rule = json!({"rule_name": "main", "enable_push": false, "enable_status_check": true, "status_check_contexts": ["ci"]});
    drop(forge.team("POST", "/branch_protections", &rule, 201));
    server.act(FRAUD, "rollback", None).expect(202);
    server.until("it is to merge itself", || {
        events(&forge, 3).contains(&"pull_scheduled_merge".to_owned()).then_some(())
    });
    server.put(FRAUD, &image("fraud", "9")).expect(202);
    server.until("version 9 is in it", || forge.pull(3)["title"].as_str().unwrap().contains("version 9").then_some(()));
    assert_eq!(events(&forge, 3), ["pull_push", "pull_scheduled_merge", "pull_cancel_scheduled_merge", "pull_push"]);
    assert_eq!(server.get(&format!("/releases/{FRAUD}"))["review"]["mergesItself"], false);
    // What is scheduled at the same forge is merged for as much.
    let head = forge.pull(3)["head"]["sha"].clone();
    say_green(&forge, &head);
    forge.merged_by_itself_where_scheduled(&server);
    assert_eq!((&forge.pull(3)["state"], &forge.pull(3)["head"]["sha"]), (&json!("open"), &head));
    serves(&server, "8");
    forge.merge(&server, 3, "merge");
    serves(&server, "9");
    review_is(&server, "merged");
}

impl Forge<'_> {
    /// Has another pull request merge itself, and waits until the forge has done so: one that was to be merged before it would be by then.
    #[track_caller]
    fn merged_by_itself_where_scheduled(&self, server: &Server<'_>) {
        let file = json!({"content": "YQ==", "message": "Say a", "new_branch": "another"});
        drop(self.team("POST", "/contents/another", &file, 201));
        let asked = json!({"head": "another", "base": "main", "title": "another"});
        let another = self.team("POST", "/pulls", &asked, 201);
        let number = another["number"].as_u64().unwrap();
        let wish = json!({"Do": "merge", "merge_when_checks_succeed": true});
        drop(self.team("POST", &format!("/pulls/{number}/merge"), &wish, 201));
        say_green(self, &another["head"]["sha"]);
        server.until("another one is merged by itself", || (self.pull(number)["merged"] == true).then_some(()));
    }
}
