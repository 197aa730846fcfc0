//! TLS from an authority of our own: believed where it is named, and by nobody else.

use super::site::{Authority, Site};
use super::*;

/// Why neither a push nor a fetch is let through.
async fn refusals(bench: &Bench, url: &str, ca_file: Option<&Path>) -> [RemoteError; 2] {
    let settings = Settings { ca_file: ca_file.map(Path::to_owned), ..bench.settings(url) };
    let remote = remote(settings).await;
    let Pushed::Denied(push) = remote.push(Some(&bench.tip), &bench.tip, b"PACK").await else {
        panic!("it was pushed")
    };
    let into = bench.directory.path().join("ours.git");
    [push, remote.fetch(&into, History::Tip).await.unwrap_err()]
}

#[tokio::test]
async fn a_site_of_the_named_authority_is_pushed_to_and_fetched_from() {
    let bench = Bench::new();
    let authority = Authority::new(&bench, "authority");
    let (_site, url) = Site::start_tls(&bench, &authority, 30).await;
    let remote = remote(Settings { ca_file: Some(authority.file.clone()), ..bench.settings(&url) }).await;
    let new = bench.commit("second");
    assert_eq!(remote.push(Some(&bench.tip), &new, &bench.pack(&new)).await, Pushed::Done);
    let into = ours(bench.directory.path());
    assert_eq!(remote.fetch(&into, History::Tip).await, Ok(new));
}

#[tokio::test]
async fn a_certificate_that_is_not_believed_is_told_with_its_cure() {
    let bench = Bench::new();
    ours(bench.directory.path());
    let authority = Authority::new(&bench, "authority");
    let stranger = Authority::new(&bench, "stranger");
    let (site, url) = Site::start_tls(&bench, &authority, 30).await;
    let (_expired, expired_url) = Site::start_tls(&bench, &authority, -2).await;
    let by_address = url.replace("localhost", "127.0.0.1");
    for (url, ca_file) in [
        (&url, None),
        (&url, Some(&*stranger.file)),
        (&by_address, Some(&*authority.file)),
        (&expired_url, Some(&*authority.file)),
    ] {
        for error in refusals(&bench, url, ca_file).await {
            assert!(matches!(error, RemoteError::Certificate { .. }), "{url} {ca_file:?}: {error:?}");
            assert!(error.cure().unwrap().contains("`git.ca_file`"));
        }
    }
    assert_eq!(site.asked(), [""; 0]);
}

#[tokio::test]
async fn a_server_that_shows_an_authoritys_certificate_as_its_own_is_told_what_to_make_instead() {
    let bench = Bench::new();
    let into = ours(bench.directory.path());
    let own = |is_ca| Authority::own(&bench, is_ca);
    for is_ca in [true, false] {
        let (authority, acceptor) = own(is_ca);
        let (_site, url) = Site::start_tls_with(&bench, acceptor).await;
        let remote = remote(Settings { ca_file: Some(authority), ..bench.settings(&url) }).await;
        let pushed = remote.push(Some(&bench.tip), &bench.tip, b"PACK").await;
        match (is_ca, pushed) {
            (true, Pushed::Denied(error)) => {
                assert!(error.to_string().contains("it is that of an authority"), "{error}");
                assert!(error.cure().unwrap().contains("`CA:FALSE`"), "{error:?}");
            }
            // It is believed, and the push itself says what is wrong with it.
            (false, Pushed::Unpack { .. } | Pushed::Moved { .. }) => {
                remote.fetch(&into, History::Tip).await.unwrap();
            }
            (_, pushed) => panic!("{is_ca}: {pushed:?}"),
        }
    }
}

#[tokio::test]
async fn a_file_of_authorities_that_is_missing_or_has_none_is_refused() {
    let bench = Bench::new();
    let empty = bench.directory.path().join("empty.pem");
    fs::write(&empty, "no certificate\n").unwrap();
    for path in [empty, bench.directory.path().join("gone.pem")] {
        let settings = Settings { ca_file: Some(path), ..bench.settings("https://git.example/x") };
        let error = Remote::new(settings, Git::find(None).await.unwrap()).unwrap_err();
        assert!(matches!(error, RemoteError::File { what: "CA", .. }), "{error:?}");
    }
}
