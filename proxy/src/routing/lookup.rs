//! Asking MemDS: in the background on every hit, and with a wait on a miss; and what the answers teach.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dynamodb::api::KeyClue;
use dynamodb::table::TableDescriptor;
use routing::{Learned, Route, RouteEntry};
use tokio::sync::mpsc;
use tracing::warn;
use units::TableId;
use wire::clock;
use wire::lookup_answers::LookupAnswer;
use wire::proto::routing::LookupEntry;

use super::lookup_queue::Urgency;
use super::{Inner, RoutingError};

/// The first pause between two rounds; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// The same while no further rounds are allowed.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// A lookup that waits to be sent.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) asked: Asked,
    pub(super) for_whom: ForWhom,
}

/// A lookup that was sent: what its answer is about, and for whom.
#[derive(Debug)]
pub(super) struct Sent {
    /// None: it was asked for by name.
    pub(super) table: Option<TableId>,
    pub(super) for_whom: ForWhom,
}

/// What an answer is for.
#[derive(Debug)]
pub(super) enum ForWhom {
    /// Somebody who waits.
    Waiter(Waiter),
    /// The caches: a request used this route, and an answer that says no more needs no look at them.
    Refresh(Arc<Route>),
}

/// Who waits: it is told of each server's answer. That a lookup ended without one shows by its being dropped.
pub(super) type Waiter = mpsc::Sender<Heard>;

/// What a lookup asks for.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    /// The route of a key of a table that is known.
    Route { table: TableId, known_version: u64, key: Bytes },
    /// A table, by its name.
    Table(Arc<NamedTable>),
}

/// A table that is not known, or in doubt.
#[derive(Debug)]
pub(super) struct NamedTable {
    pub(super) name: String,
    /// What is known of the key whose route is wanted, too; none: only the table is.
    pub(super) clue: Option<KeyClue>,
}

/// What one server said to somebody who waits. The caches have heard it before.
#[derive(Clone, Debug)]
pub(super) enum Heard {
    /// The table exists, and this is the route that was asked for, if the server knows it.
    Found(Option<Arc<Route>>),
    NoTable,
    NotReady,
}

/// What a round of questions says about a table that exists, answer by answer.
#[derive(Clone, Debug)]
pub(super) enum Said {
    /// A server knows the route.
    Route(Arc<Route>),
    /// A server knows the table, and not the route, or was not asked for it.
    NoRoute,
    /// No server says any more.
    NothingMore,
}

impl Said {
    pub(super) fn route(self) -> Option<Arc<Route>> {
        match self {
            Self::Route(route) => Some(route),
            Self::NoRoute | Self::NothingMore => None,
        }
    }
}

/// What a round of questions showed when it did not show what was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    /// Servers that have the whole catalog say that there is no such table, and none knows it.
    NoTable,
    /// The table exists, but the partition's route is not known; or nobody answered.
    Nothing,
}

impl Asked {
    pub(super) fn route(table: &TableDescriptor, key: &Bytes) -> Self {
        Self::Route { table: TableId::new(table.id), known_version: table.version, key: key.clone() }
    }

    pub(super) fn table_named(name: &str, clue: Option<KeyClue>) -> Self {
        Self::Table(Arc::new(NamedTable { name: name.to_owned(), clue }))
    }

    pub(super) const fn table(&self) -> Option<TableId> {
        match self {
            Self::Route { table, .. } => Some(*table),
            Self::Table(_) => None,
        }
    }

    pub(super) fn into_entry(self) -> LookupEntry {
        match self {
            Self::Route { table, known_version, key } => LookupEntry {
                table: table.get(),
                known_table_version: known_version,
                key: Some(key),
                ..LookupEntry::default()
            },
            Self::Table(named) => {
                let (key, attributes) = match &named.clue {
                    Some(KeyClue::Key(key)) => (Some(key.0.clone()), None),
                    Some(KeyClue::Attributes(attributes)) => (None, Some(attributes.0.clone())),
                    None => (None, None),
                };
                LookupEntry { table_name: named.name.clone(), key, attributes, ..LookupEntry::default() }
            }
        }
    }
}

impl Inner {
    /// Sends the lookup to two servers, and waits for neither. The cost of every hit: two short locks.
    pub(super) fn ask_in_background(&self, table: &TableDescriptor, key: &Bytes, known: &Arc<Route>) {
        let now = clock::now();
        for server in self.memds.next_two() {
            let for_whom = ForWhom::Refresh(Arc::clone(known));
            let lookup = Lookup { asked: Asked::route(table, key), for_whom };
            server.push(lookup, Urgency::Background, now);
        }
    }

    /// Asks two servers, in rounds, until `found` makes of an answer what is wanted; each answer is taken
    /// into the caches first. Rounds beyond the first are bounded by [`Repeats`](super::repeats::Repeats);
    /// while there may be none, what others learn is waited for.
    pub(super) async fn ask_until<T>(
        &self,
        asked: &Asked,
        deadline: Duration,
        mut found: impl FnMut(Said) -> Option<T>,
    ) -> Result<T, RoutingError> {
        let give_up = clock::now() + deadline;
        let mut pause = FIRST_PAUSE;
        let mut may_ask = true;
        loop {
            let left = give_up.since(clock::now());
            if may_ask {
                match self.ask_round(asked, left, &mut found).await {
                    Ok(wanted) => return Ok(wanted),
                    Err(Round::NoTable) => return Err(RoutingError::NotFound),
                    Err(Round::Nothing) => {}
                }
            } else if let Some(learned) = found(Said::NothingMore) {
                return Ok(learned);
            }
            if give_up.since(clock::now()) <= pause {
                return Err(RoutingError::Unavailable);
            }
            tokio::time::sleep(pause).await;
            may_ask = self.repeats.spend(clock::now());
            if may_ask {
                self.metrics.repeated_lookups.increment(self.memds.asked_at_once());
            }
            pause = (pause * 2).min(if may_ask { LONGEST_PAUSE } else { LONGEST_WAIT });
        }
    }

    /// Asks two servers once; the first answer of which `found` makes something wins, or that there are no
    /// more. The other server does the same work as for a hit.
    pub(super) async fn ask_round<T>(
        &self,
        asked: &Asked,
        deadline: Duration,
        mut found: impl FnMut(Said) -> Option<T>,
    ) -> Result<T, Round> {
        // Never full: each server answers once. It ends when both have, or their lookups are dropped.
        let (sender, mut answers) = mpsc::channel(2);
        let now = clock::now();
        for server in self.memds.next_two() {
            let for_whom = ForWhom::Waiter(sender.clone());
            let lookup = Lookup { asked: asked.clone(), for_whom };
            server.push(lookup, Urgency::Waited, now);
        }
        drop(sender);
        let (mut known, mut denied) = (false, false);
        let listening = async {
            while let Some(heard) = answers.recv().await {
                match heard {
                    Heard::Found(route) => {
                        known = true;
                        let wanted = found(route.map_or(Said::NoRoute, Said::Route));
                        if wanted.is_some() {
                            return wanted;
                        }
                    }
                    Heard::NoTable => denied = true,
                    Heard::NotReady => {}
                }
            }
            None
        };
        let listened = tokio::time::timeout(deadline.min(self.memds.patience.waited), listening).await;
        if let Some(wanted) =
            listened.ok().flatten().or_else(|| known.then(|| found(Said::NothingMore)).flatten())
        {
            return Ok(wanted);
        }
        // A server that has not heard of the table yet is outdone by one that has.
        Err(if denied && !known { Round::NoTable } else { Round::Nothing })
    }

    /// Takes an answer into the caches, and tells who waits for it.
    pub(super) fn absorb(&self, sent: Sent, answer: LookupAnswer<'_>) {
        let heard = match answer {
            LookupAnswer::Found { table, descriptor, route } => {
                if let Some(descriptor) = descriptor {
                    self.absorb_descriptor(descriptor);
                }
                Heard::Found(match (route, &sent.for_whom) {
                    (Some(entry), ForWhom::Waiter(waiter)) if !waiter.is_closed() => {
                        self.take_route(table, entry)
                    }
                    (Some(entry), ForWhom::Waiter(_)) => {
                        self.absorb_route(table, entry, false);
                        None
                    }
                    (Some(entry), ForWhom::Refresh(known)) if entry.is_known_by(known) == Some(true) => None,
                    (Some(entry), ForWhom::Refresh(_)) => {
                        self.absorb_route(table, entry, true);
                        None
                    }
                    (None, _) => None,
                })
            }
            LookupAnswer::NoTable => {
                // Only a question by number shows which table is gone.
                if let Some(table) = sent.table {
                    self.tables.forget_number(table);
                    self.routes.forget_table(table);
                }
                Heard::NoTable
            }
            LookupAnswer::NotReady => Heard::NotReady,
        };
        if let ForWhom::Waiter(waiter) = sent.for_whom {
            let _nobody_waits = waiter.try_send(heard);
        }
    }

    fn absorb_descriptor(&self, descriptor: &[u8]) {
        match serde_json::from_slice::<TableDescriptor>(descriptor) {
            Ok(table) => self.tables.learn(table),
            Err(error) => warn!(%error, "MemDS sent a malformed table descriptor"),
        }
    }

    /// Takes in the route of an answer that nobody waits for: nearly always it is known, and only compared.
    fn absorb_route(&self, table: TableId, entry: RouteEntry<'_>, of_a_hit: bool) {
        match self.routes.learn_entry(table, entry) {
            Some(Learned::Known) => {}
            Some(Learned::News) => {
                if of_a_hit {
                    self.metrics.stale_by_memds.increment(1);
                }
                self.metrics.learned_from_memds.increment(1);
                if let Some(route) = entry.route(table) {
                    self.ask_for_unknown_nodes(&route);
                }
            }
            None => warn!(%table, "MemDS sent a malformed route"),
        }
    }

    /// The route of an answer that somebody waits for: it needs the route also where the caches keep none.
    fn take_route(&self, table: TableId, entry: RouteEntry<'_>) -> Option<Arc<Route>> {
        let Some(route) = entry.route(table).filter(Route::is_valid) else {
            warn!(%table, "MemDS sent a malformed route");
            return None;
        };
        let route = Arc::new(route);
        if self.learn(&route) == Learned::News {
            self.metrics.learned_from_memds.increment(1);
        }
        Some(route)
    }

    /// Takes a route into the cache if it is news, and asks for the addresses of nodes that it names and
    /// that are not known.
    pub(super) fn learn(&self, route: &Arc<Route>) -> Learned {
        let learned = self.routes.learn(Arc::clone(route));
        if learned == Learned::News {
            self.ask_for_unknown_nodes(route);
        }
        learned
    }

    fn ask_for_unknown_nodes(&self, route: &Route) {
        let nodes = self.nodes.borrow();
        if route.members.iter().any(|member| nodes.get(member.node).is_none()) {
            self.node_unknown.notify_one();
        }
    }
}
