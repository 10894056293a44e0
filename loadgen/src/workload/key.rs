//! Keys: how a key's number becomes its text.
//!
//! The text is `user` and twenty digits that are a bijective hash of the number: neighbours in number, which are
//! neighbours in popularity, are not neighbours in a key order, and yet no two numbers share a text. (YCSB hashes,
//! too, but not bijectively.)

use std::fmt::Write as _;

use super::key_distribution::KeyDistribution;
use super::mix::Mix;

/// Items of one partition key where a mix has queries and the key distribution does not say `by`.
pub const USUAL_ITEMS_PER_PARTITION: u64 = 100;
/// Bytes of a partition key: `user` and all digits of 64 bits.
pub(super) const PARTITION_KEY_BYTES: usize = 4 + PARTITION_DIGITS;
/// Bytes of a sort key.
pub(super) const SORT_KEY_BYTES: usize = 12;
/// 2⁶⁴ has so many.
const PARTITION_DIGITS: usize = 20;
/// Bytes of the names `pk` and `sk`.
const NAME_BYTES: usize = 2;

/// The keys of a stream: which partition key and sort key each number has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySpace {
    keys: u64,
    /// Items of a partition key; none: one, and no sort key.
    items_per_partition: Option<u64>,
    partitions: u64,
}

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    partition: u64,
    sort: Option<u64>,
}

impl KeySpace {
    /// The keys of a stream with such keys and operations: queries want a sort key, whether or not it was asked for.
    #[must_use]
    pub fn of(keys: &KeyDistribution, mix: &Mix) -> Self {
        let items_per_partition = keys.for_mix(mix).items_per_partition.map(|items| items.max(1));
        let partitions = keys.keys.max(1).div_ceil(items_per_partition.unwrap_or(1));
        Self { keys: keys.keys.max(1), items_per_partition, partitions }
    }

    /// How many keys exist when the run starts: those of numbers below it.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.keys
    }

    /// Never: there is at least one key.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Whether the table needs a sort key `sk` besides its partition key `pk`; both are strings.
    #[must_use]
    pub const fn has_sort_key(&self) -> bool {
        self.items_per_partition.is_some()
    }

    /// How many items have the same partition key when the run starts.
    #[must_use]
    pub const fn items_per_partition(&self) -> u64 {
        match self.items_per_partition {
            Some(items) => items,
            None => 1,
        }
    }

    /// The key of this number. Popular neighbours are of different partition keys.
    #[must_use]
    pub fn key(&self, number: u64) -> Key {
        match self.items_per_partition {
            None => Key { partition: number, sort: None },
            Some(_) => Key { partition: number % self.partitions, sort: Some(number / self.partitions) },
        }
    }

    /// What the key attributes count for in an item's size.
    pub(super) const fn key_bytes(&self) -> u32 {
        let partition = NAME_BYTES + PARTITION_KEY_BYTES;
        let sort = if self.has_sort_key() { NAME_BYTES + SORT_KEY_BYTES } else { 0 };
        (partition + sort) as u32
    }
}

impl Key {
    /// The value of `pk`.
    #[must_use]
    pub fn partition_text(&self) -> String {
        let mut text = String::with_capacity(PARTITION_KEY_BYTES);
        write!(text, "user{:020}", scramble(self.partition)).expect("a string can be written to");
        text
    }

    /// The value of `sk`, where there is one.
    #[must_use]
    pub fn sort_text(&self) -> Option<String> {
        self.sort.map(|sort| format!("{sort:012}"))
    }

    /// Appends `"pk":{"S":"…"}` and, where there is one, the sort key.
    pub(super) fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#""pk":{"S":""#);
        self.write_partition(out);
        if let Some(sort) = self.sort {
            out.extend_from_slice(br#""},"sk":{"S":""#);
            write_digits::<SORT_KEY_BYTES>(sort, out);
        }
        out.extend_from_slice(br#""}"#);
    }

    /// Appends the value of `pk`.
    pub(super) fn write_partition(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"user");
        write_digits::<PARTITION_DIGITS>(scramble(self.partition), out);
    }
}

/// Appends a sort key.
pub(super) fn write_sort(sort: u64, out: &mut Vec<u8>) {
    write_digits::<SORT_KEY_BYTES>(sort, out);
}

/// Appends the last `N` decimal digits.
fn write_digits<const N: usize>(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits);
}

/// A bijection of 64 bits that looks random.
///
/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014: the output function of
/// `SplitMix64`.
pub(super) const fn scramble(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn space(text: &str) -> KeySpace {
        KeySpace::of(&text.parse().unwrap(), &"get=1".parse().unwrap())
    }

    #[test]
    fn keys_have_one_width_and_none_twice() {
        let space = space("uniform:20000");

        let texts: BTreeSet<String> = (0..20_000).map(|number| space.key(number).partition_text()).collect();

        assert_eq!(texts.len(), 20_000);
        assert!(texts.iter().all(|text| text.len() == PARTITION_KEY_BYTES));
    }

    #[test]
    fn neighbours_in_popularity_are_not_neighbours_in_text() {
        let space = space("uniform:10000");
        let mut in_order: Vec<(String, u64)> =
            (0..10_000).map(|number| (space.key(number).partition_text(), number)).collect();
        in_order.sort();

        let near = in_order.windows(2).filter(|pair| pair[0].1.abs_diff(pair[1].1) == 1).count();

        assert!(near < 20, "{near} of 10000 keys stand beside their neighbour");
    }

    #[test]
    fn items_of_one_partition_key_differ_in_the_sort_key() {
        let space = space("uniform:1000 by 100");

        let keys: BTreeSet<(String, Option<String>)> = (0..1000)
            .map(|number| (space.key(number).partition_text(), space.key(number).sort_text()))
            .collect();
        let partitions: BTreeSet<&String> = keys.iter().map(|(partition, _)| partition).collect();

        assert_eq!((keys.len(), partitions.len()), (1000, 10));
    }

    #[test]
    fn the_json_holds_the_same_texts() {
        let key = space("uniform:1000 by 100").key(123);
        let mut json = Vec::new();

        key.write_json(&mut json);

        let (partition, sort) = (key.partition_text(), key.sort_text().unwrap());
        let expected = format!(r#""pk":{{"S":"{partition}"}},"sk":{{"S":"{sort}"}}"#);
        assert_eq!(String::from_utf8(json).unwrap(), expected);
    }

    #[test]
    fn a_mix_with_queries_has_a_sort_key_unasked() {
        let keys: KeyDistribution = "uniform:1000".parse().unwrap();

        assert!(KeySpace::of(&keys, &"query=1".parse().unwrap()).has_sort_key());
        assert!(!KeySpace::of(&keys, &"get=1".parse().unwrap()).has_sort_key());
    }
}
