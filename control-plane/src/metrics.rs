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
//! | `weir_control_pushes_total` | `tier`, `result` | pushes to `memds` and `gac` servers: `done`, `failed` |

use metrics::{counter, gauge};

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
