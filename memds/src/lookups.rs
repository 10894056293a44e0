//! Answers a batch of lookups from one snapshot.

use bytes::Bytes;
use dynamodb::operation::{EncodedItem, StorageKey};
use routing::PartitionMap;
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
    let mut wanted = Vec::with_capacity(PartitionMap::AHEAD);
    for some in batch.lookups.chunks(PartitionMap::AHEAD) {
        wanted.clear();
        wanted.extend(some.iter().map(|lookup| Wanted::by(lookup, snapshot)));
        read_ahead(snapshot, &wanted);
        for wanted in &wanted {
            let with_descriptor = answers.len() < MAX_DESCRIPTOR_BYTES;
            answers.push(&wanted.answer(snapshot, with_descriptor, &mut found, &mut tally));
        }
    }
    (answers.finish(), tally)
}

/// Keys are made first, so that what the lookups need of the tree comes for all of them at once.
fn read_ahead(snapshot: &Snapshot, wanted: &[Wanted<'_>]) {
    let mut keys = [(TableId::new(0), &[][..]); PartitionMap::AHEAD];
    let mut count = 0;
    for wanted in wanted {
        if let (Some(table), Some(key)) = (wanted.table, wanted.key.bytes()) {
            keys[count] = (table.id, key);
            count += 1;
        }
    }
    snapshot.routes().read_ahead(&keys[..count]);
}

/// What a lookup is after.
struct Wanted<'a> {
    /// None: it is not known.
    table: Option<&'a Table>,
    known_version: u64,
    key: Key<'a>,
}

impl<'a> Wanted<'a> {
    fn by(lookup: &'a LookupEntry, snapshot: &'a Snapshot) -> Self {
        let table = match lookup.table {
            0 => snapshot.by_name(&lookup.table_name),
            number => snapshot.by_number(TableId::new(number)),
        };
        let key = table.map_or(Key::NotAsked, |table| Key::of(lookup, table));
        Self { table: table.map(|table| &**table), known_version: lookup.known_table_version, key }
    }

    fn answer<'b>(
        &self,
        snapshot: &'b Snapshot,
        with_descriptor: bool,
        found: &'b mut Vec<u8>,
        tally: &mut Tally,
    ) -> LookupAnswer<'b>
    where
        'a: 'b,
    {
        let Some(table) = self.table else {
            // A server that has just started must not say that a table does not exist.
            if !snapshot.catalog_is_whole() {
                tally.not_ready += 1;
                return LookupAnswer::NotReady;
            }
            tally.no_table += 1;
            return LookupAnswer::NoTable;
        };
        let route = self.key.bytes().and_then(|key| snapshot.routes().holder_entry(table.id, key, found));
        *match (&self.key, route) {
            (Key::NotAsked, _) | (_, Some(_)) => &mut tally.found,
            (Key::Unknown, None) => &mut tally.no_key,
            (Key::Given(_) | Key::Made(_), None) => &mut tally.no_route,
        } += 1;
        let is_news = table.version > self.known_version && with_descriptor;
        LookupAnswer::Found { table: table.id, descriptor: is_news.then_some(&table.json[..]), route }
    }
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

impl<'a> Key<'a> {
    fn of(lookup: &'a LookupEntry, table: &Table) -> Self {
        if let Some(key) = &lookup.key {
            return Self::Given(key);
        }
        let Some(attributes) = &lookup.attributes else { return Self::NotAsked };
        // They come from the network: `parse` lets nothing through that a view would panic on.
        EncodedItem::parse(attributes.clone())
            .ok()
            .zip(table.keys.as_ref())
            .and_then(|(attributes, keys)| keys.routing_key(attributes.view(), table.hash_seed))
            .map_or(Self::Unknown, Self::Made)
    }

    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Given(key) => Some(key),
            Self::Made(key) => Some(&key.0),
            Self::Unknown | Self::NotAsked => None,
        }
    }
}

#[cfg(test)]
mod tests;
