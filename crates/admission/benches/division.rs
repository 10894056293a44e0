//! What an account's owner pays per division of its quota.
//!
//! `cargo bench -p admission --bench division`

mod cpu_time;

use std::hint::black_box;

use admission::{Claim, Claimant, divide_max_min};
use cpu_time::CpuTime;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use units::MilliUnitsPerSecond;

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = divide
}
criterion_main!(benches);

/// Tables of weights 1 to 4, a tenth of the rate in floors, three priorities, demands of up to three times
/// a fair share.
fn divide(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("max_min");
    for tables in [50_u32, 1_000] {
        let rate = MilliUnitsPerSecond::from_units(1_000 * u64::from(tables));
        let claimants: Vec<_> = (0..tables).map(claimant).collect();
        group.bench_function(BenchmarkId::from_parameter(tables), |bencher| {
            bencher.iter(|| divide_max_min(black_box(rate), black_box(&claimants)));
        });
    }
    group.finish();
}

fn claimant(number: u32) -> Claimant {
    let claim = Claim {
        weight: 1 << (number % 3),
        floor: MilliUnitsPerSecond::from_units(100),
        priority: u8::try_from(number % 3).expect("it is small"),
        ..Claim::default()
    };
    // Spread over 0 to 3,000 by a multiplication that hits every remainder.
    Claimant { demand: MilliUnitsPerSecond::from_units(u64::from(number) * 997 % 3_000), claim }
}
