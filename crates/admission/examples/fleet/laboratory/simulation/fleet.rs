//! The whole: proxies, servers, what is under way between them, and time.

use std::collections::BTreeMap;
use std::time::Duration;

use admission::{
    Allocator, AllocatorConfig, BucketId, BucketState, BucketSummary, CapacityKind, Claim, Level, Mode,
    OutagePolicy, Quota, ReportEntry, ReportHeader, Ring,
};
use rand::Rng;
use units::{Epoch, MilliUnits, MilliUnitsPerSecond, TableId, Timestamp};

use super::arrivals::Pattern;
use super::client::{Client, Cost};
use super::meter::{Mark, Meter, SAMPLE};
use super::network::Network;
use super::proxy::{Lie, Proxy, Request, Surroundings};
use super::random::{Dice, arrivals_dice, dice};
use super::server::{Answer, Server, name_of, number_of};
use super::trace::Trace;

/// How soon a proxy notices that a server's connection came up anew, at most.
const RECONNECT: Duration = Duration::from_millis(100);

/// Within this every proxy knows a table's new description.
const DESCRIBED: Duration = Duration::from_millis(500);
/// How often a server looks for what it has to hand over.
const HANDING: Duration = Duration::from_millis(50);

/// What a run starts with.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    pub(crate) proxies: usize,
    /// Units per second, per table.
    pub(crate) rate: u64,
    /// B in seconds of R.
    pub(crate) burst_seconds: f64,
    pub(crate) tables: usize,
    pub(crate) servers: usize,
    pub(crate) step: Duration,
    pub(crate) network: Network,
    pub(crate) outage: OutagePolicy,
    pub(crate) cost: Cost,
    pub(crate) client: Client,
    pub(crate) config: AllocatorConfig,
}

impl Setup {
    /// One table of `rate` units a second with B = 1 s of R over `proxies`; 10 ms round trip; reports
    /// every second.
    pub(crate) fn new(seed: u64, proxies: usize, rate: u64) -> Self {
        Self {
            seed,
            proxies,
            rate,
            burst_seconds: 1.0,
            tables: 1,
            servers: 1,
            step: Duration::from_millis(5),
            network: Network::good(Duration::from_millis(10)),
            outage: OutagePolicy::Strict,
            cost: Cost::One,
            client: Client::Once,
            config: AllocatorConfig {
                expected_proxies: u32::try_from(proxies).expect("fleets are small"),
                ..AllocatorConfig::default()
            },
        }
    }

    fn quota(&self, rate: f64, version: u64) -> Quota {
        Quota {
            rate: MilliUnitsPerSecond::new((rate * 1000.0) as u64),
            burst: MilliUnits::new((rate * 1000.0 * self.burst_seconds) as u64),
            version,
            outage: self.outage,
            shadow: false,
        }
    }
}

/// A table: its quota as the control plane has it, and what its clients experience.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) id: BucketId,
    pub(crate) quota: Quota,
    pub(crate) cost: Cost,
    pub(crate) client: Client,
    pub(crate) meter: Meter,
    /// Milliseconds that admitted requests waited, with the instant they began.
    pub(crate) waits: Vec<f64>,
    pub(crate) keeps_waits: bool,
    admitted_now: u64,
}

impl Table {
    pub(crate) fn admit(&mut self, request: &Request, now: Timestamp) {
        self.admitted_now += request.cost.get();
        if self.keeps_waits {
            self.waits.push(now.since(request.began).as_secs_f64() * 1000.0);
        }
    }
}

/// What happens at a proxy by itself, later.
#[derive(Debug)]
pub(crate) enum Later {
    Settle { proxy: usize, table: usize, amount: MilliUnits, ideal: bool },
    Retry { proxy: usize, table: usize, request: Request },
}

/// In order of time.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    queue: BTreeMap<(Timestamp, u64), Later>,
    count: u64,
}

impl Pending {
    pub(crate) fn push(&mut self, at: Timestamp, later: Later) {
        self.count += 1;
        self.queue.insert((at, self.count), later);
    }

    fn pop(&mut self, now: Timestamp) -> Option<Later> {
        let next = self.queue.first_entry()?;
        (next.key().0 <= now).then(|| next.remove())
    }
}

#[derive(Clone, Debug)]
enum Message {
    Report {
        proxy: usize,
        server: usize,
        life: u64,
        header: ReportHeader,
        entries: Vec<ReportEntry>,
        sent: Timestamp,
    },
    Answer {
        proxy: usize,
        session: u64,
        server: usize,
        life: u64,
        answer: Answer,
        asked: Timestamp,
    },
    Ring {
        server: usize,
        ring: Ring,
    },
    Handover {
        from: usize,
        to: usize,
        ring: Epoch,
        state: BucketState,
    },
    Quota {
        proxy: usize,
        table: usize,
        quota: Quota,
    },
    HandedOver {
        from: usize,
        bucket: BucketId,
    },
    Reconnect {
        proxy: usize,
        server: usize,
        life: u64,
    },
}

/// The simulated fleet.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) setup: Setup,
    pub(crate) now: Timestamp,
    pub(crate) network: Network,
    pub(crate) tables: Vec<Table>,
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) servers: Vec<Server>,
    pub(crate) ring: Ring,
    /// Old owners hand over what the ring moves.
    pub(crate) hands_over: bool,
    /// Grants that a proxy accepted although their epoch was lower than an earlier one's.
    pub(crate) lower_epochs: u64,
    /// Report entries sent, and grants received.
    pub(crate) entries: u64,
    /// Whether `most_debt` is followed.
    pub(crate) watches_debt: bool,
    /// The largest sum of debts over the fleet.
    pub(crate) most_debt: u64,
    dice: Dice,
    /// See [`Surroundings::arrivals`].
    arrivals: Dice,
    trace: Trace,
    pending: Pending,
    under_way: BTreeMap<(Timestamp, u64), Message>,
    sent: u64,
    expired_at: Timestamp,
    handed_at: Timestamp,
}

impl Fleet {
    pub(crate) fn new(setup: Setup) -> Self {
        let now = Timestamp::from_nanos(0);
        let quota = setup.quota(setup.rate as f64, 1);
        let tables: Vec<Table> = (0..setup.tables)
            .map(|number| Table {
                id: BucketId::new(TableId::new(number as u64 + 1), CapacityKind::Read),
                quota,
                cost: setup.cost,
                client: setup.client,
                meter: Meter::new(quota, now),
                waits: Vec::new(),
                keeps_waits: false,
                admitted_now: 0,
            })
            .collect();
        let ring = Ring::new(Epoch::new(1), (0..setup.servers).map(name_of));
        let expected = u64::from(setup.config.expected_proxies);
        let proxies = (0..setup.proxies)
            .map(|number| Proxy::new(number, setup.tables, expected, ring.clone()))
            .collect();
        let quotas: Vec<_> = tables.iter().map(|table| (table.id, table.quota)).collect();
        let servers = (0..setup.servers)
            .map(|number| Server::start(number, setup.config.clone(), &quotas, now))
            .collect();
        let mut fleet = Self {
            now,
            network: setup.network,
            tables,
            proxies,
            servers,
            ring,
            lower_epochs: 0,
            entries: 0,
            watches_debt: matches!(setup.cost, Cost::Late { .. }),
            most_debt: 0,
            dice: dice(setup.seed),
            arrivals: arrivals_dice(setup.seed),
            trace: Trace::new(),
            pending: Pending::default(),
            under_way: BTreeMap::new(),
            sent: 0,
            expired_at: now,
            handed_at: now,
            hands_over: true,
            setup,
        };
        fleet.connect_from(0);
        fleet.push_ring();
        fleet
    }

    /// From the start, the tables are shares of one account, which has the quota that each table would have;
    /// these are their claims.
    pub(crate) fn share_account(&mut self, claims: &[Claim]) {
        let account = self.setup.quota(self.setup.rate as f64, 1);
        let owners = self.servers.iter_mut().filter_map(|server| server.allocator.as_mut());
        for allocator in owners {
            allocator.set_account_quota(CapacityKind::Read, Some(account), self.now);
            for (number, claim) in (1..).zip(claims) {
                allocator.set_claim(TableId::new(number), CapacityKind::Read, *claim);
            }
        }
        for (number, table) in (1..).zip(&mut self.tables) {
            table.id = BucketId::at(Level::AccountShare, number, CapacityKind::Read);
            // Proxies cannot know the share's quota before its owner says it.
            table.quota = Quota { burst: MilliUnits::ZERO, version: 0, ..account };
        }
    }

    /// What proxy `i` is asked for of `table`: requests per second from now on.
    pub(crate) fn demand(&mut self, table: usize, pattern: Pattern, rate: impl Fn(usize) -> f64) {
        let now = self.now.as_nanos() as f64 / 1e9;
        for (index, proxy) in self.proxies.iter_mut().enumerate() {
            proxy.demand[table].change(rate(index), pattern, now, &mut self.arrivals);
        }
    }

    /// Proxies that start now, empty.
    pub(crate) fn join(&mut self, count: usize) {
        let first = self.proxies.len();
        let expected = u64::from(self.setup.config.expected_proxies);
        for number in first..first + count {
            self.proxies.push(Proxy::new(number, self.tables.len(), expected, self.ring.clone()));
        }
        self.connect_from(first);
    }

    fn connect_from(&mut self, first: usize) {
        for proxy in &mut self.proxies[first..] {
            for (number, server) in self.servers.iter().enumerate() {
                proxy.connect(number, server.life);
            }
        }
    }

    /// The proxy stops in good order.
    pub(crate) fn leave(&mut self, proxy: usize) {
        let reports = self.proxies[proxy].leave(self.now);
        // Its connections are streams: nothing that it sent before arrives after its last word.
        self.under_way
            .retain(|_, message| !matches!(message, Message::Report { proxy: from, .. } if *from == proxy));
        self.send_reports(proxy, reports);
    }

    /// The control plane records a ring of these servers, and pushes it.
    pub(crate) fn change_ring(&mut self, servers: impl IntoIterator<Item = usize>) {
        self.ring = Ring::new(self.ring.epoch().next(), servers.into_iter().map(name_of));
        self.push_ring();
    }

    /// An admitted request at `proxy` turns out to cost so much more.
    pub(crate) fn charge(&mut self, proxy: usize, table: usize, amount: MilliUnits) {
        self.proxies[proxy].settle(table, amount);
        let table = &mut self.tables[table];
        table.admitted_now += amount.get();
        table.meter.total.offered += amount.get();
        table.meter.charge_ideal(amount);
    }

    /// The quota changes at the control plane, and is pushed: the owner knows it a moment later.
    pub(crate) fn set_quota(&mut self, number: usize, rate: f64) {
        let table = &mut self.tables[number];
        let quota = self.setup.quota(rate, table.quota.version + 1);
        table.quota = quota;
        table.meter.change_quota(quota, self.now);
        for server in &mut self.servers {
            if let Some(allocator) = &mut server.allocator {
                allocator.set_quota(table.id, quota, false, self.now);
            }
        }
        // The table's description reaches every proxy by another way.
        for proxy in 0..self.proxies.len() {
            let told = self.now + DESCRIBED.mul_f64(self.dice.random::<f64>());
            self.send_at(told, Message::Quota { proxy, table: number, quota });
        }
    }

    /// The server is gone with all it knew.
    pub(crate) fn crash_server(&mut self, server: usize) {
        self.servers[server].crash();
    }

    /// It is back, empty, and the proxies notice one after the other.
    pub(crate) fn restart_server(&mut self, server: usize) {
        let quotas: Vec<_> = self.tables.iter().map(|table| (table.id, table.quota)).collect();
        self.servers[server].restart(&quotas, self.now);
        let life = self.servers[server].life;
        for proxy in 0..self.proxies.len() {
            let noticed = self.now + RECONNECT.mul_f64(self.dice.random::<f64>());
            self.send_at(noticed, Message::Reconnect { proxy, server, life });
        }
    }

    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.now = self.now + self.setup.step;
            self.deliver();
            self.settle_and_retry();
            self.step_proxies();
            self.expire();
            self.close();
        }
    }

    /// A moment to measure from.
    pub(crate) fn mark(&self, table: usize) -> Mark {
        Mark {
            sample: self.tables[table].meter.now(),
            proxies: self.proxies.iter().map(|proxy| proxy.counted[table]).collect(),
        }
    }

    /// The run's beginning, to measure from.
    pub(crate) fn beginning(&self) -> Mark {
        Mark { sample: 0, proxies: vec![(0, 0); self.proxies.len()] }
    }

    /// Per proxy, which part of what it was asked for it admitted since `mark`.
    pub(crate) fn admit_ratios(&self, table: usize, mark: &Mark) -> Vec<f64> {
        self.proxies
            .iter()
            .zip(&mark.proxies)
            .map(|(proxy, before)| {
                let (admitted, offered) = proxy.counted[table];
                (admitted - before.0, offered - before.1)
            })
            .filter(|(_, offered)| *offered > 0)
            .map(|(admitted, offered)| admitted as f64 / offered as f64)
            .collect()
    }

    /// What the table's owner shows operators.
    pub(crate) fn summary(&self, table: usize) -> Option<BucketSummary> {
        let id = self.tables[table].id;
        let owner = number_of(self.ring.owner_name(id)?);
        self.servers[owner].allocator.as_ref()?.summary(id, self.now)
    }

    /// How the table's tokens reach the proxies.
    pub(crate) fn mode(&self, table: usize) -> Option<Mode> {
        self.summary(table).map(|summary| summary.mode)
    }

    /// I1 and I2 and the running sums, at every owner.
    pub(crate) fn assert_invariants(&self) {
        self.servers
            .iter()
            .filter_map(|server| server.allocator.as_ref())
            .for_each(Allocator::assert_invariants);
    }

    /// Of everything that happened.
    pub(crate) fn trace(&self) -> u64 {
        self.trace.hash()
    }

    fn step_proxies(&mut self) {
        for index in 0..self.proxies.len() {
            let proxy = &mut self.proxies[index];
            if !proxy.runs {
                continue;
            }
            proxy.step(&mut Surroundings {
                now: self.now,
                proxy: index,
                dice: &mut self.dice,
                arrivals: &mut self.arrivals,
                tables: &mut self.tables,
                pending: &mut self.pending,
            });
            self.report(index);
        }
    }

    fn report(&mut self, index: usize) {
        let reports = self.proxies[index].due(self.now);
        self.send_reports(index, reports);
    }

    fn send_reports(&mut self, index: usize, reports: Vec<(usize, Vec<ReportEntry>)>) {
        for (server, entries) in reports {
            self.entries += entries.len() as u64;
            let proxy = &self.proxies[index];
            let message = Message::Report {
                proxy: index,
                server,
                life: proxy.connected_to(server),
                header: proxy.header(self.now),
                entries,
                sent: proxy.clock(self.now),
            };
            let copies = if proxy.lie == Lie::Replays { 5 } else { 1 };
            if self.reaches(index, server) {
                (0..copies).for_each(|_| self.send(message.clone()));
            }
        }
    }

    fn reaches(&self, proxy: usize, server: usize) -> bool {
        let proxy = &self.proxies[proxy];
        !proxy.cut && proxy.cut_from != Some(server) && self.servers[server].is_reachable()
    }

    fn push_ring(&mut self) {
        for server in 0..self.servers.len() {
            let delay = RECONNECT.mul_f64(self.dice.random::<f64>());
            self.send_at(self.now + delay, Message::Ring { server, ring: self.ring.clone() });
        }
    }

    /// What the ring moved goes from owner to owner, again and again until it was taken.
    fn hand_over(&mut self) {
        if !self.hands_over {
            return;
        }
        for from in 0..self.servers.len() {
            for (to, ring, state) in self.servers[from].handovers(self.now) {
                self.send(Message::Handover { from, to, ring, state });
            }
        }
    }

    fn settle_and_retry(&mut self) {
        while let Some(later) = self.pending.pop(self.now) {
            match later {
                Later::Settle { proxy, table, amount, ideal } => {
                    self.proxies[proxy].settle(table, amount);
                    let table = &mut self.tables[table];
                    table.admitted_now += amount.get();
                    table.meter.total.offered += amount.get();
                    if ideal {
                        table.meter.charge_ideal(amount);
                    }
                }
                Later::Retry { proxy: index, table, request } => {
                    let proxy = &mut self.proxies[index];
                    proxy.attempt(
                        table,
                        request,
                        &mut Surroundings {
                            now: self.now,
                            proxy: index,
                            dice: &mut self.dice,
                            arrivals: &mut self.arrivals,
                            tables: &mut self.tables,
                            pending: &mut self.pending,
                        },
                    );
                }
            }
        }
    }

    fn send(&mut self, message: Message) {
        for delay in self.network.copies(&mut self.dice).into_iter().flatten() {
            self.send_at(self.now + delay, message.clone());
        }
    }

    fn send_at(&mut self, at: Timestamp, message: Message) {
        self.sent += 1;
        self.under_way.insert((at, self.sent), message);
    }

    fn deliver(&mut self) {
        while let Some(next) = self.under_way.first_entry() {
            let at = next.key().0;
            if at > self.now {
                break;
            }
            match next.remove() {
                Message::Report { proxy, server, life, header, entries, sent } => {
                    if self.servers[server].life == life && self.servers[server].is_reachable() {
                        self.answer(proxy, server, &header, &entries, sent, at);
                    }
                }
                Message::Answer { proxy, session, server, life, answer, asked } => {
                    let arrives = self.servers[server].life == life && self.reaches(proxy, server);
                    if arrives && self.proxies[proxy].session == session && self.proxies[proxy].runs {
                        self.apply(proxy, server, &answer, asked, at);
                    }
                }
                Message::Ring { server, ring } => {
                    if !self.servers[server].cut_from_control {
                        self.servers[server].set_ring(&ring, at);
                    }
                }
                Message::Handover { from, to, ring, state } => {
                    let bucket = state.bucket;
                    if self.servers[to].take_over(ring, &state, at) {
                        self.send(Message::HandedOver { from, bucket });
                    }
                }
                Message::Quota { proxy, table, quota } => {
                    if let Some(local) = &mut self.proxies[proxy].locals[table] {
                        local.keeper.learn_quota(quota);
                    }
                }
                Message::HandedOver { from, bucket } => {
                    if let Some(allocator) = &mut self.servers[from].allocator {
                        allocator.handed_over(&[bucket]);
                    }
                }
                Message::Reconnect { proxy, server, life } => {
                    if self.servers[server].life == life {
                        self.proxies[proxy].connect(server, life);
                    }
                }
            }
        }
    }

    fn answer(
        &mut self,
        proxy: usize,
        server: usize,
        header: &ReportHeader,
        entries: &[ReportEntry],
        asked: Timestamp,
        at: Timestamp,
    ) {
        let Some(answer) = self.servers[server].answer(header, entries, at) else { return };
        self.trace.note(&[at.as_nanos(), header.proxy.get(), entries.len() as u64]);
        let life = self.servers[server].life;
        let message = Message::Answer { proxy, session: header.session, server, life, answer, asked };
        for delay in self.network.copies(&mut self.dice).into_iter().flatten() {
            self.send_at(at + delay, message.clone());
        }
    }

    fn apply(&mut self, proxy: usize, server: usize, answer: &Answer, asked: Timestamp, at: Timestamp) {
        self.proxies[proxy].learn(server, answer, asked, &self.tables);
        for grant in &answer.grants {
            let table = usize::try_from(grant.bucket.number() - 1).expect("numbered from 1");
            if !self.proxies[proxy].follows(server, table) {
                continue;
            }
            let before = self.proxies[proxy].accepted_epoch(table);
            let accepted = self.proxies[proxy].apply(table, grant, asked, at);
            self.lower_epochs += u64::from(accepted && grant.number.epoch < before);
            self.trace.note(&[
                grant.number.sequence,
                grant.rate.get(),
                grant.tokens.get(),
                u64::from(accepted),
            ]);
        }
    }

    fn expire(&mut self) {
        if self.now.since(self.expired_at) >= Duration::from_secs(1) {
            self.expired_at = self.now;
            self.servers.iter_mut().for_each(|server| server.expire(self.now));
            self.push_ring();
        }
        if self.now.since(self.handed_at) >= HANDING {
            self.handed_at = self.now;
            self.hand_over();
        }
    }

    fn close(&mut self) {
        for table in &mut self.tables {
            let admitted = std::mem::take(&mut table.admitted_now);
            table.meter.close(admitted, self.now);
            self.trace.note(&[admitted]);
        }
        if self.watches_debt {
            let debts = self.proxies.iter().flat_map(|proxy| proxy.locals.iter().flatten());
            self.most_debt = self.most_debt.max(debts.map(|local| local.bucket.debt().get()).sum());
        }
    }
}

/// Samples in so many seconds.
pub(crate) fn samples(seconds: f64) -> usize {
    (seconds / SAMPLE.as_secs_f64()).round() as usize
}
