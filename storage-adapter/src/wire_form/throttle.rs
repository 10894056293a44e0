//! A bucket's refusal as it travels.

use std::time::Duration;

use admission::{BurstState, CapacityKind, HotKey, KeyHash, StorageLayer, StorageRefusal};
use units::{MilliUnits, MilliUnitsPerSecond};
use wire::proto::storage as proto;

use super::millis;

const NODE: &str = "node";
const PARTITION: &str = "partition";

pub(super) fn throttled(refusal: &StorageRefusal) -> proto::Throttled {
    let layer = match refusal.layer {
        StorageLayer::Partition => PARTITION,
        StorageLayer::Node => NODE,
    };
    let burst = match refusal.burst {
        BurstState::Empty => proto::BurstState::BurstEmpty,
        BurstState::NodeBusy => proto::BurstState::BurstNodeBusy,
        BurstState::MembersBusy => proto::BurstState::BurstMembersBusy,
    };
    let hot_key = |hot: HotKey| proto::HotKey { hash: hot.hash.get(), permille: hot.permille.into() };
    proto::Throttled {
        layer: layer.to_owned(),
        retry_after_ms: millis(refusal.retry_after),
        is_write: refusal.kind == CapacityKind::Write,
        quota: refusal.quota.get(),
        level: refusal.level.get(),
        banked: refusal.banked.get(),
        burst: burst.into(),
        hot_key: refusal.hot_key.map(hot_key),
    }
}

/// A received refusal, typed: what an older node leaves out is zero.
pub(super) fn typed_throttled(throttled: &proto::Throttled) -> StorageRefusal {
    let hot_key = |hot: proto::HotKey| HotKey {
        hash: KeyHash::new(hot.hash),
        permille: u16::try_from(hot.permille.min(1000)).unwrap_or(1000),
    };
    StorageRefusal {
        layer: if throttled.layer == NODE { StorageLayer::Node } else { StorageLayer::Partition },
        kind: if throttled.is_write { CapacityKind::Write } else { CapacityKind::Read },
        retry_after: Duration::from_millis(throttled.retry_after_ms.into()),
        quota: MilliUnitsPerSecond::new(throttled.quota),
        level: MilliUnits::new(throttled.level),
        banked: MilliUnits::new(throttled.banked),
        burst: match throttled.burst() {
            proto::BurstState::BurstEmpty => BurstState::Empty,
            proto::BurstState::BurstNodeBusy => BurstState::NodeBusy,
            proto::BurstState::BurstMembersBusy => BurstState::MembersBusy,
        },
        hot_key: throttled.hot_key.map(hot_key),
    }
}
