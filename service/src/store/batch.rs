//! Storing what one turn of the conveyor leaves behind.

use std::collections::BTreeMap;

use super::columns::{from_json, json};
use super::db::{Connection, Readers, Statement};
use super::ledger::Ledger;
use super::term::Led;
use super::writer::{self, HandedOver, Write};
use super::{Batch, StoreError, audit, history, inbox};
use crate::registry::RegistryState;

/// The next place in the queue of writes; see [`super::Store::reserve`].
#[derive(Debug)]
#[must_use = "everybody else who asks for something of the store waits"]
pub struct Reserved {
    place: writer::Reserved,
    term: Option<i64>,
}

impl Reserved {
    pub(super) fn new(place: writer::Reserved, term: Option<i64>) -> Self {
        Self { place, term }
    }

    /// Hands a batch over, to be stored as a whole or not at all. It answers nothing where another replica has taken over.
    pub fn hand_over(self, batch: Batch) -> HandedOver<Option<()>> {
        self.place.hand_over(Led { term: self.term, write: batch })
    }
}

impl Write for Batch {
    type Answer = ();

    async fn run(self, db: &mut Connection, ledger: &mut Ledger) -> Result<(), sqlx::Error> {
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

async fn write_registry(db: &mut Connection, states: &[RegistryState]) -> Result<(), sqlx::Error> {
    // The last state of a model counts; PostgreSQL changes no row twice in one statement.
    let last: BTreeMap<&str, &RegistryState> = states.iter().map(|state| (state.model.as_str(), state)).collect();
    let rows: Vec<(&str, String)> =
        last.into_iter().map(|(model, state)| Ok((model, json(state)?))).collect::<Result<_, sqlx::Error>>()?;
    db.put_off_rows(UPSERT_REGISTRY, &rows, |values, (model, state)| {
        values.push_bind(*model);
        values.push_bind(state.as_str());
    })
    .await
}

/// What the registry is known to say of every model.
pub(super) async fn registry(db: &Readers) -> Result<Vec<RegistryState>, StoreError> {
    let rows = db.rows(Statement::new("SELECT state FROM registry ORDER BY model")).await?;
    rows.iter().map(|row| from_json(row, "state")).collect()
}
