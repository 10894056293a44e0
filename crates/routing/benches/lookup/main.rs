//! The Perkle tree beside other ordered maps: floor, get, insert and iteration over 10 k, 1 M and 10 M partitions.
//!
//! `cargo bench -p routing -- 1M`; 10 M need some 3 GB and minutes to fill, so they run only with
//! `WEIR_BENCH_LARGE=1`. Names are size/operation/map.
//!
//! The other maps have their keys inline, as arrays of a fixed length, which is what suits them best; Perkle's
//! have any length. None but Perkle's keeps hashes or versions.

#[path = "../../../admission/benches/cpu_time/mod.rs"]
mod cpu_time;
mod maps;

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::hint::black_box;

use blart::TreeMap;
use cpu_time::CpuTime;
use criterion::{Criterion, criterion_group, criterion_main};
use maps::{Key, Map, SortedVector, Value};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use routing::perkle::PerkleTree;

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime).sample_size(20);
    targets = all
}
criterion_main!(benches);

/// Tables that the partitions are spread over.
const TABLES: u64 = 1_000;
/// Keys that are looked up or put in, in turn.
const PROBES: usize = 1 << 16;
/// Entries that are iterated over, from a random one on.
const SCAN: usize = 1_000;
/// Bytes of a value: a route's without its key.
const VALUE: usize = 42;

fn all(criterion: &mut Criterion<CpuTime>) {
    let large = std::env::var_os("WEIR_BENCH_LARGE").map(|_| ("10M", 10_000_000));
    for (name, size) in [("10k", 10_000), ("1M", 1_000_000)].into_iter().chain(large) {
        operations::<PerkleTree>(criterion, name, size, "perkle");
        operations::<BTreeMap<Key, Value>>(criterion, name, size, "btree_map");
        operations::<SortedVector>(criterion, name, size, "sorted_vector");
        operations::<TreeMap<Key, Value>>(criterion, name, size, "blart");
    }
}

fn operations<M: Map>(criterion: &mut Criterion<CpuTime>, name: &str, size: usize, of: &str) {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let probes: Vec<Key> = (0..PROBES).map(|_| key(&mut rng)).collect();
    // Filled by the first operation that the filter lets run.
    let mut filled = LazyCell::new(|| {
        let mut keys: Vec<Key> = (0..size).map(|_| key(&mut rng)).collect();
        keys.sort_unstable();
        let map = M::of(keys.iter().map(|key| (*key, [7; VALUE].into())));
        keys.shuffle(&mut rng);
        keys.truncate(PROBES);
        (map, keys)
    });
    let mut turn = (0..PROBES).cycle();
    let mut next = || turn.next().expect("it has no end");
    criterion.bench_function(&format!("{name}/floor/{of}"), |bencher| {
        let (map, _) = &*filled;
        bencher.iter(|| black_box(map.floor(&probes[next()])));
    });
    criterion.bench_function(&format!("{name}/get/{of}"), |bencher| {
        let (map, present) = &*filled;
        bencher.iter(|| assert!(black_box(map.get(&present[next() % present.len()]))));
    });
    criterion.bench_function(&format!("{name}/iterate_{SCAN}/{of}"), |bencher| {
        let (map, _) = &*filled;
        bencher.iter(|| black_box(map.scan(&probes[next()], SCAN)));
    });
    criterion.bench_function(&format!("{name}/insert_and_remove/{of}"), |bencher| {
        let (map, _) = &mut *filled;
        bencher.iter(|| {
            let key = &probes[next()];
            map.insert(*key, [8; VALUE].into());
            assert!(map.remove(key));
        });
    });
}

/// A table's number and a hash.
fn key(rng: &mut ChaCha8Rng) -> Key {
    let mut key = [0; _];
    key[..8].copy_from_slice(&rng.random_range(1..=TABLES).to_be_bytes());
    rng.fill(&mut key[8..]);
    key
}
