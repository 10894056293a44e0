//! Reading a request's JSON body, without a tree between: strings are borrowed from it, items go
//! straight into their encoded form, duplicate members are refused, unknown ones skipped.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::constraint;
use crate::error::ApiError;
use crate::item_builder::ItemBuilder;
use crate::json::{ItemSeed, ValueProblem, ValueProblems, ValueSeed, truth_of};
use crate::operation::EncodedItem;
use crate::value::AttributeValue;

/// The first attribute value in a body that DynamoDB refuses: reported after the constraints on members.
#[derive(Debug)]
#[must_use]
pub(super) struct RefusedValue(Option<ValueProblem>);

impl RefusedValue {
    /// Refuses the value, if there was one.
    ///
    /// # Errors
    /// `ValidationException`.
    pub(super) fn check(self) -> Result<(), ApiError> {
        self.0.map_or(Ok(()), |problem| Err(problem.error))
    }

    /// The same as `PutItem`, `UpdateItem` and `DeleteItem` word it.
    ///
    /// # Errors
    /// `ValidationException`.
    pub(super) fn check_in_write(self) -> Result<(), ApiError> {
        self.0.map_or(Ok(()), |problem| {
            Err(if problem.enveloped { constraint::enveloped(problem.error) } else { problem.error })
        })
    }
}

/// Reads a whole body.
///
/// # Errors
/// `SerializationException` when it is not the JSON of a `T`.
pub(super) fn read<'a, T: Member<'a>>(bytes: &'a [u8]) -> Result<(T, RefusedValue), ApiError> {
    let problems = ValueProblems::new();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let parsed = T::read(&mut deserializer, &problems);
    match parsed.and_then(|body| deserializer.end().map(|()| body)) {
        Ok(body) => Ok((body, RefusedValue(problems.take_validation()))),
        Err(error) => Err(problems.take_serialization().unwrap_or_else(|| malformed(&error))),
    }
}

/// DynamoDB tells nothing about JSON that does not parse, and something about members of the wrong
/// type.
fn malformed(error: &serde_json::Error) -> ApiError {
    if !error.is_data() {
        return ApiError::serialization("");
    }
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _position)| text);
    ApiError::serialization(type_mismatch(text).unwrap_or_else(|| text.to_owned()))
}

/// Rewords serde's "invalid type: integer `5`, expected a string" as DynamoDB's "NUMBER_VALUE cannot
/// be converted to String".
fn type_mismatch(text: &str) -> Option<String> {
    let (found, expected) = text.strip_prefix("invalid type: ")?.split_once(", expected ")?;
    let found = match found.split([' ', '`']).next()? {
        "integer" => "NUMBER_VALUE",
        "floating" => "DECIMAL_VALUE",
        "string" => "STRING_VALUE",
        "boolean" if found.contains("true") => "TRUE_VALUE",
        "boolean" => "FALSE_VALUE",
        "map" => return Some("Start of structure or map found where not expected".to_owned()),
        "sequence" => return Some("Unrecognized collection type".to_owned()),
        _ => return None,
    };
    let expected = match expected {
        "a string" => "String",
        "a boolean" => "Boolean",
        "an integer" => "Integer",
        _ => return Some("Unexpected field type".to_owned()),
    };
    Some(format!("{found} cannot be converted to {expected}"))
}

/// What can stand as a member of a body.
pub(super) trait Member<'de>: Sized {
    /// Reads it; attribute values that DynamoDB refuses go to `problems`.
    fn read<D: Deserializer<'de>>(deserializer: D, problems: &ValueProblems) -> Result<Self, D::Error>;
}

/// Reads a `T` where serde wants a seed.
pub(super) struct MemberSeed<'p, T>(&'p ValueProblems, PhantomData<T>);

impl<'p, T> MemberSeed<'p, T> {
    pub(super) const fn new(problems: &'p ValueProblems) -> Self {
        Self(problems, PhantomData)
    }
}

impl<'de, T: Member<'de>> DeserializeSeed<'de> for MemberSeed<'_, T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        T::read(deserializer, self.0)
    }
}

/// Declares a structure of a body: every member is optional, absent and `null` are the same.
macro_rules! body {
    ($(#[$meta:meta])* $vis:vis struct $name:ident<$life:lifetime> {
        $($field:ident: $type:ty = $key:literal,)*
    }) => {
        $(#[$meta])*
        #[derive(Debug)]
        $vis struct $name<$life> { $(pub(super) $field: Option<$type>,)* }

        impl<$life> $crate::api::body::Member<$life> for $name<$life> {
            $crate::api::body::body!(@read $life, $name<$life>, $name, $($field: $type = $key,)*);
        }
    };
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($field:ident: $type:ty = $key:literal,)*
    }) => {
        $(#[$meta])*
        #[derive(Debug)]
        $vis struct $name { $(pub(super) $field: Option<$type>,)* }

        impl<'body> $crate::api::body::Member<'body> for $name {
            $crate::api::body::body!(@read 'body, $name, $name, $($field: $type = $key,)*);
        }
    };
    (@read $life:lifetime, $whole:ty, $name:ident, $($field:ident: $type:ty = $key:literal,)*) => {
        fn read<D: serde::de::Deserializer<$life>>(
            deserializer: D,
            problems: &$crate::json::ValueProblems,
        ) -> Result<Self, D::Error> {
            struct Members<'p>(&'p $crate::json::ValueProblems);

            impl<$life> serde::de::Visitor<$life> for Members<'_> {
                type Value = $whole;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("a structure")
                }

                fn visit_map<A: serde::de::MapAccess<$life>>(
                    self,
                    mut members: A,
                ) -> Result<Self::Value, A::Error> {
                    $(let mut $field: Option<Option<$type>> = None;)*
                    while let Some(key) =
                        members.next_key_seed($crate::api::body::MemberSeed::<
                            $crate::api::body::Text<$life>,
                        >::new(self.0))?
                    {
                        match &*key {
                            $($key => {
                                if $field.is_some() {
                                    return Err(serde::de::Error::duplicate_field($key));
                                }
                                let seed =
                                    $crate::api::body::MemberSeed::<Option<$type>>::new(self.0);
                                $field = Some(members.next_value_seed(seed)?);
                            })*
                            _ => {
                                members.next_value::<serde::de::IgnoredAny>()?;
                            }
                        }
                    }
                    Ok($name { $($field: $field.flatten(),)* })
                }
            }

            deserializer.deserialize_map(Members(problems))
        }
    };
}
pub(super) use body;

/// A string of the body, borrowed unless it holds escapes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de> Member<'de> for Text<'de> {
    fn read<D: Deserializer<'de>>(deserializer: D, _: &ValueProblems) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }

        deserializer.deserialize_str(TextVisitor).map(Self)
    }
}

/// An integer member. DynamoDB cuts a fraction off and saturates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Integer(pub(super) i64);

impl<'de> Member<'de> for Integer {
    fn read<D: Deserializer<'de>>(deserializer: D, _: &ValueProblems) -> Result<Self, D::Error> {
        struct IntegerVisitor;

        impl Visitor<'_> for IntegerVisitor {
            type Value = i64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer")
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<i64, E> {
                Ok(value)
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<i64, E> {
                Ok(i64::try_from(value).unwrap_or(i64::MAX))
            }

            #[expect(clippy::cast_possible_truncation, reason = "truncation and saturation are the rule")]
            fn visit_f64<E: Error>(self, value: f64) -> Result<i64, E> {
                Ok(value as i64)
            }
        }

        deserializer.deserialize_any(IntegerVisitor).map(Self)
    }
}

impl<'de> Member<'de> for bool {
    fn read<D: Deserializer<'de>>(deserializer: D, _: &ValueProblems) -> Result<Self, D::Error> {
        struct BoolVisitor;

        impl Visitor<'_> for BoolVisitor {
            type Value = bool;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a boolean")
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
                Ok(value)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<bool, E> {
                truth_of(text).ok_or_else(|| E::custom("Unexpected token received from parser"))
            }
        }

        deserializer.deserialize_any(BoolVisitor)
    }
}

/// A member that is read only to know that it is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Anything;

impl<'de> Member<'de> for Anything {
    fn read<D: Deserializer<'de>>(deserializer: D, _: &ValueProblems) -> Result<Self, D::Error> {
        serde::de::Deserialize::deserialize(deserializer).map(|IgnoredAny| Self)
    }
}

impl<'de, T: Member<'de>> Member<'de> for Option<T> {
    fn read<D: Deserializer<'de>>(deserializer: D, problems: &ValueProblems) -> Result<Self, D::Error> {
        struct OptionVisitor<'p, T>(&'p ValueProblems, PhantomData<T>);

        impl<'de, T: Member<'de>> Visitor<'de> for OptionVisitor<'_, T> {
            type Value = Option<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member or null")
            }

            fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
                Ok(None)
            }

            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(None)
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
                T::read(deserializer, self.0).map(Some)
            }
        }

        deserializer.deserialize_option(OptionVisitor(problems, PhantomData))
    }
}

impl<'de, T: Member<'de>> Member<'de> for Vec<T> {
    fn read<D: Deserializer<'de>>(deserializer: D, problems: &ValueProblems) -> Result<Self, D::Error> {
        struct VecVisitor<'p, T>(&'p ValueProblems, PhantomData<T>);

        impl<'de, T: Member<'de>> Visitor<'de> for VecVisitor<'_, T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(element) = elements.next_element_seed(MemberSeed::new(self.0))? {
                    list.push(element);
                }
                Ok(list)
            }
        }

        deserializer.deserialize_seq(VecVisitor(problems, PhantomData))
    }
}

impl<'de, T: Member<'de>> Member<'de> for BTreeMap<String, T> {
    fn read<D: Deserializer<'de>>(deserializer: D, problems: &ValueProblems) -> Result<Self, D::Error> {
        struct MapVisitor<'p, T>(&'p ValueProblems, PhantomData<T>);

        impl<'de, T: Member<'de>> Visitor<'de> for MapVisitor<'_, T> {
            type Value = BTreeMap<String, T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                let mut map = BTreeMap::new();
                while let Some(key) = members.next_key::<String>()? {
                    let value = members.next_value_seed(MemberSeed::new(self.0))?;
                    if map.insert(key, value).is_some() {
                        return Err(A::Error::custom("duplicate key in a map"));
                    }
                }
                Ok(map)
            }
        }

        deserializer.deserialize_map(MapVisitor(problems, PhantomData))
    }
}

impl<'de> Member<'de> for String {
    fn read<D: Deserializer<'de>>(deserializer: D, problems: &ValueProblems) -> Result<Self, D::Error> {
        Text::read(deserializer, problems).map(|Text(text)| text.into_owned())
    }
}

/// An item, a key, or expression values.
impl<'de> Member<'de> for EncodedItem {
    fn read<D: Deserializer<'de>>(deserializer: D, problems: &ValueProblems) -> Result<Self, D::Error> {
        ItemSeed::new(problems).deserialize(deserializer)
    }
}

/// A single value, as the older parameters have them.
impl<'de> Member<'de> for AttributeValue {
    fn read<D: Deserializer<'de>>(deserializer: D, problems: &ValueProblems) -> Result<Self, D::Error> {
        const NAME: &str = "value";
        let mut builder = ItemBuilder::new();
        builder.name(NAME).expect("the name is short");
        ValueSeed::new(&mut builder, problems).deserialize(deserializer)?;
        let item = builder.finish().expect("one attribute has no equal");
        Ok(item.view().get(NAME).expect("the value was written").to_value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    body! {
        struct Sample<'a> {
            name: Text<'a> = "Name",
            limit: Integer = "Limit",
            flag: bool = "Flag",
            list: Vec<Text<'a>> = "List",
            item: EncodedItem = "Item",
        }
    }

    fn refusal(json: &str) -> ApiError {
        read::<Sample<'_>>(json.as_bytes()).expect_err(json)
    }

    #[test]
    fn members_are_read_and_unknown_ones_skipped() {
        let json = r#"{"Name":"n","Other":{"x":[1]},"Limit":2.9,"Flag":true,"List":["a\n"],
                       "Item":{"k":{"S":"v"}}}"#;
        let (body, refused) = read::<Sample<'_>>(json.as_bytes()).unwrap();

        assert_eq!(refused.check(), Ok(()));
        assert!(matches!(body.name, Some(Text(Cow::Borrowed("n")))));
        assert_eq!(body.limit, Some(Integer(2)));
        assert_eq!(body.flag, Some(true));
        assert_eq!(body.list.unwrap()[0].0, "a\n");
        assert_eq!(body.item.unwrap().view().get("k").unwrap().as_str(), Some("v"));
    }

    #[test]
    fn a_null_member_is_an_absent_one() {
        let (body, _) = read::<Sample<'_>>(br#"{"Name":null,"Item":null}"#).unwrap();
        assert!(body.name.is_none() && body.item.is_none());
    }

    #[test]
    fn wrong_types_and_duplicates_are_serialization_exceptions() {
        for (json, message) in [
            ("{", ""),
            ("[]", "Unrecognized collection type"),
            (r#"{"Name":1}"#, "NUMBER_VALUE cannot be converted to String"),
            (r#"{"Limit":"1"}"#, "STRING_VALUE cannot be converted to Integer"),
            (r#"{"Flag":1}"#, "NUMBER_VALUE cannot be converted to Boolean"),
            (r#"{"Name":"a","Name":"b"}"#, "duplicate field `Name`"),
        ] {
            assert_eq!(refusal(json), ApiError::serialization(message), "{json}");
        }
    }

    #[test]
    fn a_refused_value_does_not_hide_malformed_json_after_it() {
        let json = r#"{"Item":{"k":{"N":"x"}}}"#;
        let (_, refused) = read::<Sample<'_>>(json.as_bytes()).unwrap();
        assert_eq!(refused.check().unwrap_err().kind, ErrorKind::Validation);

        assert_eq!(refusal(r#"{"Item":{"k":{"N":"x"}}"#).kind, ErrorKind::Serialization);
    }
}
