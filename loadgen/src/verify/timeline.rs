//! Calls in words, and a key's calls around a violation, for people to read.

use std::fmt::Write;

use super::checker::{Violation, state_text};
use super::history::{Call, Fate, History, What};

/// Calls shown before and after those that show a violation.
const AROUND: usize = 3;

/// Calls shown of one violation at most.
const MOST_SHOWN: usize = 40;

/// A call in words: `client 3's strong read of 2.17 (1.204 s)`.
#[must_use]
pub fn describe(call: &Call) -> String {
    let what = match call.what {
        What::StrongRead(state) => format!("strong read of {}", state_text(state)),
        What::EventualRead(state) => format!("eventual read of {}", state_text(state)),
        What::Write { new: None, .. } => "delete".to_owned(),
        What::Write { new, .. } => format!("write of {}", state_text(new)),
        What::Refused { expected, .. } => format!("conditional write after {}", state_text(expected)),
    };
    format!("client {}'s {what}", call.client)
}

/// The calls of the violation's key around those that show it, in the order in which they began.
#[must_use]
pub fn timeline(history: &History, violation: &Violation) -> String {
    let mut calls: Vec<usize> =
        (0..history.calls.len()).filter(|at| history.calls[*at].key == violation.key).collect();
    calls.sort_unstable_by_key(|at| (history.calls[*at].began, history.calls[*at].ended));
    let marked: Vec<usize> =
        (0..calls.len()).filter(|place| violation.calls.contains(&calls[*place])).collect();
    let is_near = |place: usize| marked.iter().any(|marked| marked.abs_diff(place) <= AROUND);
    let mut text = String::new();
    let mut skipped = 0;
    let mut shown = 0;
    for (place, at) in calls.iter().enumerate() {
        let is_marked = violation.calls.contains(at);
        if !is_marked && (!is_near(place) || shown >= MOST_SHOWN) {
            skipped += 1;
            continue;
        }
        skip(&mut text, &mut skipped);
        shown += 1;
        let mark = if is_marked { '>' } else { ' ' };
        line(&mut text, mark, history, &history.calls[*at]);
    }
    skip(&mut text, &mut skipped);
    text
}

fn skip(text: &mut String, skipped: &mut usize) {
    if *skipped > 0 {
        let _to_a_string = writeln!(text, "  {:>23}  … {skipped} more", "");
        *skipped = 0;
    }
}

fn line(text: &mut String, mark: char, history: &History, call: &Call) {
    let (began, ended) = (seconds(call.began), seconds(call.ended));
    let endpoint = &history.endpoints[call.endpoint as usize];
    let _to_a_string = writeln!(
        text,
        "{mark} {began:>10} – {ended:>10}  client {:<3} {endpoint}  {}",
        call.client,
        outcome(&call.what)
    );
}

fn outcome(what: &What) -> String {
    match *what {
        What::StrongRead(state) => format!("strong read: {}", state_text(state)),
        What::EventualRead(state) => format!("eventual read: {}", state_text(state)),
        What::Write { new, before, fate } => {
            let what = match new {
                Some(_) => format!("write {}", state_text(new)),
                None => "delete".to_owned(),
            };
            let after = before.map_or_else(String::new, |before| format!(" after {}", state_text(before)));
            let fate = match fate {
                Fate::Done => "done",
                Fate::Unknown => "no answer: may or may not take place",
                Fate::NotDone => "refused",
            };
            format!("{what}{after}: {fate}")
        }
        What::Refused { expected, found } => {
            let found = found.map_or_else(|| "something else".to_owned(), state_text);
            format!("conditional write after {}: refused, found {found}", state_text(expected))
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a run are far below 2^52")]
fn seconds(moment: u64) -> String {
    format!("{:.6} s", (moment / 1_000) as f64 / 1e6)
}
