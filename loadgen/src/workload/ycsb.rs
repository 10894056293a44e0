//! The core workloads of YCSB by their letters.

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
