//! What the scripted GitHub answers to each operation: the description's examples, with what is so here put in.

use serde_json::{Value, json};

use super::{Comment, Deployment, Pull, REPOSITORY, Shared, State, Status, Way, git};
use crate::openapi::{Operation, query_of};

/// The mutations of the other API that are used, as its documentation names them and their inputs.
const ENABLE: &str = "mutation($id: ID!, $head: GitObjectID) { \
    enablePullRequestAutoMerge(input: {pullRequestId: $id, expectedHeadOid: $head, mergeMethod: ";
const DISABLE: &str =
    "mutation($id: ID!) { disablePullRequestAutoMerge(input: {pullRequestId: $id}) { clientMutationId } }";

/// Reads a request of the other API, whose description is another one.
///
/// # Errors
/// It is none of the mutations that are expected.
pub(super) fn mutation(body: &[u8]) -> Result<Operation, Vec<String>> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let query = body["query"].as_str().unwrap_or_default();
    let method = query.strip_prefix(ENABLE).and_then(|rest| rest.split_once('}')).map(|(method, _)| method);
    let name = match method {
        Some("MERGE" | "SQUASH" | "REBASE") => Some("graphql"),
        _ => (query == DISABLE).then_some("graphql/off"),
    };
    match (body["variables"]["id"].as_str(), name) {
        (Some(id), Some(name)) => Ok(Operation { id: name.to_owned(), arguments: vec![id.to_owned()] }),
        _ => Err(vec![format!("no mutation that is expected: {body}")]),
    }
}

/// Answers a good request of somebody who may ask.
pub(super) fn answer(shared: &Shared, operation: &Operation, target: &str, body: &Value) -> (u16, Value) {
    let argument = |number: usize| operation.arguments.get(number).map_or("", String::as_str);
    let number = argument(2).parse().unwrap_or_default();
    let query = query_of(target);
    let of = |name: &str| query.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str());
    if !operation.id.starts_with("graphql") && format!("{}/{}", argument(0), argument(1)) != REPOSITORY {
        return refused(404, "Not Found");
    }
    shared.look_at_heads();
    match operation.id.as_str() {
        "graphql" => merges_itself(shared, argument(0), &body["variables"]["head"]),
        "graphql/off" => merges_itself_no_more(shared, argument(0)),
        "pulls/list" => list(shared, of),
        "pulls/create" => open(shared, body),
        "pulls/get" => shared.pull_as_told(number),
        "pulls/update" => change(shared, number, body),
        "pulls/list-reviews" => reviews(shared, number),
        "repos/list-pull-requests-associated-with-commit" => pulls_of(shared, argument(2)),
        "pulls/merge" => merge(shared, number, body),
        "issues/list-comments" => comments(shared, number),
        "issues/create-comment" => comment(shared, number, body),
        "issues/update-comment" => change_comment(shared, number, body),
        "repos/create-commit-status" => status(shared, argument(2), body),
        "repos/list-deployments" => deployments(shared, of),
        "repos/create-deployment" => deploy(shared, body),
        "repos/list-deployment-statuses" => deployment_statuses(shared, number),
        "repos/create-deployment-status" => set_deployment(shared, number, body),
        other => refused(501, &format!("this server does not know `{other}`")),
    }
}

fn refused(status: u16, message: &str) -> (u16, Value) {
    (
        status,
        json!({"message": message, "documentation_url": "https://docs.github.com/rest", "status": status.to_string()}),
    )
}

fn invalid(message: &str) -> (u16, Value) {
    let errors = json!([{"resource": "PullRequest", "code": "custom", "message": message}]);
    (
        422,
        json!({"message": "Validation Failed", "errors": errors, "documentation_url": "https://docs.github.com/rest"}),
    )
}

fn text(body: &Value, field: &str) -> String {
    body[field].as_str().unwrap_or_default().to_owned()
}

impl Shared {
    /// Where the branches of open pull requests are by now; one whose branch is gone is closed.
    fn look_at_heads(&self) {
        // With the lock, for a pull request may be opened meanwhile whose branch is newer.
        let mut state = self.state();
        let tips = git::tips(&self.repository());
        for pull in state.pulls.iter_mut().filter(|pull| pull.is_open) {
            match tips.get(&pull.branch) {
                Some(tip) => pull.head.clone_from(tip),
                None => pull.is_open = false,
            }
        }
    }

    /// A pull request in the words of an example.
    fn told(&self, pull: &Pull, example: Value) -> Value {
        let mut told = example;
        let moment = "2026-11-28T12:00:00Z";
        told["number"] = pull.number.into();
        told["auto_merge"] = if pull.merges_itself {
            json!({"enabled_by": told["user"], "merge_method": "merge", "commit_title": "", "commit_message": ""})
        } else {
            Value::Null
        };
        told["node_id"] = format!("PR_{}", pull.number).into();
        told["html_url"] = format!("https://github.example/{REPOSITORY}/pull/{}", pull.number).into();
        told["state"] = if pull.is_open { "open" } else { "closed" }.into();
        told["title"] = pull.title.as_str().into();
        told["body"] = pull.body.as_str().into();
        told["closed_at"] = if pull.is_open { Value::Null } else { moment.into() };
        told["merged_at"] = pull.merged_as.as_ref().map_or(Value::Null, |_| moment.into());
        told["merge_commit_sha"] = pull.merged_as.as_deref().map_or(Value::Null, Value::from);
        for (part, branch) in [("head", &pull.branch), ("base", &pull.base)] {
            told[part]["ref"] = branch.as_str().into();
            told[part]["label"] = format!("acme:{branch}").into();
        }
        // The example's own teams lack what the description asks of them.
        told["requested_teams"] = json!([]);
        told["head"]["sha"] = pull.head.as_str().into();
        told["head"]["repo"]["full_name"] = REPOSITORY.into();
        told
    }

    fn pull_as_told(&self, number: u64) -> (u16, Value) {
        let Some(pull) = self.state().pulls.iter().find(|pull| pull.number == number).cloned() else {
            return refused(404, "Not Found");
        };
        let mut told = self.told(&pull, self.description.example("pull-request"));
        told["merged"] = pull.merged_as.is_some().into();
        (200, told)
    }
}

fn list<'q>(shared: &Shared, of: impl Fn(&str) -> &'q str) -> (u16, Value) {
    let example = shared.description.example("pull-request-simple-items")[0].clone();
    let pulls = shared.state().pulls.clone();
    let is_asked = |pull: &&Pull| {
        let is_of_state = of("state") == "all" || pull.is_open == (of("state") != "closed");
        let is_of_branch = of("head").is_empty() || of("head") == format!("acme:{}", pull.branch);
        is_of_state && is_of_branch && (of("base").is_empty() || of("base") == pull.base)
    };
    let number = |name: &str, unsaid: usize| of(name).parse().unwrap_or(unsaid);
    let (size, page) = (number("per_page", 30), number("page", 1));
    // The newest first, as GitHub lists them.
    let told = pulls.iter().rev().filter(is_asked).skip(size * (page - 1)).take(size);
    (200, told.map(|pull| shared.told(pull, example.clone())).collect())
}

/// Those that were merged as a commit. GitHub tells the open ones too that have it.
fn pulls_of(shared: &Shared, commit: &str) -> (u16, Value) {
    let example = shared.description.example("pull-request-simple-items")[0].clone();
    let pulls = shared.state().pulls.clone();
    let merged = pulls.iter().filter(|pull| pull.merged_as.as_deref() == Some(commit));
    (200, merged.map(|pull| shared.told(pull, example.clone())).collect())
}

fn open(shared: &Shared, body: &Value) -> (u16, Value) {
    let branch = text(body, "head");
    let Some(head) = git::tip(&shared.repository(), &branch) else { return invalid("head is no branch") };
    if body["base"] != "main" {
        return invalid("base is no branch");
    }
    let mut state = shared.state();
    if state.pulls.iter().any(|pull| pull.is_open && pull.branch == branch && pull.base == "main") {
        return invalid(&format!("A pull request already exists for acme:{branch}."));
    }
    let number = u64::try_from(state.pulls.len()).expect("a number") + 1;
    state.pulls.push(Pull {
        number,
        branch,
        base: "main".to_owned(),
        title: text(body, "title"),
        body: text(body, "body"),
        is_open: true,
        merged_as: None,
        head,
        reviews: Vec::new(),
        checked: Vec::new(),
        merges_itself: false,
        called_off_at: Vec::new(),
    });
    drop(state);
    (201, shared.pull_as_told(number).1)
}

fn change(shared: &Shared, number: u64, body: &Value) -> (u16, Value) {
    shared.with_pull(number, |pull| {
        if body["title"].is_string() {
            pull.title = text(body, "title");
        }
        if body["body"].is_string() {
            pull.body = text(body, "body");
        }
        if body["state"] == "closed" {
            pull.is_open = false;
        }
    });
    shared.pull_as_told(number)
}

fn reviews(shared: &Shared, number: u64) -> (u16, Value) {
    let example = shared.description.example("pull-request-review-items")[0].clone();
    let given = shared.with_pull(number, |pull| pull.reviews.clone());
    let told = given.into_iter().map(|(login, verdict, seen)| {
        let mut told = example.clone();
        told["user"]["login"] = login.into();
        told["state"] = verdict.into();
        told["commit_id"] = seen.into();
        told
    });
    (200, told.collect())
}

/// What the other API finds wrong, which it says with a success.
fn fault(mutation: &str, message: &str) -> (u16, Value) {
    (200, json!({"data": {mutation: null}, "errors": [{"type": "UNPROCESSABLE", "message": message}]}))
}

fn number_of(node: &str) -> Option<u64> {
    node.strip_prefix("PR_").and_then(|number| number.parse().ok())
}

/// It is a fault where it is not to merge itself.
fn merges_itself_no_more(shared: &Shared, node: &str) -> (u16, Value) {
    let fault = |message: &str| fault("disablePullRequestAutoMerge", message);
    let Some(number) = number_of(node) else { return fault("Could not resolve to a node") };
    if shared.state().keeps_auto_merge {
        return fault("You do not have permission to disable auto-merge");
    }
    let was_to_merge = shared.with_pull(number, |pull| {
        if pull.merges_itself {
            pull.called_off_at.push(pull.head.clone());
        }
        std::mem::take(&mut pull.merges_itself)
    });
    if !was_to_merge {
        return fault("Can't disable auto-merge for this pull request");
    }
    (200, json!({"data": {"disablePullRequestAutoMerge": {"clientMutationId": null}}}))
}

/// GitHub takes this only where something is still missing: what can be merged is to be merged.
fn merges_itself(shared: &Shared, node: &str, head: &Value) -> (u16, Value) {
    let fault = |message: &str| fault("enablePullRequestAutoMerge", message);
    if shared.state().forbids_auto_merge {
        return fault("Pull request Auto merge is not allowed for this repository");
    }
    let Some(number) = number_of(node) else { return fault("Could not resolve to a node") };
    if shared.with_pull(number, |pull| head.as_str().is_some_and(|head| head != pull.head)) {
        return fault("Head branch is out of date. Review and try the merge again.");
    }
    let is_clean = shared.missing(number).is_none();
    shared.with_pull(number, |pull| pull.merges_itself = !is_clean);
    if is_clean {
        return fault("Pull request Pull request is in clean status");
    }
    (200, json!({"data": {"enablePullRequestAutoMerge": {"clientMutationId": null}}}))
}

fn merge(shared: &Shared, number: u64, body: &Value) -> (u16, Value) {
    let (is_open, head) = shared.with_pull(number, |pull| (pull.is_open, pull.head.clone()));
    if !is_open {
        return refused(405, "Pull Request is not mergeable");
    }
    if let Some(missing) = shared.missing(number) {
        return refused(405, missing);
    }
    if body["sha"].as_str().is_some_and(|sha| sha != head) {
        return refused(409, "Head branch was modified. Review and try the merge again.");
    }
    let way = if body["merge_method"] == "squash" { Way::Squash } else { Way::Merge };
    match shared.merge(number, way) {
        Ok(commit) => {
            let mut told = shared.description.example("pull-request-merge-result-response-if-merge-was-successful");
            told["sha"] = commit.into();
            (200, told)
        }
        Err(words) => refused(405, &words),
    }
}

fn told_comment(shared: &Shared, comment: &Comment) -> Value {
    let mut told = shared.description.example("issue-comment");
    told["id"] = comment.id.into();
    told["body"] = comment.body.as_str().into();
    told
}

fn comments(shared: &Shared, number: u64) -> (u16, Value) {
    let found: Vec<Comment> =
        shared.state().comments.iter().filter(|comment| comment.pull == number).cloned().collect();
    (200, found.iter().map(|comment| told_comment(shared, comment)).collect())
}

fn comment(shared: &Shared, number: u64, body: &Value) -> (u16, Value) {
    let mut state = shared.state();
    let id = u64::try_from(state.comments.len()).expect("a number") + 1;
    let comment = Comment { id, pull: number, body: text(body, "body") };
    state.comments.push(comment.clone());
    drop(state);
    (201, told_comment(shared, &comment))
}

fn change_comment(shared: &Shared, id: u64, body: &Value) -> (u16, Value) {
    let mut state = shared.state();
    let Some(comment) = state.comments.iter_mut().find(|comment| comment.id == id) else {
        return refused(404, "Not Found");
    };
    comment.body = text(body, "body");
    let comment = comment.clone();
    drop(state);
    (200, told_comment(shared, &comment))
}

fn status(shared: &Shared, commit: &str, body: &Value) -> (u16, Value) {
    if !git::has(&shared.repository(), commit) {
        return refused(422, &format!("No commit found for SHA: {commit}"));
    }
    let status = Status { commit: commit.to_owned(), context: text(body, "context"), state: text(body, "state") };
    let mut told = shared.description.example("status");
    for field in ["state", "context", "description", "target_url"] {
        told[field] = body[field].clone();
    }
    shared.state().statuses.push(status);
    (201, told)
}

fn told_deployment(shared: &Shared, deployment: &Deployment) -> Value {
    let mut told = shared.description.example("deployment-items")[0].clone();
    told["id"] = deployment.id.into();
    told["sha"] = deployment.commit.as_str().into();
    told["ref"] = deployment.commit.as_str().into();
    told["task"] = deployment.task.as_str().into();
    told["environment"] = deployment.environment.as_str().into();
    told["payload"] = deployment.payload.clone();
    told
}

fn deployments<'q>(shared: &Shared, of: impl Fn(&str) -> &'q str) -> (u16, Value) {
    let page = of("per_page").parse().unwrap_or(30);
    let all = shared.state().deployments.clone();
    let is_asked = |deployment: &&Deployment| {
        [(of("task"), &deployment.task), (of("environment"), &deployment.environment)]
            .iter()
            .all(|(asked, known)| asked.is_empty() || asked == known)
    };
    let told = all.iter().rev().filter(is_asked).take(page).map(|deployment| told_deployment(shared, deployment));
    (200, told.collect())
}

fn deploy(shared: &Shared, body: &Value) -> (u16, Value) {
    let commit = text(body, "ref");
    if !git::has(&shared.repository(), &commit) {
        return refused(422, &format!("No ref found for: {commit}"));
    }
    let mut state: std::sync::MutexGuard<'_, State> = shared.state();
    let deployment = Deployment {
        id: u64::try_from(state.deployments.len()).expect("a number") + 1,
        commit,
        environment: text(body, "environment"),
        task: text(body, "task"),
        payload: body["payload"].clone(),
        states: Vec::new(),
    };
    state.deployments.push(deployment.clone());
    drop(state);
    (201, told_deployment(shared, &deployment))
}

fn told_state(shared: &Shared, state: &str) -> Value {
    let mut told = shared.description.example("deployment-status");
    told["state"] = state.into();
    told
}

fn deployment_statuses(shared: &Shared, id: u64) -> (u16, Value) {
    let found = shared.state().deployments.iter().find(|deployment| deployment.id == id).cloned();
    let Some(found) = found else { return refused(404, "Not Found") };
    (200, found.states.iter().rev().take(1).map(|state| told_state(shared, state)).collect())
}

fn set_deployment(shared: &Shared, id: u64, body: &Value) -> (u16, Value) {
    let state = text(body, "state");
    let mut all = shared.state();
    let Some(deployment) = all.deployments.iter_mut().find(|deployment| deployment.id == id) else {
        return refused(404, "Not Found");
    };
    deployment.states.push(state.clone());
    drop(all);
    (201, told_state(shared, &state))
}
