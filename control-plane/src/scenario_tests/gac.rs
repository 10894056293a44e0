//! A GAC server that only remembers what it is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::method::{Method, PushQuotas, PushRing};
use wire::proto::control::{Quota, Quotas};
use wire::proto::gac::{Ring, RingAnswer};
use wire::proto::routing::Acknowledged;
use wire::transport::{Failure, Incoming, Responder, Service};

/// The server.
pub(super) struct ListeningGac {
    pub(super) address: String,
    heard: Arc<Heard>,
}

#[derive(Default)]
struct Heard {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    quotas: BTreeMap<u64, Quota>,
    account: [Option<Quota>; 2],
    /// How often each bucket was called fresh.
    fresh: BTreeMap<u64, usize>,
    ring: Ring,
    drained: bool,
}

impl ListeningGac {
    pub(super) async fn start(tasks: &TaskTracker, shutdown: CancellationToken) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heard = Arc::new(Heard::default());
        tasks.spawn(wire::transport::serve(listener, Arc::clone(&heard) as Arc<dyn Service>, shutdown));
        Self { address, heard }
    }

    /// The quota of a bucket, as it was last told.
    pub(super) fn quota(&self, bucket: u64) -> Option<Quota> {
        self.heard.state.lock().quotas.get(&bucket).cloned()
    }

    /// Its rate in milli-units per second; 0: none.
    pub(super) fn rate(&self, bucket: u64) -> u64 {
        self.quota(bucket).map_or(0, |quota| quota.rate_milli)
    }

    pub(super) fn account(&self) -> [Option<u64>; 2] {
        self.heard.state.lock().account.clone().map(|quota| quota.map(|quota| quota.rate_milli))
    }

    pub(super) fn called_fresh(&self, bucket: u64) -> usize {
        self.heard.state.lock().fresh.get(&bucket).copied().unwrap_or_default()
    }

    pub(super) fn ring(&self) -> Ring {
        self.heard.state.lock().ring.clone()
    }

    /// From now on it says that it has nothing left.
    pub(super) fn drains(&self) {
        self.heard.state.lock().drained = true;
    }
}

impl Service for Heard {
    fn call(&self, request: Incoming, responder: Responder) {
        let mut state = self.state.lock();
        match request.method {
            PushQuotas::NUMBER => {
                state.take(request.decode::<PushQuotas>().unwrap());
                responder.answer::<PushQuotas>(&Acknowledged {});
            }
            PushRing::NUMBER => {
                state.ring = request.decode::<PushRing>().unwrap();
                let answer = RingAnswer { epoch: state.ring.epoch, buckets: 7, drained: state.drained };
                responder.answer::<PushRing>(&answer);
            }
            _ => responder.fail(Failure::UnknownMethod),
        }
    }
}

impl State {
    fn take(&mut self, pushed: Quotas) {
        if pushed.complete {
            self.quotas.clear();
        }
        for quota in pushed.quotas {
            *self.fresh.entry(quota.bucket).or_default() += usize::from(quota.fresh);
            self.quotas.insert(quota.bucket, Quota { fresh: false, ..quota });
        }
        self.account = [pushed.account_read, pushed.account_write];
    }
}
