//! The fleet as one server sees it: which proxies there are, who is heard, and who is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use units::{Epoch, ProxyId, Timestamp};

use crate::lease::ReportHeader;

/// Every proxy reports to every server at least once a second: one not heard for so long is not live.
const LIVE: Duration = Duration::from_secs(3);
/// Members at most: ten times the largest fleet.
const MAX_MEMBERS: usize = 100_000;

/// One proxy that reports, or did.
#[derive(Clone, Copy, Debug)]
struct Member {
    heard_at: Timestamp,
    /// The ring it used then.
    ring: Epoch,
    /// When it last used a ring not older than this server's: from then on it may have another owner.
    followed_at: Timestamp,
    /// Counted in [`Roster::lost`].
    lost: bool,
}

/// What of the fleet matters to a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FleetView {
    /// Proxies for which allowances are reserved.
    pub(super) members: u32,
    /// Those of them that follow this server no more, or were never heard: each may be using its safe rate.
    pub(super) lost: u32,
    /// Proxies among which a quota is divided when no owner answers.
    pub(super) safe_parts: u32,
}

/// All members.
#[derive(Debug)]
pub(super) struct Roster {
    expected: u32,
    membership: Duration,
    /// Since when proxies can have reported.
    started: Timestamp,
    ring: Epoch,
    members: BTreeMap<ProxyId, Member>,
    /// The largest fleet that a proxy has heard of from an earlier owner.
    echoed: u32,
    /// Members of that fleet that were not heard by the end of learning; and until when they count.
    missing: u32,
    missing_until: Timestamp,
    live: u32,
    lease_ends: Duration,
    /// Learned from the fleet at least once, and so knows it.
    knows_fleet: bool,
    lost: u32,
    /// Members that reported by this server's ring.
    caught_up: u32,
}

impl Roster {
    pub(super) const fn new(
        expected: u32,
        membership: Duration,
        lease_ends: Duration,
        started: Timestamp,
    ) -> Self {
        Self {
            expected,
            membership,
            started,
            ring: Epoch::new(0),
            members: BTreeMap::new(),
            echoed: 0,
            missing: 0,
            missing_until: Timestamp::from_nanos(0),
            live: 0,
            lease_ends,
            knows_fleet: false,
            lost: 0,
            caught_up: 0,
        }
    }

    /// Notes a report, whatever it carries.
    pub(super) fn hear(&mut self, header: &ReportHeader, now: Timestamp) {
        if !self.knows_fleet {
            self.echoed = self.echoed.max(header.fleet.min(u32::try_from(MAX_MEMBERS).expect("it is small")));
        }
        if header.leaving {
            self.remove(header.proxy);
            return;
        }
        let caught_up = header.ring >= self.ring;
        // One that uses a newer ring may have another owner for what this server thinks its own.
        let follows = header.ring <= self.ring || self.ring == Epoch::new(0);
        if let Some(member) = self.members.get_mut(&header.proxy) {
            if now.since(member.heard_at) >= LIVE {
                self.live += 1;
            }
            self.caught_up += u32::from(caught_up && member.ring < self.ring);
            member.heard_at = now;
            member.ring = member.ring.max(header.ring);
            if follows {
                member.followed_at = now;
                self.lost -= u32::from(member.lost);
                member.lost = false;
            }
            return;
        }
        if self.members.len() >= MAX_MEMBERS {
            return;
        }
        let member = Member { heard_at: now, ring: header.ring, followed_at: now, lost: false };
        self.members.insert(header.proxy, member);
        self.live += 1;
        self.caught_up += u32::from(caught_up);
        self.missing = self.missing.saturating_sub(1);
    }

    /// From now on `ring` is this server's; everybody has a moment to follow. False: nobody has reported for
    /// as long as leases hold, so it knows nothing of the fleet that will.
    pub(super) fn use_ring(&mut self, ring: Epoch, now: Timestamp) -> bool {
        self.ring = ring;
        let heard = self.members.values().any(|member| now.since(member.heard_at) < self.lease_ends);
        if !heard {
            (self.knows_fleet, self.missing, self.started) = (false, 0, now);
        }
        self.caught_up = 0;
        for member in self.members.values_mut() {
            self.caught_up += u32::from(member.ring >= ring);
            if now.since(member.heard_at) < LIVE {
                member.followed_at = now;
            }
        }
        heard
    }

    /// Counts again who is live and who is lost, and drops who is gone.
    pub(super) fn expire(&mut self, now: Timestamp) {
        let membership = self.membership;
        if now >= self.missing_until {
            self.missing = 0;
        }
        self.members.retain(|_, member| now.since(member.heard_at) < membership);
        (self.live, self.lost, self.caught_up) = (0, 0, 0);
        for member in self.members.values_mut() {
            member.lost = now.since(member.followed_at) >= LIVE;
            self.live += u32::from(now.since(member.heard_at) < LIVE);
            self.lost += u32::from(member.lost);
            self.caught_up += u32::from(member.ring >= self.ring);
        }
    }

    /// Learning is over: whoever should have been heard and was not is missing.
    pub(super) fn settle(&mut self, now: Timestamp) {
        if !self.knows_fleet {
            self.missing = self.awaited().saturating_sub(self.count());
            self.missing_until = now + self.membership;
            self.knows_fleet = true;
        }
        self.echoed = 0;
    }

    /// Whether every proxy that may have a lease has reported by this server's ring.
    pub(super) fn has_caught_up(&self) -> bool {
        let known = if self.knows_fleet { 0 } else { self.awaited() };
        // Also whoever has not been heard lately: out of reach of this server only, it may have a lease from
        // the owner before.
        self.caught_up >= known.max(self.count())
    }

    /// Whether `proxy` is a member, or can become one.
    pub(super) fn has_room_for(&self, proxy: ProxyId) -> bool {
        self.members.len() < MAX_MEMBERS || self.members.contains_key(&proxy)
    }

    /// Proxies that may have a lease: what answers tell, so that the next owner knows for whom to wait. While
    /// this server learns, it has not heard all: as many as earlier owners knew.
    pub(super) fn announced(&self) -> u32 {
        if self.knows_fleet { self.count() + self.missing } else { self.count().max(self.awaited()) }
    }

    /// For how many a server waits that does not know the fleet.
    fn awaited(&self) -> u32 {
        if self.echoed == 0 { self.expected } else { self.echoed }
    }

    /// Whether `proxy` follows this server.
    pub(super) fn follows(&self, proxy: ProxyId) -> bool {
        self.members.get(&proxy).is_some_and(|member| !member.lost)
    }

    pub(super) fn view(&self, now: Timestamp) -> FleetView {
        let missing = if self.knows_fleet {
            if now < self.missing_until { self.missing } else { 0 }
        } else if now.since(self.started) < LIVE {
            0
        } else {
            // Whoever has not been heard by now may be on its way to its safe rate.
            self.echoed.saturating_sub(self.count())
        };
        let members = (self.count() + missing).max(self.expected);
        FleetView { members, lost: self.lost + missing, safe_parts: members.max(1) }
    }

    /// At least half of the members follow this server: it may go on without the control plane's word.
    pub(super) fn half_follow(&self) -> bool {
        (self.count() - self.lost) * 2 >= self.count()
    }

    /// More than half do: nobody else has as many.
    pub(super) fn most_follow(&self) -> bool {
        let all = self.count() + self.missing;
        (self.count() - self.lost) * 2 > all || all == 0
    }

    /// Every member, with when it was last heard and the ring it used then.
    pub(super) fn members(&self) -> impl Iterator<Item = (ProxyId, Timestamp, Epoch)> + '_ {
        self.members.iter().map(|(proxy, member)| (*proxy, member.heard_at, member.ring))
    }

    fn count(&self) -> u32 {
        u32::try_from(self.members.len()).expect("members are bounded")
    }

    fn remove(&mut self, proxy: ProxyId) {
        if let Some(member) = self.members.remove(&proxy) {
            self.live = self.live.saturating_sub(1);
            self.lost -= u32::from(member.lost);
            self.caught_up = self.caught_up.saturating_sub(u32::from(member.ring >= self.ring));
        }
    }
}
