//! The same question answered by trying every order: right by construction, and slow.

use std::collections::BTreeSet;

use super::history::{Call, Fate, State, What};

/// Whether some order of one key's calls explains all answers. An eventually consistent read saw the state at any
/// time before it ended.
pub(super) fn is_linearizable(calls: &[Call]) -> bool {
    assert!(calls.len() <= 16, "there are too many orders");
    let certain = calls.iter().enumerate().filter(|(_, call)| is_certain(call)).map(|(at, _)| 1 << at).sum();
    let mut search = Search { calls, certain, seen: BTreeSet::new() };
    search.goes_on(0, None)
}

/// Whether it takes place in every order. What surely did not is in none.
fn is_certain(call: &Call) -> bool {
    !matches!(
        call.what,
        What::Write { fate: Fate::Unknown | Fate::NotDone, .. } | What::Refused { found: None, .. }
    )
}

struct Search<'a> {
    calls: &'a [Call],
    certain: u32,
    seen: BTreeSet<(u32, State)>,
}

impl Search<'_> {
    fn goes_on(&mut self, placed: u32, state: State) -> bool {
        if placed & self.certain == self.certain {
            return true;
        }
        if !self.seen.insert((placed, state)) {
            return false;
        }
        (0..self.calls.len()).any(|at| {
            let is_open = placed & (1 << at) == 0 && self.may_be_next(at, placed);
            is_open
                && after(&self.calls[at], state).is_some_and(|next| self.goes_on(placed | (1 << at), next))
        })
    }

    /// Nothing that still must be placed had ended when it began.
    fn may_be_next(&self, at: usize, placed: u32) -> bool {
        let began = match self.calls[at].what {
            What::EventualRead(_) => 0,
            _ => self.calls[at].began,
        };
        let open = self.certain & !placed;
        !self.calls.iter().enumerate().any(|(other, call)| open & (1 << other) != 0 && call.ended < began)
    }
}

/// The state after the call, if it can take place in `state` with the answer that it had.
fn after(call: &Call, state: State) -> Option<State> {
    match call.what {
        What::StrongRead(seen) | What::EventualRead(seen) => (seen == state).then_some(state),
        What::Refused { expected, found: Some(found) } => {
            (found == state && found != expected).then_some(state)
        }
        What::Refused { found: None, .. } | What::Write { fate: Fate::NotDone, .. } => None,
        What::Write { new, before, .. } => before.is_none_or(|before| before == state).then_some(new),
    }
}
