//! A server that is away, that refuses, or that cannot be trusted: one sentence, and never the password.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tests::TestEnvironment;

use super::*;

/// How often a store is asked again that will be back.
const AGAIN: Duration = Duration::from_millis(50);

async fn refused(address: impl Into<Address>) -> StoreError {
    let error = Store::open(address, &std::env::temp_dir()).await.unwrap_err();
    for secret in [OWNER.1, "hunter2"] {
        assert!(!everything(&error).contains(secret), "{}", everything(&error));
    }
    error
}

#[tokio::test]
async fn each_way_to_be_refused_has_a_sentence_and_no_password() {
    let server = PostgresServer::start();
    server.psql("postgres", "CREATE ROLE guest LOGIN PASSWORD 'hunter2'; CREATE ROLE nobody NOLOGIN");
    let url = server.url("kmlflow");
    let as_user = |user: &str| url.replace(&format!("{}@", OWNER.0), &format!("{user}@"));

    for wrong in [
        Address::new(&url, Some("hunter2")),
        Address::new(&as_user("nobody"), Some("hunter2")),
        Address::from(url.as_str()),
    ] {
        let error = refused(wrong).await;
        assert!(matches!(error, StoreError::Denied(_)), "{error:?}");
        assert!(error.to_string().contains("`store.password_file`"), "{error}");
    }
    let missing = refused(Address::new(&server.url("elsewhere"), Some(OWNER.1))).await;
    assert!(matches!(missing, StoreError::NoDatabase(_)) && missing.to_string().contains("`createdb`"), "{missing:?}");
    let guest = refused(Address::new(&as_user("guest"), Some("hunter2"))).await;
    assert!(matches!(guest, StoreError::NotAllowed(_)), "{guest:?}");
    let away =
        refused(format!("postgres://kmlflow:hunter2@127.0.0.1:{}/kmlflow", tests::ssh_server::free_port()).as_str())
            .await;
    assert!(matches!(away, StoreError::ServerAway(_)), "{away:?}");
    let plain = refused(Address::new(&format!("{url}?sslmode=require"), Some(OWNER.1))).await;
    assert!(matches!(plain, StoreError::Tls(_)), "{plain:?}");
    server.psql("postgres", "ALTER DATABASE kmlflow SET default_transaction_read_only = on");
    let standby = refused(address(&server)).await;
    assert!(matches!(standby, StoreError::ReadOnly(_)), "{standby:?}");
}

#[tokio::test]
async fn a_server_that_restarts_is_used_again_and_has_what_was_accepted() {
    let mut server = PostgresServer::start();
    let store = store(&server, Limits::default()).await;
    let before = accept_new(&store, "before").await;
    let mut leader = store.try_lead("main").await.unwrap().unwrap();

    server.stop();
    let error = store.accept(arriving("meanwhile")).await.unwrap_err();
    assert!(matches!(error, StoreError::ServerAway(_)), "{error:?}");
    assert!(store.waiting(0, 10).await.is_err());
    leader.lost().await;

    server.start_again();
    let mut again = tokio::time::interval(AGAIN);
    let after = loop {
        again.tick().await;
        if let Ok(Accepted::New(delivery)) = store.accept(arriving("after")).await {
            break delivery.number;
        }
    };
    assert!(after > before);
    assert_eq!(waiting_ids(&store).await, ["before", "after"]);
    assert!(store.try_lead("main").await.unwrap().is_some());
}

#[tokio::test]
async fn a_restart_that_nobody_saw_costs_no_delivery() {
    let mut server = PostgresServer::start();
    let store = store(&server, Limits::default()).await;
    accept_new(&store, "before").await;
    server.stop();
    server.start_again();
    // The connection that writes is dead, and nobody knows it yet. Numbers come over others, which may say so first.
    let mut again = tokio::time::interval(AGAIN);
    loop {
        again.tick().await;
        match store.hand_in(arriving("after")).await {
            Ok((_, kept)) => {
                assert!(matches!(kept.durable().await.unwrap(), Accepted::New(_)));
                break;
            }
            Err(error) => assert!(matches!(error, StoreError::ServerAway(_)), "{error:?}"),
        }
    }
}

#[tokio::test]
async fn accepted_is_durable_whatever_the_server_is_set_to() {
    let server = PostgresServer::start_with(&[], &["synchronous_commit=off"]);
    let store = store(&server, Limits::default()).await;
    let settings = "concat_ws(' ', current_setting('synchronous_commit'), current_setting('idle_in_transaction_session_timeout'), current_setting('tcp_keepalives_idle'))";
    let watch = format!(
        "CREATE TABLE seen (settings text);
         CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen VALUES ({settings}); RETURN NEW; END $$;
         CREATE TRIGGER see BEFORE INSERT ON deliveries FOR EACH ROW EXECUTE FUNCTION see()"
    );
    server.psql("kmlflow", &watch);
    accept_new(&store, "a").await;
    assert_eq!(
        server.psql("kmlflow", "SELECT settings FROM seen"),
        "on 10s 10",
        "and no replica holds the others for long"
    );
}

#[tokio::test]
async fn a_text_with_a_zero_byte_fails_nobody() {
    let server = PostgresServer::start();
    let store = store(&server, Limits::default()).await;
    let hold = kmlflow::store::Hold {
        environment: None,
        reason: "a\0b".into(),
        by: None,
        since: "2026-11-23T10:00:00Z".parse().unwrap(),
    };
    let with_zero = NewDelivery { body: "a\0b".into(), ..arriving("a") };
    let (held, accepted) = tokio::join!(store.hold(move |_| hold), store.accept(with_zero));
    assert!(held.is_ok() && matches!(accepted, Ok(Accepted::New(_))), "{held:?} {accepted:?}");
    assert_eq!(store.holds().await.unwrap()[0].reason, "a\u{fffd}b");
    assert_eq!(store.delivery(None, "a").await.unwrap().unwrap().body, "a\0b");
}

#[tokio::test]
async fn a_certificate_is_trusted_by_its_authority_and_its_name() {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &authority).unwrap();
    let files = [("server.crt", certificate.pem()), ("server.key", key.serialize_pem())];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let server = PostgresServer::start_with(&files, &["ssl=on"]);
    let environment = TestEnvironment::new();
    let root = environment.write("authority.pem", authority.pem());
    let of = |host: &str, query: &str| {
        let url = format!("postgres://{}@{host}:{}/kmlflow?{query}", OWNER.0, server.port());
        Address::new(&url, Some(OWNER.1))
    };
    let trusted = format!("sslmode=verify-full&sslrootcert={}", root.display());

    let store = Store::open(of("localhost", &trusted), &std::env::temp_dir()).await.unwrap();
    accept_new(&store, "a").await;
    assert_eq!(
        server.psql(
            "kmlflow",
            "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'kmlflow'"
        ),
        "t"
    );
    for untrusted in [of("localhost", "sslmode=verify-full"), of("127.0.0.1", &trusted)] {
        let error = refused(untrusted).await;
        assert!(matches!(error, StoreError::Tls(_)), "{error:?}");
    }
}
