//! Logs and metrics of the process.

use std::io::IsTerminal;

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// Histogram bounds in seconds: 50 µs to 10 s, about 2.2 times apart.
const LATENCY_BOUNDS: [f64; 17] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
    10.0,
];

/// Histogram bounds of counts and batch sizes: powers of two.
const COUNT_BOUNDS: [f64; 12] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0];

/// Logs go to stderr, so that stdout carries only what a command answers.
pub(crate) fn start_logs(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).with_context(|| format!("--log {filter:?} is not a filter"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Colours are for a terminal; in a file or a journal they are noise that grep trips over.
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_target(false)
        .init();
    Ok(())
}

/// Installs the process's metrics recorder; the handle renders them for `/metrics`.
pub(crate) fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &LATENCY_BOUNDS)
        .and_then(|builder| builder.set_buckets(&COUNT_BOUNDS))
        .and_then(PrometheusBuilder::install_recorder)
        .context("cannot install the metrics recorder")
}
