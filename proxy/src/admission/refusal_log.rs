//! The last refusals, for `weir explain`.
//!
//! 4,096 are kept, of 256 tables at most. When they are full, the oldest of the table with the most goes:
//! so every table keeps its equal part, and what it does not need is another's. One table's storm uses up
//! only what nobody else needs; when tables are more than 256, the one that was refused longest ago goes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ::admission::{CapacityKind, MAX_LEVELS, Mode, PoolColour, Quota, StorageRefusal};
use dynamodb::api::ApiOperation;
use parking_lot::Mutex;
use units::{MilliUnits, MilliUnitsPerSecond, TableId, Timestamp};

use super::explanation::{Cause, Layer};
use crate::http::RequestId;

/// Refusals kept, at about 0.7 KB each: 3 MB.
const KEPT: usize = 4_096;
/// Tables told apart: each keeps at least 16.
const TABLES: usize = 256;

/// One refusal, as it was: put into words only when somebody asks.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) request: RequestId,
    pub(super) at: Timestamp,
    pub(super) table: Arc<str>,
    pub(super) operation: ApiOperation,
    pub(super) principal: Arc<str>,
    pub(super) kind: CapacityKind,
    pub(super) cost: MilliUnits,
    pub(super) layer: Layer,
    pub(super) cause: Cause,
    pub(super) retry_after: Duration,
    pub(super) levels: [Option<LevelRecord>; MAX_LEVELS],
    pub(super) node: Option<StorageRefusal>,
}

/// A level as a refused request found it.
#[derive(Clone, Debug)]
pub(super) struct LevelRecord {
    pub(super) layer: Layer,
    pub(super) subject: Arc<str>,
    pub(super) refused: bool,
    pub(super) quota: Quota,
    pub(super) level: MilliUnits,
    pub(super) debt: MilliUnits,
    pub(super) cap: MilliUnits,
    pub(super) rate: MilliUnitsPerSecond,
    pub(super) lease_age: Option<Duration>,
    pub(super) lease_expired: bool,
    pub(super) mode: Mode,
    pub(super) pool: PoolColour,
}

/// The log.
#[derive(Debug, Default)]
pub(super) struct RefusalLog(Mutex<Lanes>);

#[derive(Debug, Default)]
struct Lanes {
    by_table: HashMap<TableId, VecDeque<Record>, foldhash::fast::RandomState>,
    kept: usize,
}

impl RefusalLog {
    pub(super) fn keep(&self, table: TableId, record: Record) {
        let mut lanes = self.0.lock();
        // A batch is refused in many parts at once, and asked about as one.
        let last = lanes.by_table.get_mut(&table).and_then(VecDeque::back_mut);
        if let Some(last) = last.filter(|last| last.request == record.request) {
            *last = record;
            return;
        }
        lanes.make_room(table);
        lanes.by_table.entry(table).or_default().push_back(record);
        lanes.kept += 1;
    }

    pub(super) fn find(&self, request: &RequestId) -> Option<Record> {
        let lanes = self.0.lock();
        // Of a request that was refused in several parts, the last one.
        let mut found = lanes.by_table.values().flatten().filter(|record| record.request == *request);
        let first = found.next()?;
        Some(found.fold(first, |latest, record| if record.at >= latest.at { record } else { latest }).clone())
    }
}

impl Lanes {
    fn make_room(&mut self, table: TableId) {
        let own = self.by_table.get(&table).map_or(0, VecDeque::len);
        if own == 0 && self.by_table.len() >= TABLES {
            self.drop_quietest();
        }
        if self.kept < KEPT {
            return;
        }
        let tables = self.by_table.len().max(1);
        // Whoever has its part or more pays for itself; that is the usual case, and takes no search.
        let payer = if own >= KEPT.div_ceil(tables) { Some(table) } else { self.fullest() };
        if let Some(lane) = payer.and_then(|payer| self.by_table.get_mut(&payer)) {
            self.kept -= usize::from(lane.pop_front().is_some());
        }
    }

    fn fullest(&self) -> Option<TableId> {
        self.by_table.iter().max_by_key(|(table, lane)| (lane.len(), **table)).map(|(table, _)| *table)
    }

    fn drop_quietest(&mut self) {
        let last = |lane: &VecDeque<Record>| lane.back().map(|record| record.at);
        let quietest = self.by_table.iter().min_by_key(|(table, lane)| (last(lane), **table));
        if let Some(table) = quietest.map(|(table, _)| *table) {
            let dropped = self.by_table.remove(&table).map_or(0, |lane| lane.len());
            self.kept -= dropped;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::RequestIds;

    fn record(request: RequestId, at: u64) -> Record {
        Record {
            request,
            at: Timestamp::from_nanos(at),
            table: "table".into(),
            operation: ApiOperation::GetItem,
            principal: "app".into(),
            kind: CapacityKind::Read,
            cost: MilliUnits::from_units(1),
            layer: Layer::Table,
            cause: Cause::Quota,
            retry_after: Duration::ZERO,
            levels: [const { None }; MAX_LEVELS],
            node: None,
        }
    }

    /// Refuses `count` requests of `table`; their ids.
    fn refuse(log: &RefusalLog, ids: &RequestIds, table: u64, count: usize) -> Vec<RequestId> {
        (0..count)
            .map(|number| {
                let id = ids.next();
                log.keep(TableId::new(table), record(id, number as u64));
                id
            })
            .collect()
    }

    fn kept(log: &RefusalLog, ids: &[RequestId]) -> usize {
        ids.iter().filter(|id| log.find(id).is_some()).count()
    }

    #[test]
    fn one_table_may_use_all_of_the_log_while_nobody_else_needs_it() {
        let (log, ids) = (RefusalLog::default(), RequestIds::new(1));
        let refused = refuse(&log, &ids, 1, KEPT + 10);
        assert_eq!(kept(&log, &refused), KEPT);
        assert!(log.find(&refused[9]).is_none() && log.find(&refused[10]).is_some());
    }

    #[test]
    fn a_batchs_refusals_take_one_place() {
        let (log, ids) = (RefusalLog::default(), RequestIds::new(1));
        let id = ids.next();
        (0..100).for_each(|number| log.keep(TableId::new(1), record(id, number)));
        assert_eq!(log.0.lock().kept, 1);
        assert_eq!(log.find(&id).map(|kept| kept.at), Some(Timestamp::from_nanos(99)));
    }

    #[test]
    fn a_tables_storm_does_not_erase_anothers_refusals() {
        let (log, ids) = (RefusalLog::default(), RequestIds::new(1));
        let quiet = refuse(&log, &ids, 1, 20);
        refuse(&log, &ids, 2, KEPT * 3);
        assert_eq!(kept(&log, &quiet), 20);
        let others = refuse(&log, &ids, 3, 500);
        let storm = refuse(&log, &ids, 2, KEPT * 3);
        assert_eq!((kept(&log, &quiet), kept(&log, &others)), (20, 500));
        assert_eq!(kept(&log, &storm), KEPT - 520);
    }

    #[test]
    fn tables_are_bounded_and_the_quietest_makes_room() {
        let (log, ids) = (RefusalLog::default(), RequestIds::new(1));
        let first = refuse(&log, &ids, 0, 1);
        for table in 1..=TABLES as u64 {
            let id = ids.next();
            log.keep(TableId::new(table), record(id, table));
        }
        assert_eq!(kept(&log, &first), 0);
        let lanes = log.0.lock();
        assert_eq!((lanes.by_table.len(), lanes.kept), (TABLES, TABLES));
    }
}
