//! How many connections each source has: one client may not take every slot.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// The connections of every source. Bounded by the connection limit: a source without one is forgotten.
#[derive(Debug)]
pub(super) struct Sources {
    connections: Mutex<BTreeMap<IpAddr, usize>>,
    limit: usize,
}

/// One connection of a source; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    of: Arc<Sources>,
    source: IpAddr,
}

impl Sources {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { connections: Mutex::default(), limit })
    }

    /// A place for one more connection of `source`, unless it has as many as it may.
    pub(super) fn admit(self: &Arc<Self>, source: IpAddr) -> Option<Place> {
        let mut connections = self.connections.lock();
        let count = connections.entry(source).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(Place { of: Arc::clone(self), source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut connections = self.of.connections.lock();
        if let Some(count) = connections.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_its_limit_and_takes_nothing_from_others() {
        let sources = Sources::new(2);
        let (alice, bob) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let first = sources.admit(alice).unwrap();
        let _second = sources.admit(alice).unwrap();
        assert!(sources.admit(alice).is_none());
        assert!(sources.admit(bob).is_some());
        drop(first);
        assert!(sources.admit(alice).is_some());
        assert_eq!(sources.connections.lock().len(), 1);
    }
}
