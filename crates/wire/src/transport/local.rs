//! Streams within one process: frames go from one side to the other as they are, without a socket and without
//! being encoded.
//!
//! `weir dev` runs every tier in one process. Its tiers talk as a fleet's do, with the same frames, bounds,
//! deadlines and back-pressure; only the bytes in between are left out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use parking_lot::Mutex;

use super::client::{self, Client};
use super::server::Acceptor;
use super::server_stream::{self, Requests};

/// Rounds of handing over before others get a turn.
const TURN_ROUNDS: usize = 16;

/// Whether servers of this process are found without a socket.
static ENABLED: AtomicBool = AtomicBool::new(false);
/// The servers of this process, by where they listen.
static SERVERS: Mutex<BTreeMap<SocketAddr, Arc<Acceptor>>> = Mutex::new(BTreeMap::new());

/// From now on, connections to a server of this same process need no socket. For processes that run several
/// tiers; the servers listen all the same.
pub fn connect_within_the_process() {
    ENABLED.store(true, Ordering::Relaxed);
}

/// A server's entry, until it is dropped.
#[derive(Debug)]
pub(super) struct Listed(SocketAddr);

/// Lets connections of this process find a server.
pub(super) fn list(address: SocketAddr, acceptor: &Arc<Acceptor>) -> Listed {
    SERVERS.lock().insert(address, Arc::clone(acceptor));
    Listed(address)
}

impl Drop for Listed {
    fn drop(&mut self) {
        SERVERS.lock().remove(&self.0);
    }
}

/// A stream to the server at `address`, if it is one of this process and takes it.
pub(super) fn find(address: &str) -> Option<Requests> {
    if !ENABLED.load(Ordering::Relaxed) {
        return None;
    }
    let acceptor = SERVERS.lock().get(&address.parse().ok()?).map(Arc::clone)?;
    acceptor.accept()
}

/// Both ends of a stream: a single task hands everything over.
#[derive(Debug)]
pub(super) struct LocalLink {
    client: Arc<Client>,
    requests: Requests,
    deferred: bool,
}

impl LocalLink {
    pub(super) fn new(client: Arc<Client>, requests: Requests) -> Self {
        Self { client, requests, deferred: false }
    }

    /// Has executed what is queued, as far as there is room for the answers. Whether anything was.
    fn hand_over(&mut self, context: &Context<'_>) -> bool {
        let mut some = false;
        while self.requests.may_receive() {
            match self.client.next(&mut self.deferred, context) {
                client::Next::Frame(frame) => {
                    some = true;
                    self.requests.receive(frame);
                }
                client::Next::Nothing => break,
                client::Next::Finish => {
                    self.requests.stream.client_finished();
                    break;
                }
            }
        }
        if some {
            self.requests.received();
        }
        some
    }
}

impl Future for LocalLink {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let link = self.get_mut();
        for _ in 0..TURN_ROUNDS {
            let mut some = link.hand_over(context);
            loop {
                match link.requests.stream.next(context) {
                    server_stream::Next::Frame(frame) => {
                        some = true;
                        link.client.receive(frame);
                    }
                    server_stream::Next::Nothing => break,
                    server_stream::Next::End | server_stream::Next::Cut => return Poll::Ready(()),
                }
            }
            if !some {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
