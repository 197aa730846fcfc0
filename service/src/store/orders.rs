//! Holds, and the last good text of each policy: what people ordered; and what the last sweep found.

use jiff::Timestamp;

use super::columns::{get, parse, time};
use super::db::{Connection, Readers, Row, Statement};
use super::ledger::Ledger;
use super::writer::Write;
use super::{Hold, StoreError};
use crate::names::{EnvironmentName, PolicyName};

/// What stands for all environments in the column; no environment can be called that.
const ALL: &str = "*";

/// What reads all holds, the one for everything first.
const READ: &str = "SELECT * FROM holds ORDER BY environment";

/// Sets the hold that is made from those that are there, or gives the one for the same environment a new reason.
pub(super) struct SetHold<F>(pub(super) F);

impl<F: FnOnce(&[Hold]) -> Hold + Send + 'static> Write for SetHold<F> {
    type Answer = ();

    async fn run(self, db: &mut Connection, _: &mut Ledger) -> Result<(), sqlx::Error> {
        let rows = db.rows(Statement::new(READ)).await?;
        let holds: Result<Vec<Hold>, StoreError> = rows.iter().map(hold).collect();
        let Hold { environment, reason, by, since } = (self.0)(&holds.map_err(|e| sqlx::Error::Decode(Box::new(e)))?);
        let query = Statement::new(
            "INSERT INTO holds (environment, reason, held_by, since) VALUES ($1, $2, $3, $4)
             ON CONFLICT (environment) DO UPDATE SET reason = excluded.reason, held_by = excluded.held_by",
        );
        let environment = environment.as_ref().map_or(ALL, EnvironmentName::as_str);
        db.execute(query.bind(environment).bind(reason).bind(by).bind(time(since))).await?;
        Ok(())
    }
}

/// Lifts a hold; the answer says whether there was one.
pub(super) struct Unhold {
    pub(super) environment: Option<EnvironmentName>,
}

impl Write for Unhold {
    type Answer = bool;

    async fn run(self, db: &mut Connection, _: &mut Ledger) -> Result<bool, sqlx::Error> {
        let environment = self.environment.as_ref().map_or(ALL, EnvironmentName::as_str);
        let query = Statement::new("DELETE FROM holds WHERE environment = $1").bind(environment);
        Ok(db.execute(query).await? > 0)
    }
}

/// All holds, the one for everything first.
pub(super) async fn holds(db: &Readers) -> Result<Vec<Hold>, StoreError> {
    db.rows(Statement::new(READ)).await?.iter().map(hold).collect()
}

fn hold(row: &Row) -> Result<Hold, StoreError> {
    let environment = match get::<&str>(row, "environment")? {
        ALL => None,
        _ => Some(parse(row, "environment")?),
    };
    Ok(Hold { environment, reason: get(row, "reason")?, by: get(row, "held_by")?, since: parse(row, "since")? })
}

/// Keeps the text of a policy, or forgets the policy where there is none.
pub(super) struct RememberPolicy {
    pub(super) name: PolicyName,
    pub(super) text: Option<(String, Timestamp)>,
}

impl Write for RememberPolicy {
    type Answer = ();

    async fn run(self, db: &mut Connection, _: &mut Ledger) -> Result<(), sqlx::Error> {
        let query = match self.text {
            Some((text, now)) => Statement::new(
                "INSERT INTO policies (name, text, remembered_at) VALUES ($1, $2, $3)
                 ON CONFLICT (name) DO UPDATE SET text = excluded.text, remembered_at = excluded.remembered_at",
            )
            .bind(self.name.as_str())
            .bind(text)
            .bind(time(now)),
            None => Statement::new("DELETE FROM policies WHERE name = $1").bind(self.name.as_str()),
        };
        db.execute(query).await?;
        Ok(())
    }
}

/// The last good text of each policy, by name.
pub(super) async fn policies(db: &Readers) -> Result<Vec<(PolicyName, String)>, StoreError> {
    let rows = db.rows(Statement::new("SELECT name, text FROM policies ORDER BY name")).await?;
    rows.iter().map(|row| Ok((parse(row, "name")?, get(row, "text")?))).collect()
}

/// Keeps what a sweep found, in place of what the one before did.
pub(super) struct KeepSweep {
    pub(super) report: String,
}

impl Write for KeepSweep {
    type Answer = ();

    async fn run(self, db: &mut Connection, _: &mut Ledger) -> Result<(), sqlx::Error> {
        let keep = Statement::new(
            "INSERT INTO last_sweep (only_row, report) VALUES (1, $1) ON CONFLICT (only_row) DO UPDATE SET report = excluded.report",
        );
        db.execute(keep.bind(self.report)).await.map(drop)
    }
}

/// What the last sweep found.
pub(super) async fn last_sweep(db: &Readers) -> Result<Option<String>, StoreError> {
    let row = db.row(Statement::new("SELECT report FROM last_sweep")).await?;
    row.map(|row| get(&row, "report")).transpose()
}
