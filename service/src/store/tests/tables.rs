use std::collections::BTreeSet;

use super::*;
use crate::store::migrate::TABLES;

#[tokio::test]
async fn every_column_of_every_table_is_taken_over() {
    let test = TestStore::open().await;
    let columns = match server() {
        None => {
            "SELECT tables.name AS table_name, columns.name AS column_name FROM sqlite_schema tables, pragma_table_info(tables.name) columns
             WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite!_%' ESCAPE '!'"
        }
        Some(_) => {
            "SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema = 'public'"
        }
    };
    let rows = test.store.readers.rows(db::Statement::new(columns)).await.unwrap();
    let text = |row: &db::Row, column| row.get::<String>(column).unwrap();
    let there: BTreeSet<(String, String)> =
        rows.iter().map(|row| (text(row, "table_name"), text(row, "column_name"))).collect();
    let there = there.into_iter().filter(|(table, _)| !["ledger", "_sqlx_migrations"].contains(&table.as_str()));
    let taken =
        TABLES.iter().flat_map(|table| table.columns().map(|(column, _)| (table.name.to_owned(), column.to_owned())));
    assert_eq!(there.collect::<BTreeSet<_>>(), taken.collect());
}
