//! Folding the records of all segments into what every group begins with.

use std::collections::{BTreeMap, BTreeSet};

use units::{LogIndex, PartitionId};

use super::group_state::GroupState;
use super::record::Record;
use super::scan::{ScanEnd, scan};
use super::segment::{FIRST_RECORD, Footer, SegmentHeader, SegmentNumber};
use crate::message::LogEntry;
use crate::recovered::{Origin, Position, Recovered};

/// What the log gave back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecoveredLog {
    /// Every group that was hosted. Groups that damage may have touched are [`Origin::Wiped`] and have
    /// only what stood before it.
    pub groups: BTreeMap<PartitionId, Recovered>,
    /// Those of them that damage made so at this start.
    pub damaged: BTreeSet<PartitionId>,
    /// What was damaged; report it.
    pub damage: Vec<Damage>,
    /// Bytes from here on were cut off the newest segment: a batch that was never durable.
    pub torn: Option<(SegmentNumber, u32)>,
}

/// A place in the log that was durable and is not readable any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// In which segment.
    pub segment: SegmentNumber,
    /// Where it begins.
    pub at: u32,
    /// Which groups it can have touched; `None`: all.
    pub groups: Option<BTreeSet<PartitionId>>,
}

/// Folds segments, given in order.
#[derive(Debug, Default)]
pub struct Recovery {
    groups: BTreeMap<PartitionId, Fold>,
    damage: Vec<Damage>,
    torn: Option<(SegmentNumber, u32)>,
    pub(super) salt: Option<u64>,
    pub(super) spans: BTreeMap<SegmentNumber, BTreeMap<PartitionId, Option<(LogIndex, LogIndex)>>>,
    pub(super) newest: Option<(SegmentNumber, ScanEnd)>,
    last_segment: Option<SegmentNumber>,
}

#[derive(Debug, Default)]
struct Fold {
    state: GroupState,
    entries: BTreeMap<LogIndex, LogEntry>,
    /// The group may have lost records; entries after that are not trusted.
    damaged: bool,
}

impl Recovery {
    /// Nothing read yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next segment. `newest`: no later one exists.
    pub fn segment(&mut self, number: SegmentNumber, bytes: &[u8], newest: bool) {
        if self.last_segment.is_some_and(|last| last.0 + 1 != number.0) {
            self.damaged(Damage { segment: number, at: 0, groups: None });
        }
        self.last_segment = Some(number);
        let scanned = scan(number, bytes, newest);
        if let Ok(header) = SegmentHeader::decode(bytes) {
            self.salt = Some(header.salt);
        }
        let damaged_at = match scanned.end {
            ScanEnd::Damaged { at } => Some(at),
            ScanEnd::Torn { at } => {
                self.torn = Some((number, at));
                None
            }
            ScanEnd::Clean { .. } | ScanEnd::Sealed { .. } => None,
        };
        let mut span = BTreeMap::new();
        let mut reported = false;
        for (offset, record) in scanned.records {
            if let (Some(at), false) = (damaged_at.filter(|at| offset > *at), reported) {
                self.damaged(damage(number, at, bytes));
                reported = true;
            }
            note_span(&mut span, &record);
            self.record(record);
        }
        if let (Some(at), false) = (damaged_at, reported) {
            self.damaged(damage(number, at, bytes));
        }
        self.spans.insert(number, span);
        self.newest = Some((number, scanned.end));
    }

    /// What came out.
    #[must_use]
    pub fn finish(self) -> RecoveredLog {
        let mut log = RecoveredLog { damage: self.damage, torn: self.torn, ..RecoveredLog::default() };
        for (group, fold) in self.groups {
            let was_refilling = fold.state.refilling;
            let recovered = fold.finish();
            if recovered.origin == Origin::Wiped && !was_refilling {
                log.damaged.insert(group);
            }
            log.groups.insert(group, recovered);
        }
        log
    }

    /// The states of all groups, for the next segment's beginning.
    pub(super) fn states(&self) -> BTreeMap<PartitionId, GroupState> {
        self.groups.iter().map(|(group, fold)| (*group, fold.state.clone())).collect()
    }

    fn damaged(&mut self, damage: Damage) {
        for (group, fold) in &mut self.groups {
            if damage.groups.as_ref().is_none_or(|groups| groups.contains(group)) {
                fold.damaged = true;
            }
        }
        self.damage.push(damage);
    }

    fn record(&mut self, record: Record) {
        let group = record.group();
        // Once anything is unreadable, a group that shows up only now may have lost its beginning.
        let unknown_is_damaged = !self.damage.is_empty();
        match record {
            Record::Created(_, membership, refilling) => {
                let state = GroupState { membership, refilling, ..GroupState::default() };
                self.groups.insert(group, Fold { state, ..Fold::default() });
            }
            Record::Removed(_) => {
                self.groups.remove(&group);
            }
            other => {
                let fold = self
                    .groups
                    .entry(group)
                    .or_insert_with(|| Fold { damaged: unknown_is_damaged, ..Fold::default() });
                fold.follow(other);
            }
        }
    }
}

/// Records that begin a damaged group anew with what is left of it, so that the damage, which stays in
/// its segment, does not count against the group at the next start again.
pub(super) fn rewrite(group: PartitionId, recovered: &Recovered) -> Vec<Record> {
    let state = GroupState {
        membership: recovered.membership.clone(),
        membership_at: recovered.membership_at,
        hard_state: recovered.hard_state,
        checkpoint: recovered.checkpoint,
        refilling: true,
    };
    let mut records =
        vec![Record::Created(group, recovered.membership.clone(), true), Record::State(group, state)];
    records.extend(recovered.entries.iter().map(|entry| Record::Entry(group, entry.clone())));
    records
}

impl Fold {
    fn follow(&mut self, record: Record) {
        match record {
            // An entry behind damage may continue a log that this is not.
            Record::Entry(..) | Record::Truncated(..) if self.damaged => {}
            Record::Entry(_, entry) => {
                drop(self.entries.split_off(&entry.index));
                self.entries.insert(entry.index, entry);
            }
            Record::Truncated(_, from) => drop(self.entries.split_off(&from)),
            Record::Snapshot(..) => {
                self.entries.clear();
                self.state.follow(&record);
            }
            other => {
                self.state.follow(&other);
                let first = self.state.checkpoint.index.next();
                if self.entries.first_key_value().is_some_and(|(index, _)| *index < first) {
                    self.entries = self.entries.split_off(&first);
                }
            }
        }
    }

    fn finish(mut self) -> Recovered {
        let checkpoint = self.state.checkpoint;
        let mut entries: Vec<LogEntry> = Vec::new();
        let mut expected = checkpoint.index.next();
        for (index, entry) in std::mem::take(&mut self.entries).split_off(&expected) {
            if index != expected {
                self.damaged = true;
                break;
            }
            expected = expected.next();
            entries.push(entry);
        }
        let last =
            entries.last().map_or(checkpoint, |entry| Position { index: entry.index, term: entry.term });
        let mut hard_state = self.state.hard_state;
        // The commit index may be older than the checkpoint, or younger than entries that were torn off.
        hard_state.commit = hard_state.commit.max(checkpoint.index).min(last.index);
        if self.damaged {
            // Entries that stood before the damage may have been replaced in it, and what was committed
            // afterwards may be what replaced them.
            hard_state.commit = checkpoint.index;
        }
        let wiped = self.damaged || self.state.refilling;
        Recovered {
            origin: if wiped { Origin::Wiped } else { Origin::Intact },
            membership: self.state.membership,
            membership_at: self.state.membership_at,
            hard_state,
            checkpoint,
            entries,
            recorded: true,
        }
    }
}

/// Which groups an unreadable place can have touched: those in the footer, if the segment has one.
fn damage(segment: SegmentNumber, at: u32, bytes: &[u8]) -> Damage {
    let footer = if at < FIRST_RECORD { None } else { Footer::of_segment(bytes).ok() };
    let groups = footer.map(|footer| footer.groups.into_iter().map(|group| group.group).collect());
    Damage { segment, at, groups }
}

pub(super) fn note_span(span: &mut BTreeMap<PartitionId, Option<(LogIndex, LogIndex)>>, record: &Record) {
    let range = span.entry(record.group()).or_default();
    if let Record::Entry(_, entry) = record {
        let (first, last) = range.unwrap_or((entry.index, entry.index));
        *range = Some((first.min(entry.index), last.max(entry.index)));
    }
}
