//! The GAC tier's metrics: each declared and described here, once.

use std::collections::BTreeMap;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

use parking_lot::Mutex;
use units::ProxyId;

use crate::survey::Survey;

const REPORTS: &str = "weir_gac_reports_total";
const REPORT_SECONDS: &str = "weir_gac_report_seconds";
const ENTRIES: &str = "weir_gac_entries_total";
const GRANTED: &str = "weir_gac_granted_milliunits_total";
const MALFORMED: &str = "weir_gac_malformed_total";
const QUOTAS: &str = "weir_gac_quotas_total";
const PEAKS: &str = "weir_gac_peaks_total";
const HANDOVERS: &str = "weir_gac_handovers_total";
const HANDING_OVER: &str = "weir_gac_handing_over_buckets";
const BUCKETS: &str = "weir_gac_buckets";
const MODES: &str = "weir_gac_mode_buckets";
const FLEET: &str = "weir_gac_fleet_proxies";
const LEARNING: &str = "weir_gac_learning";
const FROZEN: &str = "weir_gac_frozen";
const RING_EPOCH: &str = "weir_gac_ring_epoch";
const LEASED: &str = "weir_gac_leased_milliunits_per_second";
const LEASED_RATIO: &str = "weir_gac_leased_ratio";
const HELD: &str = "weir_gac_held_milliunits";
const POOL: &str = "weir_gac_pool_milliunits";
const OVER_ADMISSION: &str = "weir_gac_over_admission_milliunits";
const OVER_ADMISSION_BOUND: &str = "weir_gac_over_admission_bound_milliunits";
const VIOLATIONS: &str = "weir_gac_invariant_violations";
const OVERDRAFTS: &str = "weir_gac_overdrafts";
const JAIN: &str = "weir_gac_jain_index_ratio";

/// Handles, made once: a report must not search the registry.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) reports: Counter,
    pub(crate) report_seconds: Histogram,
    pub(crate) granted: Counter,
    pub(crate) stale: Counter,
    pub(crate) not_owned: Counter,
    pub(crate) frozen_entries: Counter,
    pub(crate) full: Counter,
    pub(crate) tokens: Counter,
    pub(crate) malformed: Counter,
    pub(crate) quotas_pushed: Counter,
    pub(crate) quotas_fetched: Counter,
    pub(crate) peaks: Counter,
    pub(crate) handed_over: Counter,
    pub(crate) taken_over: Counter,
    pub(crate) given_up: Counter,
    handing_over: Gauge,
    buckets: Gauge,
    modes: [Gauge; 3],
    fleet: Gauge,
    learning: Gauge,
    frozen: Gauge,
    ring_epoch: Gauge,
    leased: Gauge,
    leased_ratio: Gauge,
    held: Gauge,
    pool: Gauge,
    over_admission: Gauge,
    over_admission_bound: Gauge,
    jain: Gauge,
    violations: [Gauge; 5],
    /// By suspect; those that were ever shown.
    overdrafts: Mutex<BTreeMap<ProxyId, Gauge>>,
}

/// Proxies that are ever named as suspects by one server: metrics' labels are bounded.
const MAX_NAMED: usize = 64;

impl Metrics {
    pub(crate) fn new() -> Self {
        describe();
        Self {
            reports: counter!(REPORTS),
            report_seconds: histogram!(REPORT_SECONDS),
            granted: counter!(ENTRIES, "result" => "granted"),
            stale: counter!(ENTRIES, "result" => "stale"),
            not_owned: counter!(ENTRIES, "result" => "not_owned"),
            frozen_entries: counter!(ENTRIES, "result" => "frozen"),
            full: counter!(ENTRIES, "result" => "full"),
            tokens: counter!(GRANTED),
            malformed: counter!(MALFORMED),
            quotas_pushed: counter!(QUOTAS, "from" => "push"),
            quotas_fetched: counter!(QUOTAS, "from" => "fetch"),
            peaks: counter!(PEAKS),
            handed_over: counter!(HANDOVERS, "result" => "sent"),
            taken_over: counter!(HANDOVERS, "result" => "taken"),
            given_up: counter!(HANDOVERS, "result" => "given_up"),
            handing_over: gauge!(HANDING_OVER),
            buckets: gauge!(BUCKETS),
            modes: ["untracked", "leased", "direct"].map(|mode| gauge!(MODES, "mode" => mode)),
            fleet: gauge!(FLEET),
            learning: gauge!(LEARNING),
            frozen: gauge!(FROZEN),
            ring_epoch: gauge!(RING_EPOCH),
            leased: gauge!(LEASED),
            leased_ratio: gauge!(LEASED_RATIO),
            held: gauge!(HELD),
            pool: gauge!(POOL),
            over_admission: gauge!(OVER_ADMISSION),
            over_admission_bound: gauge!(OVER_ADMISSION_BOUND),
            jain: gauge!(JAIN),
            violations: ["i1_leased_rates", "i2_tokens", "i4_raises", "i5_silences", "sums"]
                .map(|invariant| gauge!(VIOLATIONS, "invariant" => invariant)),
            overdrafts: Mutex::default(),
        }
    }

    /// Shows what was found when all buckets were looked through.
    #[expect(clippy::cast_precision_loss, reason = "only shown")]
    pub(crate) fn show(&self, survey: &Survey) {
        let flag = |is: bool| f64::from(u8::from(is));
        self.handing_over.set(survey.handing_over as f64);
        self.buckets.set(survey.buckets as f64);
        let modes = [survey.modes.untracked, survey.modes.leased, survey.modes.direct];
        self.modes.iter().zip(modes).for_each(|(gauge, count)| gauge.set(count as f64));
        self.fleet.set(f64::from(survey.fleet));
        self.learning.set(flag(survey.learning));
        self.frozen.set(flag(survey.frozen));
        self.ring_epoch.set(survey.ring_epoch as f64);
        self.leased.set(survey.out as f64);
        self.leased_ratio.set(survey.worst_out_ratio);
        self.held.set(survey.held as f64);
        self.pool.set(survey.pool as f64);
        self.over_admission.set(survey.worst_over_admission.0 as f64);
        self.over_admission_bound.set(survey.worst_over_admission.1 as f64);
        self.jain.set(survey.worst_jain_index);
        let broken = survey.violations;
        let broken = [broken.leased_rates, broken.tokens, broken.raises, broken.silences, broken.sums];
        self.violations.iter().zip(broken).for_each(|(gauge, count)| gauge.set(count as f64));
        let mut named = self.overdrafts.lock();
        for proxy in survey.suspects.keys() {
            if named.len() < MAX_NAMED && !named.contains_key(proxy) {
                named.insert(*proxy, gauge!(OVERDRAFTS, "proxy" => proxy.get().to_string()));
            }
        }
        for (proxy, gauge) in &*named {
            gauge.set(survey.suspects.get(proxy).copied().unwrap_or_default() as f64);
        }
    }
}

fn describe() {
    describe_counter!(REPORTS, Unit::Count, "Reports answered, heartbeats among them.");
    describe_histogram!(REPORT_SECONDS, Unit::Seconds, "From a report's arrival to its encoded answer.");
    describe_counter!(
        ENTRIES,
        Unit::Count,
        "Entries of reports by result: granted; stale (older than one already seen, or a proxy's last); \
         not_owned; frozen (too few proxies follow this server); full (too many buckets)."
    );
    describe_counter!(GRANTED, "Milli-units: tokens given out of pools.");
    describe_counter!(MALFORMED, Unit::Count, "Requests that could not be read.");
    describe_counter!(QUOTAS, Unit::Count, "Quotas received from the control plane, by way: push, fetch.");
    describe_counter!(PEAKS, Unit::Count, "Tables' peaks that the control plane took.");
    describe_counter!(
        HANDOVERS,
        Unit::Count,
        "Buckets that the ring moved: sent to their new owner, taken from an old one, given_up (learned anew)."
    );
    describe_gauge!(HANDING_OVER, Unit::Count, "Buckets that wait to be handed over.");
    describe_gauge!(BUCKETS, Unit::Count, "Buckets that somebody uses.");
    describe_gauge!(MODES, Unit::Count, "Buckets by mode: untracked, leased, direct.");
    describe_gauge!(FLEET, Unit::Count, "Proxies heard within the last seconds.");
    describe_gauge!(LEARNING, "1 while only what proxies show is leased.");
    describe_gauge!(FROZEN, "1 while too few proxies report to this server for it to lease.");
    describe_gauge!(RING_EPOCH, "Epoch of the ring that this server knows.");
    describe_gauge!(LEASED, "Milli-units per second: sum over buckets of the rates in use (out).");
    describe_gauge!(LEASED_RATIO, "The highest out/R of any bucket; at most 1, except after a quota fell.");
    describe_gauge!(HELD, "Milli-units: sum of the tokens that proxies may hold.");
    describe_gauge!(POOL, "Milli-units: sum of the pools.");
    describe_gauge!(
        OVER_ADMISSION,
        "Milli-units: the most admitted beyond R·τ in any window, of the bucket nearest to its bound."
    );
    describe_gauge!(OVER_ADMISSION_BOUND, "Milli-units: the bound (B) of that bucket.");
    describe_gauge!(
        VIOLATIONS,
        Unit::Count,
        "How often an invariant of the allocator was seen broken since the start: 0, always."
    );
    describe_gauge!(
        OVERDRAFTS,
        Unit::Count,
        "Reports that showed more admitted than the proxy's leases explain, and its restarts; by proxy, 64 \
         of them at most."
    );
    describe_gauge!(JAIN, "The lowest Jain index of any bucket's proxies; 1 is fair.");
}
