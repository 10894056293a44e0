//! What the generator itself costs per request: nanoseconds to make one, and to price its answer.
//!
//! `cargo run --release -p loadgen --example request_cost`

use std::hint::black_box;
use std::time::Duration;

use loadgen::spec::StreamSpec;
use loadgen::workload::{Arrivals, RequestSource};

/// Enough for a stable mean, few enough for a second each.
const REQUESTS: u32 = 500_000;

const STREAMS: [(&str, &str, &str); 10] = [
    ("get=1", "uniform:1000000", "900"),
    ("get=1", "zipf:1000000:0.99", "900"),
    ("get=95,insert=5", "latest:1000000", "fields:10x100"),
    ("put=1", "uniform:1000000", "900"),
    ("put=1", "zipf:1000000:0.99", "fields:10x100"),
    ("put=1", "uniform:1000000", "lognormal:900:0.5"),
    ("update=1", "zipf:1000000:0.99", "fields:10x100"),
    ("query(10)=1", "uniform:1000000 by 100", "900"),
    ("batch-get(25)=1", "zipf:1000000:0.99", "900"),
    ("batch-write(25)=1", "uniform:1000000", "900"),
];

fn main() {
    println!("ns per request, {REQUESTS} each; answers have items of 900 bytes");
    for (mix, keys, size) in STREAMS {
        let mut source = RequestSource::new(&stream(mix, keys, size), false, 1, 0, 1);
        let making = nanos_each(|number| {
            black_box(source.next(Duration::from_micros(u64::from(number))));
        });
        println!("{making:8.0}  make      {mix}, {keys}, {size}");
    }
    for (mix, items) in [("get=1", 1), ("query(10)=1", 10)] {
        let planned =
            RequestSource::new(&stream(mix, "uniform:1000", "900"), false, 1, 0, 1).next(Duration::ZERO);
        let answer = answer(items, items > 1);
        let pricing = nanos_each(|_| {
            black_box(planned.units.units(black_box(&answer)));
        });
        println!("{pricing:8.0}  price     {mix}, {} bytes", answer.len());
    }
    for text in ["1000/s", "constant:1000/s", "sine:1000/s +-500/s every 10s"] {
        let arrivals: Arrivals = text.parse().expect("the texts above are well-formed");
        let mut schedule = arrivals.schedule(Duration::ZERO, Duration::from_secs(3600), 1);
        let timing = nanos_each(|_| {
            black_box(schedule.next());
        });
        println!("{timing:8.0}  schedule  {text}");
    }
}

/// Mean wall time of one call.
fn nanos_each(mut call: impl FnMut(u32)) -> f64 {
    let begin = wire::clock::now();
    (0..REQUESTS).for_each(&mut call);
    wire::clock::now().since(begin).as_nanos() as f64 / f64::from(REQUESTS)
}

fn stream(mix: &str, keys: &str, size: &str) -> StreamSpec {
    let well_formed = "the texts above are well-formed";
    StreamSpec {
        name: "cost".to_owned(),
        table: "orders".to_owned(),
        profile: None,
        arrivals: "1000/s".parse().expect(well_formed),
        mix: mix.parse().expect(well_formed),
        keys: keys.parse().expect(well_formed),
        item_size: size.parse().expect(well_formed),
        from: Duration::ZERO,
        to: None,
    }
}

/// An answer as DynamoDB writes it, to a get or to a query.
fn answer(items: usize, page: bool) -> Vec<u8> {
    let filling = "x".repeat(900 - 26 - 1);
    let item = format!(r#"{{"pk":{{"S":"user01234567890123456789"}},"v":{{"S":"{filling}"}}}}"#);
    let text = if page {
        format!(r#"{{"Count":{items},"Items":[{}],"ScannedCount":{items}}}"#, vec![item; items].join(","))
    } else {
        format!(r#"{{"Item":{item}}}"#)
    };
    text.into_bytes()
}
