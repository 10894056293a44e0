//! How long it takes to check a history: a million calls of 16 clients on 1,000 keys, or as many as the first
//! argument says on as many as the second.
//!
//! `cargo run --release -p loadgen --example check_history [CALLS [KEYS]]`

use std::time::Duration;

use anyhow::ensure;
use loadgen::verify::plan::is_register;
use loadgen::verify::{Call, Fate, History, State, Verdict, What, check};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const CLIENTS: u32 = 16;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let calls = arguments.next().map_or(Ok(1_000_000), |calls| calls.parse())?;
    let keys = arguments.next().map_or(Ok(1_000), |keys| keys.parse())?;
    let history = history(calls, keys);
    let began = wire::clock::now();
    let findings = check(&history);
    let took = wire::clock::now().since(began);
    ensure!(findings.verdict() == Verdict::Held, "{findings:?}");
    println!(
        "{} calls on {} keys: {:.3} s, {:.0} ns per call",
        findings.calls,
        findings.keys,
        took.as_secs_f64(),
        per_call(took, findings.calls),
    );
    Ok(())
}

fn per_call(took: Duration, calls: usize) -> f64 {
    took.as_secs_f64() * 1e9 / calls as f64
}

/// What clients are told by registers: each call takes place at a random time between its begin and its end.
fn history(calls: usize, keys: u32) -> History {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut states: Vec<State> = vec![None; keys as usize];
    // Each client's next call begins after its last one.
    let mut free_from = vec![1_u64; CLIENTS as usize];
    let mut history = History {
        keys: (0..keys).map(|key| key.to_string()).collect(),
        endpoints: vec!["http://127.0.0.1:8000".to_owned()],
        calls: Vec::with_capacity(calls + keys as usize),
    };
    for number in 0..calls {
        // In the order of the times at which they take place, which are a microsecond apart.
        let point = (number as u64 + 100) * 1_000;
        let client = rng.random_range(0..CLIENTS);
        let began =
            free_from[client as usize].max(point.saturating_sub(rng.random_range(1..15_000))).min(point);
        let ended = point + rng.random_range(1..15_000);
        free_from[client as usize] = ended.min(point + 900);
        let key = rng.random_range(0..keys);
        let value = u64::from(client) << 32 | number as u64;
        let what = answered(&mut rng, key, &mut states[key as usize], value);
        history.calls.push(Call { key, endpoint: 0, client, began, ended, what });
    }
    let end = (calls as u64 + 1_000) * 1_000;
    for key in 0..keys {
        let what = What::StrongRead(states[key as usize]);
        history.calls.push(Call { key, endpoint: 0, client: 0, began: end, ended: end + 1, what });
    }
    history
}

fn answered(rng: &mut impl Rng, key: u32, state: &mut State, value: u64) -> What {
    let before = *state;
    match rng.random_range(0..10) {
        0..3 => What::StrongRead(before),
        3..6 => What::EventualRead(before),
        6 if !is_register(key) && before.is_some() => {
            *state = None;
            What::Write { new: None, before: Some(before), fate: Fate::Done }
        }
        draw => {
            *state = Some(value);
            let is_told = !is_register(key) || draw == 6;
            What::Write { new: *state, before: is_told.then_some(before), fate: Fate::Done }
        }
    }
}
