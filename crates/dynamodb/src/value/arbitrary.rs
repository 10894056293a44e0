//! Random values for property tests.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::{AttributeValue, Item};
use crate::number::Number;

/// A number of up to 38 digits anywhere in the range, small ones more often.
pub(crate) fn number() -> impl Strategy<Value = Number> {
    let wide = ("-?[1-9][0-9]{0,37}", -129_i64..=126).prop_map(|(digits, exponent)| {
        let (sign, digits) = match digits.strip_prefix('-') {
            Some(rest) => ("-", rest.to_owned()),
            None => ("", digits),
        };
        Number::parse(&format!("{sign}0.{digits}e{exponent}")).expect("in range")
    });
    prop_oneof![(-1000_i64..1000).prop_map(Number::from), wide]
}

/// Text with what JSON must escape, and with characters of more than one byte.
pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]{0,3}", "[\\x00-\\x1f\"\\\\/a\u{7f}\u{e9}\u{2028}\u{1F600}]{0,8}",]
}

/// A value of any type, nested up to four levels.
pub(crate) fn value() -> impl Strategy<Value = AttributeValue> {
    let scalar = prop_oneof![
        text().prop_map(AttributeValue::S),
        number().prop_map(AttributeValue::N),
        vec(any::<u8>(), 0..6).prop_map(AttributeValue::B),
        any::<bool>().prop_map(AttributeValue::Bool),
        Just(AttributeValue::Null),
        vec(text(), 1..4).prop_map(AttributeValue::string_set),
        vec(number(), 1..4).prop_map(AttributeValue::number_set),
        vec(vec(any::<u8>(), 0..4), 1..4).prop_map(AttributeValue::binary_set),
    ];
    scalar.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(AttributeValue::L),
            btree_map("[a-d]{1,2}", inner, 0..4).prop_map(AttributeValue::M),
        ]
    })
}

/// An item of up to five attributes.
pub(crate) fn item() -> impl Strategy<Value = Item> {
    btree_map("[a-d\u{e9}]{1,2}", value(), 0..6)
}
