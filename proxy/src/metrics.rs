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
}
