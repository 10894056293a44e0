//! Which call a client makes next, as a request.
//!
//! Two kinds of keys, so that each history can be decided. On *registers* everything goes but deletions: puts and
//! updates that say nothing of what was before, some that are told it, and conditional ones. On *lives* every write
//! is conditional on what was seen last: created if there is nothing, replaced, updated or deleted if it is still
//! the same.

use rand::Rng;
use serde_json::{Value, json};

use super::history::State;

/// What a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A read.
    Read {
        /// Strongly consistent.
        strong: bool,
        /// As a query of the key's items, of which there is one at most.
        as_query: bool,
    },
    /// A write of `new`, or a deletion.
    Write {
        /// What the key holds then.
        new: State,
        /// By `UpdateItem` rather than `PutItem`.
        as_update: bool,
        /// What must be there.
        condition: Option<State>,
        /// Whether the answer is to say what was there.
        returns_old: bool,
    },
}

/// The attribute with the value.
const ATTRIBUTE: &str = "v";

impl Asked {
    /// The next call on a key.
    ///
    /// `last_seen`: what the key held as far as the client knows. `value`: what a write writes.
    pub fn next(rng: &mut impl Rng, key: u32, last_seen: State, value: u64) -> Self {
        let as_query = rng.random_ratio(1, 8);
        match rng.random_range(0..100) {
            0..30 => Self::Read { strong: true, as_query },
            30..60 => Self::Read { strong: false, as_query },
            _ if is_register(key) => Self::next_of_register(rng, last_seen, value),
            _ => Self::next_of_life(rng, last_seen, value),
        }
    }

    fn next_of_register(rng: &mut impl Rng, last_seen: State, value: u64) -> Self {
        let is_conditional = rng.random_ratio(1, 4);
        Self::Write {
            new: Some(value),
            as_update: rng.random_bool(0.4),
            condition: is_conditional.then_some(last_seen),
            returns_old: !is_conditional && rng.random_bool(0.3),
        }
    }

    fn next_of_life(rng: &mut impl Rng, last_seen: State, value: u64) -> Self {
        let deletes = last_seen.is_some() && rng.random_ratio(1, 4);
        Self::Write {
            new: (!deletes).then_some(value),
            as_update: !deletes && rng.random_bool(0.4),
            condition: Some(last_seen),
            returns_old: false,
        }
    }

    /// A strong read: what the key holds in the end.
    #[must_use]
    pub const fn final_read() -> Self {
        Self::Read { strong: true, as_query: false }
    }

    /// The operation's name and the request.
    #[must_use]
    pub fn request(&self, table: &str, key: &str) -> (&'static str, Value) {
        match *self {
            Self::Read { strong, as_query: false } => {
                let key = json!({ "pk": { "S": key } });
                ("GetItem", json!({ "TableName": table, "Key": key, "ConsistentRead": strong }))
            }
            Self::Read { strong, as_query: true } => (
                "Query",
                json!({
                    "TableName": table,
                    "KeyConditionExpression": "pk = :pk",
                    "ExpressionAttributeValues": { ":pk": { "S": key } },
                    "ConsistentRead": strong,
                }),
            ),
            Self::Write { new, as_update, condition, returns_old } => {
                let (operation, mut body) = write_request(new, as_update, key);
                body["TableName"] = table.into();
                if returns_old {
                    body["ReturnValues"] = if as_update { "UPDATED_OLD" } else { "ALL_OLD" }.into();
                }
                if let Some(expected) = condition {
                    body["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD".into();
                    body["ConditionExpression"] = match expected {
                        None => "attribute_not_exists(pk)".into(),
                        Some(value) => {
                            body["ExpressionAttributeValues"][":expected"] = number(value);
                            format!("{ATTRIBUTE} = :expected").into()
                        }
                    };
                }
                (operation, body)
            }
        }
    }
}

/// Whether a key is written without conditions, too, and never deleted.
#[must_use]
pub const fn is_register(key: u32) -> bool {
    key.is_multiple_of(2)
}

fn write_request(new: State, as_update: bool, key: &str) -> (&'static str, Value) {
    let of_key = json!({ "pk": { "S": key } });
    match new {
        None => ("DeleteItem", json!({ "Key": of_key })),
        Some(value) if as_update => (
            "UpdateItem",
            json!({
                "Key": of_key,
                "UpdateExpression": format!("SET {ATTRIBUTE} = :new"),
                "ExpressionAttributeValues": { ":new": number(value) },
            }),
        ),
        Some(value) => ("PutItem", json!({ "Item": { "pk": { "S": key }, ATTRIBUTE: number(value) } })),
    }
}

fn number(value: u64) -> Value {
    json!({ "N": value.to_string() })
}

/// What an item holds.
#[must_use]
pub fn value_of(item: &Value) -> State {
    item[ATTRIBUTE]["N"].as_str()?.parse().ok()
}
