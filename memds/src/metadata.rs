//! The server's knowledge: a published snapshot that readers take without waiting, and one writer at a
//! time that replaces it.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use routing::{NodeAddress, Route};
use units::TableId;

use crate::snapshot::{Snapshot, Table};

/// The position of a push of the control plane: pushes of a later leader, and later pushes of the same
/// leader, come after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PushPosition {
    /// The leader's term in the catalog's group.
    pub(crate) term: u64,
    /// The leader's count of its pushes.
    pub(crate) sequence: u64,
}

/// What the control plane pushed.
#[derive(Debug)]
pub(crate) struct CatalogPush {
    pub(crate) tables: Vec<Table>,
    pub(crate) removed: Vec<TableId>,
    /// The tables are the whole catalog: what is not among them is gone.
    pub(crate) complete: bool,
    pub(crate) position: PushPosition,
}

/// What came of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// Something changed.
    News,
    /// Nothing changed.
    Known,
    /// It comes from before what was pushed already, and was ignored.
    Stale,
}

#[derive(Debug, Default)]
pub(crate) struct Metadata {
    snapshot: ArcSwap<Snapshot>,
    /// The newest push of the control plane; held while a new snapshot is made.
    writer: Mutex<PushPosition>,
}

impl Metadata {
    /// The present snapshot.
    pub(crate) fn read(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// Takes in what a storage node knows of itself and of its groups.
    ///
    /// That a node no longer mentions a partition removes nothing: it may have restarted, or been wiped,
    /// while the other replicas serve. Routes go when a newer route covers their range, or with their
    /// table.
    pub(crate) fn push_routes(&self, node: Option<NodeAddress>, routes: Vec<Route>) -> Pushed {
        let _writer = self.writer.lock();
        let present = self.snapshot.load();
        let node = node.filter(|node| present.would_learn_node(node));
        let routes: Vec<Route> =
            routes.into_iter().filter(|route| present.would_learn_route(route)).collect();
        if node.is_none() && routes.is_empty() {
            return Pushed::Known;
        }
        let mut next = Snapshot::clone(&present);
        if let Some(node) = node {
            next.learn_node(node);
        }
        for route in routes {
            next.learn_route(route);
        }
        self.snapshot.store(Arc::new(next));
        Pushed::News
    }

    /// Takes in what a peer holds of the catalog and the nodes; `whole`: that was the last of the whole
    /// catalog, as of that position in the control plane's pushes.
    pub(crate) fn fill(&self, tables: Vec<Table>, nodes: Vec<NodeAddress>, whole: Option<PushPosition>) {
        let mut newest = self.writer.lock();
        let mut next = Snapshot::clone(&self.snapshot.load());
        for table in tables {
            next.learn_table(table);
        }
        for node in nodes {
            next.learn_node(node);
        }
        if let Some(position) = whole {
            *newest = position.max(*newest);
            next.hears_the_whole();
        }
        self.snapshot.store(Arc::new(next));
    }

    /// The newest push of the control plane that was taken in.
    pub(crate) fn catalog_position(&self) -> PushPosition {
        *self.writer.lock()
    }

    /// Takes in what the control plane pushed, unless a later push was taken in already.
    pub(crate) fn push_catalog(&self, push: CatalogPush) -> Pushed {
        let mut newest = self.writer.lock();
        if push.position < *newest {
            return Pushed::Stale;
        }
        *newest = push.position;
        let mut next = Snapshot::clone(&self.snapshot.load());
        let mut changed = false;
        let catalog: BTreeSet<TableId> = push.tables.iter().map(|table| table.id).collect();
        for table in push.tables {
            changed |= next.learn_table(table);
        }
        for table in push.removed {
            changed |= next.remove_table(table);
        }
        if push.complete {
            changed |= next.keep_only(&catalog);
        }
        if !changed {
            return Pushed::Known;
        }
        self.snapshot.store(Arc::new(next));
        Pushed::News
    }
}

#[cfg(test)]
mod tests;
