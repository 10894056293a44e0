//! GAC servers that share buckets by a ring, over loopback: moves, drains, restarts, owners that are cut
//! off. The proxies here speak the protocol by hand, so that a test can make one lie or fall silent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use admission::{BucketId, CapacityKind, GrantNumber, Quota, ReportEntry, ReportHeader, Ring};
use gac_server::{Config, Handle, InspectRequest, Inspection, start};
use tokio_util::sync::CancellationToken;
use units::{Epoch, MilliUnits, MilliUnitsPerSecond, ProxyId, TableId, Timestamp};
use wire::clock;
use wire::method::{Handover, Inspect, PushRing, Report};
use wire::proto::gac;
use wire::transport::{CallError, Connection, ConnectionConfig, Failure};

/// For a call, and for what is waited for.
const DEADLINE: Duration = Duration::from_secs(10);
/// Between two reports of a proxy: longer than what the owner takes for a sample.
const STEP: Duration = Duration::from_millis(60);
/// Of every bucket, in units per second.
const QUOTA: u64 = 1_000;
/// Of that, what proxies use at any moment while nothing goes wrong: between a decrease and the raise that
/// it makes room for, a step passes, and steps are long on a busy machine. One lost lease of two or three
/// would show.
const KEPT: u64 = 700;

struct Server {
    handle: Handle,
    connection: Connection,
    shutdown: CancellationToken,
}

impl Server {
    async fn start(listen: SocketAddr, proxies: u32) -> Self {
        let config = Config { expected_proxies: proxies, ..Config::new(listen, Vec::new()) };
        let shutdown = CancellationToken::new();
        let handle = start(config, shutdown.clone()).await.expect("the address is free");
        let connection = Connection::open(&handle.address().to_string(), ConnectionConfig::named("test"));
        Self { handle, connection, shutdown }
    }

    async fn anywhere(proxies: u32) -> Self {
        Self::start(SocketAddr::from(([127, 0, 0, 1], 0)), proxies).await
    }

    fn name(&self) -> String {
        self.handle.address().to_string()
    }

    async fn push_ring(&self, epoch: u64, servers: &[&Self]) -> gac::RingAnswer {
        let servers = servers.iter().map(|server| server.name()).collect();
        let ring = gac::Ring { epoch, servers };
        self.connection.call::<PushRing>(&ring, DEADLINE).await.expect("it answers")
    }

    fn everything(&self) -> Inspection {
        self.handle.inspect(&InspectRequest { buckets: Vec::new(), limit: 1_000, shares: true })
    }

    async fn stop(self) -> SocketAddr {
        let address = self.handle.address();
        self.shutdown.cancel();
        self.handle.join().await.expect("it ends in order");
        address
    }
}

/// A proxy that wants the same of every bucket, and admits what its leases allow.
struct Proxy {
    header: ReportHeader,
    ring: Ring,
    wants: MilliUnitsPerSecond,
    entries: BTreeMap<BucketId, ReportEntry>,
    counted_at: Timestamp,
}

impl Proxy {
    fn new(number: u64, wants: u64, buckets: u64, ring: Ring) -> Self {
        let entries = (1..=buckets).map(bucket).map(|id| (id, first_entry(id))).collect();
        let header = ReportHeader {
            proxy: ProxyId::new(number),
            session: 1,
            fleet: 0,
            ring: ring.epoch(),
            leaving: false,
            session_age: Duration::ZERO,
        };
        let wants = MilliUnitsPerSecond::from_units(wants);
        Self { header, ring, wants, entries, counted_at: clock::now() }
    }

    /// Counts what it admitted and refused since it did so last.
    fn count(&mut self) {
        let elapsed = clock::now().since(self.counted_at);
        self.counted_at = clock::now();
        for entry in self.entries.values_mut() {
            let wanted = self.wants.earned_in(elapsed);
            let admitted = wanted.min(entry.rate_in_use.earned_in(elapsed));
            entry.admitted += admitted;
            entry.throttled += wanted.saturating_sub(admitted);
        }
    }

    /// Reports these buckets to this server and uses what it grants.
    async fn report(&mut self, server: &Server, buckets: &[BucketId]) -> gac::Grants {
        let entries: Vec<_> = buckets.iter().map(|id| self.entries[id]).collect();
        let report = gac::Report::pack(self.header, &entries);
        let grants = server.connection.call::<Report>(&report, DEADLINE).await.expect("it answers");
        for grant in grants.entries().expect("columns of one length") {
            let entry = self.entries.get_mut(&grant.bucket).expect("only what was reported is granted");
            if grant.number > entry.acknowledged {
                entry.acknowledged = grant.number;
                entry.rate_in_use = grant.rate;
                entry.held = grant.cap.min(entry.held + grant.tokens);
            }
        }
        self.header.fleet = grants.fleet;
        grants
    }

    /// Reports everything to its owners, and at least its presence to every server; follows the ring.
    async fn step(&mut self, servers: &[&Server]) {
        self.count();
        for server in servers {
            let mine = self.owned_by(server);
            let grants = self.report(server, &mine).await;
            if !grants.ring_servers.is_empty() && grants.ring_epoch > self.ring.epoch().get() {
                self.follow(Ring::new(Epoch::new(grants.ring_epoch), grants.ring_servers));
            }
        }
    }

    fn follow(&mut self, ring: Ring) {
        self.header.ring = ring.epoch();
        self.ring = ring;
    }

    fn owned_by(&self, server: &Server) -> Vec<BucketId> {
        let name = server.name();
        let mine = |id: &&BucketId| self.ring.owner_name(**id) == Some(name.as_str());
        self.entries.keys().filter(mine).copied().collect()
    }
}

fn bucket(table: u64) -> BucketId {
    BucketId::new(TableId::new(table), CapacityKind::Write)
}

fn first_entry(bucket: BucketId) -> ReportEntry {
    ReportEntry {
        bucket,
        admitted: MilliUnits::ZERO,
        throttled: MilliUnits::ZERO,
        returned: MilliUnits::ZERO,
        held: MilliUnits::ZERO,
        need: MilliUnits::ZERO,
        acknowledged: GrantNumber::default(),
        rate_in_use: MilliUnitsPerSecond::default(),
        quota: Quota::with_usual_burst(MilliUnitsPerSecond::from_units(QUOTA), 1),
    }
}

fn ring(epoch: u64, servers: &[&Server]) -> Ring {
    Ring::new(Epoch::new(epoch), servers.iter().map(|server| server.name()))
}

/// What the proxies use of `id` together, in units per second.
fn used(proxies: &[Proxy], id: BucketId) -> u64 {
    proxies.iter().map(|proxy| proxy.entries[&id].rate_in_use.get()).sum::<u64>() / 1_000
}

/// Steps until `done`, which must be soon.
async fn step_until(proxies: &mut [Proxy], servers: &[&Server], mut done: impl FnMut(&[Proxy]) -> bool) {
    let stepping = async {
        loop {
            for proxy in &mut *proxies {
                proxy.step(servers).await;
            }
            if done(proxies) {
                return;
            }
            tokio::time::sleep(STEP).await;
        }
    };
    tokio::time::timeout(DEADLINE, stepping).await.expect("it happens in time");
}

fn all_use_nearly_the_quota(proxies: &[Proxy]) -> bool {
    proxies[0].entries.keys().all(|id| used(proxies, *id) >= QUOTA * 9 / 10)
}

#[tokio::test]
async fn what_a_new_ring_moves_keeps_its_rates() {
    let (a, b) = (Server::anywhere(2).await, Server::anywhere(2).await);
    for server in [&a, &b] {
        server.push_ring(1, &[&a]).await;
    }
    let mut proxies: Vec<_> = [1, 2].map(|number| Proxy::new(number, 700, 12, ring(1, &[&a]))).into();
    step_until(&mut proxies, &[&a, &b], all_use_nearly_the_quota).await;

    for server in [&a, &b] {
        server.push_ring(2, &[&a, &b]).await;
    }
    let mut least = QUOTA;
    step_until(&mut proxies, &[&a, &b], |proxies| {
        let rates = proxies[0].entries.keys().map(|id| used(proxies, *id));
        least = least.min(rates.clone().min().expect("there are buckets"));
        assert!(rates.max() <= Some(QUOTA), "I1");
        let moved = proxies[0].owned_by(&b);
        let granted_by_b = |proxy: &Proxy, id| proxy.entries[id].acknowledged.epoch.get() >> 43 == 2;
        !moved.is_empty() && proxies.iter().all(|proxy| moved.iter().all(|id| granted_by_b(proxy, id)))
    })
    .await;

    assert!(least >= KEPT, "a bucket fell to {least} of {QUOTA}");
    let (at_a, at_b) = (names(&a.everything()), names(&b.everything()));
    assert_eq!((at_a.len() + at_b.len(), at_a.is_disjoint(&at_b)), (12, true));
    assert_eq!(at_b, proxies[0].owned_by(&b).into_iter().map(BucketId::get).collect());
}

fn names(inspection: &Inspection) -> BTreeSet<u64> {
    inspection.buckets.iter().map(|bucket| bucket.bucket).collect()
}

#[tokio::test]
async fn a_new_owner_knows_the_shares_of_proxies_that_it_has_not_heard() {
    let (a, b) = (Server::anywhere(2).await, Server::anywhere(2).await);
    for server in [&a, &b] {
        server.push_ring(1, &[&a]).await;
    }
    let mut proxies: Vec<_> = [1, 2].map(|number| Proxy::new(number, 700, 4, ring(1, &[&a]))).into();
    step_until(&mut proxies, &[&a], all_use_nearly_the_quota).await;

    b.push_ring(2, &[&b]).await;
    a.push_ring(2, &[&b]).await;
    let drained = async {
        while !a.push_ring(2, &[&b]).await.drained {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, drained).await.expect("it hands everything over");

    let inspection = b.everything();
    assert_eq!(inspection.buckets.len(), 4);
    for bucket in inspection.buckets {
        assert_eq!((bucket.shares.len(), bucket.learning), (2, false));
        assert!(bucket.out >= QUOTA * 900 && bucket.out <= QUOTA * 1_000, "{bucket:?}");
    }
}

#[tokio::test]
async fn a_drained_server_sends_proxies_to_the_ring() {
    let (a, b) = (Server::anywhere(1).await, Server::anywhere(1).await);
    a.push_ring(1, &[&a]).await;
    let mut proxy = Proxy::new(1, 700, 3, ring(1, &[&a]));
    proxy.step(&[&a]).await;
    a.push_ring(2, &[&b]).await;

    let grants = proxy.report(&a, &[bucket(1), bucket(3)]).await;

    let not_owned: BTreeSet<u64> = grants.not_owned.into_iter().collect();
    assert_eq!((grants.bucket.len(), not_owned), (0, [bucket(1).get(), bucket(3).get()].into()));
    assert_eq!((grants.ring_epoch, grants.ring_servers), (2, vec![b.name()]));
    let old = a.push_ring(1, &[&a]).await;
    assert_eq!(old.epoch, 2, "an older ring is not taken");
}

#[tokio::test]
async fn what_nobody_takes_is_given_up() {
    let (a, b) = (Server::anywhere(1).await, Server::anywhere(1).await);
    a.push_ring(1, &[&a]).await;
    let mut proxies = [Proxy::new(1, 700, 3, ring(1, &[&a]))];
    step_until(&mut proxies, &[&a], |proxies| used(proxies, bucket(1)) > 0).await;
    let nobody = ring(2, &[&b]).servers().to_vec();
    b.stop().await;

    let ring = gac::Ring { epoch: 2, servers: nobody };
    let drained = async {
        loop {
            let answer = a.connection.call::<PushRing>(&ring, DEADLINE).await.expect("it answers");
            assert_eq!(answer.drained, answer.buckets == 0);
            if answer.drained {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(DEADLINE, drained).await.expect("it does not try for ever");
}

#[tokio::test]
async fn a_restarted_server_leases_what_is_shown_until_it_has_heard_everybody() {
    let a = Server::anywhere(2).await;
    let mut proxies: Vec<_> = [1, 2].map(|number| Proxy::new(number, 700, 2, ring(1, &[&a]))).into();
    step_until(&mut proxies, &[&a], all_use_nearly_the_quota).await;
    let shown = proxies[0].entries[&bucket(1)].rate_in_use;
    let address = a.stop().await;

    let again = Server::start(address, 2).await;
    assert!(!again.handle.is_ready());
    proxies[0].count();
    let grants = proxies[0].report(&again, &[bucket(1)]).await;
    assert_eq!(
        (grants.rate, grants.tokens),
        (vec![shown.get()], vec![0]),
        "what it showed, and nothing else"
    );
    assert!(!again.handle.is_ready(), "one of two has reported");
    assert!(again.everything().server.learning);

    step_until(&mut proxies, &[&again], |proxies| {
        assert!(proxies[0].entries.keys().all(|id| used(proxies, *id) >= KEPT), "no dip");
        again.handle.is_ready()
    })
    .await;
    assert_eq!(again.everything().server.fleet, 2);
}

#[tokio::test]
async fn a_new_owner_waits_for_as_many_proxies_as_an_earlier_one_knew() {
    let a = Server::anywhere(1).await;
    let mut knows_of_three = Proxy::new(1, 100, 1, ring(1, &[&a]));
    knows_of_three.header.fleet = 3;
    knows_of_three.report(&a, &[bucket(1)]).await;
    assert!(!a.handle.is_ready(), "two others may hold leases");
    for number in [2, 3] {
        Proxy::new(number, 100, 1, ring(1, &[&a])).report(&a, &[]).await;
    }
    assert!(a.handle.is_ready());
}

#[tokio::test]
async fn an_owner_that_most_of_the_fleet_has_left_gives_nothing() {
    let (a, b) = (Server::anywhere(3).await, Server::anywhere(3).await);
    a.push_ring(1, &[&a]).await;
    let mut proxies: Vec<_> = [1, 2, 3].map(|number| Proxy::new(number, 500, 1, ring(1, &[&a]))).into();
    step_until(&mut proxies, &[&a], all_use_nearly_the_quota).await;

    // The control plane and two proxies go on without it; it does not hear of the new ring.
    let newer = ring(2, &[&b]);
    proxies[1].follow(newer.clone());
    proxies[2].follow(newer);
    let cut_off = async {
        loop {
            proxies[1].report(&a, &[]).await;
            proxies[2].report(&a, &[]).await;
            proxies[0].count();
            if proxies[0].report(&a, &[bucket(1)]).await.bucket.is_empty() {
                return;
            }
            tokio::time::sleep(STEP * 3).await;
        }
    };
    tokio::time::timeout(DEADLINE, cut_off).await.expect("it notices");

    assert!(a.everything().server.frozen);
    // The control plane's word counts for more than the fleet's.
    a.push_ring(1, &[&a]).await;
    assert!(!a.everything().server.frozen);
    assert_eq!(proxies[0].report(&a, &[bucket(1)]).await.bucket, [bucket(1).get()]);
}

#[tokio::test]
async fn servers_come_and_go_under_load_and_the_rates_stay() {
    let (a, b) = (Server::anywhere(3).await, Server::anywhere(3).await);
    let mut proxies: Vec<_> = [1, 2, 3].map(|number| Proxy::new(number, 500, 8, ring(1, &[&a]))).into();
    let push = async |epoch, ring: &[&Server], proxies: &mut [Proxy], among: &[&Server]| {
        for server in among {
            server.push_ring(epoch, ring).await;
        }
        step_until(proxies, among, |proxies| {
            for id in proxies[0].entries.keys() {
                let used = used(proxies, *id);
                assert!(used <= QUOTA, "I1: {used}");
                assert!(epoch == 1 || used >= KEPT, "a bucket fell to {used} of {QUOTA}");
            }
            let follow = |proxy: &Proxy| proxy.ring.epoch().get() == epoch;
            proxies.iter().all(follow) && all_use_nearly_the_quota(proxies)
        })
        .await;
    };
    push(1, &[&a], &mut proxies, &[&a, &b]).await;
    // One is added, then the first one drained.
    push(2, &[&a, &b], &mut proxies, &[&a, &b]).await;
    push(3, &[&b], &mut proxies, &[&a, &b]).await;
    // Its last buckets may be on their way for a moment after the rates are there.
    step_until(&mut proxies, &[&a, &b], |_| a.everything().server.drained).await;
    assert!(a.push_ring(3, &[&b]).await.drained);

    // The other is killed and comes back empty; it hears of the ring a little later.
    let address = b.stop().await;
    let b = Server::start(address, 3).await;
    step_until(&mut proxies, &[&b], |_| b.handle.is_ready()).await;
    push(4, &[&b], &mut proxies, &[&b]).await;
    // And the first one again.
    push(5, &[&a, &b], &mut proxies, &[&a, &b]).await;

    for server in [&a, &b] {
        for bucket in server.everything().buckets {
            assert!(bucket.over_admission <= bucket.over_admission_bound, "{bucket:?}");
            assert!(bucket.jain_index > 0.9, "{bucket:?}");
        }
    }
}

#[tokio::test]
async fn a_leaving_proxy_frees_its_part_at_once() {
    let a = Server::anywhere(2).await;
    let mut proxies: Vec<_> = [1, 2].map(|number| Proxy::new(number, 700, 1, ring(1, &[&a]))).into();
    step_until(&mut proxies, &[&a], all_use_nearly_the_quota).await;

    let mut leaver = proxies.pop().expect("there are two");
    leaver.header.leaving = true;
    leaver.report(&a, &[bucket(1)]).await;

    let now = a.everything();
    assert_eq!((now.server.fleet, now.buckets[0].shares.len()), (1, 1));
    proxies[0].wants = MilliUnitsPerSecond::from_units(900);
    step_until(&mut proxies, &[&a], |proxies| used(proxies, bucket(1)) >= KEPT).await;
}

#[tokio::test]
async fn nonsense_is_refused_and_changes_nothing() {
    let a = Server::anywhere(1).await;
    let malformed = || Err(CallError::Failed(Failure::Malformed));
    let rings = [
        gac::Ring { epoch: 0, servers: vec![a.name()] },
        gac::Ring { epoch: 1 << 21, servers: vec![a.name()] },
        gac::Ring { epoch: 5, servers: Vec::new() },
        gac::Ring { epoch: 5, servers: vec![String::new()] },
        gac::Ring { epoch: 5, servers: vec!["x".repeat(1_000)] },
        gac::Ring { epoch: 5, servers: vec![a.name(); 1_001] },
    ];
    for ring in rings {
        assert_eq!(a.connection.call::<PushRing>(&ring, DEADLINE).await, malformed());
    }
    assert_eq!(a.everything().server.ring_epoch, 0);

    a.push_ring(3, &[&a]).await;
    let absurd = gac::BucketState {
        bucket: u64::MAX,
        pool: u64::MAX,
        quota_rate: u64::MAX,
        quota_burst: u64::MAX,
        quota_version: u64::MAX,
        wide_ms: u32::MAX,
        shares: vec![
            gac::ShareState { out: u64::MAX, hold: u64::MAX, demand: u64::MAX, ..Default::default() };
            3
        ],
        ..Default::default()
    };
    let offer = |ring_epoch| gac::Handover {
        ring_epoch,
        from: "somebody".to_owned(),
        buckets: vec![absurd.clone(); 2],
    };
    let answer = a.connection.call::<Handover>(&offer(2), DEADLINE).await.expect("it answers");
    assert_eq!((answer.ring_epoch, answer.taken.len()), (3, 0), "sent under another ring");
    a.connection.call::<Handover>(&offer(3), DEADLINE).await.expect("it answers");
    let mut liar = Proxy::new(7, 100, 1, ring(3, &[&a]));
    let entry = liar.entries.get_mut(&bucket(1)).expect("its only one");
    entry.held = MilliUnits::new(u64::MAX);
    entry.rate_in_use = MilliUnitsPerSecond::new(u64::MAX);
    entry.need = MilliUnits::new(u64::MAX);
    entry.returned = MilliUnits::new(u64::MAX / 2);
    liar.report(&a, &[bucket(1)]).await;
    for extreme in [0, 1, u64::MAX / 2, u64::MAX] {
        let amount = MilliUnits::new(extreme);
        let entry = liar.entries.get_mut(&bucket(1)).expect("its only one");
        *entry =
            ReportEntry { admitted: amount, throttled: amount, returned: amount, held: amount, ..*entry };
        entry.acknowledged = GrantNumber { epoch: Epoch::new(extreme), sequence: extreme };
        entry.quota.rate = MilliUnitsPerSecond::new(extreme);
        entry.quota.burst = amount;
        for (session, fleet) in [(extreme, 0), (extreme.wrapping_add(1), u32::MAX)] {
            (liar.header.session, liar.header.fleet) = (session, fleet);
            liar.header.ring = Epoch::new(extreme);
            liar.report(&a, &[bucket(1), bucket(1)]).await;
            liar.header.proxy = ProxyId::new(extreme ^ session);
            liar.header.leaving = !liar.header.leaving;
        }
    }
    for bucket in a.everything().buckets {
        assert!(
            bucket.out <= bucket.quota.rate && bucket.pool + bucket.held <= bucket.quota.burst,
            "{bucket:?}"
        );
    }
}

#[tokio::test]
async fn operators_see_what_proxies_use() {
    let a = Server::anywhere(2).await;
    let mut proxies: Vec<_> = [1, 2].map(|number| Proxy::new(number, 700, 3, ring(1, &[&a]))).into();
    step_until(&mut proxies, &[&a], all_use_nearly_the_quota).await;

    let request = gac::InspectRequest { buckets: vec![bucket(2).get(), 999], limit: 0, shares: true };
    let answer = a.connection.call::<Inspect>(&request, DEADLINE).await.expect("it answers");
    let seen: Inspection = serde_json::from_slice(&answer.json).expect("it is an Inspection");

    let [bucket] = &seen.buckets[..] else { panic!("one of the two is here: {seen:?}") };
    assert_eq!((bucket.level.as_str(), bucket.number, bucket.kind.as_str()), ("table", 2, "write"));
    assert_eq!((bucket.mode.as_str(), bucket.quota.rate), ("leased", QUOTA * 1_000));
    let shares: u64 = bucket.shares.iter().map(|share| share.out).sum();
    assert_eq!((shares, bucket.shares.len()), (bucket.out, 2));
    assert!(bucket.out_ratio <= 1.0 && bucket.out_ratio > 0.9, "{bucket:?}");
    assert!(bucket.over_admission <= bucket.over_admission_bound);
    assert_eq!((seen.server.fleet, seen.server.proxies.len(), seen.server.buckets), (2, 2, 3));
    let busiest = a.handle.inspect(&InspectRequest { buckets: Vec::new(), limit: 2, shares: false });
    assert_eq!((busiest.buckets.len(), busiest.buckets[0].shares.len()), (2, 0));
}
