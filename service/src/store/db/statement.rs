//! A statement and its values, before it is known which engine carries it out.

use std::borrow::Cow;
use std::fmt::Write as _;

use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Postgres, SqlSafeStr as _, Sqlite};

use super::Connection;

/// Rows of one statement. A longer list takes several: the number of prepared statements stays bounded, and a whole turn of a busy
/// receiver still fits in a few.
const STATEMENT_ROWS_MAX: usize = 32;

/// What takes the place of a zero byte, which a text of PostgreSQL cannot have
/// (<https://www.postgresql.org/docs/current/datatype-character.html>). It must not fail the transaction of everybody else.
const INSTEAD_OF_ZERO: &str = "\u{fffd}";

/// A statement with its values.
pub(in super::super) struct Statement<'a> {
    text: Cow<'static, str>,
    values: Vec<Value<'a>>,
    /// How places are written by [`Statement::push_bind`]. `$1` suits both engines, but SQLite looks each such name up in a list of all of
    /// them, which a statement of hundreds would notice.
    is_numbered: bool,
}

/// A value as a column keeps it.
#[derive(Clone)]
pub(in super::super) enum Value<'a> {
    Text(Option<Cow<'a, str>>),
    Number(Option<i64>),
    /// A text that may hold anything.
    Body(Cow<'a, str>),
}

impl<'a> Value<'a> {
    /// A delivery's body.
    pub(in super::super) fn body(text: &'a str) -> Self {
        Self::Body(Cow::Borrowed(text))
    }

    fn into_owned(self) -> Value<'static> {
        match self {
            Self::Text(text) => Value::Text(text.map(|text| Cow::Owned(text.into_owned()))),
            Self::Number(number) => Value::Number(number),
            Self::Body(text) => Value::Body(Cow::Owned(text.into_owned())),
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Some(Cow::Borrowed(text)))
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        text.as_str().into()
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Some(Cow::Owned(text)))
    }
}

impl From<Option<String>> for Value<'_> {
    fn from(text: Option<String>) -> Self {
        Self::Text(text.map(Cow::Owned))
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(text: Option<&'a str>) -> Self {
        Self::Text(text.map(Cow::Borrowed))
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Self::Number(Some(number.into()))
    }
}

impl From<u16> for Value<'_> {
    fn from(number: u16) -> Self {
        Self::Number(Some(number.into()))
    }
}

impl<'a> Statement<'a> {
    /// A statement of this text, whose places are `$1` and so on.
    pub(in super::super) fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), values: Vec::new(), is_numbered: true }
    }

    /// No statement yet.
    pub(super) fn empty() -> Self {
        Self { is_numbered: false, ..Self::new("") }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// How many values it has.
    pub(super) fn values(&self) -> usize {
        self.values.len()
    }

    /// Gives the next place its value.
    pub(in super::super) fn bind(mut self, value: impl Into<Value<'a>>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Adds text.
    pub(in super::super) fn push(&mut self, text: &str) -> &mut Self {
        self.text.to_mut().push_str(text);
        self
    }

    /// Adds a place and its value.
    pub(in super::super) fn push_bind(&mut self, value: impl Into<Value<'a>>) -> &mut Self {
        self.values.push(value.into());
        let text = self.text.to_mut();
        match self.is_numbered {
            // Writing into a string never fails.
            true => write!(text, "${}", self.values.len()).unwrap_or_default(),
            false => text.push('?'),
        }
        self
    }

    /// Adds `VALUES (…), (…)` with all values of each row.
    pub(in super::super) fn push_rows(&mut self, rows: Vec<Vec<Value<'a>>>) {
        for (place, row) in rows.into_iter().enumerate() {
            self.push(if place == 0 { "VALUES (" } else { ", (" });
            let mut values = Values { statement: self, is_first: true };
            row.into_iter().for_each(|value| values.push_bind(value));
            self.push(")");
        }
    }

    pub(super) fn for_sqlite(self) -> Query<'static, Sqlite, SqliteArguments> {
        let Self { text, values, is_numbered: _ } = self;
        values.into_iter().fold(sqlx::query(safe(text)), |query, value| match value {
            Value::Text(text) => query.bind(text.map(Cow::into_owned)),
            Value::Number(number) => query.bind(number),
            Value::Body(text) => query.bind(text.into_owned()),
        })
    }

    pub(super) fn for_postgres(self) -> Query<'static, Postgres, PgArguments> {
        let Self { text, values, is_numbered: _ } = self;
        values.into_iter().fold(sqlx::query(safe(text)), |query, value| match value {
            Value::Text(text) => query.bind(text.map(without_zero)),
            Value::Number(number) => query.bind(number),
            Value::Body(text) => query.bind(text.into_owned().into_bytes()),
        })
    }
}

impl Statement<'static> {
    /// Adds a statement behind those that are here, whose places become ones without a number: the values follow each other.
    pub(super) fn append(&mut self, other: Statement<'_>) {
        let Statement { text: other, values, is_numbered } = other;
        let text = self.text.to_mut();
        if !text.is_empty() {
            text.push_str("; ");
        }
        if !is_numbered {
            text.push_str(&other);
            self.values.extend(values.into_iter().map(Value::into_owned));
            return;
        }
        let (mut rest, mut is_quoted) = (&*other, false);
        while let Some(at) = rest.find(['$', '\'']) {
            let (before, from) = rest.split_at(at);
            text.push_str(before);
            let digits = from[1..].bytes().take_while(u8::is_ascii_digit).count();
            let place: Option<usize> = from[1..=digits].parse().ok().filter(|_| !is_quoted && from.starts_with('$'));
            if let Some(place) = place {
                let value = place.checked_sub(1).and_then(|place| values.get(place)).cloned();
                self.values.push(value.map_or(Value::Number(None), Value::into_owned));
                text.push('?');
                rest = &from[1 + digits..];
            } else {
                // What stands in quotes is text, and so is a `$` without a number.
                is_quoted ^= from.starts_with('\'');
                text.push_str(&from[..1]);
                rest = &from[1..];
            }
        }
        text.push_str(rest);
    }
}

/// All text comes from this module's callers, and every value is bound.
fn safe(text: Cow<'static, str>) -> sqlx::SqlStr {
    match text {
        Cow::Borrowed(text) => text.into_sql_str(),
        Cow::Owned(text) => AssertSqlSafe(text).into_sql_str(),
    }
}

fn without_zero(text: Cow<'_, str>) -> String {
    if text.contains('\0') { text.replace('\0', INSTEAD_OF_ZERO) } else { text.into_owned() }
}

/// The values of one row, in the order of the columns.
pub(in super::super) struct Values<'s, 'a> {
    statement: &'s mut Statement<'a>,
    is_first: bool,
}

impl<'a> Values<'_, 'a> {
    /// Adds the value of the next column.
    pub(in super::super) fn push_bind(&mut self, value: impl Into<Value<'a>>) {
        if !std::mem::take(&mut self.is_first) {
            self.statement.push(", ");
        }
        self.statement.push_bind(value);
    }
}

impl Connection {
    /// Runs `<head> VALUES (…), (…) <tail>` over all rows, and says how many rows it changed.
    pub(in super::super) async fn write_rows<'a, T>(
        &mut self,
        parts: (&'static str, &'static str),
        rows: &'a [T],
        bind: impl Fn(&mut Values<'_, 'a>, &'a T),
    ) -> Result<u64, sqlx::Error> {
        let mut changed = 0;
        for chunk in rows.chunks(STATEMENT_ROWS_MAX) {
            let statement = self.of_rows(parts, chunk, &bind);
            changed += self.execute(statement).await?;
        }
        Ok(changed)
    }

    /// Reads the one whole number that a statement gives, then does the same with one row or more.
    pub(in super::super) async fn write_rows_after<'a, T>(
        &mut self,
        number: Statement<'_>,
        parts: (&'static str, &'static str),
        rows: &'a [T],
        bind: impl Fn(&mut Values<'_, 'a>, &'a T),
    ) -> Result<(i64, u64), sqlx::Error> {
        let (first, others) = rows.split_at(rows.len().min(STATEMENT_ROWS_MAX));
        let first = self.of_rows(parts, first, &bind);
        let (number, changed) = self.number_before(number, first).await?;
        Ok((number, changed + self.write_rows(parts, others, bind).await?))
    }

    /// The same where nobody has to know that at once: it is done before whatever comes next.
    pub(in super::super) async fn put_off_rows<'a, T>(
        &mut self,
        parts: (&'static str, &'static str),
        rows: &'a [T],
        bind: impl Fn(&mut Values<'_, 'a>, &'a T),
    ) -> Result<(), sqlx::Error> {
        for chunk in rows.chunks(STATEMENT_ROWS_MAX) {
            let statement = self.of_rows(parts, chunk, &bind);
            self.put_off(statement).await?;
        }
        Ok(())
    }

    fn of_rows<'a, T>(
        &self,
        (head, tail): (&'static str, &'static str),
        rows: &'a [T],
        bind: &impl Fn(&mut Values<'_, 'a>, &'a T),
    ) -> Statement<'a> {
        let mut statement = Statement { is_numbered: self.is_shared(), ..Statement::new(head) };
        for (place, row) in rows.iter().enumerate() {
            statement.push(if place == 0 { "VALUES (" } else { ", (" });
            bind(&mut Values { statement: &mut statement, is_first: true }, row);
            statement.push(")");
        }
        statement.push(tail);
        statement
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Execute as _;

    use super::*;

    #[test]
    fn places_are_numbered_in_the_order_of_their_values() {
        let mut statement = Statement::new("SELECT ");
        statement.push_bind("a").push(", ").push_bind(7_u32);
        assert_eq!((statement.text.as_ref(), statement.values.len()), ("SELECT $1, $2", 2));
        assert_eq!(statement.for_postgres().sql().as_str(), "SELECT $1, $2");
    }

    #[test]
    fn the_places_of_a_statement_behind_others_follow_each_other_and_what_is_quoted_is_no_place() {
        let mut together = Statement::empty();
        let update = "UPDATE t SET a = $2, b = '$1' || '''$1', c = $2 WHERE d = $1";
        together.append(Statement::new(update).bind("d").bind(7_u32));
        together.append(Statement::new("SELECT $1 || '$.x' || $ || '§'").bind("e"));
        let text = "UPDATE t SET a = ?, b = '$1' || '''$1', c = ? WHERE d = ?; SELECT ? || '$.x' || $ || '§'";
        assert_eq!(together.text, text);
        let said = |value: &Value<'_>| match value {
            Value::Text(Some(text)) => text.to_string(),
            Value::Number(Some(number)) => number.to_string(),
            _ => "nothing".to_owned(),
        };
        assert_eq!(together.values.iter().map(said).collect::<Vec<_>>(), ["7", "7", "d", "e"]);
    }

    #[test]
    fn a_zero_byte_in_a_text_fails_nobody() {
        assert_eq!(without_zero(Cow::Borrowed("a\0b")), "a\u{fffd}b");
        assert_eq!(without_zero(Cow::Borrowed("plain")), "plain");
    }
}
