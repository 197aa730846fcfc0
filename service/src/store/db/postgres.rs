//! A PostgreSQL server: how its address is read, how it is reached, and what its errors mean.
//!
//! Ends at a connection pooler that hands a connection from one transaction to the next: statements are prepared, and locks are held, for as
//! long as a connection lives.

use std::fs::File;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use sqlx::migrate::MigrateError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgListener, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, PgPool, Postgres, Row as _};
use tokio::time::timeout;

use super::super::{Address, StoreError};
use super::Readers;
use crate::names::is_this_machine;

/// How long a connection may take to be made: TCP, TLS and password, over a slow network.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// How long an answer may take. A network that swallows packets would otherwise hold everybody for as long as TCP hopes, which is minutes.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Connections of one replica that read, one of which hears of changes. With the one that writes and the one that leads or waits to, ten
/// replicas fit into the hundred that a server takes unless told otherwise.
const READERS_MAX: u32 = 7;

/// A reader that nobody needed for so long is closed.
const READER_IDLE_MAX: Duration = Duration::from_secs(60);

/// A reader that lay about for so long is tried before it is used: the server may have restarted.
const READER_TRUSTED: Duration = Duration::from_secs(1);

/// Prepared statements of a connection: a multi-row insert has one per number of rows (32) and table (4), and some thirty others.
const STATEMENTS: usize = 192;

/// What may stand behind the `?` of a URL. Everything else is refused: a password would be shown, and an option could weaken what "accepted" means.
const PARAMETERS: [&str; 5] = ["sslmode", "sslrootcert", "sslcert", "sslkey", "host"];

/// Those of them that name a file.
const FILES: [&str; 3] = ["sslrootcert", "sslcert", "sslkey"];

/// What each connection is told first. A replica that stops in the middle of a transaction must not hold the others: the server ends its
/// transaction, and who waits for its turn gives up in the end. One that lost its power holds its locks for less than half a minute, and not for
/// the two hours of an untold TCP. What was committed is on the server's disk, whatever the server is set to; where it promises more (a standby
/// has it too), that stays.
const FIRST_WORDS: &str = "SET idle_in_transaction_session_timeout = '10s'; SET lock_timeout = '20s';
    SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')";

/// Reads an address. Without a word about TLS, a server elsewhere must have a certificate that is trusted.
pub(super) fn options(address: &Address) -> Result<PgConnectOptions, StoreError> {
    let (base, query) = address.url().split_once('?').unwrap_or((address.url(), ""));
    let named = |parameter: &str| query.split('&').any(|pair| pair.split('=').next() == Some(parameter));
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (parameter, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !PARAMETERS.contains(&parameter) {
            return Err(StoreError::Url("has a parameter other than sslmode, sslrootcert, sslcert, sslkey and host"));
        }
        // Otherwise it would look as if the server were away.
        let is_missing = || percent_decode_str(value).decode_utf8().is_ok_and(|path| File::open(&*path).is_err());
        if FILES.contains(&parameter) && is_missing() {
            return Err(StoreError::Url("names a file in sslrootcert, sslcert or sslkey that cannot be read"));
        }
    }
    if base.contains('#') || query.contains('#') {
        return Err(StoreError::Url("has a `#` in it; write `%23` for one in a name"));
    }
    let read = PgConnectOptions::from_str(address.url());
    let mut options =
        read.map_err(|_| StoreError::Url("cannot be read; write it like postgres://USER@HOST/DATABASE"))?;
    if options.get_database().is_none_or(str::is_empty) {
        return Err(StoreError::Url("names no database; write it like postgres://USER@HOST/DATABASE"));
    }
    if let Some(password) = address.password() {
        options = options.password(password);
    }
    let is_here = options.get_socket().is_some() || is_loopback(options.get_host());
    if !is_here && !named("sslmode") && matches!(options.get_ssl_mode(), PgSslMode::Prefer) {
        options = options.ssl_mode(PgSslMode::VerifyFull);
    }
    Ok(options.application_name("kmlflow").statement_cache_capacity(STATEMENTS).disable_statement_logging())
}

fn is_loopback(host: &str) -> bool {
    host.starts_with('/') || is_this_machine(host)
}

/// Opens a connection.
pub(super) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    let connected = timeout(CONNECT_MAX, async {
        let mut db = options.connect().await.map_err(not_connected)?;
        sqlx::raw_sql(FIRST_WORDS).execute(&mut db).await.map_err(failed)?;
        Ok(db)
    });
    connected.await.map_err(too_late)?
}

/// Warns where the server gives up what was accepted when its machine crashes; no setting of a connection helps against that.
pub(super) async fn warn_of_lost_writes(db: &mut PgConnection) -> Result<(), StoreError> {
    let row = answered(sqlx::query("SELECT current_setting('fsync')").fetch_one(db)).await?;
    if row.try_get::<&str, _>(0).is_ok_and(|fsync| fsync == "off") {
        tracing::warn!(
            "The database server is set to `fsync = off`: what is accepted is lost when its machine crashes"
        );
    }
    Ok(())
}

/// Prepares the connections that read.
pub(super) fn readers(options: &PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(READERS_MAX)
        .idle_timeout(READER_IDLE_MAX)
        .acquire_timeout(CONNECT_MAX)
        .test_before_acquire(false)
        .before_acquire(|db, about| {
            Box::pin(async move {
                Ok(about.idle_for < READER_TRUSTED
                    || timeout(CONNECT_MAX, db.ping()).await.is_ok_and(|pong| pong.is_ok()))
            })
        })
        .after_connect(|db, _| Box::pin(async move { sqlx::raw_sql(FIRST_WORDS).execute(db).await.map(drop) }))
        .connect_lazy_with(options.clone())
}

/// Takes a connection that reads, which may have to be made first.
pub(super) async fn reader(pool: &PgPool) -> Result<PoolConnection<Postgres>, StoreError> {
    pool.acquire().await.map_err(not_connected)
}

/// Opens a connection that hears what is told on a channel; nothing where the store is in a file. It waits for nothing but words, so it stands
/// beside those that read.
pub(in super::super) async fn listener(readers: &Readers, channel: &str) -> Result<Option<PgListener>, StoreError> {
    let Readers::Postgres(pool) = readers else { return Ok(None) };
    let connected = timeout(ANSWER_MAX, PgListener::connect_with(pool)).await.map_err(too_late)?;
    let mut listener = connected.map_err(not_connected)?;
    listener.ignore_pool_close_event(true);
    answered(listener.listen(channel)).await?;
    Ok(Some(listener))
}

/// Waits for an answer, as long as one may take.
pub(super) async fn answered<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    timeout(ANSWER_MAX, answer).await.map_err(too_late)?.map_err(failed)
}

/// The failure of something that took too long.
pub(super) fn too_late(_: tokio::time::error::Elapsed) -> StoreError {
    StoreError::ServerAway(Arc::new(std::io::Error::from(std::io::ErrorKind::TimedOut)))
}

/// Says what it means that a connection could not be made: what TLS has to say of it is a matter of the settings.
fn not_connected(error: sqlx::Error) -> StoreError {
    match &error {
        // The second: a file of a certificate that is none.
        sqlx::Error::Tls(_) | sqlx::Error::Configuration(_) => StoreError::Tls(Arc::new(error)),
        sqlx::Error::Io(cause) if is_of_tls(cause) => StoreError::Tls(Arc::new(error)),
        _ => failed(error),
    }
}

/// Says what an error on a connection that was made means. One that breaks by TLS, which was as it should be, is a server that went away like any other.
///
/// Codes: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
pub(in super::super) fn failed(error: sqlx::Error) -> StoreError {
    let code = match &error {
        sqlx::Error::PoolClosed => return StoreError::Closed,
        sqlx::Error::Database(told) => told.code().map(|code| code.into_owned()).unwrap_or_default(),
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::PoolTimedOut => {
            return StoreError::ServerAway(Arc::new(error));
        }
        _ => return StoreError::Failed(Arc::new(error)),
    };
    let is_tls = error.as_database_error().is_some_and(|told| {
        told.try_downcast_ref::<PgDatabaseError>().is_some_and(|told| told.message().contains("no encryption"))
    });
    let cause = Arc::new(error);
    match code.as_str() {
        // `pg_hba.conf` lets nobody in without TLS.
        "28000" if is_tls => StoreError::Tls(cause),
        "28P01" | "28000" => StoreError::Denied(cause),
        "3D000" => StoreError::NoDatabase(cause),
        "42501" => StoreError::NotAllowed(cause),
        "25006" => StoreError::ReadOnly(cause),
        "53300" => StoreError::Crowded(cause),
        "53100" => StoreError::DiskFull(cause),
        // A lock that was waited for too long, a deadlock, a transaction that must be done again, a statement that was cancelled.
        "55P03" | "40P01" | "40001" | "57014" => StoreError::Busy(cause),
        code if code.starts_with("57P") || code.starts_with("08") || code == "25P03" => StoreError::ServerAway(cause),
        _ => StoreError::Failed(cause),
    }
}

fn is_of_tls(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(|cause| cause.downcast_ref::<rustls::Error>().is_some())
}

/// Says what it means that the tables could not be brought up to date.
pub(super) fn migration_failed(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => failed(error),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> PgSslMode {
        options(&url.into()).unwrap().get_ssl_mode()
    }

    #[test]
    fn a_server_elsewhere_must_prove_who_it_is_unless_told_otherwise() {
        assert!(matches!(mode("postgres://k@db.example/kmlflow"), PgSslMode::VerifyFull));
        assert!(matches!(mode("postgres://k@10.1.2.3/kmlflow"), PgSslMode::VerifyFull));
        assert!(matches!(mode("postgres://k@db.example/kmlflow?sslmode=prefer"), PgSslMode::Prefer));
        assert!(matches!(mode("postgres://k@db.example/kmlflow?sslmode=disable"), PgSslMode::Disable));
        for here in ["localhost", "127.0.0.1", "[::1]", "%2Frun%2Fpostgresql"] {
            assert!(matches!(mode(&format!("postgres://k@{here}/kmlflow")), PgSslMode::Prefer), "{here}");
        }
        assert!(matches!(mode("postgres:///kmlflow?host=/run/postgresql"), PgSslMode::Prefer));
    }

    #[test]
    fn what_a_url_must_not_say_is_refused_without_repeating_it() {
        for url in [
            "postgres://k@localhost/kmlflow?password=hunter2",
            "postgres://k@localhost/kmlflow?options=-csynchronous_commit=off",
            "postgres://k@localhost/kmlflow?sslmode=hunter2",
            "postgres://k@localhost/kmlflow?sslrootcert=/nowhere/hunter2",
            "postgres://k:hunter2@localhost:port/kmlflow",
            "postgres://k:hunter2@localhost/",
            "postgres://k:hunter2@localhost",
            "postgres://k:hunter2#@localhost/kmlflow",
        ] {
            let error = options(&url.into()).unwrap_err();
            assert!(matches!(error, StoreError::Url(_)), "{url}: {error:?}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{url}: {error:?}");
        }
    }

    #[test]
    fn what_is_no_answer_of_the_server_means_that_it_is_away() {
        let refused = sqlx::Error::Io(std::io::ErrorKind::ConnectionRefused.into());
        assert!(matches!(failed(refused), StoreError::ServerAway(_)));
        assert!(matches!(failed(sqlx::Error::PoolTimedOut), StoreError::ServerAway(_)));
        assert!(matches!(failed(sqlx::Error::PoolClosed), StoreError::Closed));
    }

    #[test]
    fn what_tls_says_is_a_matter_of_the_settings_while_a_connection_is_made_and_a_server_that_went_away_after_that() {
        let of_rustls = || sqlx::Error::Io(std::io::Error::other(rustls::Error::DecryptError));
        let of_sqlx = || sqlx::Error::Tls("server does not support TLS".into());
        for error in [of_rustls, of_sqlx] as [fn() -> sqlx::Error; 2] {
            assert!(matches!(not_connected(error()), StoreError::Tls(_)), "{:?}", error());
            assert!(matches!(failed(error()), StoreError::ServerAway(_)), "{:?}", error());
        }
        let refused = sqlx::Error::Io(std::io::ErrorKind::ConnectionRefused.into());
        assert!(matches!(not_connected(refused), StoreError::ServerAway(_)));
        assert!(matches!(not_connected(sqlx::Error::PoolClosed), StoreError::Closed));
    }
}
