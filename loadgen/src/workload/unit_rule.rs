//! What a request costs by DynamoDB's rules, given its answer.

use dynamodb::capacity;

use crate::result::Units;

/// What a request costs, given its answer. Exact where items have the sizes that the generator gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitRule(pub(super) Rule);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// A read of one item.
    Get { consistent: bool },
}

impl UnitRule {
    /// What it cost: of an answer that was a success, or a condition that did not hold.
    #[must_use]
    pub fn units(&self, answer: &[u8]) -> Units {
        match self.0 {
            Rule::Get { consistent } => {
                let bytes = u64::try_from(answer.len()).expect("lengths fit in 64 bits");
                Units { read_milli: capacity::read_cost(bytes, consistent).get(), write_milli: 0 }
            }
        }
    }
}
