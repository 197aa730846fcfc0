//! Statements that go to SQLite's thread together.
//!
//! A statement is carried out in microseconds, but to hand it to the thread of the connection and to hear what came of it wakes two threads
//! and more. A round of the writer is a dozen statements, and hardly one says what the next depends on. Sqlx carries out a text of several
//! statements with the values of all of them, in their order.

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteRow;
use sqlx::{Either, Executor as _, SqliteConnection};

use super::statement::Statement;

/// With more values than these a statement goes alone: each text is prepared once and kept, and those of large rounds are rarely the same.
const VALUES_MAX: usize = 96;

/// The connection that writes, with what is to be carried out before its next statement.
pub(in super::super) struct Together {
    pub(in super::super) db: SqliteConnection,
    before: Statement<'static>,
}

/// What came of some statements: their rows, and how many rows the last one changed.
#[derive(Default)]
pub(super) struct Came {
    pub(super) rows: Vec<SqliteRow>,
    pub(super) changed: u64,
}

impl Together {
    pub(super) fn new(db: SqliteConnection) -> Self {
        Self { db, before: Statement::empty() }
    }

    /// Has a statement carried out before the next one.
    pub(super) async fn put_off(&mut self, statement: Statement<'_>) -> Result<(), sqlx::Error> {
        self.add(statement, &mut Came::default()).await
    }

    /// Carries out a statement, and those before it.
    pub(super) async fn run(&mut self, statement: Statement<'_>) -> Result<Came, sqlx::Error> {
        let mut came = Came::default();
        self.add(statement, &mut came).await?;
        self.carry_out_before(&mut came).await?;
        Ok(came)
    }

    /// Adds a statement to those before it. Where they are too many together, those before it are carried out, and one that is too large by
    /// itself is as well.
    async fn add(&mut self, statement: Statement<'_>, came: &mut Came) -> Result<(), sqlx::Error> {
        if self.before.values() + statement.values() > VALUES_MAX {
            self.carry_out_before(came).await?;
        }
        if statement.values() > VALUES_MAX {
            return self.carry_out(statement, came).await;
        }
        self.before.append(statement);
        Ok(())
    }

    async fn carry_out_before(&mut self, came: &mut Came) -> Result<(), sqlx::Error> {
        if self.before.is_empty() {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.before, Statement::empty());
        self.carry_out(before, came).await
    }

    async fn carry_out(&mut self, statement: Statement<'_>, came: &mut Came) -> Result<(), sqlx::Error> {
        let mut all = self.db.fetch_many(statement.for_sqlite());
        while let Some(one) = all.try_next().await? {
            match one {
                Either::Left(done) => came.changed = done.rows_affected(),
                Either::Right(row) => came.rows.push(row),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, Row as _};

    use super::*;

    #[tokio::test]
    async fn what_goes_together_is_carried_out_in_order_with_its_own_values() {
        let mut db = Together::new(SqliteConnection::connect("sqlite::memory:").await.unwrap());
        db.put_off(Statement::new("CREATE TABLE pairs (one INTEGER, other TEXT)")).await.unwrap();
        let repeated = Statement::new("INSERT INTO pairs SELECT $2, $1 UNION ALL SELECT $2 + 1, $1");
        db.put_off(repeated.bind("a").bind(1_i64)).await.unwrap();
        let mut rows = Statement::new("INSERT INTO pairs VALUES (");
        rows.push_bind(3_i64).push(", ").push_bind("b").push(")");
        db.put_off(rows).await.unwrap();
        let changed = db.run(Statement::new("UPDATE pairs SET other = $1 WHERE one > $2").bind("c").bind(1_i64)).await;
        assert_eq!(changed.unwrap().changed, 2);
        let all = db.run(Statement::new("SELECT one || other FROM pairs ORDER BY one")).await.unwrap();
        assert_eq!(all.rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>(), ["1a", "2c", "3c"]);
    }

    #[tokio::test]
    async fn a_large_statement_goes_alone_and_after_those_before_it() {
        let mut db = Together::new(SqliteConnection::connect("sqlite::memory:").await.unwrap());
        db.put_off(Statement::new("CREATE TABLE numbers (n INTEGER)")).await.unwrap();
        let mut large = Statement::new("INSERT INTO numbers VALUES ");
        for n in 0..=VALUES_MAX {
            large.push(if n == 0 { "(" } else { ", (" }).push_bind(i64::try_from(n).unwrap()).push(")");
        }
        assert_eq!(db.run(large).await.unwrap().changed, VALUES_MAX as u64 + 1);
        assert_eq!(db.run(Statement::new("DELETE FROM numbers WHERE n < $1").bind(2_i64)).await.unwrap().changed, 2);
    }

    #[tokio::test]
    async fn the_first_that_fails_is_told_and_nothing_after_it_is_done() {
        let mut db = Together::new(SqliteConnection::connect("sqlite::memory:").await.unwrap());
        db.run(Statement::new("CREATE TABLE one (n INTEGER PRIMARY KEY)")).await.unwrap();
        db.put_off(Statement::new("BEGIN IMMEDIATE")).await.unwrap();
        for n in [1_i64, 1, 2] {
            db.put_off(Statement::new("INSERT INTO one VALUES ($1)").bind(n)).await.unwrap();
        }
        assert!(db.run(Statement::new("COMMIT")).await.is_err());
        assert_eq!(db.run(Statement::new("SELECT n FROM one")).await.unwrap().rows.len(), 1, "the round is open still");
    }
}
