//! Whether eventually consistent reads of a key through one endpoint go back.

use std::collections::BTreeMap;

use super::blocks::{Blocks, CallAt, Place};
use super::history::{Call, Moment, What};

/// Pairs of reads through one endpoint of which the second, begun after the first had ended, saw a state that came
/// before the first one's in every order.
pub(super) fn steps_back(calls: &[Call], blocks: &Blocks) -> Vec<(CallAt, CallAt)> {
    let mut reads: BTreeMap<u16, Vec<CallAt>> = BTreeMap::new();
    for (at, call) in calls.iter().enumerate() {
        if matches!(call.what, What::EventualRead(_)) {
            reads.entry(call.endpoint).or_default().push(at);
        }
    }
    reads.into_values().flat_map(|reads| steps_back_of(calls, blocks, reads)).collect()
}

fn steps_back_of(calls: &[Call], blocks: &Blocks, mut reads: Vec<CallAt>) -> Vec<(CallAt, CallAt)> {
    reads.sort_unstable_by_key(|at| calls[*at].began);
    let mut ended = reads.clone();
    ended.sort_unstable_by_key(|at| calls[*at].ended);
    let mut ended = ended.into_iter().peekable();
    let mut seen = Seen::default();
    let mut found = Vec::new();
    for at in reads {
        while let Some(earlier) = ended.next_if(|earlier| calls[*earlier].ended < calls[at].began) {
            if let Some(place) = place_of(&calls[earlier], blocks) {
                seen.add(earlier, place, blocks);
            }
        }
        let newer = match place_of(&calls[at], blocks) {
            Some(place) => seen.after(place, blocks),
            None => seen.that_lasts_past(calls[at].ended),
        };
        found.extend(newer.map(|earlier| (earlier, at)));
    }
    found
}

fn place_of(call: &Call, blocks: &Blocks) -> Option<Place> {
    match call.what {
        What::EventualRead(state) => blocks.place_of(state),
        _ => None,
    }
}

/// What the reads that have ended saw.
#[derive(Default)]
struct Seen {
    /// The newest state of each block, and who saw it.
    newest: BTreeMap<usize, (usize, CallAt)>,
    /// The two blocks that end last, with when that is at the earliest, the later one first.
    last: [Option<(Moment, usize)>; 2],
}

impl Seen {
    fn add(&mut self, call: CallAt, place: Place, blocks: &Blocks) {
        let newest = self.newest.entry(place.block).or_insert((place.at, call));
        if newest.0 <= place.at {
            *newest = (place.at, call);
        }
        let ends = (blocks.blocks[place.block].zone.last_from, place.block);
        if self.last.contains(&Some(ends)) {
            return;
        }
        if self.last[0].is_none_or(|last| last < ends) {
            self.last = [Some(ends), self.last[0]];
        } else if self.last[1].is_none_or(|last| last < ends) {
            self.last[1] = Some(ends);
        }
    }

    /// A read that saw what comes after `place` in every order.
    fn after(&self, place: Place, blocks: &Blocks) -> Option<CallAt> {
        if let Some((at, call)) = self.newest.get(&place.block)
            && *at > place.at
        {
            return Some(*call);
        }
        let mut others = self.last.iter().flatten().filter(|(_, block)| *block != place.block);
        let (_, later) = others.next()?;
        let comes_later = blocks.blocks[place.block].zone.precedes(&blocks.blocks[*later].zone);
        comes_later.then(|| self.newest[later].1)
    }

    /// A read that saw an item that was not deleted before `moment`: no item cannot be newer than that.
    fn that_lasts_past(&self, moment: Moment) -> Option<CallAt> {
        let (ends, block) = self.last[0]?;
        (ends > moment).then(|| self.newest[&block].1)
    }
}
