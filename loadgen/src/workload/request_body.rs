//! The JSON of requests, each written once into memory of its exact length.

use std::io::Write as _;

use bytes::Bytes;
use rand::Rng;

use super::item::ItemLayout;
use super::key::{Key, KeySpace, PARTITION_KEY_BYTES, SORT_KEY_BYTES, write_sort};

/// Writes the requests of one stream.
#[derive(Debug, Clone)]
pub(super) struct RequestBodies {
    /// The begin of every request for one table: its name, and what is asked for in all.
    head: Vec<u8>,
    /// The begin of every batch, up to what is asked of the table.
    batch_head: Vec<u8>,
    pub(super) keys: KeySpace,
    pub(super) layout: ItemLayout,
    /// Length of a key's JSON without braces: the same for every key.
    key_json_bytes: usize,
}

const IF_ABSENT: &[u8] = br#","ConditionExpression":"attribute_not_exists(pk)""#;
const IF_PRESENT: &[u8] = br#","ConditionExpression":"attribute_exists(pk)""#;
const INCREMENT: &[u8] =
    br#","UpdateExpression":"ADD hits :n","ExpressionAttributeValues":{":n":{"N":"1"}},"ReturnValues":"UPDATED_NEW""#;
/// Decimal digits of the largest limit.
const LIMIT_DIGITS: usize = 10;

/// On what condition an item is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    Always,
    IfAbsent,
    IfPresent,
}

impl RequestBodies {
    pub(super) fn new(table: &str, return_capacity: bool, keys: KeySpace, layout: ItemLayout) -> Self {
        let table = serde_json::Value::from(table).to_string();
        let capacity = if return_capacity { r#","ReturnConsumedCapacity":"TOTAL""# } else { "" };
        let batch_capacity = if return_capacity { r#""ReturnConsumedCapacity":"TOTAL","# } else { "" };
        let mut key_json = Vec::new();
        keys.key(0).write_json(&mut key_json);
        Self {
            head: format!(r#"{{"TableName":{table}{capacity}"#).into_bytes(),
            batch_head: format!(r#"{{{batch_capacity}"RequestItems":{{{table}:"#).into_bytes(),
            keys,
            layout,
            key_json_bytes: key_json.len(),
        }
    }

    pub(super) fn get(&self, number: u64, consistent: bool) -> Bytes {
        let consistent: &[u8] = if consistent { br#","ConsistentRead":true"# } else { b"" };
        self.of_key(consistent, number)
    }

    pub(super) fn delete(&self, number: u64) -> Bytes {
        self.of_key(br#","ReturnValues":"ALL_OLD""#, number)
    }

    pub(super) fn increment(&self, number: u64) -> Bytes {
        self.of_key(INCREMENT, number)
    }

    /// A request with `extra` after its head, and the key.
    fn of_key(&self, extra: &[u8], number: u64) -> Bytes {
        let (open, close) = (br#","Key":{"#, b"}}");
        let length = self.head.len() + extra.len() + open.len() + self.key_json_bytes + close.len();
        let mut body = self.begin(length);
        body.extend_from_slice(extra);
        body.extend_from_slice(open);
        self.keys.key(number).write_json(&mut body);
        body.extend_from_slice(close);
        finish(body, length)
    }

    pub(super) fn put(&self, number: u64, condition: Condition, rng: &mut impl Rng) -> Bytes {
        let condition = match condition {
            Condition::Always => b"",
            Condition::IfAbsent => IF_ABSENT,
            Condition::IfPresent => IF_PRESENT,
        };
        let bytes = self.layout.bytes(number);
        let (open, close) = (br#","Item":{"#, b"}}");
        let length =
            self.head.len() + condition.len() + open.len() + self.item_json_bytes(bytes) + close.len();
        let mut body = self.begin(length);
        body.extend_from_slice(condition);
        body.extend_from_slice(open);
        self.write_item(number, bytes, rng, &mut body);
        body.extend_from_slice(close);
        finish(body, length)
    }

    /// Sets one attribute to new content of the same length.
    pub(super) fn update(&self, number: u64, rng: &mut impl Rng) -> Bytes {
        let bytes = self.layout.bytes(number);
        let mut name = Vec::with_capacity(16);
        let value_bytes = self.layout.write_updated_name(bytes, rng, &mut name);
        let expression = br#","UpdateExpression":"SET "#;
        let values = br#" = :v","ExpressionAttributeValues":{":v":{"S":""#;
        let (open, close) = (br#""}},"Key":{"#, b"}}");
        let fixed = expression.len() + values.len() + open.len() + close.len();
        let length = self.head.len() + fixed + name.len() + value_bytes + self.key_json_bytes;
        let mut body = self.begin(length);
        body.extend_from_slice(expression);
        body.extend_from_slice(&name);
        body.extend_from_slice(values);
        body.extend_from_slice(self.layout.filling(value_bytes, rng));
        body.extend_from_slice(open);
        self.keys.key(number).write_json(&mut body);
        body.extend_from_slice(close);
        finish(body, length)
    }

    /// Up to `limit` items of the key's partition key, in order from the sort key `first` on.
    pub(super) fn query(&self, of: &Key, first: u64, limit: u32) -> Bytes {
        let condition =
            br#","KeyConditionExpression":"pk = :p AND sk >= :s","ExpressionAttributeValues":{":p":{"S":""#;
        let (between, after) = (br#""},":s":{"S":""#, br#""}},"Limit":"#);
        let fixed = condition.len() + between.len() + after.len() + 1;
        let most = self.head.len() + fixed + PARTITION_KEY_BYTES + SORT_KEY_BYTES + LIMIT_DIGITS;
        let mut body = self.begin(most);
        body.extend_from_slice(condition);
        of.write_partition(&mut body);
        body.extend_from_slice(between);
        write_sort(first, &mut body);
        body.extend_from_slice(after);
        write!(body, "{limit}}}").expect("memory can be written to");
        body.into()
    }

    /// Up to `limit` items after a key, which need not exist.
    pub(super) fn scan(&self, after: u64, limit: u32) -> Bytes {
        let (open, before_limit) = (br#","ExclusiveStartKey":{"#, br#"},"Limit":"#);
        let fixed = open.len() + before_limit.len() + 1;
        let mut body = self.begin(self.head.len() + fixed + self.key_json_bytes + LIMIT_DIGITS);
        body.extend_from_slice(open);
        self.keys.key(after).write_json(&mut body);
        body.extend_from_slice(before_limit);
        write!(body, "{limit}}}").expect("memory can be written to");
        body.into()
    }

    pub(super) fn batch_get(&self, numbers: &[u64]) -> Bytes {
        let (open, close) = (br#"{"Keys":["#, b"]}}}");
        // Each key has braces, and a comma but the last.
        let keys = numbers.len() * (self.key_json_bytes + 3) - 1;
        let length = self.batch_head.len() + open.len() + keys + close.len();
        let mut body = Vec::with_capacity(length);
        body.extend_from_slice(&self.batch_head);
        body.extend_from_slice(open);
        for (position, number) in numbers.iter().enumerate() {
            body.extend_from_slice(if position == 0 { b"{" } else { b",{" });
            self.keys.key(*number).write_json(&mut body);
            body.push(b'}');
        }
        body.extend_from_slice(close);
        finish(body, length)
    }

    pub(super) fn batch_write(&self, numbers: &[u64], rng: &mut impl Rng) -> Bytes {
        let (open, item_open, item_close, close) = (b"[", br#"{"PutRequest":{"Item":{"#, b"}}}", b"]}}");
        let each = item_open.len() + item_close.len() + 1;
        let items: usize =
            numbers.iter().map(|number| each + self.item_json_bytes(self.layout.bytes(*number))).sum();
        let length = self.batch_head.len() + open.len() + items - 1 + close.len();
        let mut body = Vec::with_capacity(length);
        body.extend_from_slice(&self.batch_head);
        body.extend_from_slice(open);
        for (position, number) in numbers.iter().enumerate() {
            if position > 0 {
                body.push(b',');
            }
            body.extend_from_slice(item_open);
            self.write_item(*number, self.layout.bytes(*number), rng, &mut body);
            body.extend_from_slice(item_close);
        }
        body.extend_from_slice(close);
        finish(body, length)
    }

    fn begin(&self, length: usize) -> Vec<u8> {
        let mut body = Vec::with_capacity(length);
        body.extend_from_slice(&self.head);
        body
    }

    fn item_json_bytes(&self, item_bytes: u32) -> usize {
        self.key_json_bytes + self.layout.content_json_bytes(item_bytes)
    }

    fn write_item(&self, number: u64, item_bytes: u32, rng: &mut impl Rng, body: &mut Vec<u8>) {
        self.keys.key(number).write_json(body);
        self.layout.write_content(item_bytes, rng, body);
    }
}

/// A vector that is exactly full becomes `Bytes` without another allocation.
fn finish(body: Vec<u8>, length: usize) -> Bytes {
    debug_assert_eq!(body.len(), length, "the length was reckoned before");
    body.into()
}
