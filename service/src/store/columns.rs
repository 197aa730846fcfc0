//! How values of the domain are written into columns, and read from them.

use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::{DeserializeOwned, IntoDeserializer as _, value};
use sqlx::query_builder::Separated;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::StoreError;

/// Rows of one statement. A longer list takes several: the number of prepared statements stays bounded, and a whole turn of a busy
/// receiver still fits in a few.
const STATEMENT_ROWS_MAX: usize = 32;

/// The values of one row, in the order of the columns.
pub(super) type Values<'qb> = Separated<'qb, Sqlite, &'static str>;

/// Runs `<head> VALUES (…), (…) <tail>` over all rows, and says how many rows it changed.
pub(super) async fn write_rows<T>(
    db: &mut SqliteConnection,
    (head, tail): (&'static str, &'static str),
    rows: &[T],
    bind: impl Fn(&mut Values<'_>, &T),
) -> Result<u64, sqlx::Error> {
    let mut changed = 0;
    for chunk in rows.chunks(STATEMENT_ROWS_MAX) {
        let mut query = QueryBuilder::new(head);
        query.push_values(chunk, |mut values, row| bind(&mut values, row));
        query.push(tail);
        changed += query.build().execute(&mut *db).await?.rows_affected();
    }
    Ok(changed)
}

/// Writes a moment so that moments sort as text: RFC 3339 in UTC, always with milliseconds.
pub(super) fn time(moment: Timestamp) -> String {
    format!("{moment:.3}")
}

/// Writes a value as JSON.
pub(super) fn json(value: &impl Serialize) -> Result<String, sqlx::Error> {
    serde_json::to_string(value).map_err(|e| sqlx::Error::Encode(Box::new(e)))
}

/// Reads a column of SQLite's own types.
pub(super) fn get<'r, T>(row: &'r SqliteRow, column: &'static str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>,
{
    row.try_get(column).map_err(|_| StoreError::Unreadable { what: column })
}

/// Reads a column that holds a name.
pub(super) fn parse<T: FromStr>(row: &SqliteRow, column: &'static str) -> Result<T, StoreError> {
    get::<&str>(row, column)?.parse().map_err(|_| StoreError::Unreadable { what: column })
}

/// Reads a column that holds a name or nothing.
pub(super) fn parse_some<T: FromStr>(row: &SqliteRow, column: &'static str) -> Result<Option<T>, StoreError> {
    let text = get::<Option<&str>>(row, column)?;
    text.map(|text| text.parse().map_err(|_| StoreError::Unreadable { what: column })).transpose()
}

/// Reads a column that holds one of a type's words.
pub(super) fn word<T: DeserializeOwned>(row: &SqliteRow, column: &'static str) -> Result<T, StoreError> {
    one_word(get(row, column)?, column)
}

/// Reads a column that holds one of a type's words, or nothing.
pub(super) fn word_some<T: DeserializeOwned>(row: &SqliteRow, column: &'static str) -> Result<Option<T>, StoreError> {
    get::<Option<&str>>(row, column)?.map(|text| one_word(text, column)).transpose()
}

fn one_word<T: DeserializeOwned>(text: &str, column: &'static str) -> Result<T, StoreError> {
    let word = T::deserialize(text.into_deserializer());
    word.map_err(|_: value::Error| StoreError::Unreadable { what: column })
}

/// Reads a column that holds JSON.
pub(super) fn from_json<T: DeserializeOwned>(row: &SqliteRow, column: &'static str) -> Result<T, StoreError> {
    serde_json::from_str(get(row, column)?).map_err(|_| StoreError::Unreadable { what: column })
}
