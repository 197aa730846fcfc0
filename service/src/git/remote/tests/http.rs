//! Pushes over HTTP: to Git's own `http-backend`, and to servers that answer what no Git does.

use std::sync::atomic::Ordering;

use super::site::{LOGIN, Site, scripted};
use super::*;

const POST: &str = "POST /remote.git/git-receive-pack";
const GET: &str = "GET /remote.git/info/refs?service=git-receive-pack";

/// The head of an answer that is Git's by its type.
const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-receive-pack-result\r\nConnection: close\r\n\r\n";

fn login() -> Credentials {
    Credentials::Basic { username: LOGIN.0.to_owned(), password: Secret::new(LOGIN.1) }
}

/// What becomes of a push of nothing to an address.
async fn pushed_to(bench: &Bench, address: &str) -> Pushed {
    let limits = Limits { push: Duration::from_secs(5), connect: Duration::from_secs(2), ..Limits::default() };
    let remote = remote(Settings { limits, credentials: Some(login()), ..bench.settings(address) }).await;
    remote.push(Some(&bench.tip), &bench.tip, b"PACK").await
}

#[tokio::test]
async fn pushes_take_one_request_each_on_one_connection() {
    let bench = Bench::new();
    let (site, url) = Site::start(&bench).await;
    let remote = remote(bench.settings(&url)).await;
    let mut old = bench.tip.clone();
    for name in ["second", "third", "fourth"] {
        let new = bench.commit(name);
        assert_eq!(remote.push(Some(&old), &new, &bench.pack(&new)).await, Pushed::Done);
        assert_eq!(bench.at(), new);
        old = new;
    }
    assert_eq!(site.asked(), [POST; 3]);
    assert_eq!(site.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_tip_that_is_stale_or_a_branch_that_is_there_already_has_moved() {
    let bench = Bench::new();
    let (_site, url) = Site::start(&bench).await;
    let ours = bench.commit("ours");
    let pack = bench.pack(&ours);
    bench.work(&["reset", "-q", "--hard", bench.tip.as_str()]);
    let theirs = bench.commit("theirs");
    bench.work(&["push", "-q", "origin", "main"]);
    let remote = remote(bench.settings(&url)).await;
    for old in [Some(&bench.tip), None] {
        let pushed = remote.push(old, &ours, &pack).await;
        assert!(matches!(&pushed, Pushed::Moved { words } if words.contains("cannot lock ref")), "{pushed:?}");
    }
    assert_eq!(bench.at(), theirs);
    bench.remote_git(&["update-ref", "-d", "refs/heads/main"]);
    let pushed = remote.push(Some(&theirs), &ours, &pack).await;
    assert!(matches!(&pushed, Pushed::Moved { .. }), "{pushed:?}");
}

#[tokio::test]
async fn a_hook_refuses_in_its_own_words_and_a_pack_that_is_too_large_is_not_taken() {
    let bench = Bench::new();
    let (_site, url) = Site::start(&bench).await;
    bench.hook("pre-receive", "echo 'ask the change board' >&2; exit 1");
    let new = bench.commit("second");
    let remote = remote(bench.settings(&url)).await;
    let pushed = remote.push(Some(&bench.tip), &new, &bench.pack(&new)).await;
    assert_eq!(pushed, Pushed::Refused { words: "pre-receive hook declined: ask the change board".to_owned() });
    bench.remote_git(&["config", "receive.maxInputSize", "60"]);
    let pushed = remote.push(Some(&bench.tip), &new, &bench.pack(&new)).await;
    assert!(matches!(&pushed, Pushed::Unpack { words } if words.contains("maximum allowed size")), "{pushed:?}");
}

#[tokio::test]
async fn credentials_are_sent_first_and_can_be_renewed() {
    let bench = Bench::new();
    let (site, url) = Site::start(&bench).await;
    site.is_closed.store(true, Ordering::Relaxed);
    let new = bench.commit("second");
    let pack = bench.pack(&new);
    let remote = remote(bench.settings(&url)).await;
    let wrong = Credentials::Basic { username: "ann".to_owned(), password: Secret::new("hunter2") };
    for credentials in [None, Some(&wrong)] {
        remote.set_credentials(credentials).unwrap();
        let pushed = remote.push(Some(&bench.tip), &new, &pack).await;
        assert_eq!(pushed, Pushed::Denied(RemoteError::Unauthorized { address: url.clone() }));
    }
    assert!(!format!("{remote:?}").contains("hunter2"));
    site.asked();
    remote.set_credentials(Some(&login())).unwrap();
    assert_eq!(remote.push(Some(&bench.tip), &new, &pack).await, Pushed::Done);
    assert_eq!(site.asked(), [POST]);
    let third = bench.commit("third");
    remote.set_credentials(Some(&Credentials::Bearer(Secret::new("correct-horse")))).unwrap();
    assert_eq!(remote.push(Some(&new), &third, &bench.pack(&third)).await, Pushed::Done);
}

#[tokio::test]
async fn a_server_that_insists_is_asked_first_from_then_on() {
    let bench = Bench::new();
    let (site, url) = Site::start(&bench).await;
    site.insists.store(true, Ordering::Relaxed);
    let remote = remote(bench.settings(&url)).await;
    let second = bench.commit("second");
    assert_eq!(remote.push(Some(&bench.tip), &second, &bench.pack(&second)).await, Pushed::Done);
    assert_eq!(site.asked(), [POST, GET, POST]);
    let third = bench.commit("third");
    assert_eq!(remote.push(Some(&second), &third, &bench.pack(&third)).await, Pushed::Done);
    assert_eq!(site.asked(), [GET, POST]);
    let stale = remote.push(Some(&second), &third, &bench.pack(&third)).await;
    assert_eq!(stale, Pushed::Moved { words: format!("the branch is at {third}") });
    assert_eq!(site.asked(), [GET]);
}

#[tokio::test]
async fn with_options_the_server_is_asked_once_whether_it_takes_them() {
    let bench = Bench::new();
    let (site, url) = Site::start(&bench).await;
    bench.remote_git(&["config", "receive.advertisePushOptions", "true"]);
    bench.hook("pre-receive", "echo \"$GIT_PUSH_OPTION_0\" >>options");
    let remote = remote(Settings { push_options: vec!["ci.skip".to_owned()], ..bench.settings(&url) }).await;
    let second = bench.commit("second");
    assert_eq!(remote.push(Some(&bench.tip), &second, &bench.pack(&second)).await, Pushed::Done);
    let third = bench.commit("third");
    assert_eq!(remote.push(Some(&second), &third, &bench.pack(&third)).await, Pushed::Done);
    assert_eq!(site.asked(), [GET, POST, POST]);
    assert_eq!(fs::read_to_string(bench.path().join("options")).unwrap(), "ci.skip\nci.skip\n");
}

#[tokio::test]
async fn a_redirect_is_told_and_not_followed() {
    let bench = Bench::new();
    let (site, url) = Site::start(&bench).await;
    let (other, other_url) = Site::start(&bench).await;
    for status in [301, 302, 307, 308] {
        let location = format!("{other_url}/git-receive-pack?token=hunter2");
        site.always(status, &[("location", &location)], "");
        let pushed = pushed_to(&bench, &url).await;
        let Pushed::Denied(error) = pushed else { panic!("{pushed:?}") };
        assert_eq!(error, RemoteError::Redirected { address: url.clone(), to: Some(other_url.clone()) });
        assert!(error.cure().unwrap().contains(&other_url));
    }
    assert_eq!(other.asked(), [""; 0]);
}

#[tokio::test]
async fn every_status_has_its_class() {
    let bench = Bench::new();
    let (site, url) = Site::start(&bench).await;
    let wait = Some(Duration::from_secs(7));
    let later: &[(&'static str, &str)] = &[("retry-after", "7")];
    let address = || url.clone();
    let failing = |status, retry_after| RemoteError::Failing { address: address(), status, retry_after };
    let busy = |status, retry_after| RemoteError::Busy { address: address(), status, retry_after };
    for (status, headers, text, expected) in [
        (500, &[][..], "", Pushed::Unknown(failing(500, None))),
        (502, later, "", Pushed::Unknown(failing(502, wait))),
        (503, later, "", Pushed::Transient(failing(503, wait))),
        (429, later, "", Pushed::Transient(busy(429, wait))),
        (403, &[("x-ratelimit-remaining", "0")][..], "", Pushed::Transient(busy(403, None))),
        (403, &[("content-type", "text/plain")][..], "read only\u{7}\n", {
            Pushed::Denied(RemoteError::Forbidden { address: address(), words: ": read only".to_owned() })
        }),
        (403, &[("content-type", "text/plain")][..], "you are ann:correct horse\n", {
            let words = format!(": you are {}:(hidden)", LOGIN.0);
            Pushed::Denied(RemoteError::Forbidden { address: address(), words })
        }),
        (403, &[][..], "<html>", Pushed::Denied(RemoteError::Forbidden { address: address(), words: String::new() })),
        (404, &[][..], "", Pushed::Denied(RemoteError::NotFound { address: address() })),
        (
            200,
            &[][..],
            "<html>log in",
            Pushed::Denied(RemoteError::NotGit { address: address(), words: String::new() }),
        ),
    ] {
        site.always(status, headers, text);
        assert_eq!(pushed_to(&bench, &url).await, expected, "{status}");
    }
    site.always(413, &[], "");
    assert!(matches!(pushed_to(&bench, &url).await, Pushed::Unpack { .. }));
}

#[tokio::test]
async fn an_answer_that_is_cut_or_garbled_leaves_the_outcome_unknown() {
    let bench = Bench::new();
    let report = b"002e\x01000eunpack ok\n0017ok refs/heads/main\n0000";
    let cut = [HEAD, &report[..20]].concat();
    let short =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-receive-pack-result\r\nContent-Length: 900\r\n\r\n0030";
    let last = [HEAD, b"0012\x03fatal: gone\n0000"].concat();
    for (said, expected) in [
        (&cut[..], "broke off its answer"),
        (&short[..], "broke off its answer"),
        (b"HTTP/1.1 200 O", "broke off its answer"),
        (&[HEAD, b"<html>"].concat(), "does not speak Git's protocol"),
        (&[HEAD, b"0005\x07"].concat(), "does not speak Git's protocol"),
        (&last, "gave up: fatal: gone"),
        (&[HEAD, b"0000"].concat(), "broke off its answer"),
        (&[HEAD, b"0017\x01000eunpack ok\n0000"].concat(), "did not report"),
    ] {
        let url = scripted(&[said], false).await;
        let pushed = pushed_to(&bench, &url).await;
        let Pushed::Unknown(error) = pushed else { panic!("{expected}: {pushed:?}") };
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
}

#[tokio::test]
async fn endless_progress_and_silence_end() {
    let bench = Bench::new();
    let progress = [b"ea60\x02".to_vec(), vec![b'.'; 0xea60 - 5]].concat();
    let pushed = pushed_to(&bench, &scripted(&[HEAD, &progress], true).await).await;
    assert!(matches!(pushed, Pushed::Unknown(RemoteError::TooMuch { .. })), "{pushed:?}");
    let url = scripted(&[], false).await;
    let limits = Limits { push: Duration::from_millis(200), ..Limits::default() };
    let remote = remote(Settings { limits, ..bench.settings(&url) }).await;
    let pushed = remote.push(Some(&bench.tip), &bench.tip, b"PACK").await;
    assert!(matches!(pushed, Pushed::Unknown(RemoteError::TimedOut { .. })), "{pushed:?}");
}

#[tokio::test]
async fn a_report_is_enough_where_the_rest_of_the_answer_does_not_come() {
    let bench = Bench::new();
    let report = b"002e\x01000eunpack ok\n0017ok refs/heads/main\n0000";
    let progress = b"0006\x02.";
    let pushed = pushed_to(&bench, &scripted(&[HEAD, report, progress], true).await).await;
    assert_eq!(pushed, Pushed::Done);
}

#[tokio::test]
async fn a_remote_that_is_not_there_may_be_there_later() {
    let bench = Bench::new();
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for address in [format!("http://{free}/x"), "https://no-such-host.invalid/x".to_owned()] {
        let pushed = pushed_to(&bench, &address).await;
        assert!(matches!(pushed, Pushed::Transient(RemoteError::Unreachable { .. })), "{pushed:?}");
    }
}

#[tokio::test]
async fn plain_http_to_another_machine_is_spoken_only_where_that_is_allowed() {
    let bench = Bench::new();
    let git = Git::find(None).await.unwrap();
    let settings = bench.settings("http://git.example/x");
    let error = Remote::new(settings.clone(), git.clone()).unwrap_err();
    assert!(error.to_string().contains("without TLS"), "{error}");
    assert!(Remote::new(Settings { allow_plain_http: true, ..settings }, git).is_ok());
}

#[tokio::test]
async fn a_fetch_sends_credentials_that_no_argument_shows() {
    let bench = Bench::new();
    let (site, url) = Site::start(&bench).await;
    site.is_closed.store(true, Ordering::Relaxed);
    let into = ours(bench.directory.path());
    let remote = remote(Settings { credentials: Some(login()), ..bench.settings(&url) }).await;
    assert_eq!(remote.fetch(&into, History::Tip).await, Ok(bench.tip.clone()));
    assert!(site.asked()[0].starts_with("GET /remote.git/info/refs?service=git-upload-pack"));
    let heads = remote.heads().await.unwrap();
    assert_eq!(heads.default, Some(Branch::parse("main").unwrap()));
    let arguments = site.arguments.lock().unwrap().clone();
    assert!(arguments.contains("refs/kmlflow/remote/main"), "the fetch was not seen");
    assert!(!arguments.contains("YW5uOmNvcnJlY3Q") && !arguments.contains(LOGIN.1));
}

#[tokio::test]
async fn a_fetch_says_apart_what_is_wrong() {
    let bench = Bench::new();
    let (site, url) = Site::start(&bench).await;
    let into = ours(bench.directory.path());
    let missing = url.replace("remote.git", "gone.git");
    let error = remote(bench.settings(&missing)).await.fetch(&into, History::Tip).await.unwrap_err();
    assert_eq!(error, RemoteError::NotFound { address: missing });
    let remote = remote(bench.settings(&url)).await;
    let error = async || format!("{:?}", remote.fetch(&into, History::Tip).await.unwrap_err());
    site.is_closed.store(true, Ordering::Relaxed);
    assert!(error().await.starts_with("Unauthorized"), "{}", error().await);
    for (status, expected) in
        [(302, "Redirected"), (403, "Forbidden"), (429, "Busy"), (503, "Failing"), (200, "NotGit")]
    {
        site.always(status, &[("location", "http://127.0.0.1:1/x")], "<html>\nlog in\n");
        assert!(error().await.starts_with(expected), "{status}: {}", error().await);
    }
}

#[tokio::test]
async fn a_fetch_waits_for_as_long_as_the_server_says() {
    let bench = Bench::new();
    let (site, url) = Site::start(&bench).await;
    let remote = remote(bench.settings(&url)).await;
    let into = ours(bench.directory.path());
    let later: &[(&'static str, &str)] = &[("retry-after", "42")];
    let limited: &[(&'static str, &str)] = &[("x-ratelimit-remaining", "0")];
    let told = |status, retry_after| RemoteError::Busy { address: url.clone(), status, retry_after };
    let wait = Some(Duration::from_secs(42));
    for (status, headers, expected) in [
        (429, later, told(429, wait)),
        (503, later, RemoteError::Failing { address: url.clone(), status: 503, retry_after: wait }),
        (403, later, told(403, wait)),
        (403, limited, told(403, None)),
        (403, &[][..], RemoteError::Forbidden { address: url.clone(), words: String::new() }),
    ] {
        site.always(status, headers, "later");
        assert_eq!(remote.fetch(&into, History::Tip).await, Err(expected), "{status} {headers:?}");
    }
}

/// Credentials that are good from the second on, or never.
#[derive(Debug)]
struct Renewed {
    good_from: usize,
    asked: std::sync::Mutex<Vec<bool>>,
}

impl Renewed {
    fn good_from(good_from: usize) -> Arc<Self> {
        Arc::new(Self { good_from, asked: std::sync::Mutex::default() })
    }

    fn asked(&self) -> Vec<bool> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Renewal for Renewed {
    fn credentials(
        &self,
        is_refused: bool,
    ) -> futures_util::future::BoxFuture<'_, Result<Option<Credentials>, RemoteError>> {
        let mut asked = self.asked.lock().unwrap();
        asked.push(is_refused);
        let is_good = asked.iter().filter(|is_refused| **is_refused).count() >= self.good_from;
        let wrong = Credentials::token(Secret::new("hunter2"));
        let credentials = if is_good { login() } else { wrong };
        Box::pin(async move { Ok(Some(credentials)) })
    }
}

#[tokio::test]
async fn credentials_that_end_are_asked_for_each_time_and_once_more_where_they_are_refused() {
    let bench = Bench::new();
    let (site, url) = Site::start(&bench).await;
    site.is_closed.store(true, Ordering::Relaxed);
    let new = bench.commit("second");
    let pack = bench.pack(&new);
    let renewed = Renewed::good_from(1);
    let good = remote(Settings { renewal: Some(renewed.clone()), ..bench.settings(&url) }).await;
    assert_eq!(good.push(Some(&bench.tip), &new, &pack).await, Pushed::Done);
    assert_eq!((site.asked(), renewed.asked()), (vec![POST.to_owned(); 2], vec![false, true]));

    let renewed = Renewed::good_from(1);
    let good = remote(Settings { renewal: Some(renewed.clone()), ..bench.settings(&url) }).await;
    assert_eq!(good.heads().await.unwrap().branches.len(), 1);
    assert_eq!(renewed.asked(), [false, true]);

    let renewed = Renewed::good_from(9);
    let bad = remote(Settings { renewal: Some(renewed.clone()), ..bench.settings(&url) }).await;
    site.asked();
    let pushed = bad.push(Some(&bench.tip), &new, &pack).await;
    assert_eq!(pushed, Pushed::Denied(RemoteError::Unauthorized { address: url.clone() }));
    assert_eq!((site.asked().len(), renewed.asked()), (2, vec![false, true]));
    assert!(matches!(bad.heads().await, Err(RemoteError::Unauthorized { .. })));
    assert_eq!(renewed.asked(), [false, true]);
}

/// There are none to be had.
#[derive(Debug)]
struct Without;

impl Renewal for Without {
    fn credentials(&self, _: bool) -> futures_util::future::BoxFuture<'_, Result<Option<Credentials>, RemoteError>> {
        let error = RemoteError::NoCredentials {
            sentence: "the App is suspended".to_owned(),
            cure: Some("have that lifted".to_owned()),
            is_transient: false,
            retry_after: None,
        };
        Box::pin(async move { Err(error) })
    }
}

#[tokio::test]
async fn without_credentials_nothing_is_asked_and_their_source_says_why() {
    let bench = Bench::new();
    let (site, url) = Site::start(&bench).await;
    let remote = remote(Settings { renewal: Some(Arc::new(Without)), ..bench.settings(&url) }).await;
    let pushed = remote.push(Some(&bench.tip), &bench.tip, b"PACK").await;
    let Pushed::Denied(error) = pushed else { panic!("{pushed:?}") };
    assert_eq!(
        (error.to_string().as_str(), error.cure().as_deref()),
        ("the App is suspended", Some("have that lifted"))
    );
    assert_eq!(remote.heads().await.unwrap_err(), error);
    assert!(site.asked().is_empty());
}
