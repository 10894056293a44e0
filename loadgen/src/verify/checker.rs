//! Checks a whole history, key by key.

use std::ops::Range;

use super::blocks::{self, Block, Blocks, CallAt, Flaw, Undecidable};
use super::history::{Call, Fate, History, State, What};
use super::timeline::describe;
use super::{monotone, zones};

/// A promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Strong reads and writes of a key: one order explains all answers.
    Linearizable,
    /// Eventually consistent reads of a key through one endpoint do not go back.
    Monotone,
    /// A write that surely failed is never seen.
    FailedIsNever,
}

impl Rule {
    /// What was promised, in words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Linearizable => "strong reads and writes of a key are linearizable",
            Self::Monotone => "eventually consistent reads of a key through one endpoint do not go back",
            Self::FailedIsNever => "a write that was refused is never seen",
        }
    }
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// The key's place in the history.
    pub key: u32,
    /// What happened, in words.
    pub text: String,
    /// The calls that show it, by their places in the history.
    pub calls: Vec<usize>,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Keys with calls.
    pub keys: usize,
    /// Calls checked.
    pub calls: usize,
    /// Of these, strong reads.
    pub strong_reads: usize,
    /// Eventually consistent reads.
    pub eventual_reads: usize,
    /// Writes that were acknowledged.
    pub done: usize,
    /// Writes without an answer that tells.
    pub unknown: usize,
    /// Writes that surely did not take place: failed, or their condition did not hold.
    pub not_done: usize,
    /// Keys with acknowledged writes and without a strong read after the last of them.
    pub unread: Vec<u32>,
    /// Keys that cannot be decided, and why.
    pub undecided: Vec<(u32, String)>,
    /// What was broken, in the order of keys.
    pub violations: Vec<Violation>,
}

/// What a check comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Everything that was checked held.
    Held,
    /// Something did not.
    Violated,
    /// Nothing broken was seen, and too little was checked to say more.
    Inconclusive,
}

impl Findings {
    /// What it comes to.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if !self.violations.is_empty() {
            Verdict::Violated
        } else if self.doubts().is_empty() {
            Verdict::Held
        } else {
            Verdict::Inconclusive
        }
    }

    /// Why it does not say that everything held although nothing broken was seen.
    #[must_use]
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.done == 0 {
            doubts.push("no write was acknowledged".to_owned());
        }
        if self.strong_reads == 0 {
            doubts.push("no strong read was answered".to_owned());
        }
        if !self.unread.is_empty() {
            doubts.push(format!(
                "{} keys were not read after their last acknowledged write, so it may be lost",
                self.unread.len()
            ));
        }
        if let Some((_, why)) = self.undecided.first() {
            doubts.push(format!("{} keys cannot be decided: {why}", self.undecided.len()));
        }
        doubts
    }
}

/// Checks a history.
#[must_use]
pub fn check(history: &History) -> Findings {
    let (order, keys) = by_key(history);
    let mut findings = Findings { calls: history.calls.len(), ..Findings::default() };
    let mut calls = Vec::new();
    for (key, range) in keys {
        let places = &order[range];
        calls.clear();
        calls.extend(places.iter().map(|at| history.calls[*at as usize]));
        findings.keys += 1;
        count(&calls, &mut findings);
        if is_unread(&calls) {
            findings.unread.push(key);
        }
        let mut checked = Checked { calls: &calls, violations: Vec::new() };
        if let Err(undecidable) = checked.check() {
            findings.undecided.push((key, checked.why(undecidable)));
        }
        findings.violations.extend(checked.violations.into_iter().map(|(rule, text, at)| {
            let calls = at.into_iter().map(|at| places[at] as usize).collect();
            Violation { rule, key, text, calls }
        }));
    }
    findings
}

/// The places of all calls in the order of their keys, and each key's part of them.
fn by_key(history: &History) -> (Vec<u32>, Vec<(u32, Range<usize>)>) {
    let mut ends = vec![0_usize; history.keys.len()];
    history.calls.iter().for_each(|call| ends[call.key as usize] += 1);
    let mut begin = 0;
    for end in &mut ends {
        begin += *end;
        *end = begin - *end;
    }
    // Now each is where its key begins; filling moves it to where it ends.
    let begins = ends.clone();
    let mut order = vec![0_u32; history.calls.len()];
    for (at, call) in history.calls.iter().enumerate() {
        let end = &mut ends[call.key as usize];
        order[*end] = u32::try_from(at).expect("a history of four billion calls does not fit into memory");
        *end += 1;
    }
    let keys = (0_u32..).zip(begins.into_iter().zip(ends)).map(|(key, (begin, end))| (key, begin..end));
    (order, keys.filter(|(_, range)| !range.is_empty()).collect())
}

fn count(calls: &[Call], findings: &mut Findings) {
    for call in calls {
        match call.what {
            What::StrongRead(_) => findings.strong_reads += 1,
            What::EventualRead(_) => findings.eventual_reads += 1,
            What::Write { fate: Fate::Done, .. } => findings.done += 1,
            What::Write { fate: Fate::Unknown, .. } => findings.unknown += 1,
            What::Write { fate: Fate::NotDone, .. } | What::Refused { .. } => findings.not_done += 1,
        }
    }
}

/// Whether no strong read would show that the last acknowledged write is lost.
fn is_unread(calls: &[Call]) -> bool {
    let done = |call: &&Call| matches!(call.what, What::Write { fate: Fate::Done, .. });
    let Some(last) = calls.iter().filter(done).map(|call| call.ended).max() else { return false };
    !calls.iter().any(|call| call.began >= last && matches!(call.what, What::StrongRead(_)))
}

/// One key.
struct Checked<'a> {
    calls: &'a [Call],
    violations: Vec<(Rule, String, Vec<CallAt>)>,
}

impl Checked<'_> {
    fn check(&mut self) -> Result<(), Undecidable> {
        let mut flaws = Vec::new();
        let blocks = blocks::blocks_of(self.calls, &mut flaws);
        flaws.into_iter().for_each(|flaw| self.flaw(flaw));
        let blocks = blocks?;
        // With flaws the blocks are not what took place, and more would be said of the same.
        if self.violations.is_empty() {
            self.contradictions(&blocks);
        }
        self.steps_back(&blocks);
        Ok(())
    }

    fn flaw(&mut self, flaw: Flaw) {
        let name = |at: CallAt| describe(&self.calls[at]);
        let (rule, text, calls) = match flaw {
            Flaw::NeverWritten(seen) => {
                let text = format!("{} saw or replaced a value that nobody wrote", name(seen));
                (Rule::Linearizable, text, vec![seen])
            }
            Flaw::WrittenTwice(one, other) => {
                let text = format!("{} and {} wrote the same value", name(one), name(other));
                (Rule::Linearizable, text, vec![one, other])
            }
            Flaw::Resurrected { write, seen } => {
                let text =
                    format!("{} was refused, and yet {} saw or replaced its value", name(write), name(seen));
                (Rule::FailedIsNever, text, vec![write, seen])
            }
            Flaw::Forked(one, other) => {
                let text = format!(
                    "{} and {} both took place directly after the same state",
                    name(one),
                    name(other)
                );
                (Rule::Linearizable, text, vec![one, other])
            }
            Flaw::Circular(write) => {
                (Rule::Linearizable, format!("{} follows its own value", name(write)), vec![write])
            }
            Flaw::RefusedInVain(call) => {
                let text = format!("{}, although that is what its condition wanted", name(call));
                (Rule::Linearizable, text, vec![call])
            }
            Flaw::OutOfOrder { earlier, later } => {
                let text =
                    format!("{} comes after {}, and had ended before that began", name(later), name(earlier));
                (Rule::Linearizable, text, vec![later, earlier])
            }
        };
        self.violations.push((rule, text, calls));
    }

    fn contradictions(&mut self, blocks: &Blocks) {
        let zones: Vec<_> = blocks.blocks.iter().map(|block| block.zone).collect();
        for (one, other) in zones::contradictions(&zones) {
            let (one, other) = (&blocks.blocks[one], &blocks.blocks[other]);
            let text = format!("{}; but {}", self.precedes(one, other), self.precedes(other, one),);
            let calls = [one.first_ended, other.last_began, other.first_ended, one.last_began];
            let mut calls: Vec<_> = calls.into_iter().flatten().collect();
            calls.sort_unstable();
            calls.dedup();
            self.violations.push((Rule::Linearizable, text, calls));
        }
    }

    /// Why one block took place before the other.
    fn precedes(&self, one: &Block, other: &Block) -> String {
        match (one.first_ended, other.last_began) {
            (Some(ended), Some(began)) => {
                format!(
                    "{} had ended before {} began",
                    describe(&self.calls[ended]),
                    describe(&self.calls[began])
                )
            }
            (None, Some(began)) => format!("no item was there before {}", describe(&self.calls[began])),
            (Some(ended), None) => {
                format!("the item of {} was never deleted afterwards", describe(&self.calls[ended]))
            }
            (None, None) => "no item was there before".to_owned(),
        }
    }

    fn steps_back(&mut self, blocks: &Blocks) {
        // The first says it all: while a replica is behind, every read of it goes back.
        if let Some((earlier, later)) = monotone::steps_back(self.calls, blocks).into_iter().next() {
            let (earlier_text, later_text) = (describe(&self.calls[earlier]), describe(&self.calls[later]));
            let text = format!("{later_text} began after {earlier_text} had ended, and saw an older state");
            self.violations.push((Rule::Monotone, text, vec![earlier, later]));
        }
    }

    fn why(&self, undecidable: Undecidable) -> String {
        match undecidable {
            Undecidable::UnknownBefore(write) => format!(
                "items are deleted, and {} does not say what was there before it",
                describe(&self.calls[write])
            ),
            Undecidable::UnknownDeletion(write) => {
                format!("{} does not say what it deleted", describe(&self.calls[write]))
            }
        }
    }
}

/// A state in words.
#[must_use]
pub(super) fn state_text(state: State) -> String {
    state.map_or_else(|| "no item".to_owned(), value_text)
}

/// A value in words: who wrote it, and as which of its writes.
fn value_text(value: u64) -> String {
    format!("{}.{}", value >> 32, value & 0xffff_ffff)
}
