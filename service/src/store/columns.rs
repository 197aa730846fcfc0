//! How values of the domain are written into columns, and read from them.

use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::{DeserializeOwned, IntoDeserializer as _, value};
use sqlx::{Decode, Postgres, Sqlite, Type};

use super::StoreError;
use super::db::Row;

/// Writes a moment so that moments sort as text: RFC 3339 in UTC, always with milliseconds.
pub(super) fn time(moment: Timestamp) -> String {
    format!("{moment:.3}")
}

/// Writes a value as JSON.
pub(super) fn json(value: &impl Serialize) -> Result<String, sqlx::Error> {
    serde_json::to_string(value).map_err(|e| sqlx::Error::Encode(Box::new(e)))
}

/// Reads a column of the engines' own types.
pub(super) fn get<'r, T>(row: &'r Row, column: &'static str) -> Result<T, StoreError>
where
    T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
{
    row.get(column).map_err(|_| StoreError::Unreadable { what: column })
}

/// Reads a column that holds a whole number of a smaller type.
pub(super) fn number<T: TryFrom<i64>>(row: &Row, column: &'static str) -> Result<T, StoreError> {
    get::<i64>(row, column)?.try_into().map_err(|_| StoreError::Unreadable { what: column })
}

/// Reads a column that holds a name.
pub(super) fn parse<T: FromStr>(row: &Row, column: &'static str) -> Result<T, StoreError> {
    get::<&str>(row, column)?.parse().map_err(|_| StoreError::Unreadable { what: column })
}

/// Reads a column that holds a name or nothing.
pub(super) fn parse_some<T: FromStr>(row: &Row, column: &'static str) -> Result<Option<T>, StoreError> {
    let text = get::<Option<&str>>(row, column)?;
    text.map(|text| text.parse().map_err(|_| StoreError::Unreadable { what: column })).transpose()
}

/// Reads a column that holds one of a type's words.
pub(super) fn word<T: DeserializeOwned>(row: &Row, column: &'static str) -> Result<T, StoreError> {
    one_word(get(row, column)?, column)
}

/// Reads a column that holds one of a type's words, or nothing.
pub(super) fn word_some<T: DeserializeOwned>(row: &Row, column: &'static str) -> Result<Option<T>, StoreError> {
    get::<Option<&str>>(row, column)?.map(|text| one_word(text, column)).transpose()
}

fn one_word<T: DeserializeOwned>(text: &str, column: &'static str) -> Result<T, StoreError> {
    let word = T::deserialize(text.into_deserializer());
    word.map_err(|_: value::Error| StoreError::Unreadable { what: column })
}

/// Reads a column that holds JSON.
pub(super) fn from_json<T: DeserializeOwned>(row: &Row, column: &'static str) -> Result<T, StoreError> {
    serde_json::from_str(get(row, column)?).map_err(|_| StoreError::Unreadable { what: column })
}

/// Reads a column that holds JSON or nothing.
pub(super) fn from_json_some<T: DeserializeOwned>(row: &Row, column: &'static str) -> Result<Option<T>, StoreError> {
    let text = get::<Option<&str>>(row, column)?;
    text.map(|text| serde_json::from_str(text).map_err(|_| StoreError::Unreadable { what: column })).transpose()
}
