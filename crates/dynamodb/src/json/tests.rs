use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;
use crate::operation::EncodedItem;
use crate::value::{AttributeValue, Item, arbitrary};

fn json_of(item: &EncodedItem) -> Vec<u8> {
    let mut json = Vec::new();
    write_item(item.view(), &mut json);
    json
}

fn refused(json: &str) -> (ErrorKind, String) {
    match decode_item(json.as_bytes()) {
        Ok(item) => panic!("{json} was read as {:?}", item.decode()),
        Err(error) => (error.kind, error.message.into_owned()),
    }
}

proptest! {
    #[test]
    fn reading_what_was_written_gives_the_item_back(item in arbitrary::item()) {
        let encoded = EncodedItem::encode(&item);
        prop_assert_eq!(decode_item(&json_of(&encoded)), Ok(encoded));
    }

    #[test]
    fn another_writer_and_another_reader_agree(item in arbitrary::item()) {
        let encoded = EncodedItem::encode(&item);
        let ours: serde_json::Value = serde_json::from_slice(&json_of(&encoded)).unwrap();
        prop_assert_eq!(&ours, &serde_json::to_value(&item).unwrap());
        prop_assert_eq!(serde_json::from_value::<Item>(ours).unwrap(), item);
    }

    #[test]
    fn damaged_json_is_read_or_refused(
        item in arbitrary::item(),
        at in any::<prop::sample::Index>(),
        byte in prop_oneof![Just(b'"'), Just(b'{'), Just(b']'), Just(b'S'), Just(b'N'), any::<u8>()],
    ) {
        let mut json = json_of(&EncodedItem::encode(&item));
        let at = at.index(json.len());
        json[at] = byte;
        if let Ok(read) = decode_item(&json) {
            prop_assert_eq!(EncodedItem::parse(read.0.clone()), Ok(read));
        }
    }
}

#[test]
fn every_type_is_read_into_its_value() {
    let json = r#"{"s":{"S":"\u00e9\n"},"n":{"N":"1.50"},"b":{"B":"AP8="},"t":{"BOOL":true},"f":{"BOOL":"no"},
        "z":{"NULL":true},"l":{"L":[{"S":""},{"L":[]}]},"m":{"M":{"y":{"N":"1"},"x":{"M":{}}}},
        "ss":{"SS":["b","a"]},"ns":{"NS":["2","1"]},"bs":{"BS":["AQ==","AA=="]},"o":{"S":null,"N":"3"}}"#;
    let read = decode_item(json.as_bytes()).unwrap().decode();
    let expected: [(&str, AttributeValue); 12] = [
        ("s", "é\n".into()),
        ("n", AttributeValue::N("1.5".parse().unwrap())),
        ("b", AttributeValue::B(vec![0, 255])),
        ("t", true.into()),
        ("f", false.into()),
        ("z", AttributeValue::Null),
        ("l", AttributeValue::L(vec!["".into(), AttributeValue::L(vec![])])),
        (
            "m",
            AttributeValue::M(Item::from([
                ("x".into(), AttributeValue::M(Item::new())),
                ("y".into(), 1.into()),
            ])),
        ),
        ("ss", AttributeValue::string_set(["a", "b"])),
        ("ns", AttributeValue::number_set([1_i64.into(), 2_i64.into()])),
        ("bs", AttributeValue::binary_set([vec![0], vec![1]])),
        ("o", 3.into()),
    ];
    assert_eq!(read, expected.into_iter().map(|(name, value)| (name.into(), value)).collect());
}

#[test]
fn refused_values_are_validation_exceptions_in_dynamodbs_words() {
    let invalid = "One or more parameter values were invalid: ";
    let empty = "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes";
    let several = "Supplied AttributeValue has more than one datatypes set, must contain exactly one \
                   of the supported datatypes";
    for (value, message) in [
        ("{}", empty.to_owned()),
        (r#"{"X":1}"#, empty.to_owned()),
        (r#"{"S":null}"#, empty.to_owned()),
        ("null", empty.to_owned()),
        (r#"{"S":"a","N":"1"}"#, several.to_owned()),
        (r#"{"NULL":false}"#, format!("{invalid}Null attribute value types must have the value of true")),
        (r#"{"SS":[]}"#, format!("{invalid}An string set  may not be empty")),
        (r#"{"NS":[]}"#, format!("{invalid}An number set  may not be empty")),
        (r#"{"BS":[]}"#, format!("{invalid}Binary sets should not be empty")),
        (r#"{"SS":["b","a","b"]}"#, format!("{invalid}Input collection [b, a, b] contains duplicates.")),
        (r#"{"NS":["1","1.0"]}"#, format!("{invalid}Input collection contains duplicates.")),
        (r#"{"N":"x"}"#, "The parameter cannot be converted to a numeric value: x".to_owned()),
        (r#"{"L":[{"M":{"":{"S":"a"}}}]}"#, "Empty attribute name".to_owned()),
    ] {
        assert_eq!(refused(&format!(r#"{{"a":{value}}}"#)), (ErrorKind::Validation, message));
    }
}

#[test]
fn wrong_json_types_are_serialization_exceptions() {
    for (value, message) in [
        (r#"{"S":1}"#, "NUMBER_VALUE cannot be converted to String"),
        (r#"{"N":1.5}"#, "DECIMAL_VALUE cannot be converted to String"),
        (r#"{"S":true}"#, "TRUE_VALUE cannot be converted to String"),
        (r#"{"S":["a"]}"#, "Unrecognized collection type class java.lang.String"),
        (r#"{"S":{"a":1}}"#, "Start of structure or map found where not expected"),
        (r#"{"BOOL":1}"#, "NUMBER_VALUE cannot be converted to Boolean"),
        (r#"{"BOOL":"maybe"}"#, "Unexpected token received from parser"),
        (r#"{"SS":"a"}"#, "Unexpected field type"),
        (r#"{"M":[]}"#, "Unexpected field type"),
        (r#""text""#, "Unexpected value type in payload"),
        (r#"{"B":"====="}"#, "Invalid Base64 in a binary value"),
    ] {
        let expected = (ErrorKind::Serialization, message.to_owned());
        assert_eq!(refused(&format!(r#"{{"a":{value}}}"#)), expected);
    }
    for json in ["", "[]", "7", "{", r#"{"a":{"S":"x"}"#, r#"{"a":{"S":"x"},"a":{"S":"y"}}"#] {
        assert_eq!(decode_item(json.as_bytes()).unwrap_err().kind, ErrorKind::Serialization, "{json}");
    }
}

#[test]
fn a_body_that_is_no_json_further_on_is_refused_for_that_first() {
    let (kind, _) = refused(r#"{"a":{"N":"x"},"b":{"S":1}}"#);
    assert_eq!(kind, ErrorKind::Serialization);
}

#[test]
fn thirty_two_levels_of_nesting_are_allowed_and_no_more() {
    let nested = |levels: usize| {
        let open = r#"{"L":["#.repeat(levels - 1);
        format!(r#"{{"a":{open}{{"S":"x"}}{}}}"#, "]}".repeat(levels - 1))
    };
    assert!(decode_item(nested(32).as_bytes()).is_ok());
    for levels in [33, 60, 5000] {
        let (kind, message) = refused(&nested(levels));
        assert_eq!(kind, ErrorKind::Validation, "{levels}");
        assert!(message.starts_with("Nesting Levels have exceeded supported limits"), "{message}");
    }
}

#[test]
fn long_binaries_are_read_as_short_ones_are() {
    let item = Item::from([("b".into(), AttributeValue::B((0..=255).cycle().take(5000).collect()))]);
    let encoded = EncodedItem::encode(&item);
    assert_eq!(decode_item(&json_of(&encoded)), Ok(encoded));
}

#[test]
fn every_byte_that_needs_an_escape_is_escaped_wherever_it_stands() {
    let special = (0..0x20).chain([b'"', b'\\']).map(char::from);
    for (special, before) in special.flat_map(|special| [0, 1, 15, 31, 32, 33, 70].map(|n| (special, n))) {
        let text = format!("{}{special}{}", "a".repeat(before), "é".repeat(20));
        let mut written = Vec::new();
        write_string(&text, &mut written);
        assert!(written.iter().all(|byte| *byte >= 0x20));
        assert_eq!(serde_json::from_slice::<String>(&written).unwrap(), text);
    }
}
