//! What this server asks of, and tells, the control plane: all quotas at the start, and on-demand tables'
//! peaks. Pushes keep quotas fresh, and reports carry them anyway: so nothing waits for either.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wire::method::{FetchQuotas, Method, ReportPeaks};
use wire::proto::control::{Peaks, QuotasRequest};
use wire::transport::{CallError, Connection, ConnectionConfig};

use crate::service::{GacService, QuotaSource};

const DEADLINE: Duration = Duration::from_secs(1);
/// Between two rounds of asking every member for quotas; doubles up to the last.
const MIN_PAUSE: Duration = Duration::from_millis(100);
/// See [`MIN_PAUSE`].
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// How often peaks are reported.
const PEAKS_EVERY: Duration = Duration::from_secs(10);
/// Calls under way to one member: one of each kind, and what is just being cancelled.
const IN_FLIGHT: usize = 4;

/// The control plane's members. Which of them leads is found out by asking.
struct Members {
    connections: Vec<Connection>,
    /// Who answered last.
    preferred: usize,
}

impl Members {
    fn of(addresses: &[String]) -> Self {
        let config = ConnectionConfig { queue: IN_FLIGHT, in_flight: IN_FLIGHT, name: "gac".to_owned() };
        let connections = addresses.iter().map(|address| Connection::open(address, config.clone())).collect();
        Self { connections, preferred: 0 }
    }

    /// Asks each member once, the one that answered last first, until one gives an answer that is
    /// `good`. Whoever does not lead fails as unavailable.
    async fn ask<M: Method>(
        &mut self,
        request: &M::Request,
        good: impl Fn(&M::Response) -> bool,
    ) -> Option<M::Response> {
        for turn in 0..self.connections.len() {
            let index = (self.preferred + turn) % self.connections.len();
            let member = &self.connections[index];
            match member.call::<M>(request, DEADLINE).await {
                Ok(answer) if good(&answer) => {
                    self.preferred = index;
                    return Some(answer);
                }
                Ok(_not_yet) => {
                    tracing::debug!(member = member.address(), method = M::NAME, "member cannot answer yet");
                }
                Err(error) => log_failure(member, M::NAME, &error),
            }
        }
        None
    }
}

fn log_failure(member: &Connection, method: &'static str, error: &CallError) {
    tracing::debug!(member = member.address(), method, %error, "member did not answer");
}

/// Asks for all quotas until one member knows them.
pub(crate) async fn fetch_quotas(
    control: Vec<String>,
    service: Arc<GacService>,
    shutdown: CancellationToken,
) {
    if !control.is_empty() {
        shutdown.run_until_cancelled(fetch_until_answered(&control, &service)).await;
    }
}

async fn fetch_until_answered(control: &[String], service: &GacService) {
    let mut members = Members::of(control);
    let mut pause = MIN_PAUSE;
    loop {
        if let Some(quotas) = members.ask::<FetchQuotas>(&QuotasRequest {}, |quotas| quotas.complete).await {
            tracing::info!(quotas = quotas.quotas.len(), "quotas fetched");
            return service.take_quotas(&quotas, QuotaSource::Fetch);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// Tells the control plane which rates tables reached. A report that nobody takes is lost: the next one
/// names the rates that still hold.
pub(crate) async fn report_peaks(
    control: Vec<String>,
    service: Arc<GacService>,
    shutdown: CancellationToken,
) {
    if control.is_empty() {
        return;
    }
    let reporting = async {
        let mut members = Members::of(&control);
        loop {
            tokio::time::sleep(PEAKS_EVERY).await;
            let peaks = service.take_peaks();
            if peaks.is_empty() {
                continue;
            }
            let count = peaks.len();
            match members.ask::<ReportPeaks>(&Peaks { peaks }, |_acknowledged| true).await {
                Some(_acknowledged) => service.metrics.peaks.increment(count as u64),
                None => tracing::debug!(peaks = count, "nobody took the peaks"),
            }
        }
    };
    shutdown.run_until_cancelled(reporting).await;
}
