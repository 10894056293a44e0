"""Compares what the load generator measures with what oha measures, against the same service.

    cargo build --profile measured -p loadgen --example self_check
    cargo install oha --root target/peers
    python3 loadgen/bench/self_check.py

Both send at the same constant rate over the same number of connections, one after the other, in turns; the service
answers after a random wait. Latencies count from when a request was due on both sides. Compared are the medians over
the rounds of p50, p90 and p99: they must be within 5 %.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PERCENTILES = ("p50", "p90", "p99")
WITHIN = 0.05


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--self-check", type=Path, default=ROOT / "target/measured/examples/self_check")
    parser.add_argument("--oha", type=Path, default=ROOT / "target/peers/bin/oha")
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mean-wait", default="20ms", help="mean of the service's exponentially distributed wait")
    arguments = parser.parse_args()
    for tool in (arguments.self_check, arguments.oha):
        if not tool.exists():
            print(f"{tool} is missing; see --help for how to build it", file=sys.stderr)
            return 1
    service = subprocess.Popen(
        [arguments.self_check, "serve", "--mean-wait", arguments.mean_wait], stdout=subprocess.PIPE, text=True
    )
    try:
        endpoint = service.stdout.readline().strip()
        ours, theirs = [], []
        for _ in range(arguments.rounds):
            ours.append(by_us(endpoint, arguments))
            theirs.append(by_oha(endpoint, arguments))
    finally:
        service.terminate()
        service.wait()
    return report(ours, theirs)


def by_us(endpoint: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Percentiles in milliseconds."""
    command = [arguments.self_check, "run", "--endpoint", endpoint, "--rate", str(arguments.rate),
               "--connections", str(arguments.connections), "--duration", f"{arguments.seconds}s"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if not found["valid"]:
        print(f"a run was invalid: {found['reasons']}", file=sys.stderr)
    return {name: found["latency_us"][name] / 1000 for name in PERCENTILES}


def by_oha(endpoint: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Percentiles in milliseconds."""
    command = [arguments.oha, "--no-tui", "--output-format", "json", "--latency-correction", "-m", "POST", "-d", "{}",
               "-q", str(arguments.rate), "-c", str(arguments.connections), "-z", f"{arguments.seconds}s", endpoint]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {name: found["latencyPercentiles"][name] * 1000 for name in PERCENTILES}


def report(ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> int:
    print("percentile  ours (ms)  oha (ms)  difference")
    agree = True
    for name in PERCENTILES:
        mine = statistics.median(found[name] for found in ours)
        other = statistics.median(found[name] for found in theirs)
        difference = mine / other - 1
        agree = agree and abs(difference) <= WITHIN
        print(f"{name:<10}  {mine:9.3f}  {other:8.3f}  {difference:+9.1%}")
    print("they agree within 5 %" if agree else "they do not agree within 5 %")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
