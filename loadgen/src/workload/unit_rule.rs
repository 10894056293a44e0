//! What a request costs by DynamoDB's rules, given its answer.
//!
//! Source: DynamoDB Developer Guide, "Read and write operations": an item read alone or in a batch costs one read
//! unit per started 4 KB; a query or a scan by the sum of what it evaluated; eventually consistent reads half.
//! A write costs one write unit per started 1 KB of the larger item, before or after. Absent items cost the least.

use dynamodb::capacity::{read_cost, write_cost};

use super::answer_items::Cursor;
use crate::result::Units;

/// What a request costs, given its answer.
///
/// Of reads and deletes it is what the answer shows, to the byte. Of the other writes it takes for granted that the
/// table's items have the sizes that the generator gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitRule(pub(super) Rule);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// A read of one item.
    Get { consistent: bool },
    /// A query's or scan's page.
    Range { consistent: bool },
    /// A read of so many items.
    BatchGet { consistent: bool, items: u32 },
    /// A write of an item of so many bytes; if its condition does not hold, the present one has so many.
    Write { bytes: u32, bytes_if_refused: u32 },
    /// A change of an item of so many bytes whose answer has an attribute that comes on top.
    Increment { bytes: u32 },
    /// A deletion whose answer has the old item.
    Delete,
    /// Puts of items that cost so much together.
    BatchWrite { milli: u64 },
}

impl UnitRule {
    /// What it cost, by an answer that was a success, or a condition that did not hold.
    #[must_use]
    pub fn units(&self, answer: &[u8]) -> Units {
        let answer = Cursor::new(answer);
        let read = |read_milli| Units { read_milli, write_milli: 0 };
        let write = |write_milli| Units { read_milli: 0, write_milli };
        match self.0 {
            Rule::Get { consistent } => {
                let bytes = answer.find(b"Item").and_then(|mut item| item.item_bytes());
                read(read_cost(bytes.unwrap_or(0), consistent).get())
            }
            Rule::Range { consistent } => read(read_cost(page_bytes(answer).unwrap_or(0), consistent).get()),
            Rule::BatchGet { consistent, items } => read(batch_get_milli(answer, consistent, items)),
            Rule::Write { bytes, bytes_if_refused } => {
                let refused = answer.find(b"__type").is_some();
                write(write_cost(u64::from(if refused { bytes_if_refused } else { bytes })).get())
            }
            Rule::Increment { bytes } => {
                let counter = answer.find(b"Attributes").and_then(|mut item| item.item_bytes());
                write(write_cost(u64::from(bytes) + counter.unwrap_or(0)).get())
            }
            Rule::Delete => {
                let bytes = answer.find(b"Attributes").and_then(|mut item| item.item_bytes());
                write(write_cost(bytes.unwrap_or(0)).get())
            }
            Rule::BatchWrite { milli } => {
                write(milli.saturating_sub(unprocessed_write_milli(answer).unwrap_or(0)))
            }
        }
    }
}

fn page_bytes(answer: Cursor<'_>) -> Option<u64> {
    let mut bytes = 0;
    answer.find(b"Items")?.elements(|item| {
        bytes += item.item_bytes()?;
        Some(())
    })?;
    Some(bytes)
}

/// Found items by their sizes, absent ones the least, unprocessed ones nothing.
fn batch_get_milli(answer: Cursor<'_>, consistent: bool, items: u32) -> u64 {
    let (mut milli, mut found, mut unprocessed) = (0, 0, 0);
    if let Some(mut responses) = answer.find(b"Responses") {
        responses.members(|_, table| {
            table.elements(|item| {
                found += 1;
                milli += read_cost(item.item_bytes()?, consistent).get();
                Some(())
            })
        });
    }
    if let Some(mut rest) = answer.find(b"UnprocessedKeys") {
        rest.members(|_, table| {
            table.find(b"Keys")?.elements(|key| {
                unprocessed += 1;
                key.skip_value()
            })?;
            table.skip_value()
        });
    }
    let absent = u64::from(items).saturating_sub(found + unprocessed);
    milli + absent * read_cost(0, consistent).get()
}

fn unprocessed_write_milli(answer: Cursor<'_>) -> Option<u64> {
    let mut milli = 0;
    answer.find(b"UnprocessedItems")?.members(|_, table| {
        table.elements(|write| {
            milli += write_cost(write.find(b"PutRequest")?.find(b"Item")?.item_bytes()?).get();
            write.skip_value()
        })
    })?;
    Some(milli)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_milli(rule: Rule, answer: &str) -> u64 {
        let units = UnitRule(rule).units(answer.as_bytes());
        assert_eq!(units.write_milli, 0);
        units.read_milli
    }

    fn write_milli(rule: Rule, answer: &str) -> u64 {
        let units = UnitRule(rule).units(answer.as_bytes());
        assert_eq!(units.read_milli, 0);
        units.write_milli
    }

    /// An item of so many bytes.
    fn item(bytes: usize) -> String {
        format!(r#"{{"a":{{"S":"{}"}}}}"#, "x".repeat(bytes - 1))
    }

    #[test]
    fn a_get_costs_by_started_4_kb_and_half_when_eventual() {
        for (bytes, milli) in [(100, 1000), (4096, 1000), (4097, 2000), (8193, 3000)] {
            let answer = format!(r#"{{"Item":{}}}"#, item(bytes));
            assert_eq!(read_milli(Rule::Get { consistent: true }, &answer), milli);
            assert_eq!(read_milli(Rule::Get { consistent: false }, &answer), milli / 2);
        }
        assert_eq!(read_milli(Rule::Get { consistent: false }, "{}"), 500);
    }

    #[test]
    fn a_page_costs_by_the_sum_of_its_items() {
        let items = [item(3000), item(3000), item(3000)].join(",");
        let answer = format!(r#"{{"Count":3,"Items":[{items}],"ScannedCount":3}}"#);

        assert_eq!(read_milli(Rule::Range { consistent: true }, &answer), 3000);
        assert_eq!(read_milli(Rule::Range { consistent: false }, r#"{"Items":[]}"#), 500);
    }

    #[test]
    fn a_batch_read_costs_each_item_by_itself_and_nothing_for_unprocessed_ones() {
        let items = [item(3000), item(5000)].join(",");
        let answer = format!(
            r#"{{"UnprocessedKeys":{{"t":{{"ConsistentRead":true,"Keys":[{{"pk":{{"S":"x"}}}}]}}}},"Responses":{{"t":[{items}]}}}}"#
        );

        // One, two, and one absent of four asked for.
        assert_eq!(read_milli(Rule::BatchGet { consistent: true, items: 4 }, &answer), 4000);
    }

    #[test]
    fn a_refused_write_costs_what_is_there() {
        let rule = Rule::Write { bytes: 3000, bytes_if_refused: 0 };

        assert_eq!(write_milli(rule, "{}"), 3000);
        let refusal =
            r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException","message":"…"}"#;
        assert_eq!(write_milli(rule, refusal), 1000);
    }

    #[test]
    fn an_increment_costs_the_item_and_its_counter() {
        // Four bytes of name, one and one for two digits.
        let answer = r#"{"Attributes":{"hits":{"N":"17"}}}"#;
        assert_eq!(write_milli(Rule::Increment { bytes: 1018 }, answer), 1000);
        assert_eq!(write_milli(Rule::Increment { bytes: 1019 }, answer), 2000);
    }

    #[test]
    fn a_deletion_costs_what_was_deleted() {
        assert_eq!(write_milli(Rule::Delete, &format!(r#"{{"Attributes":{}}}"#, item(1025))), 2000);
        assert_eq!(write_milli(Rule::Delete, "{}"), 1000);
    }

    #[test]
    fn a_batch_write_costs_nothing_for_unprocessed_items() {
        let rest = format!(r#"{{"UnprocessedItems":{{"t":[{{"PutRequest":{{"Item":{}}}}}]}}}}"#, item(1025));

        assert_eq!(write_milli(Rule::BatchWrite { milli: 10_000 }, &rest), 8000);
        assert_eq!(write_milli(Rule::BatchWrite { milli: 10_000 }, r#"{"UnprocessedItems":{}}"#), 10_000);
    }
}
