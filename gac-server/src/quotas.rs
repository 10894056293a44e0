//! Asks the control plane for all quotas at the start. Pushes keep them fresh afterwards, and reports
//! carry them anyway: so this is tried until it succeeds once, and nothing waits for it.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wire::method::FetchQuotas;
use wire::proto::control::QuotasRequest;
use wire::transport::{Connection, ConnectionConfig};

use crate::service::{GacService, QuotaSource};

const DEADLINE: Duration = Duration::from_secs(1);
/// Between two rounds of asking every member; doubles up to the last.
const MIN_PAUSE: Duration = Duration::from_millis(100);
/// See [`MIN_PAUSE`].
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Asks each member in turn until one answers.
pub(crate) async fn fetch(control: Vec<String>, service: Arc<GacService>, shutdown: CancellationToken) {
    if control.is_empty() {
        return;
    }
    let members: Vec<_> = control
        .iter()
        .map(|address| {
            Connection::open(address, ConnectionConfig { queue: 4, in_flight: 4, name: "gac".to_owned() })
        })
        .collect();
    shutdown.run_until_cancelled(fetch_from(&members, &service)).await;
}

async fn fetch_from(members: &[Connection], service: &GacService) {
    let mut pause = MIN_PAUSE;
    loop {
        for member in members {
            match member.call::<FetchQuotas>(&QuotasRequest {}, DEADLINE).await {
                Ok(quotas) if quotas.complete => {
                    tracing::info!(quotas = quotas.quotas.len(), from = member.address(), "quotas fetched");
                    return service.take_quotas(&quotas, QuotaSource::Fetch);
                }
                Ok(_incomplete) => {
                    tracing::debug!(from = member.address(), "member does not know all quotas yet");
                }
                Err(error) => tracing::debug!(from = member.address(), %error, "quotas not fetched"),
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}
