//! Sends what the ring moved away to its new owners, each its own, side by side. This server leases
//! nothing of it any more; so every moment counts until it has arrived, and what does not arrive soon is
//! given up: its new owner learns it from the proxies' reports meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use admission::BucketId;
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;
use units::Timestamp;
use wire::clock;
use wire::method::Handover;
use wire::proto::gac;
use wire::transport::{Connection, ConnectionConfig};

use crate::service::GacService;

/// How long one message may take.
const DEADLINE: Duration = Duration::from_millis(500);
/// Before an owner is asked again that took nothing: it may not know the ring yet.
const PAUSE: Duration = Duration::from_millis(50);
/// An owner that has taken nothing for so long gets nothing: it knows better by then, or is not there. So
/// each is asked sixty times at most.
const PATIENCE: Duration = Duration::from_secs(3);
/// Messages under way to one owner.
const IN_FLIGHT: usize = 2;

/// Hands over whenever the ring moved something, until `shutdown`.
pub(crate) async fn run(service: Arc<GacService>, shutdown: CancellationToken) {
    let sending = async {
        loop {
            service.ring_changed().await;
            let mut round = Round { service: &service, owners: BTreeMap::new() };
            while round.send().await {}
        }
    };
    shutdown.run_until_cancelled(sending).await;
}

/// From a change of the ring until nothing is left to hand over.
struct Round<'a> {
    service: &'a GacService,
    owners: BTreeMap<String, NewOwner>,
}

struct NewOwner {
    connection: Connection,
    took_at: Timestamp,
}

impl NewOwner {
    fn at(address: &str) -> Self {
        let config = ConnectionConfig { queue: IN_FLIGHT, in_flight: IN_FLIGHT, name: "gac".to_owned() };
        Self { connection: Connection::open(address, config), took_at: clock::now() }
    }

    /// Sends it these buckets; which of them it took. None: no answer.
    async fn send(&self, message: &gac::Handover) -> Option<Vec<BucketId>> {
        match self.connection.call::<Handover>(message, DEADLINE).await {
            Ok(answer) => Some(answer.taken.into_iter().map(BucketId::from_raw).collect()),
            Err(error) => {
                tracing::debug!(to = self.connection.address(), %error, "a handover failed");
                None
            }
        }
    }
}

impl Round<'_> {
    /// Sends one message to each new owner. False: nothing is left to send.
    async fn send(&mut self) -> bool {
        let by_owner = self.service.handovers();
        if by_owner.is_empty() {
            return false;
        }
        for owner in by_owner.keys() {
            self.owners.entry(owner.clone()).or_insert_with(|| NewOwner::at(owner));
        }
        let owners = &self.owners;
        let sending = by_owner.iter().map(async |(name, message)| {
            let taken = owners[name].send(message).await;
            (name, message, taken.unwrap_or_default())
        });
        let outcomes = join_all(sending).await;
        let now = clock::now();
        let mut progress = false;
        for (name, message, taken) in outcomes {
            let owner = self.owners.get_mut(name).expect("it was entered above");
            if taken.is_empty() {
                progress |= give_up_after_a_while(self.service, owner, message, now);
                continue;
            }
            progress = true;
            owner.took_at = now;
            self.service.handed_over(&taken);
        }
        if !progress {
            tokio::time::sleep(PAUSE).await;
        }
        true
    }
}

/// Whether it was given up.
fn give_up_after_a_while(
    service: &GacService,
    owner: &NewOwner,
    message: &gac::Handover,
    now: Timestamp,
) -> bool {
    let too_long = now.since(owner.took_at) >= PATIENCE;
    if too_long {
        let to = owner.connection.address();
        let buckets: Vec<_> = message.buckets.iter().map(|state| BucketId::from_raw(state.bucket)).collect();
        tracing::warn!(to, buckets = buckets.len(), "not handed over: the new owner learns by itself");
        service.given_up(&buckets);
    }
    too_long
}
