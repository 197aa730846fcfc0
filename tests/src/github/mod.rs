//! A scripted GitHub: one repository that Git reaches over real smart HTTP, the part of the REST API that the service uses, and the one mutation
//! of the other API. Each request is held against the official description; what it does not describe fails the test, and so does an answer
//! of this server that it does not describe.
//!
//! It stands for GitHub itself, which runs nowhere else. What it does beyond the description (when a merge is allowed, how limits are told) is
//! GitHub's documentation put into code.

mod answers;
mod app;
mod checks;
mod examples;
mod git;
mod serve;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use serde_json::Value;

use crate::environment::TestEnvironment;
use crate::openapi::Description;

pub use app::{APP, AppKey, INSTALLATION};
pub use examples::webhook_examples;

/// The repository.
pub const REPOSITORY: &str = "acme/gitops";

/// A personal token that it knows.
pub const TOKEN: &str = "a-personal-token-of-tests";

/// A running scripted GitHub.
pub struct GitHub<'a> {
    environment: &'a TestEnvironment,
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Ends the server with it.
    _stop: tokio::sync::oneshot::Sender<()>,
}

/// A request of the API that came.
#[derive(Debug, Clone)]
pub struct Call {
    /// The name that the description has for it; `graphql` for the other API.
    pub operation: String,
    pub body: Value,
    /// What it was answered.
    pub status: u16,
}

/// How somebody merges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Merge,
    Squash,
}

/// A limit that the next request meets.
#[derive(Debug, Clone, Copy)]
pub enum Limit {
    /// No request is left in the window, which ends so many seconds from now.
    Primary(u64),
    /// Too much at once; `Retry-After` says for how many seconds.
    Secondary(u64),
}

pub(crate) struct Shared {
    description: &'static Description,
    /// Where the repository is, and what people's commands work on.
    directory: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    /// By which the App signs.
    key: Option<AppKey>,
    pulls: Vec<Pull>,
    comments: Vec<Comment>,
    statuses: Vec<Status>,
    deployments: Vec<Deployment>,
    calls: Vec<Call>,
    faults: Vec<String>,
    /// Personal tokens that are good beside [`TOKEN`].
    personal_tokens: Vec<String>,
    /// Tokens of the App that are good.
    tokens: Vec<String>,
    minted: usize,
    /// How long a token of the App lasts, in seconds.
    lifetime: i64,
    is_suspended: bool,
    limits: VecDeque<Limit>,
    quiet_until: Option<Instant>,
    /// How many approvals the branch asks for.
    approvals_needed: usize,
    /// The branch asks for checks that succeeded.
    needs_checks: bool,
    /// The repository lets nothing be merged by itself.
    forbids_auto_merge: bool,
    /// That a pull request merges itself cannot be called off.
    keeps_auto_merge: bool,
    /// Answers of 304.
    unchanged: usize,
}

/// A pull request.
#[derive(Debug, Clone)]
pub struct Pull {
    pub number: u64,
    pub branch: String,
    /// Where it is merged into.
    pub base: String,
    pub title: String,
    pub body: String,
    pub is_open: bool,
    pub merged_as: Option<String>,
    /// Where its branch was when that was last looked at.
    pub head: String,
    /// Who said what of which commit.
    pub reviews: Vec<(String, &'static str, String)>,
    /// The commits whose checks have succeeded.
    pub checked: Vec<String>,
    pub merges_itself: bool,
    /// Where its branch was each time when it was called off that it merges itself.
    pub called_off_at: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct Comment {
    pub id: u64,
    pub pull: u64,
    pub body: String,
}

#[derive(Debug, Clone)]
pub struct Status {
    pub commit: String,
    pub context: String,
    pub state: String,
}

#[derive(Debug, Clone)]
pub struct Deployment {
    pub id: u64,
    pub commit: String,
    pub environment: String,
    pub task: String,
    pub payload: Value,
    /// Its statuses, the oldest first.
    pub states: Vec<String>,
}

impl<'a> GitHub<'a> {
    /// Starts one on the loopback with an empty repository, and with an App where a key is given.
    ///
    /// # Panics
    /// When it does not start, or the tier did not fetch the description.
    #[track_caller]
    pub fn start(environment: &'a TestEnvironment, key: Option<AppKey>) -> Self {
        let state = State { key, lifetime: 3_600, ..State::default() };
        let directory = environment.path("github");
        let shared = Arc::new(Shared { description: Description::of_github(), directory, state: Mutex::new(state) });
        git::make(environment, &shared.repository());
        let (address, stop) = serve::start(Arc::clone(&shared));
        Self { environment, address, shared, _stop: stop }
    }

    /// The address of the repository, as `git clone` takes it.
    pub fn url(&self) -> String {
        format!("http://{}/{REPOSITORY}.git", self.address)
    }

    /// The base of the API.
    pub fn api_url(&self) -> String {
        format!("http://{}/api/v3", self.address)
    }

    /// The same as a person has it, with a token in it.
    pub fn url_for_a_person(&self) -> String {
        format!("http://ann:{TOKEN}@{}/{REPOSITORY}.git", self.address)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    /// A pull request as it is.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn pull(&self, number: u64) -> Pull {
        let state = self.state();
        state.pulls.iter().find(|pull| pull.number == number).expect("a pull request").clone()
    }

    /// How many were opened.
    pub fn pulls(&self) -> usize {
        self.state().pulls.len()
    }

    pub fn comments(&self) -> Vec<Comment> {
        self.state().comments.clone()
    }

    pub fn statuses(&self) -> Vec<Status> {
        self.state().statuses.clone()
    }

    pub fn deployments(&self) -> Vec<Deployment> {
        self.state().deployments.clone()
    }

    /// How many tokens the App was given.
    pub fn minted(&self) -> usize {
        self.state().minted
    }

    /// How many answers were that nothing has changed.
    pub fn unchanged(&self) -> usize {
        self.state().unchanged
    }

    /// Whether there is such a branch.
    pub fn has_branch(&self, branch: &str) -> bool {
        git::tip(&self.shared.repository(), branch).is_some()
    }

    /// How many good requests of this operation came.
    pub fn count(&self, operation: &str) -> usize {
        self.calls(operation).len()
    }

    /// How many requests of the API came.
    pub fn requests(&self) -> usize {
        self.state().calls.len()
    }

    /// How many requests of each operation came.
    pub fn asked(&self) -> BTreeMap<String, usize> {
        let mut asked = BTreeMap::new();
        for call in &self.state().calls {
            *asked.entry(call.operation.clone()).or_default() += 1;
        }
        asked
    }

    /// The requests of an operation that were answered with a success.
    pub fn calls(&self, operation: &str) -> Vec<Call> {
        let state = self.state();
        let of_it = state.calls.iter().filter(|call| call.operation == operation && call.status < 400);
        of_it.cloned().collect()
    }

    /// Insists on how often each operation that changes something was asked for: not once more, not once less.
    ///
    /// # Panics
    /// When it was another time.
    #[track_caller]
    pub fn was_asked(&self, expected: &[(&str, usize)]) {
        let found: Vec<(&str, usize)> =
            expected.iter().map(|(operation, _)| (*operation, self.count(operation))).collect();
        assert_eq!(found, expected);
    }

    /// Somebody says what they think of a pull request: `APPROVED`, `CHANGES_REQUESTED`.
    #[track_caller]
    pub fn review(&self, number: u64, login: &str, verdict: &'static str) {
        let branch = self.pull(number).branch;
        let seen = git::tip(&self.shared.repository(), &branch).expect("its branch");
        self.shared.with_pull(number, |pull| pull.reviews.push((login.to_owned(), verdict, seen)));
        self.shared.merge_what_is_due();
    }

    /// Somebody merges a pull request.
    #[track_caller]
    pub fn merge(&self, number: u64, way: Way) {
        self.shared.merge(number, way).expect("it can be merged");
    }

    /// Somebody has a pull request merged into another branch than `main`, which is made where it is not there.
    #[track_caller]
    pub fn retarget(&self, number: u64, base: &str) {
        git::make_branch(&self.shared.repository(), base).expect("a branch");
        self.shared.with_pull(number, |pull| pull.base = base.to_owned());
    }

    /// Somebody deletes a branch; what was open from it is closed.
    #[track_caller]
    pub fn delete_branch(&self, branch: &str) {
        git::delete_branch(&self.shared.repository(), branch).expect("it is deleted");
    }

    /// Somebody closes a pull request.
    #[track_caller]
    pub fn close(&self, number: u64) {
        self.shared.with_pull(number, |pull| pull.is_open = false);
    }

    /// Lets nobody push to `main`; a pull request needs so many approvals.
    pub fn protect(&self, approvals: usize) {
        self.state().approvals_needed = approvals;
        std::fs::write(self.shared.repository().join("protected"), "").expect("a file");
    }

    /// Lets nobody call off that a pull request merges itself, or lets them again.
    pub fn keep_auto_merge(&self, keeps: bool) {
        self.state().keeps_auto_merge = keeps;
    }

    /// Somebody has a pull request merge itself.
    #[track_caller]
    pub fn merge_when_ready(&self, number: u64) {
        self.shared.with_pull(number, |pull| pull.merges_itself = true);
    }

    /// The one personal token that is good from now on, beside the one that people use.
    pub fn give_token(&self, token: &str) {
        self.state().personal_tokens = vec![token.to_owned()];
    }

    /// How long tokens of the App last from now on, in seconds.
    pub fn tokens_last(&self, seconds: i64) {
        self.state().lifetime = seconds;
    }

    /// Every token that the App was given is good no more.
    pub fn revoke_tokens(&self) {
        self.state().tokens.clear();
    }

    /// Somebody makes a new key of the App and deletes the old one.
    pub fn takes_only(&self, key: &AppKey) {
        let mut state = self.state();
        state.key = Some(key.clone());
        state.tokens.clear();
    }

    /// The owner suspends the App, or lifts that.
    pub fn suspend_app(&self, is_suspended: bool) {
        let mut state = self.state();
        state.is_suspended = is_suspended;
        state.tokens.clear();
    }

    /// The next request of the API meets a limit; one that comes before its end fails the test.
    pub fn limit(&self, limit: Limit) {
        self.state().limits.push_back(limit);
    }

    /// Whether a limit was met and none waits to be.
    pub fn is_limited_no_more(&self) -> bool {
        let state = self.state();
        state.limits.is_empty() && state.quiet_until.is_some_and(|until| until < Instant::now())
    }

    pub fn environment(&self) -> &'a TestEnvironment {
        self.environment
    }
}

impl Drop for GitHub<'_> {
    /// Fails the test where a request was not as the description says.
    fn drop(&mut self) {
        let faults = std::mem::take(&mut self.state().faults);
        if faults.is_empty() {
            return;
        }
        let told = faults.join("\n");
        if std::thread::panicking() {
            eprintln!("--- against GitHub's description\n{told}");
        } else {
            panic!("against GitHub's description:\n{told}");
        }
    }
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the state")
    }

    fn repository(&self) -> PathBuf {
        self.directory.join(format!("{REPOSITORY}.git"))
    }

    /// What a pull request still lacks, in GitHub's words.
    #[track_caller]
    fn missing(&self, number: u64) -> Option<&'static str> {
        let state = self.state();
        state.missing(state.pulls.iter().find(|pull| pull.number == number).expect("a pull request"))
    }

    #[track_caller]
    fn with_pull<T>(&self, number: u64, change: impl FnOnce(&mut Pull) -> T) -> T {
        let mut state = self.state();
        change(state.pulls.iter_mut().find(|pull| pull.number == number).expect("a pull request"))
    }

    /// Merges what was asked to merge itself and may by now.
    fn merge_what_is_due(&self) {
        let due: Vec<u64> = {
            let state = self.state();
            let is_due = |pull: &&Pull| pull.is_open && pull.merges_itself && state.missing(pull).is_none();
            state.pulls.iter().filter(is_due).map(|pull| pull.number).collect()
        };
        for number in due {
            self.merge(number, Way::Merge).expect("it can be merged");
        }
    }

    fn merge(&self, number: u64, way: Way) -> Result<String, String> {
        let Pull { branch, base, title, .. } = self.with_pull(number, |pull| pull.clone());
        let (head, merged) = git::merge(&self.repository(), (&branch, &base), (number, &title), way)?;
        self.with_pull(number, |pull| {
            pull.is_open = false;
            pull.head = head;
            pull.merged_as = Some(merged.clone());
        });
        Ok(merged)
    }
}

impl State {
    /// What the branch asks for before a pull request is merged and that is not there, in GitHub's words.
    fn missing(&self, pull: &Pull) -> Option<&'static str> {
        if pull.approvals() < self.approvals_needed {
            Some("At least 1 approving review is required by reviewers with write access.")
        } else if self.needs_checks && !pull.checked.contains(&pull.head) {
            Some("Required status check \"ci\" is expected.")
        } else {
            None
        }
    }
}

impl Pull {
    /// Who approves by their last word.
    fn approvals(&self) -> usize {
        let mut last = std::collections::BTreeMap::new();
        for (login, verdict, _) in &self.reviews {
            last.insert(login, *verdict);
        }
        last.values().filter(|verdict| **verdict == "APPROVED").count()
    }
}
