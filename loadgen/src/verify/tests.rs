//! The checker against a search of every order, on random histories; and against mistakes that databases make.

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::history::{Call, Fate, History, Moment, State, What};
use super::{Findings, Rule, Verdict, check, search};

#[test]
fn it_agrees_with_a_search_of_every_order() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let (mut accepted, mut rejected) = (0, 0);
    for number in 0..20_000 {
        let calls = random_calls(&mut rng);
        let findings = check(&history(calls.clone()));
        assert!(findings.undecided.is_empty(), "history {number}: {findings:?}");
        let broken = findings.violations.iter().any(|violation| violation.rule != Rule::Monotone);
        let expected = search::is_linearizable(&calls);
        assert_eq!(!broken, expected, "history {number}: {calls:#?}\n{:#?}", findings.violations);
        *if expected { &mut accepted } else { &mut rejected } += 1;
    }
    assert!(accepted > 4_000 && rejected > 4_000, "{accepted} accepted, {rejected} rejected");
}

#[test]
fn an_acknowledged_write_that_a_later_strong_read_does_not_see_is_found() {
    let calls = [write(1, 1, 2), write(2, 3, 4), strong(Some(1), 5, 6)];
    let findings = check(&history(calls.to_vec()));
    assert_eq!(findings.verdict(), Verdict::Violated);
    assert_eq!(findings.violations[0].rule, Rule::Linearizable);
    assert_eq!(findings.violations[0].calls, [0, 1, 2]);
}

#[test]
fn an_only_write_that_is_lost_is_found() {
    let findings = check(&history(vec![write(1, 1, 2), strong(None, 3, 4)]));
    assert_eq!(findings.verdict(), Verdict::Violated, "{findings:?}");
}

#[test]
fn a_strong_read_that_goes_back_is_found_while_the_write_has_no_answer_yet() {
    let mut calls = vec![write(1, 1, 2), write(2, 3, 20), strong(Some(2), 5, 6)];
    calls.push(strong(Some(1), 7, 8));
    assert_eq!(check(&history(calls)).verdict(), Verdict::Violated);
}

#[test]
fn a_write_that_was_refused_and_is_seen_is_found() {
    for seen in [What::StrongRead(Some(2)), What::EventualRead(Some(2))] {
        let calls = vec![
            write(1, 1, 2),
            call(What::Write { new: Some(2), before: None, fate: Fate::NotDone }, 3, 4),
            call(seen, 5, 6),
            strong(Some(1), 7, 8),
        ];
        let findings = check(&history(calls));
        assert_eq!(findings.violations[0].rule, Rule::FailedIsNever, "{findings:?}");
    }
}

#[test]
fn a_write_without_an_answer_may_take_place_at_any_later_time_or_never() {
    let unknown = call(What::Write { new: Some(2), before: None, fate: Fate::Unknown }, 3, 4);
    let before = vec![write(1, 1, 2), unknown, strong(Some(1), 10, 11)];
    assert_eq!(check(&history(before.clone())).verdict(), Verdict::Held);
    let mut after = before.clone();
    after.push(strong(Some(2), 12, 13));
    assert_eq!(check(&history(after.clone())).verdict(), Verdict::Held);
    // But once, and not back.
    after.push(strong(Some(1), 14, 15));
    assert_eq!(check(&history(after)).verdict(), Verdict::Violated);
}

#[test]
fn two_conditional_writes_after_the_same_state_are_found() {
    let calls = vec![write(1, 1, 2), after(1, Some(2), 3, 4), after(1, Some(3), 5, 6), strong(Some(3), 7, 8)];
    assert_eq!(check(&history(calls)).verdict(), Verdict::Violated);
}

#[test]
fn an_item_that_is_seen_after_its_deletion_is_found() {
    let create = call(What::Write { new: Some(1), before: Some(None), fate: Fate::Done }, 1, 2);
    let mut calls = vec![create, after(1, None, 3, 4), strong(None, 5, 6)];
    assert_eq!(check(&history(calls.clone())).verdict(), Verdict::Held);
    calls.push(strong(Some(1), 7, 8));
    assert_eq!(check(&history(calls)).verdict(), Verdict::Violated);
}

#[test]
fn an_eventual_read_that_goes_back_is_found_on_one_endpoint_and_not_between_two() {
    let mut calls = vec![
        write(1, 1, 2),
        write(2, 3, 4),
        strong(Some(2), 5, 6),
        eventual(Some(2), 7, 8),
        eventual(Some(1), 9, 10),
    ];
    let findings = check(&history(calls.clone()));
    assert_eq!(findings.violations.len(), 1, "{findings:?}");
    assert_eq!((findings.violations[0].rule, &*findings.violations[0].calls), (Rule::Monotone, &[3, 4][..]));
    calls[4].endpoint = 1;
    assert_eq!(check(&history(calls)).verdict(), Verdict::Held);
}

#[test]
fn eventual_reads_that_overlap_have_no_order() {
    let calls = vec![
        write(1, 1, 2),
        write(2, 3, 4),
        strong(Some(2), 5, 6),
        eventual(Some(2), 7, 9),
        eventual(Some(1), 8, 10),
    ];
    assert_eq!(check(&history(calls)).verdict(), Verdict::Held);
}

#[test]
fn an_eventual_read_of_no_item_after_one_of_an_item_is_found_unless_it_was_deleted() {
    let mut calls = vec![
        call(What::Write { new: Some(1), before: Some(None), fate: Fate::Done }, 1, 2),
        eventual(Some(1), 3, 4),
        eventual(None, 5, 6),
        strong(Some(1), 7, 8),
    ];
    assert_eq!(check(&history(calls.clone())).violations[0].rule, Rule::Monotone);
    calls.push(after(1, None, 9, 10));
    calls.push(strong(None, 11, 12));
    assert_eq!(check(&history(calls.clone())).violations[0].rule, Rule::Monotone, "it was deleted later");
    calls[4] = after(1, None, 5, 10);
    calls[3] = strong(Some(1), 4, 8);
    assert_eq!(check(&history(calls)).verdict(), Verdict::Held, "it may have been deleted by then");
}

#[test]
fn a_key_without_a_final_read_is_not_said_to_hold() {
    let findings = check(&history(vec![strong(None, 1, 2), write(1, 3, 4)]));
    assert_eq!((findings.verdict(), findings.unread.len()), (Verdict::Inconclusive, 1));
    assert_eq!(check(&history(Vec::new())).verdict(), Verdict::Inconclusive);
}

#[test]
fn a_deletion_that_does_not_say_what_it_deleted_is_not_decided() {
    let calls = vec![
        write(1, 1, 2),
        call(What::Write { new: None, before: None, fate: Fate::Unknown }, 3, 4),
        strong(None, 5, 6),
    ];
    assert_eq!(check(&history(calls)).verdict(), Verdict::Inconclusive);
}

#[test]
fn a_history_is_read_as_it_was_written() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let calls = (0..50).flat_map(|_| random_calls(&mut rng)).collect();
    let written = history(calls);
    let mut file = Vec::new();
    written.write(&mut file).unwrap();
    assert_eq!(History::read(&*file).unwrap(), written);
}

#[test]
fn a_damaged_history_is_refused_by_its_line() {
    let mut file = Vec::new();
    history(vec![write(1, 1, 2), write(2, 3, 4)]).write(&mut file).unwrap();
    let text = String::from_utf8(file).unwrap();
    for (from, to, line) in [("\"began\":3", "\"began\":0", "line 3"), ("\"key\":0", "\"key\":9", "line 2")] {
        let error = History::read(text.replacen(from, to, 1).as_bytes()).unwrap_err();
        assert!(error.to_string().contains(line), "{error}");
    }
    assert!(History::read(&b""[..]).is_err());
}

#[test]
fn a_violation_is_shown_as_a_timeline_of_its_key() {
    let calls = vec![write(1, 1_000, 2_000), write(2, 3_000, 4_000), strong(Some(1), 5_000, 6_000)];
    let history = history(calls);
    let findings: Findings = check(&history);
    let text = super::timeline::timeline(&history, &findings.violations[0]);
    assert_eq!(text.lines().count(), 3);
    assert!(text.lines().all(|line| line.starts_with('>')), "{text}");
    assert!(text.contains("strong read: 0.1"), "{text}");
}

/// Calls that a register answered, by points drawn from their times; then, mostly, one thing is changed.
fn random_calls(rng: &mut ChaCha8Rng) -> Vec<Call> {
    let count = rng.random_range(2..=8);
    let deletes = rng.random_bool(0.5);
    let mut points: Vec<(Moment, Call)> = (0..count)
        .map(|_| {
            let began = rng.random_range(1..40);
            let ended = began + rng.random_range(0..12);
            (rng.random_range(began..=ended), call(What::StrongRead(None), began, ended))
        })
        .collect();
    points.sort_by_key(|(point, _)| *point);
    let (mut state, mut value) = (None, 0);
    let mut past = vec![None];
    for (_, call) in &mut points {
        value += 1;
        call.what = random_call(rng, state, value, deletes, &past);
        if let What::Write { new, fate: Fate::Done, .. } = call.what {
            state = new;
            past.push(state);
        }
        if let What::Write { new, fate: Fate::Unknown, before } = call.what
            && before.is_none_or(|before| before == state)
            && rng.random_bool(0.5)
        {
            state = new;
            past.push(state);
        }
    }
    let mut calls: Vec<_> = points.into_iter().map(|(_, call)| call).collect();
    for _ in 0..rng.random_range(0..=4) {
        disturb(rng, &mut calls, &past);
    }
    calls
}

fn random_call(rng: &mut ChaCha8Rng, state: State, value: u64, deletes: bool, past: &[State]) -> What {
    let fate = match rng.random_range(0..10) {
        0 | 1 => Fate::Unknown,
        2 => Fate::NotDone,
        _ => Fate::Done,
    };
    match rng.random_range(0..10) {
        0..4 => What::StrongRead(state),
        4 => What::EventualRead(*past.choose(rng).unwrap()),
        5 if deletes && state.is_some() => What::Write { new: None, before: Some(state), fate },
        6 => match *past.choose(rng).unwrap() {
            expected if expected != state => What::Refused { expected, found: Some(state) },
            _ => What::StrongRead(state),
        },
        7 if !deletes => What::Write { new: Some(value), before: None, fate },
        _ => What::Write { new: Some(value), before: Some(state), fate },
    }
}

/// What a database does wrong, or a history that is as good.
fn disturb(rng: &mut ChaCha8Rng, calls: &mut [Call], past: &[State]) {
    let at = rng.random_range(0..calls.len());
    let call = &mut calls[at];
    match rng.random_range(0..3) {
        0 => {
            let by = rng.random_range(1..30);
            call.began += by;
            call.ended += by;
        }
        1 => call.ended = call.began,
        _ => match &mut call.what {
            What::StrongRead(state) | What::EventualRead(state) => *state = *past.choose(rng).unwrap(),
            What::Write { fate, .. } => {
                *fate = *[Fate::Done, Fate::Unknown, Fate::NotDone].choose(rng).unwrap();
            }
            What::Refused { .. } => {}
        },
    }
}

fn history(calls: Vec<Call>) -> History {
    let endpoints = vec!["http://a".to_owned(), "http://b".to_owned()];
    History { keys: vec!["key".to_owned()], endpoints, calls }
}

fn call(what: What, began: Moment, ended: Moment) -> Call {
    Call { key: 0, endpoint: 0, client: 1, began, ended, what }
}

fn write(value: u64, began: Moment, ended: Moment) -> Call {
    call(What::Write { new: Some(value), before: None, fate: Fate::Done }, began, ended)
}

fn after(before: u64, new: State, began: Moment, ended: Moment) -> Call {
    call(What::Write { new, before: Some(Some(before)), fate: Fate::Done }, began, ended)
}

fn strong(seen: State, began: Moment, ended: Moment) -> Call {
    call(What::StrongRead(seen), began, ended)
}

fn eventual(seen: State, began: Moment, ended: Moment) -> Call {
    call(What::EventualRead(seen), began, ended)
}
