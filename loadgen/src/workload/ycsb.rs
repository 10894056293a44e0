//! The core workloads of YCSB by their letters, on DynamoDB.
//!
//! Source: Cooper et al., "Benchmarking cloud serving systems with YCSB", SoCC 2010, table 2, and YCSB's core
//! properties: records of ten fields of 100 bytes; reads read all fields, updates write one; the Zipf exponent is 0.99.
//!
//! Where DynamoDB differs, this is what is measured:
//! - Reads are strongly consistent, which is what YCSB's other stores give, and costs twice as much as `get-eventual`.
//! - An update of one field costs by the whole item of 1,086 bytes: 2 write units. (See `cost_warnings`.)
//! - E scans a range of 1 to 100 records in key order. DynamoDB orders items only within a partition key, so that a
//!   range is a `Query`: records have 100 items per partition key, and a range begins at a random one of those from
//!   which so many are left. A `Scan` would have no order, and its cost would not be that of a range.
//! - F reads and then writes the same record without a condition, as YCSB does.
//! - In D, a part of the generator reads the newest of its own inserts, a second old or older.
//! - Inserts have numbers past the records: a second run on the same table finds its inserts already there (a failed
//!   condition), unless it says that there are more records.

use super::item_size::ItemSize;
use super::key_distribution::{KeyDistribution, Popularity};
use super::mix::Mix;

/// A core workload: what is asked of which keys, and of what items.
#[derive(Debug, Clone, PartialEq)]
pub struct YcsbWorkload {
    /// Operations and shares.
    pub mix: Mix,
    /// Keys.
    pub keys: KeyDistribution,
    /// Ten fields of 100 bytes.
    pub item_size: ItemSize,
}

/// YCSB's exponent of the Zipf distribution.
const EXPONENT: f64 = 0.99;
/// Items of one partition key in workload E: as many as its longest scan.
const ITEMS_PER_PARTITION: u64 = 100;

/// The core workload of this letter, over so many records; none if there is no such letter.
#[must_use]
pub fn ycsb(letter: char, records: u64) -> Option<YcsbWorkload> {
    let (mix, popularity, items_per_partition) = match letter.to_ascii_uppercase() {
        'A' => ("get=50,update=50", Popularity::Zipf(EXPONENT), None),
        'B' => ("get=95,update=5", Popularity::Zipf(EXPONENT), None),
        'C' => ("get=100", Popularity::Zipf(EXPONENT), None),
        'D' => ("get=95,insert=5", Popularity::Latest(EXPONENT), None),
        'E' => ("query(1-100)=95,insert=5", Popularity::Zipf(EXPONENT), Some(ITEMS_PER_PARTITION)),
        'F' => ("get=50,read-modify-write=50", Popularity::Zipf(EXPONENT), None),
        _ => return None,
    };
    let mix = mix.parse().expect("the mixes above are well-formed");
    let keys = KeyDistribution { keys: records.max(1), popularity, items_per_partition };
    Some(YcsbWorkload { mix, keys, item_size: ItemSize::Fields { count: 10, bytes: 100 } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_six_and_letters_may_be_small() {
        for letter in 'A'..='F' {
            assert!(ycsb(letter, 1000).is_some());
            assert_eq!(ycsb(letter.to_ascii_lowercase(), 1000), ycsb(letter, 1000));
        }
        assert_eq!(ycsb('G', 1000), None);
    }
}
