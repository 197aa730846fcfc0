//! Whether a typed object, written out again, is the document that it was read from. Nothing is written: each part is held against
//! the document as it comes.

use std::fmt;

use serde::ser::{self, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, Serializer};
use serde_yaml::{Number, Value};

use crate::release::Node;

/// The path of the first place where an object and the document differ.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference(String);

/// Holds an object against its document.
///
/// # Errors
/// They differ.
pub(super) fn compare<T: Serialize>(object: &T, document: &Node) -> Result<(), Difference> {
    object.serialize(Against(document))
}

impl Difference {
    /// The whole of what is looked at.
    const HERE: Self = Self(String::new());

    /// It as seen from the map or list that it is in.
    fn below(self, part: &str) -> Self {
        let Self(path) = self;
        let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
        Self(format!("{part}{dot}{path}"))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Difference {}

impl ser::Error for Difference {
    /// An object that cannot be written is not what was read either.
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// What an object must be.
#[derive(Clone, Copy)]
struct Against<'n>(&'n Node);

impl Against<'_> {
    fn must(self, is_same: impl FnOnce(&Node) -> bool) -> Result<(), Difference> {
        if is_same(self.0) { Ok(()) } else { Err(Difference::HERE) }
    }

    fn number(self, number: impl Into<Number>) -> Result<(), Difference> {
        let number = number.into();
        self.must(|node| matches!(node, Node::Number(other) if *other == number))
    }
}

/// What the entries of a map or a struct must be: each of these, once.
struct Entries<'n> {
    entries: &'n [(String, Node)],
    seen: Vec<bool>,
    /// The entry that most likely comes next, for the order is nearly always the same.
    next: usize,
    /// The first name that the document has not; one that only the document has is told before.
    missing: Option<String>,
}

impl<'n> Entries<'n> {
    fn of(node: &'n Node) -> Result<Self, Difference> {
        let Node::Map(entries) = node else { return Err(Difference::HERE) };
        Ok(Self { entries, seen: vec![false; entries.len()], next: 0, missing: None })
    }

    /// Finds the entry that is written next.
    fn find(&mut self, name: &str) {
        let (before, behind) = self.entries.split_at(self.next.min(self.entries.len()));
        let place = |entries: &[(String, Node)]| entries.iter().position(|(other, _)| other == name);
        let at = place(behind).map(|at| before.len() + at).or_else(|| place(before));
        self.next = at.unwrap_or(usize::MAX);
        if at.is_none() {
            self.missing.get_or_insert_with(|| name.to_owned());
        }
    }

    /// Holds a value against the entry that was found.
    fn hold<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Difference> {
        let Some((name, node)) = self.entries.get(self.next) else { return Ok(()) };
        value.serialize(Against(node)).map_err(|difference| difference.below(name))?;
        self.seen[self.next] = true;
        self.next += 1;
        Ok(())
    }

    fn all_seen(self) -> Result<(), Difference> {
        let surplus = self.entries.iter().zip(&self.seen).find(|(_, seen)| !**seen).map(|((name, _), _)| name);
        surplus.or(self.missing.as_ref()).map_or(Ok(()), |name| Err(Difference::HERE.below(name)))
    }
}

impl SerializeMap for Entries<'_> {
    type Ok = ();
    type Error = Difference;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Difference> {
        match serde_yaml::to_value(key) {
            Ok(Value::String(name)) => {
                self.find(&name);
                Ok(())
            }
            _ => Err(Difference::HERE),
        }
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Difference> {
        self.hold(value)
    }

    fn end(self) -> Result<(), Difference> {
        self.all_seen()
    }
}

impl SerializeStruct for Entries<'_> {
    type Ok = ();
    type Error = Difference;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Difference> {
        self.find(name);
        self.hold(value)
    }

    fn end(self) -> Result<(), Difference> {
        self.all_seen()
    }
}

/// What the items of a list must be, in this order.
struct Items<'n> {
    items: &'n [Node],
    next: usize,
}

impl SerializeSeq for Items<'_> {
    type Ok = ();
    type Error = Difference;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Difference> {
        let node = self.items.get(self.next).ok_or(Difference::HERE)?;
        item.serialize(Against(node)).map_err(|difference| difference.below(&format!("[{}]", self.next)))?;
        self.next += 1;
        Ok(())
    }

    fn end(self) -> Result<(), Difference> {
        if self.next == self.items.len() { Ok(()) } else { Err(Difference::HERE) }
    }
}

/// Methods for kinds of numbers.
macro_rules! numbers {
    ($($method:ident: $kind:ty),* $(,)?) => {
        $(fn $method(self, number: $kind) -> Result<(), Difference> {
            self.number(number)
        })*
    };
}

impl<'n> Serializer for Against<'n> {
    type Ok = ();
    type Error = Difference;
    type SerializeSeq = Items<'n>;
    type SerializeMap = Entries<'n>;
    type SerializeStruct = Entries<'n>;
    // No object has any of these.
    type SerializeTuple = Impossible<(), Difference>;
    type SerializeTupleStruct = Impossible<(), Difference>;
    type SerializeTupleVariant = Impossible<(), Difference>;
    type SerializeStructVariant = Impossible<(), Difference>;

    numbers! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_f32: f32, serialize_f64: f64,
    }

    fn serialize_bool(self, flag: bool) -> Result<(), Difference> {
        self.must(|node| matches!(node, Node::Bool(other) if *other == flag))
    }

    fn serialize_str(self, text: &str) -> Result<(), Difference> {
        self.must(|node| node.as_str() == Some(text))
    }

    fn serialize_char(self, c: char) -> Result<(), Difference> {
        self.serialize_str(c.encode_utf8(&mut [0; 4]))
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), Difference> {
        Err(Difference::HERE)
    }

    fn serialize_none(self) -> Result<(), Difference> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Difference> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Difference> {
        self.must(|node| *node == Node::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Difference> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Difference> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Difference> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Difference> {
        Err(Difference::HERE)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Items<'n>, Difference> {
        let Node::List(items) = self.0 else { return Err(Difference::HERE) };
        Ok(Items { items, next: 0 })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Entries<'n>, Difference> {
        Entries::of(self.0)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Entries<'n>, Difference> {
        Entries::of(self.0)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Difference> {
        Err(Difference::HERE)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Difference> {
        Err(Difference::HERE)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Difference> {
        Err(Difference::HERE)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Difference> {
        Err(Difference::HERE)
    }
}
