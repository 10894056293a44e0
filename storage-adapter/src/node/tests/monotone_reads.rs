//! Eventually consistent reads through one client do not go back, whichever replicas are there to answer.

use std::time::Duration;

use dynamodb::operation::Outcome;

use super::fleet::{Fleet, PATIENCE};
use super::{get, item, put};
use crate::{PartitionStore, StorageLimits, StoreError};

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_missed_what_was_read_waits_for_it_or_is_not_read() {
    let mut fleet = Fleet::start(3, StorageLimits::default(), false).await;
    fleet.execute(&put(1, "old")).await.unwrap();
    let old = Ok(Outcome::Item(Some(item(1, "old"))));
    let new = Ok(Outcome::Item(Some(item(1, "new"))));
    let leader = fleet.leader().await;
    let lagging = fleet.running().into_iter().find(|node| *node != leader).unwrap();
    fleet.until_read_on(lagging, &get(1, false), old.as_ref().unwrap()).await;
    let client = fleet.client_near(leader).await;
    let careless = fleet.client_near(leader).await.forgetful();
    fleet.abort(lagging).await;
    fleet.execute(&put(1, "new")).await.unwrap();
    let route = fleet.route(leader);
    for client in [&client, &careless] {
        assert_eq!(client.execute(&route, &get(1, false), PATIENCE).await, new);
    }

    // It comes back alone: nobody tells it what it missed, nor how much of its log was committed.
    for node in fleet.running() {
        fleet.abort(node).await;
    }
    fleet.restart(lagging).await;
    let older = [old, Ok(Outcome::Item(None))];
    until(|| async { older.contains(&careless.execute(&route, &get(1, false), PATIENCE).await) }).await;
    let is_behind = |answer: Result<Outcome, StoreError>| {
        assert!(matches!(&answer, Err(StoreError::Unavailable { .. })), "{answer:?}");
        answer.is_err_and(|error| error.to_string().contains("as new as"))
    };
    until(|| async { is_behind(client.execute(&route, &get(1, false), PATIENCE).await) }).await;

    for node in fleet.stopped() {
        fleet.restart(node).await;
    }
    fleet.until_read_on(lagging, &get(1, false), new.as_ref().unwrap()).await;
    until(|| async {
        let answer = client.execute(&route, &get(1, false), PATIENCE).await;
        assert!(answer.is_err() || answer == new, "back in time: {answer:?}");
        answer.is_ok()
    })
    .await;
    fleet.shutdown().await;
}

/// Tries until it holds: nodes are connected to when they are there again.
async fn until<F: Future<Output = bool>>(mut holds: impl FnMut() -> F) {
    let until = wire::clock::now() + PATIENCE;
    while !holds().await {
        assert!(wire::clock::now() < until, "it never holds");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
