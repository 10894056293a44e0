//! Leaderships that move while clients write and read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dynamodb::operation::{Operation, Outcome};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use routing::Route;
use tokio::task::JoinSet;
use units::{NodeId, PartitionId};

use super::fleet::{Fleet, PATIENCE};
use super::{get, item, put};
use crate::{LeaderMove, MoveCount, MoveError, PartitionStore, ReplicatedStore, StorageLimits, StoreError};

const GIVER: NodeId = NodeId::new(1);
/// What a proxy does for one request, too.
const MAX_RETRIES: u32 = 3;
/// A request's time.
const DEADLINE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_leaderships_move_within_a_second_and_no_request_fails() {
    let fleet = Fleet::start(3, StorageLimits::default(), false).await;
    let partitions = led_by_the_giver(&fleet, 200).await;
    let load = Load::start(&fleet, &partitions, 4).await;
    load.until_requests(500).await;

    let report = fleet.leaderships(GIVER).move_away(&LeaderMove::default()).await.unwrap();

    let before_end = load.requests();
    load.until_requests(before_end + 500).await;
    let seen = load.stop().await;
    assert_eq!((report.moved.len(), report.kept.as_slice()), (200, [].as_slice()));
    let mut away: Vec<_> = report.moved.iter().map(|moved| moved.took_us).collect();
    away.sort_unstable();
    eprintln!(
        "moved in {} ms; away p50 {} us, max {} us; slowest request {:?}; {} requests, {} redirects, {} pauses",
        report.took_ms, away[100], away[199], seen.slowest, seen.requests, seen.redirects, seen.pauses
    );
    assert_eq!(seen.failures, [], "no request fails");
    // A redirect tells of other moves, too: so it takes much less than one for each proxy and partition.
    assert!(seen.redirects <= 4 * 200 / 2, "{} redirects", seen.redirects);
    assert_eq!(seen.pauses, 0, "redirects are all that it costs");
    for successor in [2, 3] {
        let taken = report.moved.iter().filter(|moved| moved.to == successor).count();
        assert!((80..=120).contains(&taken), "{successor} took {taken}");
    }
    seen.all_is_there(&fleet).await;
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_stopped_under_load_fails_no_request() {
    let mut fleet = Fleet::start(3, StorageLimits::default(), false).await;
    let partitions = led_by_the_giver(&fleet, 60).await;
    let load = Load::start(&fleet, &partitions, 4).await;
    load.until_requests(300).await;

    fleet.stop(GIVER).await;

    let before_end = load.requests();
    load.until_requests(before_end + 300).await;
    let seen = load.stop().await;
    eprintln!(
        "stopped: slowest request {:?}; {} requests, {} redirects, {} pauses",
        seen.slowest, seen.requests, seen.redirects, seen.pauses
    );
    assert_eq!(seen.failures, [], "no request fails");
    seen.all_is_there(&fleet).await;
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leaderships_do_not_move_to_a_node_that_is_away_and_still_serve() {
    let mut fleet = Fleet::start(3, StorageLimits::default(), true).await;
    let partitions = led_by_the_giver(&fleet, 4).await;
    let away = NodeId::new(3);
    fleet.abort(away).await;

    let wanted =
        LeaderMove { to: Some(3), count: MoveCount::Number(3), within_ms: 50, ..LeaderMove::default() };
    let report = fleet.leaderships(GIVER).move_away(&wanted).await.unwrap();

    assert!(report.moved.is_empty(), "{report:?}");
    assert_eq!(report.kept.len(), 3, "{report:?}");
    for partition in partitions {
        let written = fleet.execute_on(partition, &put(1, "still")).await;
        assert!(matches!(written, Ok(Outcome::Written(_))), "{partition}: {written:?}");
    }
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_leaderships_of_one_table_move_to_the_node_that_is_named() {
    let fleet = Fleet::start(3, StorageLimits::default(), true).await;
    let partitions = led_by_the_giver(&fleet, 6).await;
    let giver = fleet.leaderships(GIVER);
    let table = giver.show(None).groups[0].table;
    let wanted = LeaderMove { to: Some(3), count: MoveCount::Number(4), table: Some(table), within_ms: 20 };

    let report = giver.move_away(&wanted).await.unwrap();

    assert!(report.led >= 6);
    assert_eq!(report.moved.len(), 4, "{report:?}");
    for moved in &report.moved {
        assert_eq!((moved.to, moved.table), (3, table));
        let shown = giver.show(Some(table));
        let group = shown.groups.iter().find(|group| group.partition == moved.partition).unwrap();
        assert_eq!((group.leads, group.leader, group.term), (false, Some(3), moved.term));
        assert_eq!(fleet.leader_of(PartitionId::new(moved.partition)).await, NodeId::new(3));
    }
    let elsewhere = LeaderMove { table: Some(table + 1), ..wanted.clone() };
    let nothing = giver.move_away(&elsewhere).await.unwrap();
    assert_eq!((nothing.led, nothing.moved.len(), nothing.kept.len()), (0, 0, 0));
    assert!(giver.show(Some(table + 1)).groups.is_empty());
    let refused = |to, within_ms| LeaderMove { to, within_ms, ..LeaderMove::default() };
    assert_eq!(giver.move_away(&refused(Some(1), 0)).await, Err(MoveError::ToItself(1)));
    assert_eq!(giver.move_away(&refused(Some(9), 0)).await, Err(MoveError::NoMember(9)));
    assert_eq!(giver.move_away(&refused(None, 60_000)).await, Err(MoveError::TooSlow));
    drop(partitions);
    fleet.shutdown().await;
}

/// Partitions that node 1 leads.
async fn led_by_the_giver(fleet: &Fleet, count: u64) -> Vec<PartitionId> {
    // A new group is led first by the member that its number picks.
    let partitions: Vec<_> = (100..100 + count).map(|number| PartitionId::new(3 * number)).collect();
    for node in fleet.running() {
        fleet.assign_all(node, &partitions, false).await;
    }
    for partition in &partitions {
        assert_eq!(fleet.leader_of(*partition).await, GIVER, "{partition}");
    }
    partitions
}

/// Proxies whose clients write and read until they are told to stop.
struct Load {
    workers: JoinSet<Seen>,
    requests: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

/// What clients saw.
#[derive(Default)]
struct Seen {
    requests: u64,
    redirects: u64,
    pauses: u64,
    slowest: Duration,
    failures: Vec<StoreError>,
    /// The newest value of each key that was acknowledged.
    written: BTreeMap<(PartitionId, u64), u64>,
}

/// One proxy: its connections, and the routes that it knows.
struct Proxy {
    store: ReplicatedStore,
    routes: Arc<Routes>,
}

#[derive(Default)]
struct Routes(Mutex<BTreeMap<PartitionId, Route>>);

impl Routes {
    fn get(&self, partition: PartitionId) -> Route {
        self.0.lock()[&partition].clone()
    }

    fn learn(&self, route: Route) {
        let mut known = self.0.lock();
        if known.get(&route.partition).is_none_or(|known| route.supersedes(known)) {
            known.insert(route.partition, route);
        }
    }
}

/// Clients of each proxy.
const CLIENTS: u64 = 4;
/// Between the requests of one client.
const BETWEEN_REQUESTS: Duration = Duration::from_millis(5);

impl Load {
    async fn start(fleet: &Fleet, partitions: &[PartitionId], proxies: u64) -> Self {
        let (requests, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let mut workers = JoinSet::new();
        for number in 0..proxies {
            let store = fleet.client_near(NodeId::new(number % 3 + 1)).await;
            let routes = Arc::new(Routes::default());
            for partition in partitions {
                routes.learn(Route { partition: *partition, ..fleet.route(GIVER) });
            }
            let told = Arc::clone(&routes);
            store.on_moved(move |route| told.learn(route));
            let proxy = Arc::new(Proxy { store, routes });
            for client in 0..CLIENTS {
                let client = Client {
                    key: number * CLIENTS + client,
                    proxy: Arc::clone(&proxy),
                    partitions: partitions.to_vec(),
                    requests: Arc::clone(&requests),
                    stop: Arc::clone(&stop),
                    seen: Seen::default(),
                };
                workers.spawn(client.run());
            }
        }
        Self { workers, requests, stop }
    }

    fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    async fn until_requests(&self, count: u64) {
        let enough = async {
            while self.requests() < count {
                tokio::time::sleep(BETWEEN_REQUESTS).await;
            }
        };
        tokio::time::timeout(PATIENCE, enough).await.expect("clients make progress");
    }

    async fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for seen in self.workers.join_all().await {
            all.requests += seen.requests;
            all.redirects += seen.redirects;
            all.pauses += seen.pauses;
            all.slowest = all.slowest.max(seen.slowest);
            all.failures.extend(seen.failures);
            all.written.extend(seen.written);
        }
        all
    }
}

impl Seen {
    /// Every acknowledged write is what is read.
    async fn all_is_there(&self, fleet: &Fleet) {
        for ((partition, key), value) in &self.written {
            let found = fleet.execute_on(*partition, &get(*key, true)).await;
            assert_eq!(
                found,
                Ok(Outcome::Item(Some(item(*key, &value.to_string())))),
                "{key} of {partition}"
            );
        }
    }
}

/// One client: its key is its own, so it knows what it must read.
struct Client {
    key: u64,
    proxy: Arc<Proxy>,
    partitions: Vec<PartitionId>,
    requests: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    seen: Seen,
}

impl Client {
    async fn run(mut self) -> Seen {
        let mut rng = StdRng::seed_from_u64(self.key);
        for value in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let partition = self.partitions[rng.random_range(0..self.partitions.len())];
            match self.seen.written.get(&(partition, self.key)).copied() {
                Some(written) if rng.random_bool(0.5) => {
                    let found = self.request(partition, &get(self.key, true)).await;
                    let expected = Outcome::Item(Some(item(self.key, &written.to_string())));
                    assert!(found.is_none_or(|found| found == expected), "an acknowledged write is read");
                }
                _ => {
                    let written = self.request(partition, &put(self.key, &value.to_string())).await;
                    if written.is_some() {
                        self.seen.written.insert((partition, self.key), value);
                    }
                }
            }
            tokio::time::sleep(BETWEEN_REQUESTS).await;
        }
        self.seen
    }

    /// Executes as a proxy does: redirects are followed at once, what is not available after a pause.
    async fn request(&mut self, partition: PartitionId, operation: &Operation) -> Option<Outcome> {
        let began = wire::clock::now();
        let mut last = StoreError::Unknown;
        let mut route = self.proxy.routes.get(partition);
        for _ in 0..=MAX_RETRIES {
            match self.proxy.store.execute(&route, operation, DEADLINE).await {
                Ok(outcome) => {
                    self.seen.requests += 1;
                    self.requests.fetch_add(1, Ordering::Relaxed);
                    self.seen.slowest = self.seen.slowest.max(wire::clock::now().since(began));
                    return Some(outcome);
                }
                Err(StoreError::Redirect(newer)) => {
                    self.seen.redirects += 1;
                    route = *newer;
                    self.proxy.routes.learn(route.clone());
                }
                Err(StoreError::Unavailable { reason, retry_after }) => {
                    self.seen.pauses += 1;
                    last = StoreError::Unavailable { reason, retry_after };
                    tokio::time::sleep(retry_after).await;
                    route = self.proxy.routes.get(partition);
                }
                Err(error) => {
                    last = error;
                    break;
                }
            }
        }
        self.seen.failures.push(last);
        None
    }
}
