//! What a planner should know before paying: item sizes that just cross into the next unit of capacity.

use dynamodb::capacity::{READ_UNIT_BYTES, WRITE_UNIT_BYTES};

use super::item::ItemLayout;
use super::key::KeySpace;
use super::operation::Operation;
use crate::spec::StreamSpec;

/// So many items are looked at.
const SAMPLE: u64 = 1000;
/// A size just crosses when it is over by at most a tenth of a unit's bytes.
const JUST_OVER_PARTS: u64 = 10;
/// Over more units than these, one less is no saving worth a word.
const MOST_UNITS: u64 = 10;
/// Operations whose items pay for themselves: in a page, sizes are summed up first.
const SINGLE_READS: [Operation; 4] =
    [Operation::GetItem, Operation::GetItemEventual, Operation::BatchGetItem, Operation::ReadModifyWrite];

/// Warnings for people about what a stream's items cost.
#[must_use]
pub fn cost_warnings(stream: &StreamSpec) -> Vec<String> {
    let keys = KeySpace::of(&stream.keys, &stream.mix);
    let layout = ItemLayout::new(stream.item_size, &keys);
    let sizes: Vec<u64> = (0..keys.len().min(SAMPLE)).map(|number| u64::from(layout.bytes(number))).collect();
    let operations = || stream.mix.entries().iter().map(|entry| entry.operation);
    let mut warnings = Vec::new();
    if operations().any(Operation::writes) {
        warnings.extend(just_over(&stream.name, &sizes, WRITE_UNIT_BYTES, "WCU", "to write"));
    }
    if operations().any(|operation| SINGLE_READS.contains(&operation)) {
        let purpose = "to read (half as much when eventually consistent)";
        warnings.extend(just_over(&stream.name, &sizes, READ_UNIT_BYTES, "RCU", purpose));
    }
    warnings
}

/// A warning, if at least half of the items are just over a multiple of `unit_bytes`; it tells of the first of them.
fn just_over(stream: &str, sizes: &[u64], unit_bytes: u64, unit: &str, purpose: &str) -> Option<String> {
    let over = |size: u64| {
        let (whole, over) = (size / unit_bytes, size % unit_bytes);
        let is_just_over =
            over > 0 && over <= unit_bytes / JUST_OVER_PARTS && (1..MOST_UNITS).contains(&whole);
        is_just_over.then_some((size, over, whole))
    };
    let found: Vec<(u64, u64, u64)> = sizes.iter().copied().filter_map(over).collect();
    if found.len() * 2 < sizes.len() {
        return None;
    }
    let (size, over, whole) = *found.first()?;
    let (size, units) = (grouped(size), whole + 1);
    let byte = if over == 1 { "byte" } else { "bytes" };
    Some(format!(
        "stream `{stream}`: items of {size} bytes cost {units} {unit} each {purpose}; {over} {byte} less would cost \
         {whole}"
    ))
}

/// With commas between thousands.
fn grouped(number: u64) -> String {
    if number < 1000 {
        number.to_string()
    } else {
        format!("{},{:03}", grouped(number / 1000), number % 1000)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn warnings(mix: &str, size: &str) -> Vec<String> {
        cost_warnings(&StreamSpec {
            name: "orders".to_owned(),
            table: "orders".to_owned(),
            profile: None,
            arrivals: "1/s".parse().unwrap(),
            mix: mix.parse().unwrap(),
            keys: "uniform:1000".parse().unwrap(),
            item_size: size.parse().unwrap(),
            from: Duration::ZERO,
            to: None,
        })
    }

    #[test]
    fn a_size_just_over_1_kb_is_told_to_writers() {
        assert_eq!(
            warnings("put=1", "1037"),
            ["stream `orders`: items of 1,037 bytes cost 2 WCU each to write; 13 bytes less would cost 1"]
        );
        assert!(warnings("get=1", "1037").is_empty());
    }

    #[test]
    fn a_size_just_over_4_kb_is_told_to_readers() {
        let of_reads = warnings("get-eventual=1", "4100");
        assert_eq!(of_reads.len(), 1);
        assert!(of_reads[0].contains("4,100 bytes cost 2 RCU"), "{of_reads:?}");
        assert!(warnings("query=1", "4100").is_empty());
        assert_eq!(warnings("get=1,put=1", "4100").len(), 2);
    }

    #[test]
    fn sizes_at_or_far_over_a_boundary_are_not_told() {
        for size in ["1024", "1200", "900", "49153", "uniform:100-2000"] {
            assert!(warnings("put=1,get=1", size).is_empty(), "{size}");
        }
    }

    #[test]
    fn ycsbs_records_are_told_about() {
        assert!(warnings("update=1", "fields:10x100")[0].contains("1,086 bytes cost 2 WCU"));
    }
}
