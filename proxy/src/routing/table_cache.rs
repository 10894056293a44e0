//! Table descriptors by name. Only a newer version replaces one; only MemDS's word that a table is gone
//! removes one.

use std::sync::Arc;

use dashmap::DashMap;
use dynamodb::table::TableDescriptor;
use foldhash::fast::FixedState;
use units::TableId;

/// The descriptors that this proxy has needed.
#[derive(Debug, Default)]
pub(super) struct TableCache {
    by_name: DashMap<String, Arc<TableDescriptor>, FixedState>,
    /// The name that the table of this number has, or had.
    names: DashMap<TableId, String, FixedState>,
}

/// Descriptors at most, at about 1 KB each: 25 accounts with 2,500 tables each. Past it, one makes room.
const CAPACITY: usize = 65_536;

impl TableCache {
    pub(super) fn by_name(&self, name: &str) -> Option<Arc<TableDescriptor>> {
        self.by_name.get(name).map(|table| Arc::clone(&table))
    }

    /// Takes `table` in unless one of its name is known that is newer: a later table of the same name has
    /// a greater number.
    pub(super) fn learn(&self, table: TableDescriptor) {
        let newest = |table: &TableDescriptor| (table.id, table.version);
        if self.by_name(&table.name).is_some_and(|known| newest(&known) >= newest(&table)) {
            return;
        }
        self.make_room();
        let table = Arc::new(table);
        self.names.insert(TableId::new(table.id), table.name.clone());
        let mut replaced = None;
        self.by_name
            .entry(table.name.clone())
            .and_modify(|known| {
                if newest(known) < newest(&table) {
                    replaced = Some(std::mem::replace(known, Arc::clone(&table)));
                }
            })
            .or_insert(Arc::clone(&table));
        if let Some(replaced) = replaced.filter(|replaced| replaced.id != table.id) {
            self.names.remove(&TableId::new(replaced.id));
        }
    }

    /// Forgets the table of this name if it has this number.
    pub(super) fn forget(&self, name: &str, id: TableId) {
        self.by_name.remove_if(name, |_, known| known.id == id.get());
        self.names.remove(&id);
    }

    /// Forgets the table of this number.
    pub(super) fn forget_number(&self, id: TableId) {
        if let Some((_, name)) = self.names.remove(&id) {
            self.by_name.remove_if(&name, |_, known| known.id == id.get());
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Forgets everything; how many that were.
    pub(super) fn clear(&self) -> usize {
        let before = self.by_name.len();
        // First the names: one that stays without its table harms nothing, a table without its name could not be
        // forgotten by its number.
        self.names.clear();
        self.by_name.clear();
        before
    }

    fn make_room(&self) {
        if self.by_name.len() < CAPACITY {
            return;
        }
        let victim = self.by_name.iter().next().map(|entry| (entry.key().clone(), TableId::new(entry.id)));
        if let Some((name, id)) = victim {
            self.forget(&name, id);
        }
    }
}
