//! Keys: from key attributes to storage keys, and the ranges that queries and scans read.
//!
//! A storage key is 16 bytes of keyed hash (big endian xxh3-128 of the partition key, seeded per
//! table), the partition key with a 2-byte length before it, and the sort key. Strings and binaries
//! are their bytes, numbers their canonical form, so that byte order within one partition key is the
//! sort key's order. The sort key comes last, hence needs no end mark.

use bytes::Bytes;
use twox_hash::XxHash3_128;

use crate::error::ApiError;
use crate::item::{ItemView, ValueRef};
use crate::item_builder::ItemBuilder;
use crate::operation::{EncodedItem, StorageKey};
use crate::table::{KeyAttribute, KeySchema, KeyType};
use crate::value::ValueKind;

/// Bytes of a partition key at most (DynamoDB quotas).
pub const MAX_PARTITION_KEY_BYTES: usize = 2048;
/// Bytes of a sort key at most (DynamoDB quotas).
pub const MAX_SORT_KEY_BYTES: usize = 1024;

const HASH_BYTES: usize = 16;
const LENGTH_BYTES: usize = 2;

const PARTITION_KEY_TOO_LONG: &str = "One or more parameter values were invalid: \
     Size of hashkey has exceeded the maximum size limit of2048 bytes";
const SORT_KEY_TOO_LONG: &str = "One or more parameter values were invalid: \
     Aggregated size of all range keys has exceeded the size limit of 1024 bytes";
const NO_MATCH: &str = "The provided key element does not match the schema";

/// A range of storage keys: `start ≤ key < end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyBounds {
    /// First key of the range.
    pub start: StorageKey,
    /// First key past it; none: to the end of the key space.
    pub end: Option<StorageKey>,
}

impl KeyBounds {
    /// Whether `key` is in the range.
    #[must_use]
    pub fn contains(&self, key: &StorageKey) -> bool {
        *key >= self.start && self.end.as_ref().is_none_or(|end| key < end)
    }
}

/// What a query asks of the sort key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortCondition<'a> {
    /// `=`
    Equal(ValueRef<'a>),
    /// `<`
    Less(ValueRef<'a>),
    /// `<=`
    LessOrEqual(ValueRef<'a>),
    /// `>`
    Greater(ValueRef<'a>),
    /// `>=`
    GreaterOrEqual(ValueRef<'a>),
    /// `BETWEEN`, both ends included.
    Between(ValueRef<'a>, ValueRef<'a>),
    /// `begins_with`
    BeginsWith(ValueRef<'a>),
}

/// How a key attribute's absence or wrong type is worded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wording {
    /// As `PutItem` does: by the attribute's name.
    Item,
    /// As operations with a `Key` do.
    Key,
}

impl KeyType {
    /// As a value's type.
    #[must_use]
    pub const fn kind(self) -> ValueKind {
        match self {
            Self::S => ValueKind::S,
            Self::N => ValueKind::N,
            Self::B => ValueKind::B,
        }
    }
}

impl KeySchema {
    /// The key attributes: the partition key, then the sort key if there is one.
    pub fn attributes(&self) -> impl Iterator<Item = &KeyAttribute> {
        std::iter::once(&self.partition).chain(&self.sort)
    }

    /// Whether `name` is a key attribute.
    #[must_use]
    pub fn is_key(&self, name: &str) -> bool {
        self.attributes().any(|attribute| attribute.name == name)
    }

    /// The storage key of a whole item, as `PutItem` receives it.
    ///
    /// # Errors
    /// `ValidationException`: a key attribute is missing, of another type, empty or too long.
    pub fn storage_key(&self, item: ItemView<'_>, hash_seed: u64) -> Result<StorageKey, ApiError> {
        self.key_of(item, hash_seed, Wording::Item)
    }

    /// The storage key of a whole item in `BatchWriteItem`, whose wrong types are worded as for a `Key`.
    ///
    /// # Errors
    /// `ValidationException`: a key attribute is missing, of another type, empty or too long.
    pub fn storage_key_in_batch(&self, item: ItemView<'_>, hash_seed: u64) -> Result<StorageKey, ApiError> {
        for attribute in self.attributes() {
            match item.get(&attribute.name) {
                Some(value) if value.kind() != attribute.kind.kind() => {
                    return Err(ApiError::validation(NO_MATCH));
                }
                _ => {}
            }
        }
        self.storage_key(item, hash_seed)
    }

    /// The storage key of a `Key` parameter: the key attributes and nothing else.
    ///
    /// # Errors
    /// `ValidationException`: not exactly the key attributes, of another type, empty or too long.
    pub fn storage_key_of_key(&self, key: ItemView<'_>, hash_seed: u64) -> Result<StorageKey, ApiError> {
        if key.len() != self.attributes().count() {
            return Err(ApiError::validation(NO_MATCH));
        }
        self.key_of(key, hash_seed, Wording::Key)
    }

    /// The key attributes of `item`, which has them, as an item of its own.
    ///
    /// # Panics
    /// When `item` lacks one: items are stored with their keys.
    #[must_use]
    pub fn key_item(&self, item: ItemView<'_>) -> EncodedItem {
        let mut builder = ItemBuilder::with_capacity(64);
        for attribute in self.attributes() {
            let value = item.get(&attribute.name).expect("a stored item has its key attributes");
            builder.name(&attribute.name).expect("key attribute names have at most 255 bytes");
            builder.value_ref(value);
        }
        builder.finish().expect("the key attributes have different names")
    }

    /// The key attributes that are in `item`, if all are.
    #[must_use]
    pub fn try_key_item(&self, item: ItemView<'_>) -> Option<EncodedItem> {
        let complete = self.attributes().all(|attribute| item.get(&attribute.name).is_some());
        complete.then(|| self.key_item(item))
    }

    /// Where to look for the item, or the items of its partition key, from whatever attributes are known: the
    /// storage key, or, when the sort key is not among them, where the partition key's items begin. None: the
    /// partition key is not among them, or the key attributes cannot be a key.
    #[must_use]
    pub fn routing_key(&self, attributes: ItemView<'_>, hash_seed: u64) -> Option<StorageKey> {
        let sort = self.sort.as_ref().and_then(|sort| attributes.get(&sort.name));
        if self.sort.is_none() || sort.is_some() {
            return self.storage_key(attributes, hash_seed).ok();
        }
        let partition = attribute_of(attributes, &self.partition, Wording::Key).ok()?;
        self.bounds(partition, None, hash_seed).ok().map(|bounds| bounds.start)
    }

    /// The keys with this partition key whose sort key fulfils `sort`.
    ///
    /// The values' types are the caller's to check (`Query` words its own messages); a value that is no
    /// scalar counts as empty.
    ///
    /// # Errors
    /// `ValidationException`: the partition key is empty, or a key is too long.
    pub fn bounds(
        &self,
        partition: ValueRef<'_>,
        sort: Option<SortCondition<'_>>,
        hash_seed: u64,
    ) -> Result<KeyBounds, ApiError> {
        check_value(&self.partition, partition, MAX_PARTITION_KEY_BYTES, PARTITION_KEY_TOO_LONG)?;
        let prefix = hash_prefix(partition.scalar_bytes().unwrap_or_default(), hash_seed);
        let at = |value: ValueRef<'_>| {
            let bytes = value.scalar_bytes().unwrap_or_default();
            if bytes.len() > MAX_SORT_KEY_BYTES {
                return Err(ApiError::validation(SORT_KEY_TOO_LONG));
            }
            Ok([&prefix, bytes].concat())
        };
        let whole_end = prefix_end(&prefix);
        let (start, end) = match sort {
            None => (prefix, whole_end),
            Some(SortCondition::Equal(value)) => (at(value)?, Some(successor(&at(value)?))),
            Some(SortCondition::Less(value)) => (prefix.clone(), Some(at(value)?)),
            Some(SortCondition::LessOrEqual(value)) => (prefix.clone(), Some(successor(&at(value)?))),
            Some(SortCondition::Greater(value)) => (successor(&at(value)?), whole_end),
            Some(SortCondition::GreaterOrEqual(value)) => (at(value)?, whole_end),
            Some(SortCondition::Between(low, high)) => (at(low)?, Some(successor(&at(high)?))),
            Some(SortCondition::BeginsWith(value)) => (at(value)?, prefix_end(&at(value)?)),
        };
        Ok(KeyBounds { start: storage_key(start), end: end.map(storage_key) })
    }

    fn key_of(&self, item: ItemView<'_>, hash_seed: u64, wording: Wording) -> Result<StorageKey, ApiError> {
        let partition = attribute_of(item, &self.partition, wording)?;
        check_value(&self.partition, partition, MAX_PARTITION_KEY_BYTES, PARTITION_KEY_TOO_LONG)?;
        let partition = partition.scalar_bytes().unwrap_or_default();
        let sort = match &self.sort {
            None => &[][..],
            Some(attribute) => {
                let sort = attribute_of(item, attribute, wording)?;
                check_value(attribute, sort, MAX_SORT_KEY_BYTES, SORT_KEY_TOO_LONG)?;
                sort.scalar_bytes().unwrap_or_default()
            }
        };
        let mut key = Vec::with_capacity(HASH_BYTES + LENGTH_BYTES + partition.len() + sort.len());
        push_prefix(&mut key, partition, hash_seed);
        key.extend_from_slice(sort);
        Ok(storage_key(key))
    }
}

impl StorageKey {
    /// The first key after this one.
    #[must_use]
    pub fn successor(&self) -> Self {
        storage_key(successor(&self.0))
    }
}

/// Where each of `count` partitions that share the key space evenly begins; the first at the empty key.
#[must_use]
pub fn partition_starts(count: u32) -> Vec<Bytes> {
    (0..count).map(|index| start_of_share(index, count)).collect()
}

/// The keys of segment `segment` of `total` of a parallel scan.
#[must_use]
pub fn segment_bounds(segment: u32, total: u32) -> KeyBounds {
    let end = (segment + 1 < total).then(|| StorageKey(start_of_share(segment + 1, total)));
    KeyBounds { start: StorageKey(start_of_share(segment, total)), end }
}

/// Where share `index` of `count` even shares of the hash space begins.
fn start_of_share(index: u32, count: u32) -> Bytes {
    if index == 0 {
        return Bytes::new();
    }
    let (index, count) = (u128::from(index), u128::from(count));
    // ⌈index × 2¹²⁸ / count⌉ without 129 bits: 2¹²⁸ = count × share + rest.
    let share = u128::MAX / count;
    let rest = u128::MAX % count + 1;
    let start = share * index + (rest * index).div_ceil(count);
    Bytes::copy_from_slice(&start.to_be_bytes())
}

fn attribute_of<'a>(
    item: ItemView<'a>,
    attribute: &KeyAttribute,
    wording: Wording,
) -> Result<ValueRef<'a>, ApiError> {
    let Some(value) = item.get(&attribute.name) else {
        return Err(match wording {
            Wording::Item => ApiError::validation(format!(
                "One or more parameter values were invalid: Missing the key {} in the item",
                attribute.name
            )),
            Wording::Key => ApiError::validation(NO_MATCH),
        });
    };
    if value.kind() == attribute.kind.kind() {
        return Ok(value);
    }
    Err(match wording {
        Wording::Item => ApiError::validation(format!(
            "One or more parameter values were invalid: Type mismatch for key {} expected: {} actual: {}",
            attribute.name,
            attribute.kind.kind().name(),
            value.type_name()
        )),
        Wording::Key => ApiError::validation(NO_MATCH),
    })
}

/// Refuses an empty or too long key value.
fn check_value(
    attribute: &KeyAttribute,
    value: ValueRef<'_>,
    limit: usize,
    too_long: &'static str,
) -> Result<(), ApiError> {
    let bytes = value.scalar_bytes().unwrap_or_default();
    if bytes.is_empty() {
        let what = if attribute.kind == KeyType::B { "binary" } else { "string" };
        return Err(ApiError::validation(format!(
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot \
             contain an empty {what} value. Key: {}",
            attribute.name
        )));
    }
    if bytes.len() > limit { Err(ApiError::validation(too_long)) } else { Ok(()) }
}

fn hash_prefix(partition: &[u8], hash_seed: u64) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(HASH_BYTES + LENGTH_BYTES + partition.len());
    push_prefix(&mut prefix, partition, hash_seed);
    prefix
}

fn push_prefix(key: &mut Vec<u8>, partition: &[u8], hash_seed: u64) {
    let length = u16::try_from(partition.len()).expect("partition keys have at most 2048 bytes");
    key.extend_from_slice(&XxHash3_128::oneshot_with_seed(hash_seed, partition).to_be_bytes());
    key.extend_from_slice(&length.to_be_bytes());
    key.extend_from_slice(partition);
}

fn successor(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// The first key past all that begin with `prefix`; none when there is no such key.
fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xFF)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

fn storage_key(bytes: Vec<u8>) -> StorageKey {
    StorageKey(Bytes::from(bytes))
}

#[cfg(test)]
mod tests;
