//! Answers a batch of lookups from one snapshot.

use bytes::Bytes;
use dynamodb::operation::{EncodedItem, StorageKey};
use routing::{PartitionMap, RouteEntry};
use units::TableId;
use wire::lookup_answers::{LookupAnswer, LookupAnswersWriter};
use wire::proto::routing::{LookupBatch, LookupEntry};

use crate::snapshot::{Snapshot, Table};

/// Lookups in one batch: its answers take a quarter of a millisecond of the connection's task.
pub(crate) const MAX_LOOKUPS: usize = 512;
/// Once a batch's answers take this much, no descriptor is added: half of what one message may carry. Who
/// still needs one asks again.
const MAX_DESCRIPTOR_BYTES: usize = wire::transport::MAX_PAYLOAD_BYTES / 2;

/// How a batch's lookups ended, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// With the route, or with the table where nothing else was asked for.
    pub(crate) found: u64,
    /// The table is known, a route for the key is not.
    pub(crate) no_route: u64,
    /// The table is known, and no key could be made of the attributes.
    pub(crate) no_key: u64,
    pub(crate) no_table: u64,
    pub(crate) not_ready: u64,
}

impl Tally {
    /// How many there were.
    pub(crate) const fn total(&self) -> u64 {
        self.found + self.no_route + self.no_key + self.no_table + self.not_ready
    }
}

/// The answers, encoded, and their tally.
pub(crate) fn answer(snapshot: &Snapshot, batch: &LookupBatch) -> (Bytes, Tally) {
    let mut answers = LookupAnswersWriter::with_capacity(batch.lookups.len());
    let mut tally = Tally::default();
    let mut found = Vec::new();
    for some in batch.lookups.chunks(PartitionMap::AHEAD) {
        read_ahead(snapshot, some);
        for lookup in some {
            let with_descriptor = answers.len() < MAX_DESCRIPTOR_BYTES;
            let answer = answer_one(snapshot, lookup, with_descriptor, &mut found, &mut tally);
            answers.push(&answer);
        }
    }
    (answers.finish(), tally)
}

/// Reads ahead for the lookups that say which key: nearly all of them.
fn read_ahead(snapshot: &Snapshot, lookups: &[LookupEntry]) {
    let mut wanted = [(TableId::new(0), &[][..]); PartitionMap::AHEAD];
    let mut count = 0;
    for lookup in lookups {
        if let Some(key) = &lookup.key {
            wanted[count] = (TableId::new(lookup.table), key);
            count += 1;
        }
    }
    snapshot.routes().read_ahead(&wanted[..count]);
}

fn answer_one<'a>(
    snapshot: &'a Snapshot,
    lookup: &LookupEntry,
    with_descriptor: bool,
    found: &'a mut Vec<u8>,
    tally: &mut Tally,
) -> LookupAnswer<'a> {
    let table = match lookup.table {
        0 => snapshot.by_name(&lookup.table_name),
        number => snapshot.by_number(TableId::new(number)),
    };
    let Some(table) = table else {
        // A server that has just started must not say that a table does not exist.
        if !snapshot.catalog_is_whole() {
            tally.not_ready += 1;
            return LookupAnswer::NotReady;
        }
        tally.no_table += 1;
        return LookupAnswer::NoTable;
    };
    let route = match key(table, lookup) {
        Key::Given(key) => holder(snapshot, table, key, found, tally),
        Key::Made(key) => holder(snapshot, table, &key.0, found, tally),
        Key::Unknown => {
            tally.no_key += 1;
            None
        }
        Key::NotAsked => {
            tally.found += 1;
            None
        }
    };
    let is_news = table.version > lookup.known_table_version && with_descriptor;
    LookupAnswer::Found { table: table.id, descriptor: is_news.then_some(&table.json[..]), route }
}

fn holder<'a>(
    snapshot: &'a Snapshot,
    table: &Table,
    key: &[u8],
    found: &'a mut Vec<u8>,
    tally: &mut Tally,
) -> Option<RouteEntry<'a>> {
    let route = snapshot.routes().holder_entry(table.id, key, found);
    let outcome = if route.is_some() { &mut tally.found } else { &mut tally.no_route };
    *outcome += 1;
    route
}

/// The key whose route is wanted.
enum Key<'a> {
    Given(&'a [u8]),
    /// Of the attributes.
    Made(StorageKey),
    /// It cannot be made of the attributes.
    Unknown,
    /// Only the table is wanted.
    NotAsked,
}

fn key<'a>(table: &Table, lookup: &'a LookupEntry) -> Key<'a> {
    if let Some(key) = &lookup.key {
        return Key::Given(key);
    }
    let Some(attributes) = &lookup.attributes else { return Key::NotAsked };
    // They come from the network: `parse` lets nothing through that a view would panic on.
    EncodedItem::parse(attributes.clone())
        .ok()
        .zip(table.keys.as_ref())
        .and_then(|(attributes, keys)| keys.routing_key(attributes.view(), table.hash_seed))
        .map_or(Key::Unknown, Key::Made)
}

#[cfg(test)]
mod tests;
