//! Admission's metrics at the proxy.
//!
//! | metric | labels | what |
//! |---|---|---|
//! | `weir_proxy_admission_admitted_milliunits_total` | `kind` | taken for admitted requests, also late charges |
//! | `weir_proxy_admission_refunded_milliunits_total` | `kind` | given back of that |
//! | `weir_proxy_admission_throttled_milliunits_total` | `kind`, `cause` | refused: true quota hits (`quota`), local shortages (`share`) |
//! | `weir_proxy_admission_refusals_total` | `kind`, `cause` | the same, in requests |
//! | `weir_proxy_admission_reports_total` | `result` | reports to GAC servers: `answered`, `failed` |
//! | `weir_proxy_admission_grants_total` | `result` | grants: `accepted`, or `ignored` as not newer |
//! | `weir_proxy_admission_buckets` | | buckets kept |
//! | `weir_proxy_admission_oldest_lease_seconds` | `server` | age of the oldest lease of a bucket in use, by its server's place in the ring |
//!
//! Offered is admitted plus throttled.

use ::admission::CapacityKind;
use metrics::{Counter, Gauge, counter, gauge};
use units::MilliUnits;

use super::Cause;

/// Handles, made once: a request must not search the registry.
#[derive(Debug)]
pub(super) struct AdmissionMetrics {
    read: KindMetrics,
    write: KindMetrics,
    pub(super) reports_answered: Counter,
    pub(super) reports_failed: Counter,
    pub(super) grants_accepted: Counter,
    pub(super) grants_ignored: Counter,
    pub(super) buckets: Gauge,
}

/// The counters of one kind of capacity.
#[derive(Debug)]
pub(super) struct KindMetrics {
    admitted: Counter,
    refunded: Counter,
    quota: CauseMetrics,
    share: CauseMetrics,
}

#[derive(Debug)]
struct CauseMetrics {
    throttled: Counter,
    refusals: Counter,
}

impl AdmissionMetrics {
    pub(super) fn new() -> Self {
        Self {
            read: KindMetrics::new("read"),
            write: KindMetrics::new("write"),
            reports_answered: counter!("weir_proxy_admission_reports_total", "result" => "answered"),
            reports_failed: counter!("weir_proxy_admission_reports_total", "result" => "failed"),
            grants_accepted: counter!("weir_proxy_admission_grants_total", "result" => "accepted"),
            grants_ignored: counter!("weir_proxy_admission_grants_total", "result" => "ignored"),
            buckets: gauge!("weir_proxy_admission_buckets"),
        }
    }

    pub(super) const fn of(&self, kind: CapacityKind) -> &KindMetrics {
        match kind {
            CapacityKind::Read => &self.read,
            CapacityKind::Write => &self.write,
        }
    }

    /// The gauge of one server's leases.
    pub(super) fn oldest_lease(server: usize) -> Gauge {
        gauge!("weir_proxy_admission_oldest_lease_seconds", "server" => server.to_string())
    }
}

impl KindMetrics {
    fn new(kind: &'static str) -> Self {
        let by_cause = |cause: &'static str| CauseMetrics {
            throttled: counter!("weir_proxy_admission_throttled_milliunits_total", "kind" => kind, "cause" => cause),
            refusals: counter!("weir_proxy_admission_refusals_total", "kind" => kind, "cause" => cause),
        };
        Self {
            admitted: counter!("weir_proxy_admission_admitted_milliunits_total", "kind" => kind),
            refunded: counter!("weir_proxy_admission_refunded_milliunits_total", "kind" => kind),
            quota: by_cause("quota"),
            share: by_cause("share"),
        }
    }

    pub(super) fn admitted(&self, cost: MilliUnits) {
        self.admitted.increment(cost.get());
    }

    pub(super) fn charged_later(&self, amount: MilliUnits) {
        self.admitted.increment(amount.get());
    }

    pub(super) fn refunded(&self, amount: MilliUnits) {
        self.refunded.increment(amount.get());
    }

    pub(super) fn refused(&self, cost: MilliUnits, cause: Cause) {
        let metrics = match cause {
            Cause::Quota => &self.quota,
            Cause::Share => &self.share,
        };
        metrics.throttled.increment(cost.get());
        metrics.refusals.increment(1);
    }
}
