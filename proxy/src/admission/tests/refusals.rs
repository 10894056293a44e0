//! What is kept of refusals, and shown of traffic.

use ::admission::{BurstState, HotKey, KeyHash, StorageLayer};
use units::MilliUnitsPerSecond;

use super::super::*;
use super::fleet::{Client, WRITE, alone, units, with_quota};

#[tokio::test]
async fn a_refusal_is_explained_with_every_level_that_was_checked() {
    let proxy = alone(1);
    let (client, table) = (Client::named(&proxy, "shop"), with_quota(1, 1, 4, 400));
    assert!(client.admit(&table, WRITE, units(4)).is_ok());
    let why = client.explained(&table, units(2)).await.expect_err("four were there");
    assert_eq!(
        (why.table.as_str(), why.operation.as_str(), why.principal.as_str()),
        ("table-1", "PutItem", "shop")
    );
    assert_eq!((why.layer, why.cause, why.capacity), (Layer::Table, Cause::Share, Capacity::Write));
    assert_eq!((why.cost, why.proxy), (2.0, 1));
    let [level] = &why.levels[..] else { panic!("{why:?}") };
    assert!(level.refused && !level.shadow);
    assert_eq!((level.quota_rate, level.quota_burst, level.quota_version), (4.0, 400.0, 1));
    assert!(level.level < 1.0 && level.leased_rate == 4.0, "{level:?}");
    assert!(why.retry_after_ms.is_some_and(|millis| millis <= 500), "{why:?}");
    assert!(!why.verdict.is_empty());
    let sent = serde_json::to_string(&why).expect("plain data");
    assert_eq!(serde_json::from_str::<Explanation>(&sent).expect("what was sent"), why);
    assert_eq!(proxy.explain("no id"), None);
}

#[tokio::test]
async fn a_storage_nodes_refusal_gives_everything_back_and_is_explained() {
    let proxy = alone(1);
    let (client, table) = (Client::of(&proxy), with_quota(1, 1, 4, 400));
    let permit = client.admit(&table, WRITE, units(4)).expect("four units are there");
    let id = client.ids.next();
    let refusal = ::admission::StorageRefusal {
        layer: StorageLayer::Partition,
        kind: WRITE,
        retry_after: Duration::from_millis(7),
        quota: MilliUnitsPerSecond::from_units(1000),
        level: MilliUnits::ZERO,
        banked: MilliUnits::ZERO,
        burst: BurstState::Empty,
        hot_key: Some(HotKey { hash: KeyHash::new(0xfeed), permille: 900 }),
    };
    let refused = proxy.refused_by_node(&id, ApiOperation::PutItem, permit, &refusal);
    assert_eq!((refused.layer, refused.cause), (Layer::Partition, Cause::Partition));
    assert!(client.admit(&table, WRITE, units(4)).is_ok(), "all came back");
    let why = proxy.explain(id.as_str()).expect("it is kept");
    assert_eq!((why.layer, why.retry_after_ms, why.higher_quota_helps), (Layer::Partition, Some(7), false));
    let said = why.partition.expect("the node's word");
    assert_eq!(
        (said.rate, said.hot_key.expect("one stands out").hash.as_str()),
        (1000.0, "000000000000feed")
    );
}

#[tokio::test]
async fn top_tells_tables_and_principals_apart_by_what_they_ask_for() {
    let proxy = alone(1);
    let (busy, calm) = (with_quota(1, 1, 4, 400), with_quota(2, 1, 4, 400));
    let (shop, job) = (Client::named(&proxy, "shop"), Client::named(&proxy, "job"));
    for _ in 0..10 {
        // Four units are there.
        let permit = shop.admit(&busy, WRITE, units(1)).map(|permit| proxy.settle(permit, Some(units(2))));
        assert!(permit.is_ok() || proxy.top().proxy == 1);
    }
    let permit = job.admit(&calm, WRITE, units(1)).expect("four units are there");
    proxy.settle(permit, None);

    let later = clock::now() + Duration::from_secs(1);
    proxy.shared.buckets.iter().for_each(|bucket| {
        bucket.meter.tick(later);
    });
    proxy.shared.principals.tick(later);
    let top = proxy.top();
    let names = |rows: &[TopRow]| rows.iter().map(|row| row.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&top.tables), ["table-1", "table-2"]);
    assert_eq!(names(&top.principals), ["shop", "job"]);
    let flow = &top.tables[0].last_second;
    assert!(flow.throttled[&Cause::Share].requests > 0.0, "{flow:?}");
    assert!((flow.admitted.units - 2.0 * flow.admitted.requests).abs() < 1e-6, "at what it cost: {flow:?}");
    let sent = serde_json::to_string(&top).expect("plain data");
    assert_eq!(serde_json::from_str::<Top>(&sent).expect("what was sent").tables.len(), 2);
}
