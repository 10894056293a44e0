//! Quotas above the table, and those that only count.

use wire::proto::{control, gac};

use super::super::*;
use super::fleet::{
    Client, Fleet, LONG, WRITE, alone, control_quota, offer, provisioned, units, until, with_quota,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_accounts_quota_limits_tables_that_have_their_own_left() {
    let fleet = Fleet::start(1, 1).await;
    let account = BucketId::at(Level::AccountShare, 0, WRITE);
    let account_write = Some(control_quota(account, 100, 100));
    fleet.push(&control::Quotas { account_write, complete: true, ..control::Quotas::default() }).await;
    let proxy = fleet.proxy(1, 1);
    until(|| proxy.shared.levels.load().limits_account(WRITE)).await;

    let table = with_quota(1, 1, 5000, 5000);
    offer(&proxy, &table, 1, 1500).await;
    let then = offer(&proxy, &table, 1, 2000).await;
    assert!(then.admitted <= 100.0 + 100.0 * then.seconds, "{then:?} of 100 a second");
    assert!(then.admitted >= 90.0 * then.seconds, "{then:?} of 100 a second");
    let refusal = loop {
        if let Err(refused) = Client::of(&proxy).explained(&table, units(1)).await {
            break refused;
        }
    };
    assert_eq!((refusal.layer, refusal.cause), (Layer::Account, Cause::Account));
    assert_eq!(refusal.levels.iter().map(|level| level.refused).collect::<Vec<_>>(), [false, true]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_principals_quota_limits_it_and_nobody_else() {
    let fleet = Fleet::start(1, 1).await;
    let limited = BucketId::principal("batch-job", WRITE);
    let quota = control::Quota { name: "batch-job".into(), ..control_quota(limited, 50, 50) };
    fleet.push(&control::Quotas { quotas: vec![quota], complete: true, ..control::Quotas::default() }).await;
    let proxy = fleet.proxy(1, 1);
    until(|| proxy.shared.levels.load().principal("batch-job", WRITE).is_some()).await;

    let table = provisioned(1, 1, 100, 100_000);
    let job = Client::named(&proxy, "batch-job");
    let refused = loop {
        if let Err(refused) = job.explained(&table, units(1)).await {
            break refused;
        }
    };
    assert_eq!((refused.layer, refused.principal.as_str()), (Layer::Principal, "batch-job"));
    assert!(Client::named(&proxy, "shop").admit_patiently(&table, units(1)).await.is_ok());
    let top = proxy.top();
    assert!(top.principals.len() <= 2);
}

#[tokio::test]
async fn of_the_accounts_quota_nothing_is_used_before_it_was_granted() {
    let fleet = Fleet::start(1, 1).await;
    let account_write = Some(control_quota(BucketId::at(Level::AccountShare, 0, WRITE), 1000, 1000));
    fleet.push(&control::Quotas { account_write, complete: true, ..control::Quotas::default() }).await;
    let proxy = fleet.proxy(1, 1);
    until(|| proxy.shared.levels.load().limits_account(WRITE)).await;
    let (client, table) = (Client::of(&proxy), provisioned(1, 1, 5000, 5000));
    let refused = client.admit(&table, WRITE, units(1)).expect_err("its part is not known yet");
    assert_eq!((refused.layer, refused.cause), (Layer::Account, Cause::Account));
    let granted = async { while client.admit_patiently(&table, units(1)).await.is_err() {} };
    tokio::time::timeout(LONG, granted).await.expect("it is granted a part");
}

#[tokio::test]
async fn a_principals_quota_that_nobody_knows_refuses_nobody() {
    let fleet = Fleet::start(1, 1).await;
    let proxy = fleet.proxy(1, 1);
    until(|| fleet.gac[0].is_ready()).await;
    let job = gac::Principal { name: "batch-job".into(), read: false, write: true };
    let levels = gac::Levels { version: 1, principals: vec![job], ..gac::Levels::default() };
    proxy.shared.learn_levels(Ok(levels));
    let (client, table) = (Client::named(&proxy, "batch-job"), provisioned(1, 1, 5000, 5000));
    let admitted = client.admit_patiently(&table, units(1)).await;
    assert!(admitted.is_ok(), "{admitted:?}");
}

#[tokio::test]
async fn a_shadow_quota_counts_and_admits() {
    let proxy = alone(1);
    let mut table = with_quota(1, 1, 4, 4);
    for quota in table.quotas.iter_mut() {
        quota.write.shadow = true;
    }
    let client = Client::of(&proxy);
    for _ in 0..20 {
        let permit = client.admit(&table, WRITE, units(1)).expect("a shadow refuses nothing");
        proxy.settle(permit, Some(units(1)));
    }
    let bucket = BucketId::new(TableId::new(1), WRITE);
    let meter = |now| {
        let bucket = proxy.shared.buckets.get(&bucket).expect("it was used");
        bucket.meter.tick(now);
        bucket.meter.flows().expect("it was used").1
    };
    let flow = meter(clock::now() + Duration::from_secs(1));
    assert!(flow.shadow.requests >= 15.0 / 1.1 && flow.throttled.is_empty(), "{flow:?}");
}
