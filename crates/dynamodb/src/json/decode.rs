//! From JSON to encoded items, straight from the parser into the builder.

use std::fmt;

use serde::Deserialize as _;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::member::Member;
use super::problems::ValueProblems;
use crate::error::ApiError;
use crate::item_builder::{BuildError, ItemBuilder};
use crate::operation::EncodedItem;
use crate::value::ValueKind;

/// Levels of nesting that a value may have, itself counted: so many lists and maps less one.
pub(crate) const MAX_LEVELS: usize = 32;

/// Room that a builder starts with: a usual item fits.
const INITIAL_BYTES: usize = 256;

const TOO_DEEP: &str = "Nesting Levels have exceeded supported limits: \
     Attributes in the item have nested levels beyond supported limit";
const EMPTY_VALUE: &str =
    "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes";
const SEVERAL_TYPES: &str = "Supplied AttributeValue has more than one datatypes set, \
     must contain exactly one of the supported datatypes";

/// Decodes an item's JSON, the whole of `json`.
///
/// # Errors
/// `SerializationException`: not JSON, or not an item's; `ValidationException`: a value that DynamoDB refuses.
pub fn decode_item(json: &[u8]) -> Result<EncodedItem, ApiError> {
    let problems = ValueProblems::new();
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let parsed = ItemSeed::new(&problems).deserialize(&mut deserializer);
    problems.resolve(parsed.and_then(|item| deserializer.end().map(|()| item)))
}

/// Decodes one item (or a map of values, as `ExpressionAttributeValues` is) of a body.
///
/// When a value is refused, the answer is some item, and the refusal is in the [`ValueProblems`].
#[derive(Clone, Copy, Debug)]
pub struct ItemSeed<'p> {
    problems: &'p ValueProblems,
}

impl<'p> ItemSeed<'p> {
    /// A seed that keeps what is wrong in `problems`.
    #[must_use]
    pub const fn new(problems: &'p ValueProblems) -> Self {
        Self { problems }
    }
}

impl<'de> DeserializeSeed<'de> for ItemSeed<'_> {
    type Value = EncodedItem;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<EncodedItem, D::Error> {
        let mut builder = ItemBuilder::with_capacity(INITIAL_BYTES);
        let attributes = Attributes { builder: &mut builder, problems: self.problems, levels: MAX_LEVELS };
        deserializer.deserialize_any(attributes)?;
        match builder.finish() {
            Ok(item) => Ok(item),
            Err(error) => {
                keep_build_error(&error, self.problems);
                Ok(EncodedItem::empty())
            }
        }
    }
}

/// Decodes one value into a builder that waits for one: after a name, or in a list.
#[derive(Debug)]
pub struct ValueSeed<'b, 'p> {
    pub(super) builder: &'b mut ItemBuilder,
    pub(super) problems: &'p ValueProblems,
    /// Levels of nesting that are left, this value's included.
    pub(super) levels: usize,
}

impl<'b, 'p> ValueSeed<'b, 'p> {
    /// A seed for a value at the top: an attribute's.
    pub const fn new(builder: &'b mut ItemBuilder, problems: &'p ValueProblems) -> Self {
        Self { builder, problems, levels: MAX_LEVELS }
    }

    /// The value is wrong, but the builder needs one.
    fn refuse(self, message: &'static str, enveloped: bool) {
        self.problems.refuse(ApiError::validation(message), enveloped);
        self.builder.null();
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.levels == 0 {
            self.refuse(TOO_DEEP, true);
            // The parser skips what is ignored without recursion, however deep it is.
            return IgnoredAny::deserialize(deserializer).map(|_| ());
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an attribute value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Self { builder, problems, levels } = self;
        let mut written = false;
        while let Some(kind) = members.next_key_seed(KindSeed)? {
            let Some(kind) = kind else {
                members.next_value::<IgnoredAny>()?;
                continue;
            };
            if written {
                if members.next_value::<Option<IgnoredAny>>()?.is_some() {
                    problems.refuse(ApiError::validation(SEVERAL_TYPES), false);
                }
                continue;
            }
            written = members.next_value_seed(Member { kind, builder: &mut *builder, problems, levels })?;
        }
        if !written {
            ValueSeed { builder, problems, levels }.refuse(EMPTY_VALUE, false);
        }
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.refuse(EMPTY_VALUE, false);
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Err(self.problems.malformed("Unexpected value type in payload"))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Err(self.problems.malformed("Unexpected value type in payload"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Err(self.problems.malformed("Unexpected value type in payload"))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Err(self.problems.malformed("Unexpected value type in payload"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Err(self.problems.malformed("Unexpected value type in payload"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self
            .problems
            .malformed("Unrecognized collection type class com.amazonaws.dynamodb.v20120810.AttributeValue"))
    }
}

/// A member's name as a type, `None` for what is no type. Nothing is allocated.
struct KindSeed;

impl<'de> DeserializeSeed<'de> for KindSeed {
    type Value = Option<ValueKind>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KindSeed {
    type Value = Option<ValueKind>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an attribute type")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(ValueKind::from_name(name))
    }
}

/// The attributes of an item or of a map.
pub(super) struct Attributes<'b, 'p> {
    pub(super) builder: &'b mut ItemBuilder,
    pub(super) problems: &'p ValueProblems,
    /// Levels of nesting that the attributes' values may have.
    pub(super) levels: usize,
}

impl<'de> Visitor<'de> for Attributes<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of attribute values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut attributes: A) -> Result<(), A::Error> {
        let Self { builder, problems, levels } = self;
        while attributes.next_key_seed(Name { builder: &mut *builder, problems })?.is_some() {
            attributes.next_value_seed(ValueSeed { builder: &mut *builder, problems, levels })?;
        }
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Err(self.problems.malformed("Unexpected field type"))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Err(self.problems.malformed("Unexpected field type"))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Err(self.problems.malformed("Unexpected field type"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Err(self.problems.malformed("Unexpected field type"))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Err(self.problems.malformed("Unexpected field type"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Err(self.problems.malformed("Unexpected field type"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self.problems.malformed("Unrecognized collection type class java.util.HashMap"))
    }
}

/// An attribute's name, written to the builder as it is read.
struct Name<'b, 'p> {
    builder: &'b mut ItemBuilder,
    problems: &'p ValueProblems,
}

impl<'de> DeserializeSeed<'de> for Name<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an attribute name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<(), E> {
        if name.is_empty() {
            self.problems.refuse(ApiError::validation("Empty attribute name"), true);
        }
        if let Err(error) = self.builder.name(name) {
            self.problems.refuse(ApiError::validation(error.to_string()), true);
            // The value that follows needs a name; the item is refused anyway.
            self.builder.name("").expect("the empty name is short");
        }
        Ok(())
    }
}

pub(super) fn keep_build_error(error: &BuildError, problems: &ValueProblems) {
    problems.refuse(ApiError::serialization(error.to_string()), false);
}
