//! Handles of admission's metrics, made once: a request must not search the registry. Their names, units
//! and meanings are in the tier's `metrics.rs`.

use ::admission::{CapacityKind, Mode};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use units::MilliUnits;

use super::explanation::{Cause, Layer};
use crate::metrics as names;

/// The modes, in the order of [`AdmissionMetrics::modes`].
pub(super) const MODES: [Mode; 3] = [Mode::Untracked, Mode::Leased, Mode::Direct];

#[derive(Debug)]
pub(super) struct AdmissionMetrics {
    read: KindMetrics,
    write: KindMetrics,
    pub(super) reports_answered: Counter,
    pub(super) reports_failed: Counter,
    pub(super) grants_accepted: Counter,
    pub(super) grants_ignored: Counter,
    pub(super) not_owned: Counter,
    pub(super) buckets: Gauge,
    pub(super) modes: [Gauge; MODES.len()],
    pub(super) waiting: Gauge,
    pub(super) ring_epoch: Gauge,
    pub(super) fleet: Gauge,
}

/// The metrics of one kind of capacity.
#[derive(Debug)]
pub(super) struct KindMetrics {
    offered: Counter,
    admitted: Counter,
    refunded: Counter,
    causes: [CauseMetrics; Cause::ALL.len()],
    /// By level: table, account share, principal.
    shadows: [CauseMetrics; 3],
    pub(super) debt: Gauge,
}

#[derive(Debug)]
struct CauseMetrics {
    milliunits: Counter,
    requests: Counter,
}

/// The metrics of one GAC server.
#[derive(Debug)]
pub(super) struct ServerMetrics {
    pub(super) sync: Histogram,
    pub(super) oldest_lease: Gauge,
}

impl AdmissionMetrics {
    pub(super) fn new() -> Self {
        Self {
            read: KindMetrics::new("read"),
            write: KindMetrics::new("write"),
            reports_answered: counter!(names::REPORTS, "result" => "answered"),
            reports_failed: counter!(names::REPORTS, "result" => "failed"),
            grants_accepted: counter!(names::GRANTS, "result" => "accepted"),
            grants_ignored: counter!(names::GRANTS, "result" => "ignored"),
            not_owned: counter!(names::GRANTS, "result" => "not_owned"),
            buckets: gauge!(names::BUCKETS),
            modes: MODES.map(|mode| gauge!(names::MODE_BUCKETS, "mode" => mode.name())),
            waiting: gauge!(names::WAITING),
            ring_epoch: gauge!(names::RING_EPOCH),
            fleet: gauge!(names::FLEET),
        }
    }

    pub(super) const fn of(&self, kind: CapacityKind) -> &KindMetrics {
        match kind {
            CapacityKind::Read => &self.read,
            CapacityKind::Write => &self.write,
        }
    }
}

impl ServerMetrics {
    pub(super) fn new(address: &str) -> Self {
        Self {
            sync: histogram!(names::SYNC, "server" => address.to_owned()),
            oldest_lease: gauge!(names::OLDEST_LEASE, "server" => address.to_owned()),
        }
    }
}

impl KindMetrics {
    fn new(kind: &'static str) -> Self {
        Self {
            offered: counter!(names::OFFERED, "kind" => kind),
            admitted: counter!(names::ADMITTED, "kind" => kind),
            refunded: counter!(names::REFUNDED, "kind" => kind),
            causes: Cause::ALL.map(|cause| CauseMetrics {
                milliunits: counter!(names::THROTTLED, "kind" => kind, "cause" => cause.name()),
                requests: counter!(names::REFUSALS, "kind" => kind, "cause" => cause.name()),
            }),
            shadows: [Layer::Table, Layer::Account, Layer::Principal].map(|level| CauseMetrics {
                milliunits: counter!(names::SHADOW_THROTTLED, "kind" => kind, "level" => level.name()),
                requests: counter!(names::SHADOW_REFUSALS, "kind" => kind, "level" => level.name()),
            }),
            debt: gauge!(names::DEBT, "kind" => kind),
        }
    }

    pub(super) fn admitted(&self, cost: MilliUnits) {
        self.offered.increment(cost.get());
        self.admitted.increment(cost.get());
    }

    pub(super) fn charged_later(&self, amount: MilliUnits) {
        self.admitted(amount);
    }

    pub(super) fn refunded(&self, amount: MilliUnits) {
        self.refunded.increment(amount.get());
    }

    pub(super) fn refused(&self, cost: MilliUnits, cause: Cause) {
        self.offered.increment(cost.get());
        self.refused_later(cost, cause);
    }

    /// What a storage node refused was offered, and given back, already.
    pub(super) fn refused_later(&self, cost: MilliUnits, cause: Cause) {
        self.causes[cause as usize].count(cost);
    }

    pub(super) fn shadowed(&self, cost: MilliUnits, layer: Layer) {
        let level = match layer {
            Layer::Account => 1,
            Layer::Principal => 2,
            _ => 0,
        };
        self.shadows[level].count(cost);
    }
}

impl CauseMetrics {
    fn count(&self, cost: MilliUnits) {
        self.milliunits.increment(cost.get());
        self.requests.increment(1);
    }
}
