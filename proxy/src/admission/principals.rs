//! Who asks, for `weir top`: a meter for each principal, up to a number of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::admission::CapacityKind;
use dashmap::DashMap;
use units::Timestamp;

use super::explanation::Capacity;
use super::meter::Meter;
use super::top::{OTHER, TopRow};

/// Principals that are told apart, at 2 KB each while they are active; the rest count together.
const MAX_PRINCIPALS: usize = 1_000;
/// A principal that asked for nothing for so long makes room for another.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// One principal's meters.
#[derive(Debug)]
pub(super) struct Principal {
    pub(super) name: Arc<str>,
    read: Meter,
    write: Meter,
    /// When its meters moved last.
    moved_at: AtomicU64,
}

impl Principal {
    fn new(name: Arc<str>, now: Timestamp) -> Self {
        let principal = Self {
            name,
            read: Meter::default(),
            write: Meter::default(),
            moved_at: AtomicU64::new(now.as_nanos()),
        };
        // From nothing: what is counted until the first second is over shows in it.
        principal.tick(now);
        principal
    }

    pub(super) const fn meter(&self, kind: CapacityKind) -> &Meter {
        match kind {
            CapacityKind::Read => &self.read,
            CapacityKind::Write => &self.write,
        }
    }

    fn tick(&self, now: Timestamp) {
        let moved = [self.read.tick(now), self.write.tick(now)];
        if moved.contains(&true) {
            self.moved_at.store(now.as_nanos(), Ordering::Relaxed);
        }
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Principals {
    known: DashMap<Arc<str>, Arc<Principal>, foldhash::fast::RandomState>,
    other: Arc<Principal>,
}

impl Principals {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { known: DashMap::default(), other: Arc::new(Principal::new(OTHER.into(), now)) }
    }

    /// The meters that count for `name`.
    pub(super) fn of(&self, name: &Arc<str>, now: Timestamp) -> Arc<Principal> {
        if let Some(known) = self.known.get(&**name) {
            return Arc::clone(&known);
        }
        // Two that come at once may make it one more than the bound.
        if self.known.len() >= MAX_PRINCIPALS {
            return Arc::clone(&self.other);
        }
        let new = || Arc::new(Principal::new(Arc::clone(name), now));
        Arc::clone(&self.known.entry(Arc::clone(name)).or_insert_with(new))
    }

    /// Once a second.
    pub(super) fn tick(&self, now: Timestamp) {
        self.other.tick(now);
        self.known.retain(|_, principal| {
            principal.tick(now);
            let moved_at = Timestamp::from_nanos(principal.moved_at.load(Ordering::Relaxed));
            now.since(moved_at) < FORGOTTEN_AFTER
        });
    }

    pub(super) fn rows(&self) -> Vec<TopRow> {
        let mut rows = Vec::new();
        let mut add = |principal: &Principal| {
            for (capacity, meter) in [(Capacity::Read, &principal.read), (Capacity::Write, &principal.write)]
            {
                if let Some((last_second, last_ten_seconds)) = meter.flows() {
                    let name = principal.name.as_ref().to_owned();
                    rows.push(TopRow { name, capacity, last_second, last_ten_seconds });
                }
            }
        };
        self.known.iter().for_each(|entry| add(entry.value()));
        add(&self.other);
        TopRow::busiest(rows)
    }
}

#[cfg(test)]
mod tests {
    use units::MilliUnits;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn those_beyond_the_bound_count_together_and_idle_ones_make_room() {
        let principals = Principals::new(at(0));
        for number in 0..MAX_PRINCIPALS + 5 {
            let principal = principals.of(&format!("p{number}").into(), at(0));
            principal.meter(CapacityKind::Read).admitted(MilliUnits::from_units(1));
        }
        principals.tick(at(1));
        let rows = principals.rows();
        assert_eq!((rows[0].name.as_str(), rows[0].last_second.admitted.requests), (OTHER, 5.0));
        for second in 2..80 {
            principals.tick(at(second));
        }
        assert!(principals.rows().is_empty());
        assert_eq!(&*principals.of(&"late".into(), at(80)).name, "late");
    }
}
