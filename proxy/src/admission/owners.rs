//! Who owns the buckets: the GAC servers' ring, and what request tasks leave for the task that reports to
//! each server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ::admission::{BucketId, Ring};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use units::{Epoch, Timestamp};

use super::local_bucket::LocalBucket;

/// Servers of a ring that a proxy connects to. A longer list is not believed.
pub(super) const MAX_SERVERS: usize = 256;

/// A server that has not answered for so long, and to which there is no connection, is not waited for.
const GONE_AFTER: Duration = Duration::from_secs(1);

/// The ring of one epoch, and a link to each of its servers.
#[derive(Debug)]
pub(super) struct Owners {
    pub(super) ring: Ring,
    /// In the order of the ring's servers.
    pub(super) links: Vec<Arc<Link>>,
}

/// What one server's reporting task is told.
#[derive(Debug)]
pub(super) struct Link {
    /// The server's.
    pub(super) address: String,
    /// At most once per bucket: bounded by their number.
    urgent: Mutex<Vec<Arc<LocalBucket>>>,
    pub(super) wake: Notify,
    /// Cancelled when the ring has moved on without this server.
    pub(super) gone: CancellationToken,
    /// When the last message was sent that the server answered, or when the link was made.
    heard_at: AtomicU64,
    connected: AtomicBool,
}

impl Owners {
    /// The configured servers, until a server tells of a ring that the control plane has recorded: those
    /// count from 1.
    pub(super) fn configured(servers: &[String], now: Timestamp) -> Self {
        let ring = Ring::new(Epoch::new(0), servers.iter().cloned());
        let links = ring.servers().iter().map(|server| Arc::new(Link::new(server, now))).collect();
        Self { ring, links }
    }

    /// The owners by another ring: servers that stay keep their links.
    pub(super) fn moved_to(&self, ring: Ring, now: Timestamp) -> Self {
        let known = |server: &str| self.links.iter().find(|link| link.address == *server).cloned();
        let links = ring.servers().iter();
        let links = links.map(|server| known(server).unwrap_or_else(|| Arc::new(Link::new(server, now))));
        Self { links: links.collect(), ring }
    }

    /// The bucket's owner; none: there are no servers.
    pub(super) fn of(&self, bucket: BucketId) -> Option<&Arc<Link>> {
        self.ring.owner(bucket).and_then(|server| self.links.get(server))
    }
}

impl Link {
    fn new(address: &str, now: Timestamp) -> Self {
        Self {
            address: address.to_owned(),
            urgent: Mutex::default(),
            wake: Notify::new(),
            gone: CancellationToken::new(),
            heard_at: AtomicU64::new(now.as_nanos()),
            connected: AtomicBool::new(false),
        }
    }

    pub(super) fn urge(&self, bucket: Arc<LocalBucket>) {
        self.urgent.lock().push(bucket);
        self.wake.notify_one();
    }

    /// Moves what is urgent to `list`.
    pub(super) fn take_urgent(&self, list: &mut Vec<Arc<LocalBucket>>) {
        list.append(&mut self.urgent.lock());
    }

    /// The server answered what was sent then.
    pub(super) fn heard(&self, asked_at: Timestamp) {
        self.heard_at.fetch_max(asked_at.as_nanos(), Ordering::Relaxed);
    }

    pub(super) fn heard_at(&self) -> Timestamp {
        Timestamp::from_nanos(self.heard_at.load(Ordering::Relaxed))
    }

    pub(super) fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
    }

    /// Whether an answer can be hoped for in a moment.
    pub(super) fn can_be_asked(&self, now: Timestamp) -> bool {
        self.connected.load(Ordering::Relaxed) || now.since(self.heard_at()) < GONE_AFTER
    }
}

#[cfg(test)]
mod tests {
    use ::admission::CapacityKind;
    use units::TableId;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn servers_that_stay_keep_their_links() {
        let now = Timestamp::default();
        let before = Owners::configured(&names(&["a:1", "b:1"]), now);
        let after = before.moved_to(Ring::new(Epoch::new(1), names(&["b:1", "c:1"])), now);
        assert!(Arc::ptr_eq(&before.links[1], &after.links[0]));
        assert_eq!(after.links[1].address, "c:1");
    }

    #[test]
    fn a_bucket_has_the_link_of_its_owner_on_the_ring() {
        let owners = Owners::configured(&names(&["a:1", "b:1", "c:1"]), Timestamp::default());
        for table in 0..50 {
            let bucket = BucketId::new(TableId::new(table), CapacityKind::Read);
            let server = owners.ring.owner(bucket).expect("there are servers");
            assert_eq!(owners.of(bucket).map(|link| &link.address), Some(&owners.ring.servers()[server]));
        }
        let nobody = Owners::configured(&[], Timestamp::default());
        assert!(nobody.of(BucketId::from_raw(1)).is_none());
    }
}
