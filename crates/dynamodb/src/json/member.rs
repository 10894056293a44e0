//! The content of one value, by its type.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::decode::{Attributes, ValueSeed, keep_build_error};
use super::problems::ValueProblems;
use crate::error::ApiError;
use crate::item_builder::{BuildError, ItemBuilder};
use crate::number::Number;
use crate::value::ValueKind;

const NULL_NOT_TRUE: &str =
    "One or more parameter values were invalid: Null attribute value types must have the value of true";
const STRUCTURE: &str = "Start of structure or map found where not expected";

/// The content of a value: the member whose name is its type. Answers whether there was any: a JSON
/// null counts as absent.
pub(super) struct Member<'b, 'p> {
    pub(super) kind: ValueKind,
    pub(super) builder: &'b mut ItemBuilder,
    pub(super) problems: &'p ValueProblems,
    pub(super) levels: usize,
}

impl<'de> DeserializeSeed<'de> for Member<'_, '_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Member<'_, '_> {
    fn truth(self, value: bool) {
        if self.kind == ValueKind::Bool {
            self.builder.bool(value);
            return;
        }
        if !value {
            self.problems.refuse(ApiError::validation(NULL_NOT_TRUE), true);
        }
        self.builder.null();
    }

    /// What a number, a boolean or a string of the wrong sort is answered with.
    fn wrong<E: Error>(self, as_string: &'static str, as_boolean: &'static str) -> E {
        self.problems.malformed(match self.kind {
            ValueKind::S | ValueKind::N => as_string,
            ValueKind::B => "Unexpected token received from parser",
            ValueKind::Bool | ValueKind::Null => as_boolean,
            _ => "Unexpected field type",
        })
    }

    fn integer<E: Error>(self) -> Result<bool, E> {
        Err(self.wrong(
            "NUMBER_VALUE cannot be converted to String",
            "NUMBER_VALUE cannot be converted to Boolean",
        ))
    }
}

impl<'de> Visitor<'de> for Member<'_, '_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an attribute's content")
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<bool, E> {
        match self.kind {
            ValueKind::S => self.builder.string(text),
            ValueKind::N => self.builder.number(&number(text, self.problems)),
            ValueKind::B => {
                let mut bytes = [0; 128];
                let short = text.len() <= bytes.len();
                match short.then(|| STANDARD.decode_slice(text, &mut bytes)) {
                    Some(Ok(length)) => self.builder.binary(&bytes[..length]),
                    _ => self.builder.binary(&binary(text, self.problems)?),
                }
            }
            ValueKind::Bool | ValueKind::Null => match truth_of(text) {
                Some(value) => self.truth(value),
                None => return Err(self.problems.malformed("Unexpected token received from parser")),
            },
            _ => return Err(self.problems.malformed("Unexpected field type")),
        }
        Ok(true)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
        if matches!(self.kind, ValueKind::Bool | ValueKind::Null) {
            self.truth(value);
            return Ok(true);
        }
        let message = if value {
            "TRUE_VALUE cannot be converted to String"
        } else {
            "FALSE_VALUE cannot be converted to String"
        };
        Err(self.wrong(message, message))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<bool, E> {
        self.integer()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<bool, E> {
        self.integer()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<bool, E> {
        Err(self.wrong(
            "DECIMAL_VALUE cannot be converted to String",
            "DECIMAL_VALUE cannot be converted to Boolean",
        ))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<bool, A::Error> {
        let Self { kind, builder, problems, levels } = self;
        match kind {
            ValueKind::L => {
                builder.begin_list();
                let levels = levels - 1;
                while elements
                    .next_element_seed(ValueSeed { builder: &mut *builder, problems, levels })?
                    .is_some()
                {}
                builder.end().expect("a list has no keys");
            }
            ValueKind::SS | ValueKind::NS | ValueKind::BS => {
                builder.begin_set(kind);
                let mut empty = true;
                while elements
                    .next_element_seed(SetElement { kind, builder: &mut *builder, problems })?
                    .is_some()
                {
                    empty = false;
                }
                if empty {
                    problems.refuse(ApiError::validation(empty_set(kind)), true);
                }
                if let Err(BuildError::DuplicateElement(elements)) = builder.end() {
                    problems.refuse(ApiError::validation(duplicates(kind, &elements)), true);
                }
            }
            ValueKind::M => return Err(problems.malformed("Unexpected field type")),
            ValueKind::B => {
                return Err(problems.malformed("Unrecognized collection type class java.nio.ByteBuffer"));
            }
            ValueKind::S | ValueKind::N => {
                return Err(problems.malformed("Unrecognized collection type class java.lang.String"));
            }
            ValueKind::Bool | ValueKind::Null => {
                return Err(problems.malformed("Unrecognized collection type class java.lang.Boolean"));
            }
        }
        Ok(true)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<bool, A::Error> {
        let Self { kind, builder, problems, levels } = self;
        if kind != ValueKind::M {
            return Err(problems.malformed(STRUCTURE));
        }
        builder.begin_map();
        let attributes = Attributes { builder: &mut *builder, problems, levels: levels - 1 };
        attributes.visit_map(members)?;
        if let Err(error) = builder.end() {
            keep_build_error(&error, problems);
        }
        Ok(true)
    }
}

/// An element of a set, written to the builder as it is read.
struct SetElement<'b, 'p> {
    kind: ValueKind,
    builder: &'b mut ItemBuilder,
    problems: &'p ValueProblems,
}

impl<'de> DeserializeSeed<'de> for SetElement<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for SetElement<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an element of a set")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match self.kind {
            ValueKind::SS => self.builder.element(text.as_bytes()),
            ValueKind::NS => self.builder.element(number(text, self.problems).as_bytes()),
            _ => self.builder.element(&binary(text, self.problems)?),
        }
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        let message = "One or more parameter values were invalid: \
             An string set  may not have a null string as a member";
        self.problems.refuse(ApiError::validation(message), false);
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        Err(self.problems.malformed(if value {
            "TRUE_VALUE cannot be converted to String"
        } else {
            "FALSE_VALUE cannot be converted to String"
        }))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Err(self.problems.malformed("NUMBER_VALUE cannot be converted to String"))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Err(self.problems.malformed("NUMBER_VALUE cannot be converted to String"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Err(self.problems.malformed("DECIMAL_VALUE cannot be converted to String"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self.problems.malformed("Unrecognized collection type class java.lang.String"))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self.problems.malformed(STRUCTURE))
    }
}

/// The number that `text` is; zero, with the refusal kept, when it is none.
fn number(text: &str, problems: &ValueProblems) -> Number {
    Number::parse(text).unwrap_or_else(|error| {
        problems.refuse(error.into(), true);
        Number::ZERO
    })
}

fn binary<E: Error>(text: &str, problems: &ValueProblems) -> Result<Vec<u8>, E> {
    STANDARD.decode(text).map_err(|_| problems.malformed("Invalid Base64 in a binary value"))
}

/// The boolean that DynamoDB reads a string as.
pub(crate) fn truth_of(text: &str) -> Option<bool> {
    let is_any = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if is_any(&["true", "t", "yes", "y", "1"]) {
        Some(true)
    } else if is_any(&["false", "f", "no", "n", "0"]) {
        Some(false)
    } else {
        None
    }
}

const fn empty_set(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::SS => "One or more parameter values were invalid: An string set  may not be empty",
        ValueKind::NS => "One or more parameter values were invalid: An number set  may not be empty",
        _ => "One or more parameter values were invalid: Binary sets should not be empty",
    }
}

/// DynamoDB's words for a set whose `elements`, as sent, are not all different.
fn duplicates(kind: ValueKind, elements: &[Vec<u8>]) -> String {
    const INVALID: &str = "One or more parameter values were invalid: Input collection";
    match kind {
        ValueKind::SS => {
            let shown: Vec<_> = elements.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect();
            format!("{INVALID} [{}] contains duplicates.", shown.join(", "))
        }
        ValueKind::BS => {
            let shown: Vec<_> = elements.iter().map(|bytes| STANDARD.encode(bytes)).collect();
            format!("{INVALID} [{}]of type BS contains duplicates.", shown.join(", "))
        }
        _ => format!("{INVALID} contains duplicates."),
    }
}
