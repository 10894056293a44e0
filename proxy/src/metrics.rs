//! Every metric of the proxy: name, unit, labels.

/// Connections open now (gauge).
pub(crate) const CONNECTIONS: &str = "weir_proxy_connections";

/// Connections closed at once because their source has as many as it may (counter).
pub(crate) const CONNECTIONS_REFUSED: &str = "weir_proxy_refused_connections_total";

/// Bodies held now, in bytes (gauge).
pub(crate) const BYTES_IN_FLIGHT: &str = "weir_proxy_bodies_in_flight_bytes";

/// Requests whose framing was refused before they were requests (counter; `reason`).
pub(crate) const FRAMING_REFUSALS: &str = "weir_proxy_framing_refusals_total";

/// Requests turned away before authentication (counter; `reason`).
pub(crate) const SHED: &str = "weir_proxy_shed_requests_total";

/// Requests that panicked (counter).
pub(crate) const PANICS: &str = "weir_proxy_panics_total";

/// Requests answered (counter; `operation`, `class`: `success`, `client_error`, `throttled`,
/// `server_error`).
pub(crate) const REQUESTS: &str = "weir_proxy_requests_total";

/// From a request's last byte to its answer, in seconds (histogram; `operation`).
pub(crate) const LATENCY: &str = "weir_proxy_request_duration_seconds";

/// Requests that were not authenticated (counter; `cause`).
pub(crate) const AUTHENTICATION_FAILURES: &str = "weir_proxy_authentication_failures_total";

/// Executions that were tried again (counter; `cause`: `redirect`, `unknown`, `unavailable`).
pub(crate) const RETRIES: &str = "weir_proxy_retries_total";

/// Executions that were not tried again because the budget was spent (counter).
pub(crate) const RETRY_BUDGET_EXHAUSTED: &str = "weir_proxy_retry_budget_exhausted_total";

/// Writes without an answer: they may or may not have taken place (counter).
pub(crate) const INDEFINITE: &str = "weir_proxy_indefinite_writes_total";

/// Capacity asked for, in milli-units: admitted and throttled (counter; `kind`: `read`, `write`).
pub(crate) const OFFERED: &str = "weir_proxy_admission_offered_milliunits_total";

/// Capacity taken for admitted requests, late charges included, in milli-units (counter; `kind`).
pub(crate) const ADMITTED: &str = "weir_proxy_admission_admitted_milliunits_total";

/// Capacity given back of what was admitted, in milli-units (counter; `kind`).
pub(crate) const REFUNDED: &str = "weir_proxy_admission_refunded_milliunits_total";

/// Capacity refused, in milli-units (counter; `kind`, `cause`: `quota`, the fleet has used the quota up;
/// `share`, a local shortage; `account`; `partition` and `node`, refused by a storage node).
pub(crate) const THROTTLED: &str = "weir_proxy_admission_throttled_milliunits_total";

/// The same, in requests (counter; `kind`, `cause`).
pub(crate) const REFUSALS: &str = "weir_proxy_admission_refusals_total";

/// Capacity admitted although a shadow quota would have refused it, in milli-units (counter; `kind`,
/// `level`: `table`, `account`, `principal`).
pub(crate) const SHADOW_THROTTLED: &str = "weir_proxy_admission_shadow_throttled_milliunits_total";

/// The same, in requests (counter; `kind`, `level`).
pub(crate) const SHADOW_REFUSALS: &str = "weir_proxy_admission_shadow_refusals_total";

/// Reports to GAC servers (counter; `result`: `answered`, `failed`).
pub(crate) const REPORTS: &str = "weir_proxy_admission_reports_total";

/// What came back for reported buckets (counter; `result`: `accepted`, `ignored` as not newer, `not_owned`).
pub(crate) const GRANTS: &str = "weir_proxy_admission_grants_total";

/// From a report to its answer, in seconds (histogram; `server`).
pub(crate) const SYNC: &str = "weir_proxy_admission_sync_duration_seconds";

/// Buckets kept (gauge).
pub(crate) const BUCKETS: &str = "weir_proxy_admission_buckets";

/// Buckets in use by how their tokens come (gauge; `mode`: `untracked`, `leased`, `direct`).
pub(crate) const MODE_BUCKETS: &str = "weir_proxy_admission_mode_buckets";

/// Age of the oldest lease of a bucket in use, in seconds (gauge; `server`).
pub(crate) const OLDEST_LEASE: &str = "weir_proxy_admission_oldest_lease_seconds";

/// Spent before it was earned, over all buckets, in milli-units (gauge; `kind`).
pub(crate) const DEBT: &str = "weir_proxy_admission_debt_milliunits";

/// Requests that wait for a grant (gauge).
pub(crate) const WAITING: &str = "weir_proxy_admission_waiting_requests";

/// Epoch of the GAC servers' ring that this proxy uses (gauge).
pub(crate) const RING_EPOCH: &str = "weir_proxy_admission_ring_epoch";

/// Live proxies of the fleet, as a GAC server said last (gauge).
pub(crate) const FLEET: &str = "weir_proxy_admission_fleet_proxies";

/// Declares every metric's unit and meaning to the process's recorder.
pub(crate) fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_gauge!(CONNECTIONS, Unit::Count, "Connections open now.");
    describe_counter!(CONNECTIONS_REFUSED, Unit::Count, "Connections past their source's limit.");
    describe_gauge!(BYTES_IN_FLIGHT, Unit::Bytes, "Request bodies held now.");
    describe_counter!(FRAMING_REFUSALS, Unit::Count, "Requests refused for their HTTP framing.");
    describe_counter!(SHED, Unit::Count, "Requests turned away before authentication.");
    describe_counter!(PANICS, Unit::Count, "Requests that panicked.");
    describe_counter!(REQUESTS, Unit::Count, "Requests answered, by operation and result.");
    describe_histogram!(LATENCY, Unit::Seconds, "From a request's last byte to its answer.");
    describe_counter!(AUTHENTICATION_FAILURES, Unit::Count, "Requests not authenticated, by cause.");
    describe_counter!(RETRIES, Unit::Count, "Executions tried again, by cause.");
    describe_counter!(RETRY_BUDGET_EXHAUSTED, Unit::Count, "Retries that the budget did not allow.");
    describe_counter!(INDEFINITE, Unit::Count, "Writes that may or may not have taken place.");
    describe_admission();
}

/// The part of admission. A milli-unit is a thousandth of a capacity unit.
fn describe_admission() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_counter!(OFFERED, Unit::Count, "Milli-units asked for: admitted and throttled.");
    describe_counter!(ADMITTED, Unit::Count, "Milli-units taken for admitted requests.");
    describe_counter!(REFUNDED, Unit::Count, "Milli-units given back of what was admitted.");
    describe_counter!(THROTTLED, Unit::Count, "Milli-units refused, by cause.");
    describe_counter!(REFUSALS, Unit::Count, "Requests refused, by cause.");
    describe_counter!(SHADOW_THROTTLED, Unit::Count, "Milli-units that shadow quotas would have refused.");
    describe_counter!(SHADOW_REFUSALS, Unit::Count, "Requests that shadow quotas would have refused.");
    describe_counter!(REPORTS, Unit::Count, "Reports to GAC servers, by result.");
    describe_counter!(GRANTS, Unit::Count, "Answers for reported buckets, by result.");
    describe_histogram!(SYNC, Unit::Seconds, "From a report to its answer.");
    describe_gauge!(BUCKETS, Unit::Count, "Local buckets kept.");
    describe_gauge!(MODE_BUCKETS, Unit::Count, "Local buckets in use, by mode.");
    describe_gauge!(OLDEST_LEASE, Unit::Seconds, "Age of the oldest lease of a bucket in use.");
    describe_gauge!(DEBT, Unit::Count, "Milli-units spent before they were earned.");
    describe_gauge!(WAITING, Unit::Count, "Requests that wait for a grant.");
    describe_gauge!(RING_EPOCH, Unit::Count, "Epoch of the GAC servers' ring in use.");
    describe_gauge!(FLEET, Unit::Count, "Live proxies of the fleet.");
}
