//! What the engine costs itself, and whether it measures what other tools measure.
//!
//! `self_check serve` is a service that does nothing but answer, after a wait that varies, and prints its address.
//! `self_check run --endpoint URL --rate 10000` loads it and prints one JSON object: percentiles of latency and of
//! how late requests were sent, in microseconds, and the CPU of the sending threads per attempt.
//! `loadgen/bench/self_check.py` compares the percentiles with those of another tool.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use loadgen::credentials::Credentials;
use loadgen::engine::{RunOptions, run};
use loadgen::spec::{Pacing, Protocol, RunSpec, StreamSpec};
use loadgen::workload::Arrivals;
use memchr::memmem;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: 2\r\n\r\n{}";

/// Checks the load generator against a known service.
#[derive(Debug, Parser)]
enum Arguments {
    /// Answers until it is ended.
    Serve {
        /// Each answer waits for a time around this, exponentially distributed; none: it is sent at once.
        #[arg(long, value_parser = humantime::parse_duration)]
        mean_wait: Option<Duration>,
    },
    /// Loads a service.
    Run(RunArguments),
}

#[derive(Debug, clap::Args)]
struct RunArguments {
    #[arg(long)]
    endpoint: String,
    /// Requests per second; none: a closed loop, as fast as answers come.
    #[arg(long)]
    rate: Option<f64>,
    /// Whether gaps are random.
    #[arg(long)]
    poisson: bool,
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    duration: Duration,
    #[arg(long, default_value_t = 64)]
    connections: usize,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    #[arg(long)]
    http2: bool,
    #[arg(long, default_value = "get=1")]
    mix: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse() {
        Arguments::Serve { mean_wait } => serve(mean_wait).await,
        Arguments::Run(arguments) => load(arguments).await,
    }
}

async fn load(arguments: RunArguments) -> anyhow::Result<()> {
    let kind = if arguments.poisson { "poisson" } else { "constant" };
    let arrivals: Arrivals = format!("{kind}:{}/s", arguments.rate.unwrap_or(1.0)).parse()?;
    let spec = RunSpec {
        endpoints: vec![arguments.endpoint],
        region: "us-east-1".to_owned(),
        protocol: if arguments.http2 { Protocol::Http2 } else { Protocol::Http1 },
        pacing: if arguments.rate.is_some() { Pacing::Open } else { Pacing::Closed },
        duration: arguments.duration,
        warm_up: Duration::from_secs(1),
        threads: arguments.threads,
        connections: arguments.connections,
        attempt_timeout: Duration::from_secs(5),
        late_after: Duration::from_millis(1),
        retry: "none".parse()?,
        return_capacity: false,
        seed: 1,
        streams: vec![StreamSpec {
            name: "self-check".to_owned(),
            table: "self-check".to_owned(),
            profile: None,
            arrivals,
            mix: arguments.mix.parse()?,
            keys: "uniform:10000".parse()?,
            item_size: "900".parse()?,
            from: Duration::ZERO,
            to: None,
        }],
    };
    let credentials = BTreeMap::from([(None, Credentials::new("AKIDSELFCHECK", "secret", None))]);
    let options = RunOptions { credentials, ..RunOptions::default() };
    let result = run(&spec, options, |_| {}, CancellationToken::new()).await?;
    let total = &result.total;
    let senders: f64 = result.streams[0].seconds.iter().map(|second| second.own_cpu).sum();
    println!(
        "{}",
        serde_json::json!({
            "valid": result.validity.valid, "reasons": result.validity.reasons,
            "per_second": total.attempts as f64 / spec.duration.as_secs_f64(),
            "outcomes": total.outcomes, "errors": total.errors,
            "latency_us": percentiles(&total.latency), "service_us": percentiles(&total.service),
            "send_delay_us": percentiles(&total.send_delay),
            "busiest_thread": result.validity.busiest_thread,
            "busiest_senders_us_per_attempt": senders * 1e6 / (total.attempts as f64 / spec.threads as f64),
            "own_cpu_us_per_attempt": result.validity.own_cpu_us_per_attempt,
        })
    );
    Ok(())
}

fn percentiles(latency: &loadgen::result::Latency) -> serde_json::Value {
    serde_json::json!({ "p50": latency.p50_us, "p90": latency.p90_us, "p99": latency.p99_us,
        "p99.9": latency.p999_us, "max": latency.max_us })
}

async fn serve(mean_wait: Option<Duration>) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    let mut seed = 0;
    loop {
        let (stream, _) = listener.accept().await?;
        seed += 1;
        tokio::spawn(answer(stream, mean_wait, seed));
    }
}

/// Answers whatever comes: as little work as there can be, so that it can take more than one client sends.
async fn answer(mut stream: TcpStream, mean_wait: Option<Duration>, seed: u64) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut input = bytes::BytesMut::with_capacity(16 * 1024);
    loop {
        while let Some(length) = request_length(&input) {
            _ = input.split_to(length);
            if let Some(mean) = mean_wait {
                let wait = mean.mul_f64(-(1.0 - rng.random::<f64>()).ln());
                tokio::time::sleep(wait).await;
            }
            stream.write_all(ANSWER).await?;
        }
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    }
}

/// The length of the request that `input` begins with, if it is all there.
fn request_length(input: &[u8]) -> Option<usize> {
    let head = memmem::find(input, b"\r\n\r\n")? + 4;
    let text = Bytes::copy_from_slice(&input[..head]).to_ascii_lowercase();
    let body = memmem::find(&text, b"content-length: ").map_or(0, |at| {
        let digits = &text[at + 16..];
        let end = memchr::memchr(b'\r', digits).unwrap_or(digits.len());
        std::str::from_utf8(&digits[..end]).ok().and_then(|digits| digits.trim().parse().ok()).unwrap_or(0)
    });
    (input.len() >= head + body).then_some(head + body)
}
