use dynamodb::table::{KeyAttribute, KeySchema, KeyType, NewTable};
use units::TableId;

use super::*;
use crate::quota::QuotaTerms;
use crate::record::Identifiers;
use crate::table_command::{self, Account, Chance, Request};

#[test]
fn half_an_hour_after_a_new_peak_the_quota_is_twice_of_it() {
    let mut world = World::with_ceiling(None);
    world.minutes(1, 9_000);
    assert_eq!(world.version().terms.rate, 12_000, "the window has just begun");
    world.minutes(31, 7_000);

    let version = world.version();
    assert_eq!((version.version, version.terms.rate), (2, 18_000));
    assert_eq!((version.author.as_str(), version.cause), ("on-demand", QuotaCause::OnDemand));
    assert_eq!(version.reason, "the previous peak is 9000 units per second");
    assert_eq!(world.table().descriptor.read_quota().rate_milli, 18_000_000);
    assert_eq!(world.table().descriptor.version, 2);
}

#[test]
fn a_tables_record_is_written_at_most_once_a_minute_and_only_with_news() {
    let mut world = World::with_ceiling(None);
    world.minutes(10, 9_000);
    assert_eq!(world.writes, 1, "the same peak is no news");
    for rate in [9_100, 9_200, 9_300] {
        for _ in 0..12 {
            world.report(rate);
            world.seconds(5);
        }
    }
    assert_eq!(world.writes, 4);
}

#[test]
fn a_ceiling_and_the_tables_limit_hold() {
    let mut world = World::with_ceiling(Some(15_000));
    world.minutes(1, 9_000);
    world.minutes(31, 0);
    assert_eq!(world.version().terms.rate, 15_000);

    let mut world = World::with_ceiling(None);
    for peak in [12_000, 24_000, 40_000, 40_000] {
        world.minutes(1, peak);
        world.minutes(31, 0);
    }
    assert_eq!(world.version().terms.rate, 40_000);
}

#[test]
fn an_operators_override_stays_while_peaks_are_kept() {
    let mut world = World::with_ceiling(None);
    let mut version = world.version();
    version.version += 1;
    version.terms = QuotaTerms::of(QuotaMode::Operator, 500);
    let mut table = world.table();
    table.set_quota(QuotaKind::Read, version);
    world.catalog.put(1, table);

    world.minutes(1, 9_000);
    world.minutes(31, 0);

    assert_eq!(world.version().terms.rate, 500);
    assert_eq!(world.table().own_units(QuotaKind::Read), 18_000, "what it returns to");
}

#[test]
fn a_boost_lasts_above_a_raised_quota_and_returns_to_it() {
    let mut world = World::with_ceiling(None);
    let mut version = world.version();
    version.boost = Some(Boost { until_ms: u64::MAX, returns_to: version.terms.clone() });
    version.terms.rate = 20_000;
    let mut table = world.table();
    table.set_quota(QuotaKind::Read, version);
    world.catalog.put(1, table);

    world.minutes(1, 9_000);
    world.minutes(31, 0);

    let version = world.version();
    assert_eq!((version.terms.rate, version.lasting_terms().rate), (20_000, 18_000));
}

#[test]
fn peaks_of_what_is_not_on_demand_are_not_kept() {
    let mut world = World::with_ceiling(None);
    let bucket = BucketId::new(TableId::new(99), CapacityKind::Read);
    let principal = BucketId::at(Level::Principal, 1, CapacityKind::Read);
    let rate = MilliUnitsPerSecond::from_units(90_000);
    world.peaks.report(&world.catalog, [(bucket, rate), (principal, rate)].into_iter());
    assert!(world.peaks.reported.is_empty());
}

/// One table on demand, its peaks, and two clocks.
struct World {
    catalog: Catalog,
    peaks: Peaks,
    now: u64,
    writes: usize,
}

impl World {
    fn with_ceiling(max_read: Option<u64>) -> Self {
        let new = NewTable {
            name: "clicks".into(),
            keys: KeySchema { partition: KeyAttribute { name: "id".into(), kind: KeyType::S }, sort: None },
            attribute_definitions: vec![],
            billing: Billing::OnDemand { max_read, max_write: None, since_ms: 0 },
            deletion_protection: false,
            table_class: None,
            tags: vec![],
        };
        let identifiers = Identifiers { table: 1, first_partition: 1 };
        let account = Account { region: "r", account: "000000000000", table_limit: 9 };
        let chance = Chance { uuid: "u".into(), hash_seed: 1 };
        let request = Request { principal: "creator", now: UnixMillis::new(0) };
        let mut catalog = Catalog::default();
        catalog.put(1, table_command::create(new, 1, identifiers, account, chance, request));
        let mut world = Self { catalog, peaks: Peaks::default(), now: 1_000, writes: 0 };
        world.seconds(0);
        world
    }

    fn minutes(&mut self, minutes: u64, units: u64) {
        for _ in 0..minutes {
            self.report(units);
            self.seconds(60);
        }
    }

    fn report(&mut self, units: u64) {
        let bucket = BucketId::new(TableId::new(1), CapacityKind::Read);
        let peak = (bucket, MilliUnitsPerSecond::from_units(units));
        self.peaks.report(&self.catalog, std::iter::once(peak));
    }

    fn seconds(&mut self, seconds: u64) {
        self.now += seconds;
        let now = Timestamp::from_nanos(self.now * 1_000_000_000);
        for table in self.peaks.due(&self.catalog, now, UnixMillis::new(self.now * 1000)) {
            self.writes += 1;
            self.catalog.put(1, table);
        }
    }

    fn table(&self) -> TableRecord {
        self.catalog.tables.get("clicks").unwrap().value.clone()
    }

    fn version(&self) -> QuotaVersion {
        self.table().quota(QuotaKind::Read).clone()
    }
}
