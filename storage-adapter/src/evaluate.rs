//! Where operations meet stored items: `dynamodb::execute` over the engine's forms. The same for every
//! engine.

use bytes::Bytes;
use dynamodb::execute::{self, Flow, PageBuilder};
use dynamodb::expression::ExpressionCache;
use dynamodb::operation::{EncodedItem, Operation, Outcome, RangeRead, Written};
use routing::KeyRange;

use crate::engine::{Effect, EngineError, RangeScan, Replica, StoredItem};

/// Evaluates a write against the newest item: the answer, and the effect, if it has one.
pub(crate) fn write(
    operation: &Operation,
    current: Option<StoredItem>,
    expressions: &ExpressionCache,
) -> (Outcome, Option<Effect>) {
    let current = current.map(|item| EncodedItem(item.bytes));
    let decision = execute::execute_write(operation, current.as_ref(), expressions);
    let item = match decision.effect {
        execute::Effect::None => return (decision.outcome, None),
        execute::Effect::Put(item) => Some(StoredItem::seal(item.0)),
        execute::Effect::Delete => None,
    };
    let effect = Effect {
        key: operation.routing_key().0.clone(),
        items_delta: i8::from(item.is_some()) - i8::from(current.is_some()),
        bytes_delta: size_delta(&decision.outcome),
        item,
    };
    (decision.outcome, Some(effect))
}

fn size_delta(outcome: &Outcome) -> i64 {
    let Outcome::Written(Written { old_size, new_size, .. }) = outcome else {
        unreachable!("only what is written has an effect")
    };
    // Items have at most 400 KB.
    new_size.cast_signed() - old_size.cast_signed()
}

/// Reads one item.
pub(crate) fn get(replica: &Replica, key: &[u8]) -> Result<Outcome, EngineError> {
    Ok(Outcome::Item(replica.get(key)?.map(|item| EncodedItem(item.bytes))))
}

/// Reads one page of the part of `read`'s range that lies in `within`.
pub(crate) fn page(
    replica: &Replica,
    read: &RangeRead,
    within: &KeyRange,
    expressions: &ExpressionCache,
) -> Result<Outcome, EngineError> {
    let mut page = match PageBuilder::new(read, expressions) {
        Ok(page) => page,
        Err(error) => return Ok(Outcome::Invalid(error)),
    };
    let start = read.start.0.clone().max(within.start.clone());
    let end = earlier(read.end.as_ref().map(|key| key.0.clone()), within.end.clone());
    for entry in RangeScan::new(replica, start, end, read.forward) {
        let (_key, item) = entry?;
        match page.push(&EncodedItem(item.bytes)) {
            Ok(Flow::Continue) => {}
            Ok(Flow::Stop) => break,
            Err(error) => return Ok(Outcome::Invalid(error)),
        }
    }
    Ok(Outcome::Page(page.finish()))
}

fn earlier(one: Option<Bytes>, other: Option<Bytes>) -> Option<Bytes> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
