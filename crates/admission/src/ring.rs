//! Which server owns a bucket: consistent hashing, so that a server's coming or going moves only its
//! own share.

use twox_hash::XxHash3_64;
use units::Epoch;

use crate::lease::{BucketId, Level};

/// Points of each server on the ring: shares within about 10 % of each other.
const POINTS_PER_SERVER: u64 = 128;

/// The ring of one epoch. Everyone who builds it from the same servers gets the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    epoch: Epoch,
    servers: Vec<String>,
    points: Vec<(u64, usize)>,
}

impl Ring {
    /// The ring of `servers` (their addresses, in any order).
    #[must_use]
    pub fn new(epoch: Epoch, servers: impl IntoIterator<Item = String>) -> Self {
        let mut servers: Vec<String> = servers.into_iter().collect();
        servers.sort_unstable();
        servers.dedup();
        let mut points: Vec<_> = servers
            .iter()
            .enumerate()
            .flat_map(|(index, server)| {
                (0..POINTS_PER_SERVER)
                    .map(move |point| (XxHash3_64::oneshot_with_seed(point, server.as_bytes()), index))
            })
            .collect();
        points.sort_unstable();
        Self { epoch, servers, points }
    }

    /// The epoch; a ring of a higher one replaces it.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The servers, in order.
    #[must_use]
    pub fn servers(&self) -> &[String] {
        &self.servers
    }

    /// The bucket's owner, by its index among [`Self::servers`]; none: there are no servers.
    #[must_use]
    pub fn owner(&self, bucket: BucketId) -> Option<usize> {
        // An account's shares are divided by one server: those of a kind share one place on the ring.
        let place = match bucket.level() {
            Level::AccountShare => BucketId::at(Level::AccountShare, 0, bucket.kind()),
            Level::Table | Level::Principal | Level::Index => bucket,
        };
        let hash = XxHash3_64::oneshot(&place.get().to_be_bytes());
        let next = self.points.partition_point(|(point, _)| *point < hash);
        self.points.get(next).or(self.points.first()).map(|(_, server)| *server)
    }

    /// The bucket's owner.
    #[must_use]
    pub fn owner_name(&self, bucket: BucketId) -> Option<&str> {
        self.owner(bucket).map(|server| self.servers[server].as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(names: &[&str]) -> Ring {
        Ring::new(Epoch::new(1), names.iter().map(|name| (*name).to_owned()))
    }

    fn owner(ring: &Ring, bucket: u64) -> &str {
        let index = ring.owner(BucketId::from_raw(bucket << 3)).expect("the ring has servers");
        &ring.servers()[index]
    }

    #[test]
    fn the_order_in_which_servers_are_listed_does_not_matter() {
        let (one, other) = (ring(&["a", "b", "c"]), ring(&["c", "a", "b", "a"]));
        assert_eq!(one, other);
    }

    #[test]
    fn an_empty_ring_owns_nothing() {
        assert_eq!(ring(&[]).owner(BucketId::from_raw(7)), None);
    }

    #[test]
    fn an_accounts_shares_of_a_kind_have_one_owner() {
        use crate::lease::CapacityKind;
        let ring = ring(&["a:1", "b:1", "c:1"]);
        let owner_of = |table| ring.owner_name(BucketId::at(Level::AccountShare, table, CapacityKind::Read));
        assert!((0..500).all(|table| owner_of(table) == owner_of(0)));
    }

    #[test]
    fn every_server_owns_a_fair_share() {
        let ring = ring(&["a:1", "b:1", "c:1", "d:1"]);
        for server in ring.servers() {
            let owned = (0..40_000).filter(|bucket| owner(&ring, *bucket) == server).count();
            assert!((7_000..13_000).contains(&owned), "{server} owns {owned} of 40000");
        }
    }

    #[test]
    fn a_server_that_leaves_moves_only_its_own_buckets() {
        let (before, after) = (ring(&["a:1", "b:1", "c:1"]), ring(&["a:1", "b:1"]));
        for bucket in 0..10_000 {
            if owner(&before, bucket) != "c:1" {
                assert_eq!(owner(&before, bucket), owner(&after, bucket));
            }
        }
    }
}
