//! Every operation costs each of two MemDS servers one lookup, whatever is cached: counted by the servers.

use super::*;

const REQUESTS: u64 = 40;

/// What a proxy has cached when a request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cached {
    Everything,
    Table,
    Nothing,
}

#[tokio::test]
async fn hits_and_misses_cost_two_lookups_each() {
    for cached in [
        [Cached::Everything, Cached::Everything],
        [Cached::Everything, Cached::Table],
        [Cached::Everything, Cached::Nothing],
        [Cached::Table, Cached::Table],
        [Cached::Nothing, Cached::Nothing],
    ] {
        let stage = Stage::start_both().await;
        let routing = stage.routing([stage.first.address(), stage.second.address()]);
        request(&routing).await;
        stage.each_served(1).await;

        for number in 0..REQUESTS {
            match cached[usize::from(number % 2 == 1)] {
                Cached::Everything => {}
                Cached::Table => assert_eq!(routing.inner.routes.clear(), (1, 0)),
                Cached::Nothing => assert_eq!(routing.flush(), Flushed { tables: 1, routes: 1, warm: 0 }),
            }
            request(&routing).await;
            // So that no answer to an earlier request fills what was emptied.
            stage.each_served(2 + number).await;
            until(|| routing.inner.routes.len() == 1).await;
        }

        stage.stop(routing).await;
    }
}

#[tokio::test]
async fn many_hits_at_once_cost_two_lookups_each() {
    let stage = Stage::start_both().await;
    let routing = stage.routing([stage.first.address(), stage.second.address()]);
    let table = known_table(&routing).await;
    stage.each_served(1).await;

    for round in 1..=10 {
        for _ in 0..700 {
            routing.route(&table, &key(), Looked::No, DEADLINE).await.unwrap();
        }
        stage.each_served(1 + round * 700).await;
    }

    stage.stop(routing).await;
}

#[tokio::test]
async fn proxies_that_know_nothing_cost_two_lookups_per_request() {
    let stage = Stage::start_both().await;
    for proxy in 1..=10 {
        let routing = stage.routing([stage.first.address(), stage.second.address()]);
        request(&routing).await;
        stage.each_served(proxy).await;
    }
    let last = stage.routing([stage.first.address(), stage.second.address()]);
    stage.stop(last).await;
}

#[tokio::test]
async fn of_three_servers_each_request_asks_two() {
    let stage = Stage::start_both().await;
    let third = Memds::start().await;
    third.knows(&table("orders", 1), &[route(1)]).await;
    let servers = vec![stage.first.address(), stage.second.address(), third.address()];
    let routing = stage.routing_over(servers, 100);
    let lookups = || [&stage.first, &stage.second, &third].map(Memds::lookups);

    for number in 1..=60 {
        request(&routing).await;
        until(|| lookups().iter().sum::<u64>() >= 2 * number).await;
        assert_eq!(lookups().iter().sum::<u64>(), 2 * number);
    }

    assert!(lookups().iter().all(|served| *served > 0), "{:?}", lookups());
    third.shutdown.cancel();
    stage.stop(routing).await;
}

#[tokio::test]
async fn a_proxy_that_caches_no_route_costs_two_lookups_per_request() {
    let stage = Stage::start_both().await;
    let servers = vec![stage.first.address(), stage.second.address()];
    let routing = stage.routing_over(servers, 0);
    for number in 1..=REQUESTS {
        request(&routing).await;
        stage.each_served(number).await;
    }
    assert!(routing.inner.routes.is_empty());
    stage.stop(routing).await;
}

/// What the request does not say, or the server does not know, is asked for a second time: counted, and rare.
#[tokio::test]
async fn a_clue_that_leads_nowhere_costs_a_second_pair_of_lookups() {
    let stage = Stage::start_both().await;
    let routing = stage.routing([stage.first.address(), stage.second.address()]);
    let no_clue = || KeyClue::Attributes(EncodedItem::empty());

    let (table, looked) = routing.table("orders", no_clue, DEADLINE).await.unwrap();
    assert_eq!(looked, Looked::Yes(None));
    stage.each_served(1).await;

    assert_eq!(*routing.route(&table, &key(), looked, DEADLINE).await.unwrap(), route(1));
    stage.each_served(2).await;
    stage.stop(routing).await;
}

/// As when MemDS comes back empty: every request waits, and few may ask again.
#[tokio::test]
async fn a_wait_without_a_budget_asks_once_and_takes_what_others_learn() {
    let stage = Stage::start().await;
    for server in [&stage.first, &stage.second] {
        server.knows(&table("orders", 1), &[]).await;
    }
    let routing = stage.routing([stage.first.address(), stage.second.address()]);
    let table = known_table(&routing).await;
    // The next free one is too far off, too.
    let far_off = wire::clock::now() + Duration::from_secs(3600);
    while routing.inner.repeats.spend(far_off) {}

    let unanswered = routing.route(&table, &key(), Looked::No, SHORT).await;
    assert_eq!(unanswered, Err(RoutingError::Unavailable));
    stage.each_served(2).await;

    let waiting = tokio::spawn({
        let (routing, table) = (routing.clone(), Arc::clone(&table));
        async move { routing.route(&table, &key(), Looked::No, DEADLINE).await }
    });
    stage.each_served(3).await;
    routing.learn(route(1));
    assert_eq!(waiting.await.unwrap(), Ok(Arc::new(route(1))));
    stage.each_served(3).await;
    stage.stop(routing).await;
}

/// One request, as the request path makes it.
async fn request(routing: &Routing) {
    let (table, looked) = routing.table("orders", clue, DEADLINE).await.unwrap();
    assert_eq!(*routing.route(&table, &key(), looked, DEADLINE).await.unwrap(), route(1));
}

impl Stage {
    /// Both servers know the table and its route.
    async fn start_both() -> Self {
        let stage = Self::start().await;
        for server in [&stage.first, &stage.second] {
            server.knows(&table("orders", 1), &[route(1)]).await;
        }
        stage
    }

    /// Waits until each server has served exactly so many lookups.
    async fn each_served(&self, lookups: u64) {
        for server in [&self.first, &self.second] {
            until(|| server.lookups() >= lookups).await;
            assert_eq!(server.lookups(), lookups);
        }
    }
}

impl Memds {
    fn lookups(&self) -> u64 {
        self.handle.inspector().status().lookups
    }
}
