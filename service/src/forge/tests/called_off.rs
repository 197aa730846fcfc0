//! Calling off that a pull request merges itself, as each forge wants it.

use super::*;

const OPEN: &str = "GET /repos/team/gitops/pulls?state=open&sort=recentupdate&limit=50&page=1";
const PAGE: &str = "https://forge.example/team/gitops/pulls/4";

fn listed() -> Answer {
    ok(200, json!([pull(4, "open")]))
}

fn done() -> CalledOff {
    CalledOff::Done { url: PAGE.to_owned() }
}

fn refused(words: &str) -> CalledOff {
    CalledOff::Refused { url: PAGE.to_owned(), words: words.to_owned() }
}

#[tokio::test]
async fn gitea_says_whether_it_was_to_merge_itself() {
    for (answer, expected) in [
        (ok(204, Value::Null), done()),
        (ok(404, json!({"message": "not found"})), CalledOff::Nothing),
        (ok(403, json!({"message": "somebody else's"})), refused("somebody else's")),
    ] {
        let (gitea, script) = forge(Kind::Gitea, [listed(), answer]).await;
        assert_eq!(gitea.call_off_merge(BRANCH, "main").await.unwrap(), expected);
        assert_eq!(script.asked(), [OPEN, "DELETE /repos/team/gitops/pulls/4/merge"]);
    }
}

#[tokio::test]
async fn what_github_says_is_held_against_what_it_showed() {
    let fault = || ok(200, json!({"data": null, "errors": [{"message": "no"}]}));
    let scheduled = || {
        let mut pull = pull(4, "open");
        pull["auto_merge"] = json!({"merge_method": "merge"});
        ok(200, json!([pull]))
    };
    let good = || ok(200, json!({"data": {"disablePullRequestAutoMerge": {"clientMutationId": null}}}));
    for (listed, answer, expected) in [
        (scheduled(), good(), done()),
        (listed(), good(), done()),
        (listed(), fault(), CalledOff::Nothing),
        (scheduled(), fault(), refused("no")),
    ] {
        let (github, script) = forge(Kind::Github, [listed, answer]).await;
        assert_eq!(github.call_off_merge(BRANCH, "main").await.unwrap(), expected);
        let asked = script.asked.lock().unwrap()[1].clone();
        assert_eq!((asked.line.as_str(), &asked.body["variables"]), ("POST /graphql", &json!({"id": "PR_1"})));
        assert!(asked.body["query"].as_str().unwrap().contains("disablePullRequestAutoMerge"));
    }
}

#[tokio::test]
async fn where_the_forge_does_not_answer_it_is_not_known() {
    for kind in [Kind::Gitea, Kind::Github] {
        let (broken, _) = forge(kind, [listed(), ok(500, Value::Null)]).await;
        assert!(broken.call_off_merge(BRANCH, "main").await.unwrap_err().is_temporary());
        let (without, script) = forge(kind, [ok(200, json!([])), ok(200, json!([]))]).await;
        assert_eq!(without.call_off_merge(BRANCH, "main").await.unwrap(), CalledOff::Nothing);
        assert!(script.asked().iter().all(|line| line.starts_with("GET ")), "there is none");
    }
}

#[tokio::test]
async fn github_merges_by_itself_only_what_was_read() {
    let good = ok(200, json!({"data": {"enablePullRequestAutoMerge": {"clientMutationId": null}}}));
    let (github, script) = forge(Kind::Github, [good]).await;
    let open = github.parse(pull(4, "open")).unwrap();
    assert_eq!(github.merge_when_ready(&open).await.unwrap(), AutoMerge::Scheduled);
    let body = script.asked.lock().unwrap()[0].body.clone();
    assert!(body["query"].as_str().unwrap().contains("expectedHeadOid: $head"), "{body}");
    assert_eq!(body["variables"]["head"], "a".repeat(40));
}
