//! Streams within one process: frames go from one side to the other as they are, without a socket and without
//! being encoded.
//!
//! `weir dev` runs every tier in one process. Its tiers talk as a fleet's do, with the same frames, bounds,
//! deadlines and back-pressure; only the bytes in between are left out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use super::client::{self, Client};
use super::server::Acceptor;
use super::server_link::TURN_MESSAGES;
use super::server_stream::{self, Requests};
use crate::proto::transport::Frame;

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
pub(super) struct Listed(SocketAddr, Arc<Acceptor>);

/// Lets connections of this process find a server.
pub(super) fn list(address: SocketAddr, acceptor: &Arc<Acceptor>) -> Listed {
    SERVERS.lock().insert(address, Arc::clone(acceptor));
    Listed(address, Arc::clone(acceptor))
}

impl Drop for Listed {
    fn drop(&mut self) {
        // A later server may listen there by now.
        let mut servers = SERVERS.lock();
        if servers.get(&self.0).is_some_and(|listed| Arc::ptr_eq(listed, &self.1)) {
            servers.remove(&self.0);
        }
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

    /// Has executed what is queued, as far as there is room for the answers and the turn lasts.
    fn hand_over(&mut self, turn: &mut Turn, context: &mut Context<'_>) -> HandedOver {
        let mut some = false;
        let mut full = false;
        while turn.goes_on(context) {
            full = !self.requests.may_receive();
            if full {
                break;
            }
            match self.client.next(&mut self.deferred, Waker::wake_by_ref, context) {
                client::Next::Frame(frame) => {
                    some = true;
                    turn.count(&frame);
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
        HandedOver { some, full }
    }
}

impl Future for LocalLink {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let link = self.get_mut();
        let mut turn = Turn::default();
        loop {
            let HandedOver { mut some, full } = link.hand_over(&mut turn, context);
            // What was answered is always handed back: the queue bounds it.
            loop {
                match link.requests.stream.next(context) {
                    server_stream::Next::Frame(frame) => {
                        some = true;
                        turn.count(&frame);
                        link.client.receive(frame);
                    }
                    server_stream::Next::Nothing => break,
                    server_stream::Next::End | server_stream::Next::Cut => return Poll::Ready(()),
                }
            }
            // An answer may have made room before there was anybody to wake.
            if turn.is_over || !(some || full && link.requests.may_receive()) {
                return Poll::Pending;
            }
        }
    }
}

/// What handing over came to.
struct HandedOver {
    /// Something was.
    some: bool,
    /// It ended because there was no room for answers.
    full: bool,
}

/// What is done before others get a turn: as much as a socket's stream does.
#[derive(Debug, Default)]
struct Turn {
    messages: usize,
    is_over: bool,
}

impl Turn {
    /// Whether it goes on; if not, the task is woken for its next. Uses the task's budget as reading a socket does.
    fn goes_on(&mut self, context: &mut Context<'_>) -> bool {
        if self.messages >= TURN_MESSAGES && !self.is_over {
            self.is_over = true;
            context.waker().wake_by_ref();
        }
        // Without budget it wakes the task itself.
        self.is_over = self.is_over || pin!(tokio::task::coop::consume_budget()).poll(context).is_pending();
        !self.is_over
    }

    /// An empty frame is work, too.
    fn count(&mut self, frame: &Frame) {
        self.messages += frame.messages.len().max(1);
    }
}
