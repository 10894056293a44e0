//! What took place on a key, in blocks: writes that are known to build on one another, with the reads of what they
//! wrote.
//!
//! A write that names the state before it (by its condition, or because the answer told it) follows the write of
//! that state directly. So a block is a chain of writes between which nothing else was written, and takes place in
//! one piece. A write that does not say what was before it begins a block of its own.
//!
//! "No item" is the one state that several writes may leave behind. Where items are deleted, a block is an item's
//! life from its creation to its deletion, and each read of "no item" is a block by itself that may lie anywhere
//! between lives.

use std::collections::BTreeMap;

use super::history::{Call, Fate, Moment, State, What};
use super::zones::Zone;

/// A call by its place among the key's calls.
pub type CallAt = usize;

/// The end of time.
const NEVER: Moment = Moment::MAX;

/// What is wrong with a key's calls whatever their times are, or with the times within one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// A call saw a value that nobody wrote.
    NeverWritten(CallAt),
    /// Two writes wrote the same value: no history of ours.
    WrittenTwice(CallAt, CallAt),
    /// A call saw the value of a write that surely failed.
    Resurrected {
        /// The write.
        write: CallAt,
        /// Who saw it.
        seen: CallAt,
    },
    /// Two writes took place, both directly after the same state.
    Forked(CallAt, CallAt),
    /// A write took place although it follows its own value.
    Circular(CallAt),
    /// A condition was refused although it held.
    RefusedInVain(CallAt),
    /// `later` follows `earlier` in the chain, and ended before `earlier` began.
    OutOfOrder {
        /// First by the chain.
        earlier: CallAt,
        /// First by the clock.
        later: CallAt,
    },
}

/// Why a key's history cannot be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undecidable {
    /// The key's items are deleted, and this write that took place does not say what was before it.
    UnknownBefore(CallAt),
    /// A deletion without an answer does not say what it would have deleted.
    UnknownDeletion(CallAt),
}

/// A chain of writes with their reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// When it took place.
    pub zone: Zone,
    /// Whose end `zone.first_by` is; none: it was there before.
    pub first_ended: Option<CallAt>,
    /// Whose begin `zone.last_from` is; none: nobody's, or nothing can follow it.
    pub last_began: Option<CallAt>,
}

/// All blocks of a key.
#[derive(Debug, Default)]
pub struct Blocks {
    /// In no particular order.
    pub blocks: Vec<Block>,
    /// Where the write of a value is: block, and place in it.
    place_of: BTreeMap<u64, Place>,
    /// Where "no item" is, if there is one such time only: before the first write.
    pub nothing_at: Option<Place>,
    /// Whether items are deleted, or may have been.
    pub has_deletions: bool,
}

/// A state's place in the order, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// In [`Blocks::blocks`].
    pub block: usize,
    /// In the chain.
    pub at: usize,
}

impl Blocks {
    /// Where a state is, if that is known.
    #[must_use]
    pub fn place_of(&self, state: State) -> Option<Place> {
        match state {
            Some(value) => self.place_of.get(&value).copied(),
            None => self.nothing_at,
        }
    }
}

/// What is known of one write that took place, or may have.
#[derive(Debug, Clone)]
struct Written {
    call: CallAt,
    new: State,
    before: Option<State>,
    fate: Fate,
    began: Moment,
    /// It took place by then: its answer's time, or that of the first that saw it.
    by: (Moment, CallAt),
    took_place: bool,
    reads: Reads,
    /// Writes that took place directly after it.
    next: Vec<usize>,
}

/// Strong reads of one state.
#[derive(Debug, Clone, Copy, Default)]
struct Reads {
    first_ended: Option<(Moment, CallAt)>,
    last_began: Option<(Moment, CallAt)>,
}

impl Reads {
    fn add(&mut self, at: CallAt, call: &Call) {
        self.first_ended =
            Some(self.first_ended.map_or((call.ended, at), |least| least.min((call.ended, at))));
        self.last_began = Some(self.last_began.map_or((call.began, at), |most| most.max((call.began, at))));
    }
}

/// Finds the blocks of one key's calls.
///
/// # Errors
/// When it cannot be decided.
pub fn blocks_of(calls: &[Call], flaws: &mut Vec<Flaw>) -> Result<Blocks, Undecidable> {
    let mut found = Found::of(calls, flaws)?;
    found.see_all(calls, flaws);
    found.link(flaws);
    found.assemble(calls, flaws)
}

/// The key's writes, and what was seen of them.
struct Found {
    writes: Vec<Written>,
    writer: BTreeMap<u64, usize>,
    /// Deletions that took place or may have, by their place in `writes`.
    deletions: Vec<usize>,
    /// Writes that took place, directly after no item.
    births: Vec<usize>,
    /// Strong reads of no item.
    nothing: Vec<CallAt>,
}

impl Found {
    fn of(calls: &[Call], flaws: &mut Vec<Flaw>) -> Result<Self, Undecidable> {
        let mut found = Self {
            writes: Vec::new(),
            writer: BTreeMap::new(),
            deletions: Vec::new(),
            births: Vec::new(),
            nothing: Vec::new(),
        };
        for (at, call) in calls.iter().enumerate() {
            let What::Write { new, before, fate } = call.what else { continue };
            let place = found.writes.len();
            match new {
                Some(value) => {
                    if let Some(other) = found.writer.insert(value, place) {
                        flaws.push(Flaw::WrittenTwice(found.writes[other].call, at));
                    }
                }
                None => match (before, fate) {
                    (_, Fate::NotDone) => continue,
                    (Some(Some(_)), _) => found.deletions.push(place),
                    // Nothing was deleted: it saw that there was nothing.
                    (Some(None), Fate::Done) => {
                        found.nothing.push(at);
                        continue;
                    }
                    (Some(None), Fate::Unknown) => continue,
                    (None, _) => return Err(Undecidable::UnknownDeletion(at)),
                },
            }
            let by = if fate == Fate::Done { call.ended } else { NEVER };
            found.writes.push(Written {
                call: at,
                new,
                before,
                fate,
                began: call.began,
                by: (by, at),
                took_place: false,
                reads: Reads::default(),
                next: Vec::new(),
            });
        }
        Ok(found)
    }

    /// Goes through all that was seen.
    fn see_all(&mut self, calls: &[Call], flaws: &mut Vec<Flaw>) {
        for (at, call) in calls.iter().enumerate() {
            match call.what {
                What::StrongRead(state) | What::Refused { found: Some(state), .. } => {
                    if matches!(call.what, What::Refused { expected, .. } if expected == state) {
                        flaws.push(Flaw::RefusedInVain(at));
                    }
                    match state {
                        None => self.nothing.push(at),
                        Some(value) => {
                            if let Some(write) = self.see(value, at, flaws) {
                                self.writes[write].reads.add(at, call);
                            }
                        }
                    }
                }
                What::EventualRead(Some(value)) => {
                    if let Some(write) = self.see(value, at, flaws) {
                        let by = &mut self.writes[write].by;
                        *by = (*by).min((call.ended, at));
                    }
                }
                What::EventualRead(None) | What::Refused { found: None, .. } | What::Write { .. } => {}
            }
        }
        for place in 0..self.writes.len() {
            if self.writes[place].fate == Fate::Done {
                self.take_place(place, flaws);
            }
        }
    }

    /// A call saw a value: its write took place.
    fn see(&mut self, value: u64, seen: CallAt, flaws: &mut Vec<Flaw>) -> Option<usize> {
        let Some(&write) = self.writer.get(&value) else {
            flaws.push(Flaw::NeverWritten(seen));
            return None;
        };
        if self.writes[write].fate == Fate::NotDone {
            flaws.push(Flaw::Resurrected { write: self.writes[write].call, seen });
            return None;
        }
        self.take_place(write, flaws);
        Some(write)
    }

    /// A write took place, and so did what it follows.
    fn take_place(&mut self, write: usize, flaws: &mut Vec<Flaw>) {
        let mut next = Some(write);
        while let Some(write) = next.take() {
            if std::mem::replace(&mut self.writes[write].took_place, true) {
                return;
            }
            let Some(Some(value)) = self.writes[write].before else { return };
            let call = self.writes[write].call;
            match self.writer.get(&value) {
                None => flaws.push(Flaw::NeverWritten(call)),
                Some(before) if self.writes[*before].fate == Fate::NotDone => {
                    flaws.push(Flaw::Resurrected { write: self.writes[*before].call, seen: call });
                }
                Some(before) => next = Some(*before),
            }
        }
    }

    /// Says of each write what took place directly after it.
    fn link(&mut self, flaws: &mut Vec<Flaw>) {
        for place in 0..self.writes.len() {
            let write = &self.writes[place];
            if !write.took_place {
                continue;
            }
            match write.before {
                Some(None) => self.births.push(place),
                Some(Some(value)) => {
                    let Some(&before) = self.writer.get(&value) else { continue };
                    if let Some(&other) = self.writes[before].next.first() {
                        flaws.push(Flaw::Forked(self.writes[other].call, self.writes[place].call));
                    } else {
                        self.writes[before].next.push(place);
                    }
                }
                None => {}
            }
        }
    }

    fn assemble(&self, calls: &[Call], flaws: &mut Vec<Flaw>) -> Result<Blocks, Undecidable> {
        let mut blocks = Blocks { has_deletions: !self.deletions.is_empty(), ..Blocks::default() };
        let mut visited = 0;
        if blocks.has_deletions {
            let ends = self.possible_ends()?;
            for birth in &self.births {
                let mut chain = Chain::default();
                let last = self.follow(*birth, &mut chain, &mut blocks, flaws);
                visited += chain.length;
                if self.writes[last].new.is_some() {
                    // Another life can only follow if someone deleted this one's last state after all.
                    chain.goes_on_until(ends.get(&last).copied().unwrap_or((NEVER, None)));
                }
                blocks.blocks.push(chain.block());
            }
            for at in &self.nothing {
                let zone = Zone { first_by: calls[*at].ended, last_from: calls[*at].began };
                blocks.blocks.push(Block { zone, first_ended: Some(*at), last_began: Some(*at) });
            }
        } else {
            let mut chain = Chain::default();
            chain.begins_before_everything();
            blocks.nothing_at = Some(Place { block: 0, at: 0 });
            let mut reads = Reads::default();
            self.nothing.iter().for_each(|at| reads.add(*at, &calls[*at]));
            chain.reads(&reads, flaws);
            for other in self.births.iter().skip(1) {
                flaws.push(Flaw::Forked(self.writes[self.births[0]].call, self.writes[*other].call));
            }
            if let Some(birth) = self.births.first() {
                self.follow(*birth, &mut chain, &mut blocks, flaws);
            }
            visited += chain.length + self.births.len().saturating_sub(1);
            blocks.blocks.push(chain.block());
        }
        for (place, write) in self.writes.iter().enumerate() {
            if write.took_place && write.before.is_none() {
                if blocks.has_deletions {
                    return Err(Undecidable::UnknownBefore(write.call));
                }
                let mut chain = Chain::default();
                self.follow(place, &mut chain, &mut blocks, flaws);
                visited += chain.length;
                blocks.blocks.push(chain.block());
            }
        }
        let took_place = self.writes.iter().filter(|write| write.took_place).count();
        if flaws.is_empty() && visited < took_place {
            let circular = self.writes.iter().find(|write| {
                write.took_place && write.new.is_some_and(|value| !blocks.place_of.contains_key(&value))
            });
            flaws.extend(circular.map(|write| Flaw::Circular(write.call)));
        }
        Ok(blocks)
    }

    /// Adds a write and those that follow it to a chain; returns the last.
    fn follow(&self, from: usize, chain: &mut Chain, blocks: &mut Blocks, flaws: &mut Vec<Flaw>) -> usize {
        let mut place = from;
        loop {
            let write = &self.writes[place];
            chain.write(write, flaws);
            if let Some(value) = write.new {
                let at = Place { block: blocks.blocks.len(), at: chain.length };
                blocks.place_of.insert(value, at);
            }
            chain.reads(&write.reads, flaws);
            match write.next.first() {
                // A chain that leads into itself would never end.
                Some(next) if chain.length <= self.writes.len() => place = *next,
                _ => return place,
            }
        }
    }

    /// For each write with which a chain may end by a deletion of which it is not known that it took place: when
    /// that was at the earliest, and whose deletion that is.
    fn possible_ends(&self) -> Result<BTreeMap<usize, (Moment, Option<CallAt>)>, Undecidable> {
        let mut ends: BTreeMap<usize, (Moment, Option<CallAt>)> = BTreeMap::new();
        for deletion in self.deletions.iter().filter(|deletion| !self.writes[**deletion].took_place) {
            // It may follow writes that nobody has seen, either.
            let (mut place, mut from) = (*deletion, 0);
            let mut steps = 0;
            while !self.writes[place].took_place && steps <= self.writes.len() {
                steps += 1;
                from = from.max(self.writes[place].began);
                let write = &self.writes[place];
                let before = write.before.ok_or(Undecidable::UnknownBefore(write.call))?;
                // A life of its own that nobody saw.
                let Some(before) = before else { break };
                let Some(&before) = self.writer.get(&before) else { break };
                if self.writes[before].fate == Fate::NotDone {
                    break;
                }
                place = before;
            }
            if self.writes[place].took_place {
                let end = ends.entry(place).or_insert((NEVER, None));
                *end = (*end).min((from, Some(self.writes[*deletion].call)));
            }
        }
        Ok(ends)
    }
}

/// A block under construction.
#[derive(Default)]
struct Chain {
    length: usize,
    first_ended: Option<(Moment, Option<CallAt>)>,
    last_began: Option<(Moment, Option<CallAt>)>,
}

impl Chain {
    fn begins_before_everything(&mut self) {
        self.first_ended = Some((0, None));
        self.last_began = Some((0, None));
    }

    fn write(&mut self, write: &Written, flaws: &mut Vec<Flaw>) {
        self.length += 1;
        self.ends(write.by, flaws);
        // A write that was seen before it began.
        if write.by.0 < write.began {
            flaws.push(Flaw::OutOfOrder { earlier: write.call, later: write.by.1 });
        }
        self.begins((write.began, write.call));
    }

    fn reads(&mut self, reads: &Reads, flaws: &mut Vec<Flaw>) {
        if let (Some(first_ended), Some(last_began)) = (reads.first_ended, reads.last_began) {
            self.ends(first_ended, flaws);
            self.begins(last_began);
        }
    }

    /// What ended then comes after all so far.
    fn ends(&mut self, (moment, call): (Moment, CallAt), flaws: &mut Vec<Flaw>) {
        if let Some((began, Some(earlier))) = self.last_began
            && moment < began
        {
            flaws.push(Flaw::OutOfOrder { earlier, later: call });
        }
        if self.first_ended.is_none_or(|(first, _)| moment < first) {
            self.first_ended = Some((moment, Some(call)));
        }
    }

    fn begins(&mut self, (moment, call): (Moment, CallAt)) {
        if self.last_began.is_none_or(|(last, _)| moment > last) {
            self.last_began = Some((moment, Some(call)));
        }
    }

    fn goes_on_until(&mut self, end: (Moment, Option<CallAt>)) {
        if self.last_began.is_none_or(|last| end.0 > last.0) {
            self.last_began = Some(end);
        }
    }

    fn block(self) -> Block {
        let (first_by, first_ended) = self.first_ended.unwrap_or((NEVER, None));
        let (last_from, last_began) = self.last_began.unwrap_or((0, None));
        Block { zone: Zone { first_by, last_from }, first_ended, last_began }
    }
}
