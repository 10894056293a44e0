//! The control plane's metrics.
//!
//! | metric | labels | what |
//! |---|---|---|
//! | `weir_control_leads` | | 1 on the member that leads and serves, else 0 |
//! | `weir_control_commands_total` | `command`, `result` | table commands: `done`, `refused`, `unavailable` |
//! | `weir_control_reports_total` | | storage nodes' reports taken in |
//! | `weir_control_nodes` | | storage nodes that have reported lately |
//! | `weir_control_tables` | `status` | tables in the catalog: `active`, `in_change` |
//! | `weir_control_steps_total` | `step` | reconciliation steps taken |
//! | `weir_control_write_failures_total` | `reason` | catalog writes without effect: `conflict`, `unavailable` |
//! | `weir_control_pushes_total` | `tier`, `result` | pushes to `memds`, `gac` (quotas) and `gac_ring`: `done`, `failed` |
//! | `weir_control_push_latency_seconds` | `tier` | from a change's commit until one server has it: `memds`, `gac` |
//! | `weir_control_quota_changes_total` | `author` | quota versions: `operator`, `api`, `on_demand`, `expiry` |
//! | `weir_control_quota_boosts` | | boosts in force |
//! | `weir_control_ring_epoch` | | the epoch of the ring of GAC servers |

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

/// Says what each metric is.
pub(crate) fn describe() {
    describe_gauge!("weir_control_leads", "1 on the member that leads the control plane and serves, else 0.");
    describe_counter!("weir_control_commands_total", Unit::Count, "Commands executed, by result.");
    describe_counter!("weir_control_reports_total", Unit::Count, "Storage nodes' reports taken in.");
    describe_gauge!("weir_control_nodes", Unit::Count, "Storage nodes that have reported lately.");
    describe_gauge!(
        "weir_control_tables",
        Unit::Count,
        "Tables in the catalog, by whether they are in change."
    );
    describe_counter!("weir_control_steps_total", Unit::Count, "Reconciliation steps taken.");
    describe_counter!("weir_control_write_failures_total", Unit::Count, "Catalog writes without effect.");
    describe_counter!("weir_control_pushes_total", Unit::Count, "Pushes to other tiers' servers, by result.");
    describe_histogram!(
        "weir_control_push_latency_seconds",
        Unit::Seconds,
        "From a change's commit until one server of the tier has it."
    );
    describe_counter!("weir_control_quota_changes_total", Unit::Count, "New quota versions, by author.");
    describe_gauge!("weir_control_quota_boosts", Unit::Count, "Boosts of quotas in force.");
    describe_gauge!("weir_control_ring_epoch", "The epoch of the ring of GAC servers.");
}

pub(crate) fn leads(leads: bool) {
    gauge!("weir_control_leads").set(if leads { 1.0 } else { 0.0 });
}

pub(crate) fn command(command: &'static str, result: &'static str) {
    counter!("weir_control_commands_total", "command" => command, "result" => result).increment(1);
}

pub(crate) fn report() {
    counter!("weir_control_reports_total").increment(1);
}

#[expect(clippy::cast_precision_loss, reason = "only shown; counts are far below 2^53")]
pub(crate) fn holds(nodes: usize, tables: usize, in_change: usize) {
    gauge!("weir_control_nodes").set(nodes as f64);
    gauge!("weir_control_tables", "status" => "active").set(tables.saturating_sub(in_change) as f64);
    gauge!("weir_control_tables", "status" => "in_change").set(in_change as f64);
}

pub(crate) fn step(step: &'static str) {
    counter!("weir_control_steps_total", "step" => step).increment(1);
}

pub(crate) fn write_failed(reason: &'static str) {
    counter!("weir_control_write_failures_total", "reason" => reason).increment(1);
}

pub(crate) fn pushed(tier: &'static str, done: bool) {
    let result = if done { "done" } else { "failed" };
    counter!("weir_control_pushes_total", "tier" => tier, "result" => result).increment(1);
}

pub(crate) fn push_latency(tier: &'static str, latency: Duration) {
    histogram!("weir_control_push_latency_seconds", "tier" => tier).record(latency);
}

pub(crate) fn quota_change(author: &'static str) {
    counter!("weir_control_quota_changes_total", "author" => author).increment(1);
}

#[expect(clippy::cast_precision_loss, reason = "only shown; counts are far below 2^53")]
pub(crate) fn boosts(boosts: usize) {
    gauge!("weir_control_quota_boosts").set(boosts as f64);
}

#[expect(clippy::cast_precision_loss, reason = "only shown; epochs are far below 2^53")]
pub(crate) fn ring_epoch(epoch: u64) {
    gauge!("weir_control_ring_epoch").set(epoch as f64);
}
