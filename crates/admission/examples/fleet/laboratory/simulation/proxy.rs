//! One simulated proxy: real buckets and keepers, simulated clients, its own clock.

use std::collections::VecDeque;
use std::time::Duration;

use admission::{
    AtomicTokenBucket, Contact, Grant, GrantNumber, LeaseKeeper, Mode, PoolColour, Quota, ReportEntry,
    ReportHeader, Ring, Shortage,
};
use units::{Epoch, MilliUnits, ProxyId, Timestamp};

use super::arrivals::Arrivals;
use super::client::Cost;
use super::fleet::{Later, Pending, Table};
use super::random::Dice;
use super::server::{Answer, number_of};

/// How long a request waits at most for a grant, and how many may: as in the real proxy.
const PATIENCE: Duration = Duration::from_millis(150);
/// See [`PATIENCE`].
const MAX_WAITING: usize = 64;
/// How long a grant's word about the pool holds: as in the real proxy.
const COLOUR_HOLDS: Duration = Duration::from_secs(1);
/// A report that was not answered within this is sent anew. The real transport is a stream, on which
/// nothing is lost, but comes so much later.
const LOST_AFTER: Duration = Duration::from_millis(300);
/// How often leases that ran out are looked after: as in the real proxy.
const TENDING: Duration = Duration::from_millis(100);
/// Every server hears from every proxy so often.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// In what way a proxy misleads its owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lie {
    /// It does not.
    #[default]
    Honest,
    /// It claims to use, to need and to be asked for a thousand times as much.
    Inflates,
    /// It sends each report again and again.
    Replays,
}

/// A request that waits for the next grant.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    request: Request,
    shortage: Shortage,
    until: Timestamp,
}

/// A client's request, at one of its attempts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) began: Timestamp,
    pub(crate) attempt: u32,
    pub(crate) cost: MilliUnits,
    pub(crate) ideal_admits: bool,
}

/// One table at one proxy.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) keeper: LeaseKeeper,
    pub(crate) bucket: AtomicTokenBucket,
    /// The owner's number, by the proxy's ring.
    owner: Option<usize>,
    /// The newest grant, for I3.
    accepted: GrantNumber,
    granted_at: Timestamp,
    granted: bool,
    waiting: VecDeque<Waiter>,
    /// When the report was sent that is under way; one at a time is.
    asked_at: Option<Timestamp>,
}

/// A proxy's connection to one server. A server that came up anew, or owns more by a new ring, is shown
/// everything at first, and hears nothing else until it has answered that.
#[derive(Clone, Copy, Debug, Default)]
struct Link {
    /// The server's, as the proxy knows it.
    life: u64,
    introduced: bool,
    /// When everything was shown last.
    shown_at: Option<Timestamp>,
}

/// A proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) id: ProxyId,
    pub(crate) session: u64,
    pub(crate) runs: bool,
    /// Cut off from every GAC server.
    pub(crate) cut: bool,
    /// Cut off from one of them.
    pub(crate) cut_from: Option<usize>,
    /// Live proxies, as an owner last said.
    fleet: u32,
    /// When it last sent anything, per server.
    said: Vec<Timestamp>,
    /// When the last message was sent that it answered, per server.
    heard: Vec<Timestamp>,
    /// Per server.
    links: Vec<Link>,
    tended_at: Timestamp,
    /// It has just started: nobody was asked before.
    starts: bool,
    /// The ring's servers, by their numbers.
    servers: Vec<usize>,
    pub(crate) lie: Lie,
    /// Its clock gains so many parts in a million.
    pub(crate) drift: i64,
    pub(crate) expected_proxies: u64,
    pub(crate) ring: Ring,
    /// Per table.
    pub(crate) demand: Vec<Arrivals>,
    pub(crate) locals: Vec<Option<Local>>,
    /// Per table: admitted and offered since the run began, over restarts.
    pub(crate) counted: Vec<(u64, u64)>,
}

/// What a proxy's step may touch besides itself.
pub(crate) struct Surroundings<'a> {
    pub(crate) now: Timestamp,
    pub(crate) proxy: usize,
    pub(crate) dice: &'a mut Dice,
    /// Drawn from by arrivals alone: so that every scheme is asked the same.
    pub(crate) arrivals: &'a mut Dice,
    pub(crate) tables: &'a mut [Table],
    pub(crate) pending: &'a mut Pending,
}

impl Proxy {
    pub(crate) fn new(number: usize, tables: usize, expected_proxies: u64, ring: Ring) -> Self {
        let mut proxy = Self {
            id: ProxyId::new(number as u64 + 1),
            session: 1,
            runs: true,
            cut: false,
            cut_from: None,
            fleet: 0,
            said: Vec::new(),
            heard: Vec::new(),
            links: Vec::new(),
            tended_at: Timestamp::from_nanos(0),
            starts: true,
            servers: Vec::new(),
            lie: Lie::Honest,
            drift: 0,
            expected_proxies,
            ring: ring.clone(),
            demand: vec![Arrivals::none(); tables],
            locals: std::iter::repeat_with(|| None).take(tables).collect(),
            counted: vec![(0, 0); tables],
        };
        proxy.use_ring(ring, &[]);
        proxy
    }

    /// Its own clock when the world's shows `now`.
    pub(crate) fn clock(&self, now: Timestamp) -> Timestamp {
        let gained = i128::from(now.as_nanos()) * i128::from(self.drift) / 1_000_000;
        let nanos = i128::from(now.as_nanos()) + gained;
        Timestamp::from_nanos(u64::try_from(nanos).expect("clocks do not run backwards from zero"))
    }

    /// Proxies in the fleet, as far as it knows.
    fn fleet_size(&self) -> u32 {
        self.fleet.max(u32::try_from(self.expected_proxies).expect("fleets are small"))
    }

    /// All it knew is gone; its clients stay.
    pub(crate) fn restart(&mut self) {
        self.session += 1;
        self.fleet = 0;
        self.starts = true;
        self.links.iter_mut().for_each(|link| (link.introduced, link.shown_at) = (false, None));
        self.said.iter_mut().for_each(|said| *said = Timestamp::from_nanos(0));
        self.runs = true;
        self.locals.iter_mut().for_each(|local| *local = None);
    }

    /// The requests of this instant, and those that waited.
    pub(crate) fn step(&mut self, around: &mut Surroundings<'_>) {
        let seconds = around.now.as_nanos() as f64 / 1e9;
        for table in 0..self.demand.len() {
            self.wake_waiting(table, around);
            for _ in 0..self.demand[table].until(seconds, around.arrivals) {
                let cost = Cost::FIRST;
                let ideal_admits = around.tables[table].meter.ask(cost, around.now);
                self.counted[table].1 += cost.get();
                let request = Request { began: around.now, attempt: 1, cost, ideal_admits };
                self.attempt(table, request, around);
            }
        }
    }

    /// One attempt of a request, its first or a later one.
    pub(crate) fn attempt(&mut self, table: usize, request: Request, around: &mut Surroundings<'_>) {
        let Err(shortage) = self.take(table, &request, around) else { return };
        let now = self.clock(around.now);
        let proxies = self.fleet_size();
        let local = self.locals[table].as_mut().expect("taking made it");
        if local.is_worth_waiting(proxies, now) && local.bucket.wait_for(request.cost, now) {
            local.waiting.push_back(Waiter { request, shortage, until: around.now + PATIENCE });
        } else {
            refuse(table, request, shortage, around);
        }
    }

    /// What an admitted request cost besides.
    pub(crate) fn settle(&mut self, table: usize, amount: MilliUnits) {
        self.counted[table].0 += amount.get();
        self.counted[table].1 += amount.get();
        if let Some(local) = &self.locals[table] {
            local.bucket.charge(amount);
        }
    }

    /// The entries that are due, by their owners; and a heartbeat for every server that has heard nothing
    /// for a second.
    pub(crate) fn due(&mut self, now: Timestamp) -> Vec<(usize, Vec<ReportEntry>)> {
        let now = self.clock(now);
        let mut reports: Vec<(usize, Vec<ReportEntry>)> = Vec::new();
        if std::mem::take(&mut self.starts) {
            self.heard.fill(now);
        }
        let fleet = self.fleet_size();
        let tends = now.since(self.tended_at) >= TENDING;
        if tends {
            self.tended_at = now;
        }
        for local in self.locals.iter_mut().flatten() {
            if tends {
                let heard_at = local.owner.map_or(now, |owner| self.heard[owner]);
                local.keeper.tend(&local.bucket, Contact { heard_at, fleet }, now);
            }
            if local.owner.is_some_and(|owner| !self.links[owner].introduced)
                || local.is_under_way(now)
                || !local.keeper.is_due(&local.bucket, now)
            {
                continue;
            }
            let Some(owner) = local.owner else { continue };
            local.asked_at = Some(now);
            let mut entry = local.keeper.report(&local.bucket, now);
            if self.lie == Lie::Inflates {
                inflate(&mut entry);
            }
            add(&mut reports, owner, Some(entry));
        }
        for number in &self.servers {
            let link = &mut self.links[*number];
            if !link.introduced {
                if link.shown_at.is_none_or(|shown| now.since(shown) >= LOST_AFTER) {
                    link.shown_at = Some(now);
                    add(&mut reports, *number, None);
                    for local in self.locals.iter_mut().flatten().filter(|local| local.owner == Some(*number))
                    {
                        local.asked_at = Some(now);
                        add(&mut reports, *number, Some(local.keeper.report(&local.bucket, now)));
                    }
                }
                continue;
            }
            if self.said[*number].as_nanos() == 0 || now.since(self.said[*number]) >= HEARTBEAT {
                add(&mut reports, *number, None);
            }
        }
        for (server, _) in &reports {
            self.said[*server] = now;
        }
        reports
    }

    /// It stops in good order: what it tells its owners last.
    pub(crate) fn leave(&mut self, now: Timestamp) -> Vec<(usize, Vec<ReportEntry>)> {
        self.runs = false;
        let now = self.clock(now);
        let mut reports = Vec::new();
        for local in self.locals.iter_mut().flatten() {
            let Some(owner) = local.owner else { continue };
            add(&mut reports, owner, Some(local.keeper.leave(&local.bucket, now)));
        }
        reports
    }

    /// What stands above an answer's grants.
    pub(crate) fn learn(&mut self, server: usize, answer: &Answer, asked: Timestamp, tables: &[Table]) {
        self.heard[server] = self.heard[server].max(asked);
        let link = &mut self.links[server];
        link.introduced |= link.shown_at.is_some_and(|shown| asked >= shown);
        self.fleet = answer.fleet;
        if let Some(ring) = answer.ring.as_ref().filter(|ring| ring.epoch() > self.ring.epoch()) {
            self.use_ring(ring.clone(), tables);
        }
    }

    fn use_ring(&mut self, ring: Ring, tables: &[Table]) {
        self.servers = ring.servers().iter().map(|name| number_of(name)).collect();
        let count = self.servers.iter().max().map_or(0, |last| last + 1);
        self.said.resize(count.max(self.said.len()), Timestamp::from_nanos(0));
        self.heard.resize(count.max(self.heard.len()), self.tended_at);
        self.links.resize(count.max(self.links.len()), Link::default());
        for link in &mut self.links {
            (link.introduced, link.shown_at) = (false, None);
        }
        self.ring = ring;
        for (local, table) in self.locals.iter_mut().zip(tables) {
            let Some(local) = local else { continue };
            let owner = owner_of(&self.ring, table);
            if owner != local.owner {
                local.owner = owner;
                local.asked_at = None;
                local.keeper.report_anew();
            }
        }
    }

    /// Of the newest grant.
    pub(crate) fn accepted_epoch(&self, table: usize) -> Epoch {
        self.locals[table].as_ref().map_or(Epoch::new(0), |local| local.accepted.epoch)
    }

    /// The connection to a server came up, or came up anew.
    pub(crate) fn connect(&mut self, server: usize, life: u64) {
        self.links.resize(self.links.len().max(server + 1), Link::default());
        self.links[server] = Link { life, introduced: false, shown_at: None };
    }

    /// The server's life that it is connected to.
    pub(crate) fn connected_to(&self, server: usize) -> u64 {
        self.links[server].life
    }

    /// Whether it goes to this server for the table.
    pub(crate) fn follows(&self, server: usize, table: usize) -> bool {
        self.locals[table].as_ref().is_some_and(|local| local.owner == Some(server))
    }

    pub(crate) fn header(&self, now: Timestamp) -> ReportHeader {
        ReportHeader {
            proxy: self.id,
            session: self.session,
            fleet: self.fleet,
            ring: self.ring.epoch(),
            leaving: !self.runs,
            session_age: self.clock(now).since(Timestamp::default()),
        }
    }

    /// A grant arrives; requests that wait for it try again at this instant's end.
    pub(crate) fn apply(&mut self, table: usize, grant: &Grant, asked_at: Timestamp, now: Timestamp) -> bool {
        let now = self.clock(now);
        let Some(local) = &mut self.locals[table] else { return false };
        local.asked_at = local.asked_at.filter(|sent| *sent > asked_at);
        let accepted = local.keeper.apply(grant, &local.bucket, asked_at, now);
        if accepted {
            assert!(grant.number > local.accepted, "I3: {:?} after {:?}", grant.number, local.accepted);
            local.accepted = grant.number;
            local.granted_at = now;
            local.granted = true;
        }
        accepted
    }

    fn take(
        &mut self,
        table: usize,
        request: &Request,
        around: &mut Surroundings<'_>,
    ) -> Result<(), Shortage> {
        let now = self.clock(around.now);
        let quota = around.tables[table].quota;
        let proxies = self.expected_proxies;
        let ring = &self.ring;
        let local = self.locals[table]
            .get_or_insert_with(|| Local::new(&around.tables[table], quota, proxies, ring, now));
        local.bucket.take(request.cost, now)?;
        self.counted[table].0 += request.cost.get();
        around.tables[table].admit(request, around.now);
        if let Some((amount, after)) = around.tables[table].cost.settlement(around.dice) {
            let later = Later::Settle { proxy: around.proxy, table, amount, ideal: request.ideal_admits };
            around.pending.push(around.now + after, later);
        }
        Ok(())
    }

    fn wake_waiting(&mut self, table: usize, around: &mut Surroundings<'_>) {
        let Some(local) = &mut self.locals[table] else { return };
        if local.waiting.is_empty() {
            return;
        }
        let granted = std::mem::take(&mut local.granted);
        let mut waiting = std::mem::take(&mut local.waiting);
        while let Some(waiter) = waiting.front().copied() {
            let expired = waiter.until <= around.now;
            if !granted && !expired {
                break;
            }
            let now = self.clock(around.now);
            let covered = self.locals[table].as_ref().is_some_and(|local| local.covers(&waiter.request, now));
            if !covered && !expired {
                break;
            }
            waiting.pop_front();
            let admitted = covered && self.take(table, &waiter.request, around).is_ok();
            let local = self.locals[table].as_ref().expect("it has waiting requests");
            if admitted {
                local.bucket.stop_waiting_admitted(waiter.request.cost);
            } else {
                local.bucket.stop_waiting(waiter.request.cost);
                refuse(table, waiter.request, waiter.shortage, around);
            }
        }
        let local = self.locals[table].as_mut().expect("it has waiting requests");
        local.waiting = waiting;
    }
}

impl Local {
    fn new(table: &Table, quota: Quota, proxies: u64, ring: &Ring, now: Timestamp) -> Self {
        let lease = LeaseKeeper::first_lease(quota, u32::try_from(proxies).expect("fleets are small"), now);
        Self {
            keeper: LeaseKeeper::new(table.id, quota),
            bucket: AtomicTokenBucket::full(lease, now),
            owner: owner_of(ring, table),
            accepted: GrantNumber::default(),
            granted_at: now,
            granted: false,
            waiting: VecDeque::new(),
            asked_at: None,
        }
    }

    /// Whether another attempt is worth its while: a failed one would count as refused.
    fn covers(&self, request: &Request, now: Timestamp) -> bool {
        self.bucket.refill(now);
        self.bucket.level() >= request.cost.min(self.bucket.cap()).max(MilliUnits::new(1))
    }

    fn is_under_way(&self, now: Timestamp) -> bool {
        self.asked_at.is_some_and(|sent| now.since(sent) < LOST_AFTER)
    }

    /// As in the real proxy: not when the pool is known to be dry and the lease is about a fair part.
    fn is_worth_waiting(&self, proxies: u32, now: Timestamp) -> bool {
        if self.waiting.len() >= MAX_WAITING {
            return false;
        }
        if self.keeper.falls_back() {
            return false;
        }
        if self.keeper.mode() == Mode::Direct {
            return true;
        }
        let is_fresh = now.since(self.granted_at) <= COLOUR_HOLDS;
        if is_fresh && self.keeper.is_overbooked() {
            return false;
        }
        match self.keeper.pool() {
            PoolColour::Unknown | PoolColour::Comfortable | PoolColour::Scarce => true,
            PoolColour::Dry => {
                let fair = self.keeper.quota().rate.get() / u64::from(proxies.max(1));
                let has_its_part = self.bucket.rate_at(now).get() >= fair / 10 * 9;
                !has_its_part || !is_fresh
            }
        }
    }
}

fn owner_of(ring: &Ring, table: &Table) -> Option<usize> {
    ring.owner_name(table.id).map(number_of)
}

fn add(reports: &mut Vec<(usize, Vec<ReportEntry>)>, owner: usize, entry: Option<ReportEntry>) {
    match reports.iter_mut().find(|(server, _)| *server == owner) {
        Some((_, entries)) => entries.extend(entry),
        None => reports.push((owner, entry.into_iter().collect())),
    }
}

/// The client gives up, or comes back later.
fn refuse(table: usize, request: Request, shortage: Shortage, around: &mut Surroundings<'_>) {
    let retry = around.tables[table].client.retry(request.attempt, shortage.retry_after, around.dice);
    match retry {
        Some(after) => {
            let again = Request { attempt: request.attempt + 1, ..request };
            let later = Later::Retry { proxy: around.proxy, table, request: again };
            around.pending.push(around.now + after, later);
        }
        None => around.tables[table].meter.refuse(request.cost, request.ideal_admits),
    }
}

fn inflate(entry: &mut ReportEntry) {
    const FACTOR: u64 = 1000;
    let times = |amount: MilliUnits| MilliUnits::new(amount.get().saturating_mul(FACTOR));
    entry.need = times(entry.need + MilliUnits::from_units(1000));
    entry.throttled = times(entry.throttled + entry.admitted);
    entry.rate_in_use = units::MilliUnitsPerSecond::new(entry.rate_in_use.get().saturating_mul(FACTOR));
}
