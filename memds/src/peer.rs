//! What a server keeps of one of the other servers: the connection, and how the two agreed.

use parking_lot::Mutex;
use units::Timestamp;
use wire::transport::Connection;

use crate::inspection::PeerStatus;

/// What one round of comparison came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Round {
    /// Routes that it brought or gave.
    pub(crate) repaired: u64,
    /// Bytes of its messages, both ways.
    pub(crate) bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Peer {
    address: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// None before the server connects to its peers, and after it has stopped.
    connection: Option<Connection>,
    comparisons: u64,
    compared: Option<(Timestamp, Round)>,
    repaired: u64,
}

impl Peer {
    pub(crate) fn new(address: String) -> Self {
        Self { address, state: Mutex::default() }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn connected_by(&self, connection: Connection) {
        self.state.lock().connection = Some(connection);
    }

    /// Closes the connection: an [`Inspector`](crate::Inspector) that outlives the server keeps none open.
    pub(crate) fn close(&self) {
        self.state.lock().connection = None;
    }

    pub(crate) fn compared(&self, round: Round, now: Timestamp) {
        let mut state = self.state.lock();
        state.comparisons += 1;
        state.compared = Some((now, round));
        state.repaired += round.repaired;
    }

    pub(crate) fn status(&self, now: Timestamp) -> PeerStatus {
        let state = self.state.lock();
        PeerStatus {
            address: self.address.clone(),
            connected: state.connection.as_ref().is_some_and(Connection::is_connected),
            comparisons: state.comparisons,
            compared_seconds: state.compared.map(|(at, _)| now.since(at).as_secs_f64()),
            last_repaired: state.compared.map(|(_, round)| round.repaired),
            repaired: state.repaired,
            last_bytes: state.compared.map(|(_, round)| round.bytes),
        }
    }
}
