//! Trees of values as JSON through serde: for tests, tools and stored records, off the request path.

use serde::de::{DeserializeSeed, Deserializer, Error};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::decode::ValueSeed;
use super::problems::ValueProblems;
use crate::item_builder::ItemBuilder;
use crate::number::Number;
use crate::value::AttributeValue;

/// The name under which a single value is built.
const NAME: &str = "value";

impl Serialize for AttributeValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_key(self.type_name())?;
        match self {
            Self::S(text) => map.serialize_value(text)?,
            Self::N(number) => map.serialize_value(&number.to_string())?,
            Self::B(bytes) => map.serialize_value(&STANDARD.encode(bytes))?,
            Self::Bool(value) => map.serialize_value(value)?,
            Self::Null => map.serialize_value(&true)?,
            Self::L(elements) => map.serialize_value(elements)?,
            Self::M(attributes) => map.serialize_value(attributes)?,
            Self::SS(set) => map.serialize_value(set)?,
            Self::NS(set) => {
                map.serialize_value(&set.iter().map(Number::to_string).collect::<Vec<_>>())?;
            }
            Self::BS(set) => {
                map.serialize_value(&set.iter().map(|b| STANDARD.encode(b)).collect::<Vec<_>>())?;
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for AttributeValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let problems = ValueProblems::new();
        let mut builder = ItemBuilder::new();
        builder.name(NAME).expect("the name is short");
        ValueSeed::new(&mut builder, &problems).deserialize(deserializer)?;
        if let Some(problem) = problems.take_validation() {
            return Err(D::Error::custom(problem.error.message));
        }
        let built = builder.finish().map_err(D::Error::custom)?;
        Ok(built.view().get(NAME).expect("the value was built under its name").to_value())
    }
}
