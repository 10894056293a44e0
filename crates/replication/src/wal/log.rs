//! The writer: appends batches to segments, seals full ones, and removes those no longer needed.

use std::collections::BTreeMap;
use std::io;

use units::{LogIndex, PartitionId};

use super::group_state::GroupState;
use super::record::{Place, Record};
use super::recovery::{RecoveredLog, Recovery, note_span, rewrite};
use super::scan::ScanEnd;
use super::segment::{
    FIRST_RECORD, Footer, FooterGroup, SegmentHeader, SegmentNumber, TRAILER, encode_trailer,
};

/// One segment's file, zeroed to its full size when it was created.
pub trait SegmentFile {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// What the file said; the log is not used again then.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// What the file said; the log is not used again then.
    fn sync(&mut self) -> io::Result<()>;
}

/// The folder that holds the segments.
pub trait SegmentStore {
    /// A segment's file.
    type File: SegmentFile;

    /// The segments that exist, in any order.
    ///
    /// # Errors
    /// The folder cannot be read.
    fn list(&mut self) -> io::Result<Vec<SegmentNumber>>;

    /// All bytes of a segment.
    ///
    /// # Errors
    /// It cannot be read.
    fn read(&mut self, number: SegmentNumber) -> io::Result<Vec<u8>>;

    /// Opens an existing segment for writing.
    ///
    /// # Errors
    /// It cannot be opened.
    fn open(&mut self, number: SegmentNumber) -> io::Result<Self::File>;

    /// Creates a segment of `size` zeros, durable with its directory entry.
    ///
    /// # Errors
    /// It cannot be created.
    fn create(&mut self, number: SegmentNumber, size: u32) -> io::Result<Self::File>;

    /// Removes a segment.
    ///
    /// # Errors
    /// It cannot be removed.
    fn remove(&mut self, number: SegmentNumber) -> io::Result<()>;
}

/// How a log is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Bytes of a segment. It grows for a single record that does not fit.
    pub segment_bytes: u32,
    /// Drawn at random by the shell; used when the log is new.
    pub salt: u64,
}

impl LogOptions {
    /// Segments of 64 MiB.
    #[must_use]
    pub const fn new(salt: u64) -> Self {
        Self { segment_bytes: 64 << 20, salt }
    }
}

/// A log's file failed. The log refuses everything from then on: what reached the disk is unknown.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// This operation failed.
    #[error("the log cannot be {0}")]
    Io(&'static str, #[source] io::Error),
    /// An earlier operation failed.
    #[error("the log failed before")]
    Failed,
}

/// The node's log, open for writing.
#[derive(Debug)]
pub struct Log<S: SegmentStore> {
    store: S,
    options: LogOptions,
    groups: BTreeMap<PartitionId, GroupState>,
    sealed: BTreeMap<SegmentNumber, Span>,
    file: S::File,
    header: SegmentHeader,
    span: Span,
    /// Where the next byte goes.
    end: u32,
    /// Where the batch began that is not synced yet.
    batch_start: u32,
    pending: Vec<u8>,
    failed: bool,
}

type Span = BTreeMap<PartitionId, Option<(LogIndex, LogIndex)>>;

impl<S: SegmentStore> Log<S> {
    /// Reads what is there, cuts a torn tail, seals the newest segment and begins a new one.
    ///
    /// # Errors
    /// A segment cannot be read or written. Damage is no error: it is in the [`RecoveredLog`].
    pub fn open(mut store: S, options: LogOptions) -> Result<(Self, RecoveredLog), LogError> {
        let mut numbers = store.list().map_err(|error| LogError::Io("listed", error))?;
        numbers.sort_unstable();
        let mut recovery = Recovery::new();
        let mut newest_size = 0;
        for (position, number) in numbers.iter().enumerate() {
            let bytes = store.read(*number).map_err(|error| LogError::Io("read", error))?;
            let newest = position + 1 == numbers.len();
            newest_size = bytes.len();
            recovery.segment(*number, &bytes, newest);
        }
        let options = LogOptions { salt: recovery.salt.unwrap_or(options.salt), ..options };
        let groups = recovery.states();
        let mut sealed = std::mem::take(&mut recovery.spans);
        if let Some((number, end)) = recovery.newest {
            let mut size = u32::try_from(newest_size).unwrap_or(u32::MAX);
            if matches!(end, ScanEnd::Torn { at } if at < FIRST_RECORD) {
                // The process ended while it was created: it may be shorter than even its footer.
                let footer = u32::try_from(Footer::encoded_len(0) + TRAILER).expect("small");
                size = size.max(FIRST_RECORD + footer);
            }
            let header = SegmentHeader { number, size, salt: options.salt };
            let span = sealed.entry(number).or_default();
            seal_after_crash(&mut store, &header, end, span)
                .map_err(|error| LogError::Io("sealed", error))?;
        }
        let next = SegmentNumber(numbers.last().map_or(1, |number| number.0 + 1));
        let (file, header) = least_size(&groups, 0)
            .and_then(|least| begin(&mut store, next, options.segment_bytes.max(least), options.salt))
            .map_err(|error| LogError::Io("begun", error))?;
        let mut log = Self {
            store,
            options,
            groups,
            sealed,
            file,
            header,
            span: Span::new(),
            end: FIRST_RECORD,
            batch_start: FIRST_RECORD,
            pending: Vec::new(),
            failed: false,
        };
        log.carry_states_over();
        let recovered = recovery.finish();
        for group in &recovered.damaged {
            log.append(&rewrite(*group, &recovered.groups[group]))?;
        }
        log.guarded("written", |log| log.flush())?;
        log.sync()?;
        Ok((log, recovered))
    }

    /// Writes records; they are durable after the next [`Self::sync`].
    ///
    /// # Errors
    /// The file failed, now or before.
    pub fn append(&mut self, records: &[Record]) -> Result<(), LogError> {
        self.guarded("written", |log| {
            for record in records {
                log.push(record)?;
            }
            log.flush()
        })
    }

    /// Makes everything appended durable.
    ///
    /// # Errors
    /// The file failed, now or before. It is never tried again.
    pub fn sync(&mut self) -> Result<(), LogError> {
        self.guarded("synced", |log| log.file.sync())?;
        self.batch_start = self.end;
        Ok(())
    }

    /// Removes the oldest segments as far as checkpoints cover their entries. Returns how many.
    ///
    /// # Errors
    /// A segment cannot be removed.
    pub fn reclaim(&mut self) -> Result<usize, LogError> {
        let mut removed = 0;
        while let Some((&number, span)) = self.sealed.first_key_value() {
            if span.iter().any(|(group, range)| self.needs(*group, *range)) {
                break;
            }
            self.guarded("removed", |log| log.store.remove(number))?;
            self.sealed.remove(&number);
            removed += 1;
        }
        Ok(removed)
    }

    /// The groups whose checkpoints must move before the oldest segment can go.
    #[must_use]
    pub fn pinned_by(&self) -> Vec<PartitionId> {
        let Some((_, span)) = self.sealed.first_key_value() else { return Vec::new() };
        let pins = span.iter().filter(|(group, range)| self.needs(**group, **range));
        pins.map(|(group, _)| *group).collect()
    }

    /// Sealed segments that exist; the one being written comes on top.
    #[must_use]
    pub fn sealed_segments(&self) -> usize {
        self.sealed.len()
    }

    /// The store, for tests and inspection.
    #[must_use]
    pub const fn store(&self) -> &S {
        &self.store
    }

    fn needs(&self, group: PartitionId, range: Option<(LogIndex, LogIndex)>) -> bool {
        let Some((_, last)) = range else { return false };
        self.groups.get(&group).is_some_and(|state| state.checkpoint.index < last)
    }

    /// Runs a file operation; after the first failure none runs again.
    fn guarded<T>(
        &mut self,
        what: &'static str,
        operation: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> Result<T, LogError> {
        if self.failed {
            return Err(LogError::Failed);
        }
        operation(self).map_err(|error| {
            self.failed = true;
            LogError::Io(what, error)
        })
    }

    fn push(&mut self, record: &Record) -> io::Result<()> {
        let needed = record.encoded_len();
        if !self.fits(needed, record.group()) {
            self.roll(needed)?;
        }
        self.follow(record);
        self.put(record);
        Ok(())
    }

    fn put(&mut self, record: &Record) {
        note_span(&mut self.span, record);
        let before = self.pending.len();
        let offset = self.end;
        record.encode(&self.header, offset, self.batch_start, &mut self.pending);
        let length = u32::try_from(self.pending.len() - before).expect("a record fits a segment");
        self.end += length;
    }

    fn follow(&mut self, record: &Record) {
        let group = record.group();
        match record {
            Record::Created(_, membership, refilling) => {
                let (membership, refilling) = (membership.clone(), *refilling);
                self.groups.insert(group, GroupState { membership, refilling, ..GroupState::default() });
            }
            Record::Removed(_) => {
                self.groups.remove(&group);
            }
            other => self.groups.entry(group).or_default().follow(other),
        }
    }

    /// Whether so many bytes of a group fit before the footer and the trailer.
    fn fits(&self, bytes: usize, group: PartitionId) -> bool {
        let groups = self.span.len() + usize::from(!self.span.contains_key(&group));
        self.end as usize + bytes + Footer::encoded_len(groups) + TRAILER <= self.header.size as usize
    }

    /// Seals this segment, durably, and begins the next with the state of every group.
    fn roll(&mut self, needed: usize) -> io::Result<()> {
        self.flush()?;
        seal(
            &mut self.file,
            &self.header,
            Place { offset: self.end, batch_start: self.batch_start },
            &self.span,
        )?;
        let least = least_size(&self.groups, needed)?;
        let next = SegmentNumber(self.header.number.0 + 1);
        let size = self.options.segment_bytes.max(least);
        let (file, header) = begin(&mut self.store, next, size, self.options.salt)?;
        self.sealed.insert(self.header.number, std::mem::take(&mut self.span));
        (self.file, self.header) = (file, header);
        (self.end, self.batch_start) = (FIRST_RECORD, FIRST_RECORD);
        self.carry_states_over();
        Ok(())
    }

    fn carry_states_over(&mut self) {
        let states: Vec<Record> =
            self.groups.iter().map(|(group, state)| Record::State(*group, state.clone())).collect();
        for state in &states {
            self.put(state);
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let start = u64::from(self.end) - self.pending.len() as u64;
        self.file.write_at(start, &self.pending)?;
        self.pending.clear();
        Ok(())
    }
}

/// The least size of a segment that begins with these groups' states and then takes `needed` bytes.
fn least_size(groups: &BTreeMap<PartitionId, GroupState>, needed: usize) -> io::Result<u32> {
    let states: usize =
        groups.iter().map(|(group, state)| Record::State(*group, state.clone()).encoded_len()).sum();
    let least = FIRST_RECORD as usize + states + needed + Footer::encoded_len(groups.len() + 1) + TRAILER;
    u32::try_from(least).map_err(|_| io::Error::other("the segment would exceed 4 GiB"))
}

/// Creates a segment whose header is durable before anything else is written.
fn begin<S: SegmentStore>(
    store: &mut S,
    number: SegmentNumber,
    size: u32,
    salt: u64,
) -> io::Result<(S::File, SegmentHeader)> {
    let header = SegmentHeader { number, size, salt };
    let mut file = store.create(number, size)?;
    file.write_at(0, &header.encode())?;
    file.sync()?;
    Ok((file, header))
}

/// Writes footer and trailer, and syncs. The trailer is in a sync of its own: where it is, all is.
fn seal(file: &mut impl SegmentFile, header: &SegmentHeader, place: Place, span: &Span) -> io::Result<()> {
    let groups =
        span.iter().map(|(group, entries)| FooterGroup { group: *group, entries: *entries }).collect();
    let mut bytes = Vec::new();
    Footer { groups }.encode(header, place, &mut bytes);
    file.write_at(u64::from(place.offset), &bytes)?;
    file.sync()?;
    let trailer = u64::from(header.size) - TRAILER as u64;
    file.write_at(trailer, &encode_trailer(header, place.offset))?;
    file.sync()
}

/// Brings the newest segment of a log that was not closed to a sealed end.
fn seal_after_crash<S: SegmentStore>(
    store: &mut S,
    header: &SegmentHeader,
    end: ScanEnd,
    span: &mut Span,
) -> io::Result<()> {
    let at = match end {
        // A damaged segment stays as it is, for inspection.
        ScanEnd::Sealed { .. } | ScanEnd::Damaged { .. } => return Ok(()),
        ScanEnd::Clean { at } | ScanEnd::Torn { at } => at,
    };
    let mut file = store.open(header.number)?;
    if at < FIRST_RECORD {
        file.write_at(0, &header.encode())?;
        file.sync()?;
    }
    let at = at.max(FIRST_RECORD);
    // What is cut must not be found again behind what is written now.
    let zeros = vec![0; 1 << 16];
    let mut offset = u64::from(at);
    while offset < u64::from(header.size) {
        let length = zeros.len().min(usize::try_from(u64::from(header.size) - offset).unwrap_or(zeros.len()));
        file.write_at(offset, &zeros[..length])?;
        offset += length as u64;
    }
    file.sync()?;
    seal(&mut file, header, Place { offset: at, batch_start: at }, span)
}
