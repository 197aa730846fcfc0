//! Storing what one turn of the conveyor leaves behind.

use sqlx::{SqliteConnection, SqlitePool};

use super::columns::{from_json, json, write_rows};
use super::writer::{Ledger, Write};
use super::{Batch, StoreError, audit, history, inbox};
use crate::registry::RegistryState;

impl Write for Batch {
    type Answer = ();

    async fn run(self, db: &mut SqliteConnection, ledger: &mut Ledger) -> Result<(), sqlx::Error> {
        let Self { outcomes, commits, indexed_tip, registry, audit } = self;
        inbox::write_outcomes(db, ledger, outcomes).await?;
        history::write_commits(db, &commits).await?;
        if let Some(tip) = indexed_tip {
            history::write_tip(db, &tip).await?;
        }
        write_registry(db, &registry).await?;
        audit::write_entries(db, &audit).await
    }
}

const UPSERT_REGISTRY: (&str, &str) =
    ("INSERT INTO registry (model, state) ", " ON CONFLICT (model) DO UPDATE SET state = excluded.state");

async fn write_registry(db: &mut SqliteConnection, states: &[RegistryState]) -> Result<(), sqlx::Error> {
    let rows: Vec<(&str, String)> =
        states.iter().map(|state| Ok((state.model.as_str(), json(state)?))).collect::<Result<_, sqlx::Error>>()?;
    write_rows(db, UPSERT_REGISTRY, &rows, |values, (model, state)| {
        values.push_bind(*model);
        values.push_bind(state.as_str());
    })
    .await?;
    Ok(())
}

/// What the registry is known to say of every model.
pub(super) async fn registry(db: &SqlitePool) -> Result<Vec<RegistryState>, StoreError> {
    let rows = sqlx::query("SELECT state FROM registry ORDER BY model").fetch_all(db).await?;
    rows.iter().map(|row| from_json(row, "state")).collect()
}
