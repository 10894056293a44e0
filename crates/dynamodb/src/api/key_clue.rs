//! What a request says of its key before its table's schema is known, so that whoever knows the schema can
//! make the storage key of it: a request on a table that the proxy does not know costs one question then.

use crate::item::{ItemView, ValueRef};
use crate::item_builder::ItemBuilder;
use crate::key::MAX_PARTITION_KEY_BYTES;
use crate::operation::{EncodedItem, StorageKey};
use crate::value::ValueKind;

/// Bytes of names and values in a clue at most: five of the largest keys. The smallest attributes come
/// first, since keys are small.
const MAX_CLUE_BYTES: usize = 16 * 1024;

/// What is known of a request's storage key without its table's schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyClue {
    /// Attributes that can be key attributes; the table's are among them, unless the request does not fit
    /// the table, or has more than 16 KiB of them.
    Attributes(EncodedItem),
    /// The storage key: where a scan begins.
    Key(StorageKey),
}

impl KeyClue {
    /// The clue in an item, or in a `Key`.
    pub(super) fn in_item(item: ItemView<'_>) -> Self {
        Self::in_attributes(item.iter())
    }

    /// The clue in attributes, each given once.
    pub(super) fn in_attributes<'a>(attributes: impl Iterator<Item = (&'a str, ValueRef<'a>)>) -> Self {
        let bytes = |(name, value): &(&str, ValueRef<'_>)| name.len() + value.encoded().len();
        let mut candidates: Vec<_> = attributes.filter(|(_, value)| can_be_key(*value)).collect();
        candidates.sort_by_key(bytes);
        let mut builder = ItemBuilder::with_capacity(64);
        let mut left = MAX_CLUE_BYTES;
        for (name, value) in candidates {
            let Some(rest) = left.checked_sub(bytes(&(name, value))) else { break };
            left = rest;
            if builder.name(name).is_err() {
                break;
            }
            builder.value_ref(value);
        }
        Self::Attributes(builder.finish().unwrap_or_else(|_duplicate| EncodedItem::empty()))
    }
}

fn can_be_key(value: ValueRef<'_>) -> bool {
    let scalar = matches!(value.kind(), ValueKind::S | ValueKind::N | ValueKind::B);
    scalar && value.scalar_bytes().is_some_and(|bytes| (1..=MAX_PARTITION_KEY_BYTES).contains(&bytes.len()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::{ApiOperation, Request, decode};
    use crate::expression::ExpressionCache;
    use crate::table::{KeyAttribute, KeySchema, KeyType};

    const SEED: u64 = 42;

    fn keys() -> KeySchema {
        let attribute = |name: &str, kind| KeyAttribute { name: name.into(), kind };
        KeySchema { partition: attribute("pk", KeyType::S), sort: Some(attribute("sk", KeyType::N)) }
    }

    fn clue(operation: ApiOperation, body: &Value) -> KeyClue {
        let body = body.to_string();
        match decode(operation, body.as_bytes(), &ExpressionCache::new()).unwrap() {
            Request::Point(request) => request.key_clue(),
            Request::Range(request) => request.key_clue(),
            Request::BatchGet(request) => request.key_clue(0),
            Request::BatchWrite(request) => request.key_clue(0),
            other => unreachable!("{other:?}"),
        }
    }

    /// The storage key that the clue leads to.
    fn led_to(clue: KeyClue) -> Option<StorageKey> {
        match clue {
            KeyClue::Attributes(attributes) => keys().routing_key(attributes.view(), SEED),
            KeyClue::Key(key) => Some(key),
        }
    }

    fn storage_key(pk: &str, sk: &str) -> StorageKey {
        let body = json!({"TableName": "tab", "Key": {"pk": {"S": pk}, "sk": {"N": sk}}});
        led_to(clue(ApiOperation::GetItem, &body)).unwrap()
    }

    #[test]
    fn every_operation_on_an_item_leads_to_its_storage_key() {
        let key = json!({"pk": {"S": "a"}, "sk": {"N": "7"}});
        let item = json!({
            "pk": {"S": "a"}, "sk": {"N": "7"}, "map": {"M": {}}, "set": {"SS": ["x"]}, "no": {"NULL": true},
        });
        let update = json!({
            "TableName": "tab", "Key": key, "UpdateExpression": "SET v = :v",
            "ExpressionAttributeValues": {":v": {"N": "1"}},
        });
        let one = |name: &str, value: &Value| json!({"TableName": "tab", name: value});
        let writes = |write: Value| json!({"RequestItems": {"tab": [write]}});
        for (operation, body) in [
            (ApiOperation::GetItem, one("Key", &key)),
            (ApiOperation::DeleteItem, one("Key", &key)),
            (ApiOperation::UpdateItem, update),
            (ApiOperation::PutItem, one("Item", &item)),
            (ApiOperation::BatchGetItem, json!({"RequestItems": {"tab": {"Keys": [key]}}})),
            (ApiOperation::BatchWriteItem, writes(json!({"PutRequest": {"Item": item}}))),
            (ApiOperation::BatchWriteItem, writes(json!({"DeleteRequest": {"Key": key}}))),
        ] {
            assert_eq!(led_to(clue(operation, &body)), Some(storage_key("a", "7")), "{operation:?}");
        }
    }

    #[test]
    fn a_query_leads_to_its_partition_keys_items_also_in_the_older_form() {
        let begins = keys().routing_key(EncodedItem::empty().view(), SEED);
        assert_eq!(begins, None);
        let expression = json!({
            "TableName": "tab", "KeyConditionExpression": "#p = :p AND sk > :s",
            "ExpressionAttributeNames": {"#p": "pk"},
            "ExpressionAttributeValues": {":p": {"S": "a"}, ":s": {"N": "7"}},
        });
        let older = json!({"TableName": "tab", "KeyConditions": {
            "pk": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "a"}]},
        }});
        let prefix = led_to(clue(ApiOperation::Query, &expression)).unwrap();
        assert!(storage_key("a", "7").0.starts_with(&prefix.0));
        assert_eq!(led_to(clue(ApiOperation::Query, &older)), Some(prefix));
        let whole = json!({
            "TableName": "tab", "KeyConditionExpression": "pk = :p AND sk = :s",
            "ExpressionAttributeValues": {":p": {"S": "a"}, ":s": {"N": "7"}},
        });
        assert_eq!(led_to(clue(ApiOperation::Query, &whole)), Some(storage_key("a", "7")));
    }

    #[test]
    fn a_scan_knows_where_it_begins() {
        let scan = |extra: Value| {
            let mut body = json!({"TableName": "tab"});
            body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            clue(ApiOperation::Scan, &body)
        };
        assert_eq!(scan(json!({})), KeyClue::Key(StorageKey(bytes::Bytes::new())));
        let segment = scan(json!({"Segment": 1, "TotalSegments": 2}));
        assert_eq!(segment, KeyClue::Key(crate::key::segment_bounds(1, 2).start));
        let after = scan(json!({"ExclusiveStartKey": {"pk": {"S": "a"}, "sk": {"N": "7"}}}));
        assert_eq!(led_to(after), Some(storage_key("a", "7")));
    }

    #[test]
    fn a_clue_is_bounded_and_keeps_the_smallest_attributes() {
        let mut item = serde_json::Map::new();
        for number in 0..20 {
            item.insert(format!("a{number:02}"), json!({"S": "x".repeat(2000)}));
        }
        item.insert("huge".into(), json!({"S": "x".repeat(2049)}));
        item.insert("pk".into(), json!({"S": "a"}));
        item.insert("sk".into(), json!({"N": "7"}));
        let put = clue(ApiOperation::PutItem, &json!({"TableName": "tab", "Item": item}));
        let KeyClue::Attributes(attributes) = &put else { unreachable!("{put:?}") };
        assert!(attributes.as_bytes().len() < MAX_CLUE_BYTES + 1024);
        assert_eq!(attributes.view().get("huge"), None);
        assert_eq!(led_to(put), Some(storage_key("a", "7")));
    }

    #[test]
    fn what_cannot_be_a_key_leads_nowhere() {
        let put = json!({"TableName": "tab", "Item": {"pk": {"SS": ["a"]}, "sk": {"N": "7"}}});
        assert_eq!(led_to(clue(ApiOperation::PutItem, &put)), None);
    }
}
