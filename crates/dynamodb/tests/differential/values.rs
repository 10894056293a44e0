//! Random attribute values, keys and items, from a small space so that they meet again.

use rand::Rng;
use serde_json::{Map, Value, json};

use crate::schema::Table;
use crate::{chance, pick};

const STRINGS: [&str; 9] = ["", "a", "b", "ab", "abc", "é", "10", "Z", "a\"b\\\n"];
const KEY_STRINGS: [&str; 6] = ["a", "b", "ab", "abc", "é", "Z"];
const NUMBERS: [&str; 12] = [
    "0",
    "1",
    "-1",
    "2",
    "10",
    "2.5",
    "-0.001",
    "1e3",
    "100",
    "1E-20",
    "123456789012345678901234567890",
    "7.10",
];
const KEY_NUMBERS: [&str; 8] = ["0", "1", "-1", "2.5", "10", "100", "1e2", "-20"];
const BINARIES: [&str; 5] = ["", "YQ==", "YWI=", "YWJj", "/w=="];
const KEY_BINARIES: [&str; 5] = ["YQ==", "YWI=", "YWJj", "/w==", "AA=="];

/// Attributes that items have; the last ones are reserved words or cannot be written without a placeholder.
pub(crate) const ATTRIBUTES: [&str; 12] =
    ["a", "b", "c", "d", "m", "l", "ss", "ns", "x1", "name", "size", "dotted.name"];

pub(crate) fn value(rng: &mut impl Rng, levels: u32) -> Value {
    let kinds = if levels == 0 { 8 } else { 10 };
    match rng.random_range(0..kinds) {
        0 | 1 => json!({ "S": pick(rng, &STRINGS) }),
        2 | 3 => json!({ "N": pick(rng, &NUMBERS) }),
        4 => json!({ "B": pick(rng, &BINARIES) }),
        5 => json!({ "BOOL": chance(rng, 50) }),
        6 => json!({ "NULL": true }),
        7 => set(rng),
        8 => {
            let length = rng.random_range(0..4);
            json!({ "L": (0..length).map(|_| value(rng, levels - 1)).collect::<Vec<_>>() })
        }
        _ => {
            let members = rng.random_range(0..3);
            let map: Map<String, Value> = (0..members)
                .map(|_| ((*pick(rng, &ATTRIBUTES)).to_owned(), value(rng, levels - 1)))
                .collect();
            json!({ "M": map })
        }
    }
}

/// A scalar that orders.
pub(crate) fn scalar(rng: &mut impl Rng) -> Value {
    match rng.random_range(0..5) {
        0 | 1 => json!({ "S": pick(rng, &STRINGS) }),
        2 | 3 => json!({ "N": pick(rng, &NUMBERS) }),
        _ => json!({ "B": pick(rng, &BINARIES) }),
    }
}

pub(crate) fn number(rng: &mut impl Rng) -> Value {
    json!({ "N": pick(rng, &NUMBERS) })
}

pub(crate) fn set(rng: &mut impl Rng) -> Value {
    fn some<'c>(rng: &mut impl Rng, all: &[&'c str]) -> Vec<&'c str> {
        let mut chosen: Vec<&str> = all.iter().copied().filter(|_| chance(rng, 40)).collect();
        if chosen.is_empty() {
            chosen.push(all[0]);
        }
        chosen
    }
    match rng.random_range(0..3) {
        0 => json!({ "SS": some(rng, &["a", "b", "c", "é"]) }),
        1 => json!({ "NS": some(rng, &["1", "2", "3.5", "-1"]) }),
        _ => json!({ "BS": some(rng, &["YQ==", "YWI=", "YWJj"]) }),
    }
}

pub(crate) fn key_value(rng: &mut impl Rng, kind: &str) -> Value {
    match kind {
        "S" => json!({ "S": pick(rng, &KEY_STRINGS) }),
        "N" => json!({ "N": pick(rng, &KEY_NUMBERS) }),
        _ => json!({ "B": pick(rng, &KEY_BINARIES) }),
    }
}

pub(crate) fn key(rng: &mut impl Rng, table: &Table) -> Map<String, Value> {
    table.keys().map(|(name, kind)| (name.to_owned(), key_value(rng, kind))).collect()
}

pub(crate) fn item(rng: &mut impl Rng, table: &Table) -> Map<String, Value> {
    let mut item = key(rng, table);
    for name in ATTRIBUTES {
        if chance(rng, 35) {
            let value = match name {
                "m" if chance(rng, 80) => {
                    let inner = rng.random_range(0..3);
                    let map: Map<String, Value> =
                        (0..inner).map(|_| ((*pick(rng, &ATTRIBUTES)).to_owned(), value(rng, 1))).collect();
                    json!({ "M": map })
                }
                "l" if chance(rng, 80) => {
                    let length = rng.random_range(0..4);
                    json!({ "L": (0..length).map(|_| value(rng, 1)).collect::<Vec<_>>() })
                }
                "ss" | "ns" if chance(rng, 80) => set(rng),
                "a" if chance(rng, 60) => number(rng),
                _ => value(rng, 2),
            };
            item.insert(name.to_owned(), value);
        }
    }
    item
}
