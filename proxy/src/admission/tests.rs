//! Admission against real GAC servers over loopback.

mod fleet;
mod levels;
mod refusals;

use std::sync::atomic::Ordering;

use dynamodb::table::Billing;
use units::{Epoch, MilliUnitsPerSecond, Timestamp};

use super::shared::quota_of;
use super::*;
use fleet::{
    Client, Fleet, READ, WRITE, alone, lease, offer, offer_patiently, provisioned, table, units, until,
    with_quota,
};

#[tokio::test]
async fn without_any_server_a_proxy_admits_its_equal_part() {
    let proxy = alone(2);
    let (client, table) = (Client::of(&proxy), provisioned(1, 1, 100, 100));
    let now = clock::now();
    let admitted = (0..200).filter(|_| client.admit_at(&table, READ, units(1), now).is_ok()).count();
    // A hundredth of the burst (300 s of the rate), by two; from then on, half the rate.
    assert_eq!(admitted, 150);
    let refusal = client.admit_at(&table, READ, units(1), now).expect_err("nothing is left");
    assert_eq!((refusal.cause, refusal.layer), (Cause::Share, Layer::Table));
    assert_eq!(refusal.retry_after, Duration::from_millis(20));
    assert!(client.admit_at(&table, WRITE, units(1), now).is_ok(), "the other kind is another bucket");
}

#[tokio::test]
async fn refunds_return_and_late_charges_are_owed() {
    let proxy = alone(1);
    let (client, table) = (Client::of(&proxy), with_quota(1, 1, 16, 400));
    let now = clock::now();
    let permit = client.admit_at(&table, READ, units(4), now).expect("four units are there");
    assert!(client.admit_at(&table, READ, units(1), now).is_err());
    proxy.settle(permit, None);
    let permit = client.admit_at(&table, READ, units(4), now).expect("they came back");
    proxy.settle(permit, Some(units(20)));
    assert!(client.admit_at(&table, READ, units(1), now).is_err());
    let bucket = proxy.shared.buckets.get(&BucketId::new(TableId::new(1), READ)).expect("it was used");
    assert_eq!(bucket.tokens.debt(), units(16));
}

#[tokio::test]
async fn a_large_tables_first_requests_need_no_grant() {
    let fleet = Fleet::start(1, 2).await;
    let proxy = fleet.proxy(1, 2);
    let (client, table) = (Client::of(&proxy), provisioned(1, 1, 1000, 1000));
    let now = clock::now();
    let admitted = (0..2000).filter(|_| client.admit_at(&table, READ, units(1), now).is_ok()).count();
    // A hundredth of the burst (300 s of the rate), by two.
    assert_eq!(admitted, 1500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_proxy_is_leased_the_quota_it_needs_and_no_more() {
    let fleet = Fleet::start(1, 1).await;
    let proxy = fleet.proxy(1, 1);
    let table = with_quota(1, 1, 500, 500);
    let first = offer(&proxy, &table, 2, 1500).await;
    let then = offer(&proxy, &table, 2, 1500).await;
    assert!(then.admitted >= 500.0 * then.seconds * 0.9, "{then:?} of 500 a second");
    let bound = 500.0 * (first.seconds + then.seconds) + 500.0;
    assert!(first.admitted + then.admitted <= bound + 1.0, "{first:?} and {then:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_proxies_share_a_quota_by_what_they_are_offered() {
    let fleet = Fleet::start(2, 2).await;
    let (busy, calm) = (fleet.proxy(1, 2), fleet.proxy(2, 2));
    let table = with_quota(7, 1, 1000, 1000);
    let both = || async { tokio::join!(offer(&busy, &table, 3, 1500), offer(&calm, &table, 1, 1500)) };
    both().await;
    let (most, least) = both().await;
    let all = most.admitted + least.admitted;
    assert!(all >= 1000.0 * most.seconds.min(least.seconds) * 0.9, "{most:?} and {least:?}");
    assert!(most.admitted > least.admitted * 2.0, "{most:?} and {least:?}: thrice was offered to the first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_five_units_is_used_up_by_two_proxies_and_no_further() {
    let fleet = Fleet::start(1, 2).await;
    let (one, other) = (fleet.proxy(1, 2), fleet.proxy(2, 2));
    let table = with_quota(3, 1, 5, 5);
    let every = Duration::from_millis(50);
    let both = |lasting| {
        let (one, other, table) = (&one, &other, &table);
        async move {
            tokio::join!(
                offer_patiently(one, table, every, lasting),
                offer_patiently(other, table, every, lasting)
            )
        }
    };
    let before = both(Duration::from_secs(2)).await;
    let then = both(Duration::from_secs(6)).await;
    let admitted = then.0.admitted + then.1.admitted;
    let seconds = then.0.seconds.max(then.1.seconds);
    // What is earned in part of a unit at the end is not there yet.
    assert!(admitted >= 5.0 * seconds * 0.99 - 1.0, "{then:?} of 5 a second");
    let all = admitted + before.0.admitted + before.1.admitted;
    assert!(
        all <= 5.0 + 5.0 * (seconds + before.0.seconds.max(before.1.seconds)) + 1.0,
        "{before:?}, {then:?}"
    );
    assert!(then.0.admitted >= 5.0 && then.1.admitted >= 5.0, "neither starves: {then:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_quota_comes_into_force_with_the_tables_new_version() {
    let fleet = Fleet::start(1, 1).await;
    let proxy = fleet.proxy(1, 1);
    let small = with_quota(1, 1, 50, 50);
    let client = Client::of(&proxy);
    offer(&proxy, &small, 1, 500).await;
    let large = with_quota(1, 2, 5000, 5000);
    offer(&proxy, &large, 4, 1200).await;
    let then = offer(&proxy, &large, 4, 500).await;
    // However slowly they were offered: far more than the small quota, and within the large one.
    assert!(then.admitted >= 0.9 * 2000.0, "{then:?} of 2,000 offered");
    let refusal = loop {
        if let Err(refused) = client.explained(&large, units(5000)).await {
            break refused;
        }
    };
    assert_eq!((refusal.levels[0].quota_rate, refusal.levels[0].quota_version), (5000.0, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_gac_server_is_shown_what_is_in_use() {
    let mut fleet = Fleet::start(1, 1).await;
    let address = fleet.gac[0].address();
    let proxies = CancellationToken::new();
    let config =
        AdmissionConfig { proxy: ProxyId::new(1), servers: vec![address.to_string()], expected_proxies: 1 };
    let proxy = Admission::start(config, &proxies);
    let table = with_quota(1, 1, 800, 800);
    offer(&proxy, &table, 2, 1500).await;
    let before = lease(&proxy, 1, WRITE).expect("it was used").0;
    assert!(before > MilliUnitsPerSecond::from_units(700), "{before:?}");

    fleet.shutdown.cancel();
    fleet.gac.remove(0).join().await.expect("it ends in order");
    let while_away = offer(&proxy, &table, 2, 500).await;
    assert!(while_away.admitted >= 700.0 * while_away.seconds * 0.9, "the lease holds: {while_away:?}");

    let again = gac_server::Config::new(address, Vec::new());
    let _again = gac_server::start(again, proxies.clone()).await.expect("the port is free again");
    let after = offer(&proxy, &table, 2, 1500).await;
    assert!(after.admitted >= 800.0 * after.seconds * 0.85, "{after:?} of 800 a second");
}

#[tokio::test]
async fn an_idle_proxy_introduces_itself_so_that_learning_ends() {
    let fleet = Fleet::start(1, 1).await;
    let _proxy = fleet.proxy(1, 1);
    until(|| fleet.gac[0].is_ready()).await;
}

#[tokio::test]
async fn the_fleets_size_is_learned_from_answers() {
    let fleet = Fleet::start(1, 1).await;
    let proxies = [fleet.proxy(1, 1), fleet.proxy(2, 1), fleet.proxy(3, 1)];
    until(|| proxies.iter().all(|proxy| proxy.shared.proxies() == 3)).await;
}

#[tokio::test]
async fn a_restarted_servers_low_count_of_proxies_is_not_believed_at_once() {
    let proxy = alone(2);
    let at = |seconds: u64| Timestamp::from_nanos(seconds * 1_000_000_000);
    for (seconds, said, believed) in
        [(1, 100, 100), (2, 1, 100), (13, 100, 100), (24, 3, 100), (26, 3, 3), (27, 9, 9)]
    {
        proxy.shared.learn_fleet(said, at(seconds));
        assert_eq!(proxy.shared.proxies(), believed, "after {seconds} s");
    }
}

#[tokio::test]
async fn waiting_is_bounded_per_bucket_and_in_all() {
    let fleet = Fleet::start(1, 1).await;
    let proxy = fleet.proxy(1, 1);
    until(|| fleet.gac[0].is_ready()).await;
    // A stream that is up, and nobody to answer: the task that reports does not run meanwhile.
    let mut waiting = Vec::new();
    for table in 1..=6 {
        for _ in 0..100 {
            let (proxy, table) = (proxy.clone(), with_quota(table, 1, 5, 5));
            waiting.push(Box::pin(async move { Client::of(&proxy).admit_patiently(&table, units(1)).await }));
        }
    }
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut at_once = 0;
    for request in &mut waiting {
        at_once += u32::from(request.as_mut().poll(&mut context).is_ready());
    }
    assert_eq!((at_once, proxy.shared.waiting.load(Ordering::Relaxed)), (600 - 256, 256));
    let buckets = proxy.shared.buckets.iter().filter(|it| it.tokens.awaited() == units(64)).count();
    assert_eq!(buckets, 4, "four times 64, and none for the rest");
    drop(waiting);
    assert_eq!(proxy.shared.waiting.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_deleted_tables_buckets_are_dropped_and_the_tasks_end() {
    let fleet = Fleet::start(1, 1).await;
    let proxy = fleet.proxy(1, 1);
    let table = provisioned(5, 1, 1000, 1000);
    let permit = Client::of(&proxy).admit(&table, READ, units(1)).expect("a first request");
    proxy.forget(TableId::new(5));
    assert_eq!(lease(&proxy, 5, READ), None);
    proxy.settle(permit, None);
    fleet.shutdown.cancel();
    proxy.closed().await;
}

#[test]
fn on_demand_tables_start_with_dynamodbs_throughput_or_their_maximum() {
    let billing = |max_read, max_write| Billing::OnDemand { max_read, max_write, since_ms: 0 };
    let rate = |billing, kind| quota_of(&table(1, 1, billing), kind).rate;
    assert_eq!(rate(billing(None, None), READ), MilliUnitsPerSecond::from_units(12_000));
    assert_eq!(rate(billing(None, None), WRITE), MilliUnitsPerSecond::from_units(4_000));
    assert_eq!(rate(billing(Some(50), Some(7)), READ), MilliUnitsPerSecond::from_units(50));
    assert_eq!(rate(billing(Some(50), Some(7)), WRITE), MilliUnitsPerSecond::from_units(7));
}

#[tokio::test]
async fn a_burst_that_the_pool_covers_is_admitted_without_a_retry() {
    let fleet = Fleet::start(1, 1).await;
    let proxy = fleet.proxy(1, 1);
    let table = provisioned(1, 1, 100, 100);
    let client = Client::of(&proxy);
    assert!(client.admit_patiently(&table, units(1)).await.is_ok());
    // Two seconds' units are banked.
    tokio::time::sleep(Duration::from_secs(2)).await;

    let began = clock::now();
    for number in 0..120 {
        let admitted = client.admit_patiently(&table, units(1)).await;
        assert!(admitted.is_ok(), "request {number}: {admitted:?}");
    }
    assert!(clock::now().since(began) < Duration::from_secs(1), "not earned, but banked");
}

#[tokio::test]
async fn a_request_that_nobody_can_help_is_refused_without_a_wait() {
    let proxy = alone(1);
    let (client, table) = (Client::of(&proxy), with_quota(1, 1, 4, 400));
    assert!(client.admit(&table, WRITE, units(4)).is_ok());

    let mut refused = Box::pin(client.admit_patiently(&table, units(4)));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(matches!(refused.as_mut().poll(&mut context), std::task::Poll::Ready(Err(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_that_moves_takes_the_buckets_along_under_load() {
    let fleet = Fleet::start(2, 1).await;
    let [first, second] = [0, 1].map(|server| fleet.gac[server].address().to_string());
    fleet.push_ring(1, &first).await;
    let servers = vec![first];
    let config = AdmissionConfig { proxy: ProxyId::new(1), servers, expected_proxies: 1 };
    let proxy = Admission::start(config, &fleet.shutdown);
    let table = with_quota(1, 1, 500, 500);
    offer(&proxy, &table, 2, 1500).await;
    let epoch = || proxy.shared.owners.load().ring.epoch();
    assert_eq!(epoch(), Epoch::new(1), "what a server says replaces what was configured");

    fleet.push_ring(2, &second).await;
    let moving = offer(&proxy, &table, 2, 2000).await;
    assert_eq!(epoch(), Epoch::new(2));
    assert!(moving.admitted >= 500.0 * moving.seconds * 0.9, "{moving:?} of 500 a second");
    assert!(moving.admitted <= 500.0 * moving.seconds + 500.0, "{moving:?} of 500 a second");
    let owner =
        proxy.shared.buckets.get(&BucketId::new(TableId::new(1), WRITE)).expect("it is in use").owner();
    assert_eq!(owner.expect("the ring has a server").address, second);
}

#[tokio::test]
async fn a_proxy_that_leaves_gives_its_tokens_to_the_others() {
    let fleet = Fleet::start(1, 2).await;
    let stays = fleet.proxy(1, 2);
    let leaving = CancellationToken::new();
    let servers = vec![fleet.gac[0].address().to_string()];
    let leaves =
        Admission::start(AdmissionConfig { proxy: ProxyId::new(2), servers, expected_proxies: 2 }, &leaving);
    until(|| stays.shared.proxies() == 2 && leaves.shared.fleet.load(Ordering::Relaxed) == 2).await;
    let table = with_quota(1, 1, 400, 400);
    tokio::join!(offer(&stays, &table, 2, 1200), offer(&leaves, &table, 2, 1200));
    leaving.cancel();
    leaves.closed().await;
    offer(&stays, &table, 2, 1200).await;
    let after = offer(&stays, &table, 2, 1000).await;
    assert!(after.admitted >= 400.0 * after.seconds * 0.9, "{after:?} of 400 a second");
}
