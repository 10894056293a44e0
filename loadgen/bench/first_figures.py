#!/usr/bin/env python3
"""First figures: CPU per request of Weir's tiers beside dynoxide, interleaved in one run.

    cargo build --profile measured -p weir && cargo build --profile measured -p loadgen --example closed_loop
    cargo install dynoxide-rs --version 3.2.0 --no-default-features \\
        --features native-sqlite,http-server,cli --root target/peers
    python3 loadgen/bench/first_figures.py [--rounds 3] [--seconds 3]

Servers run on CPU 0, the load on CPU 1. CPU per request is the minimum and the median over the rounds.
`weir dev` holds every tier and all three replicas in one process; the fleet has its proxy and each storage
node in processes of their own, all on CPU 0. dynoxide checks no signature and keeps one copy.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / "target" / "measured"
WEIR = Path(os.environ.get("WEIR_BIN", BUILT / "weir"))
LOAD = Path(os.environ.get("LOAD_BIN", BUILT / "examples" / "closed_loop"))
DYNOXIDE = Path(os.environ.get("DYNOXIDE_BIN", ROOT / "target" / "peers" / "bin" / "dynoxide"))
ACCESS, SECRET = "WEIRBENCHACCESSKEY00", "weir-bench-secret-key-0123456789abcdefgh"
MIXES = [("GetItem", 100), ("PutItem", 0), ("half and half", 50)]


def start(command):
    return subprocess.Popen(["taskset", "-c", "0", *map(str, command)], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True)


def read_until(process, pattern, last):
    found = []
    for line in process.stdout:
        found += re.findall(pattern, line)
        if re.search(last, line):
            return found
    raise SystemExit(f"a server ended: {process.wait()}")


def load(address, reads, connections, seconds, processes, *extra):
    command = ["taskset", "-c", "1", LOAD, "--address", address, "--reads", reads, "--connections", connections,
               "--seconds", seconds, "--access-key", ACCESS, "--secret-key", SECRET, *extra]
    for name, pid in processes.items():
        command += ["--process", f"{name}:{pid}"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True, timeout=300)
    return json.loads(done.stdout)


def create_table(address):
    import boto3

    db = boto3.client("dynamodb", endpoint_url=f"http://{address}", region_name="us-east-1",
                      aws_access_key_id=ACCESS, aws_secret_access_key=SECRET)
    db.create_table(TableName="usertable", AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
                    KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}], BillingMode="PROVISIONED",
                    ProvisionedThroughput={"ReadCapacityUnits": 40000, "WriteCapacityUnits": 40000})
    while db.describe_table(TableName="usertable")["Table"]["TableStatus"] != "ACTIVE":
        time.sleep(0.05)


def start_and_idle(scratch):
    """From start to the first answered (signed) request, and memory and CPU at rest, of `weir dev`."""
    import boto3

    print("| weir dev | first answer after ms (5 starts) | RSS MB at rest | CPU at rest, % of a core |")
    print("|---|---|---|---|")
    for name, where in [("fresh, in memory", ["--ephemeral"]), ("on disk, again and again", ["--data-dir", scratch / "starts"])]:
        took = []
        for _ in range(5):
            began = time.monotonic()
            process = subprocess.Popen(
                [str(word) for word in [WEIR, "dev", "--port", 0, "--admin-port", 0, *where,
                                        "--access-key", ACCESS, "--secret-key", SECRET]],
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            address = read_until(process, r"endpoint\s+http://(\S+)", r"operators\s+http")[0]
            boto3.client("dynamodb", endpoint_url=f"http://{address}", region_name="us-east-1",
                         aws_access_key_id=ACCESS, aws_secret_access_key=SECRET).list_tables()
            took.append(round((time.monotonic() - began) * 1000))
            if len(took) == 5:
                time.sleep(3)
                before = cpu_seconds(process.pid)
                time.sleep(5)
                cpu = (cpu_seconds(process.pid) - before) / 5 * 100
                rss = int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text()).group(1)) / 1000
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)
        print(f"| {name} | {', '.join(map(str, took))} | {rss:.0f} | {cpu:.1f} |")
    print()


def cpu_seconds(pid):
    return sum(int(thread.joinpath("schedstat").read_text().split()[0]) for thread in Path(f"/proc/{pid}/task").iterdir()) / 1e9


def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def targets(scratch):
    """name → (address, {process name: pid}, what to stop)"""
    keys = ["--access-key", ACCESS, "--secret-key", SECRET]
    for name, where in [("weir dev, in memory", ["--ephemeral"]),
                        ("weir dev, on disk", ["--data-dir", scratch / "dev"])]:
        process = start([WEIR, "dev", "--port", 0, "--admin-port", 0, *where, *keys])
        address = read_until(process, r"endpoint\s+http://(\S+)", r"operators\s+http")[0]
        yield name, (address, {"all": process.pid}, process)
    process = start([WEIR, "cluster", "--dir", scratch / "fleet", "--port", 0, *keys])
    address = read_until(process, r"endpoint\s+http://(\S+)", r"the fleet is ready")[0]
    status = json.loads(subprocess.run([WEIR, "cluster", "--dir", scratch / "fleet", "status", "-o", "json"],
                                       capture_output=True, text=True, check=True).stdout)
    yield "weir fleet, on disk", (address, {row["name"]: row["pid"] for row in status}, process)
    for name, where in [("dynoxide, in memory", []), ("dynoxide, on a file", ["--db-path", scratch / "dynoxide.db"])]:
        port = free_port()
        process = start([DYNOXIDE, "serve", "--port", port, "--log", "quiet", *where])
        for _ in range(500):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1)
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.01)
        yield name, (f"127.0.0.1:{port}", {"all": process.pid}, process)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="weir-bench-"))
    running, rows = {}, {}
    try:
        start_and_idle(scratch)
        for name, target in targets(scratch):
            running[name] = target
            create_table(target[0])
            load(target[0], 0, options.connections, 0, {}, "--load")
        for number in range(options.rounds):
            for mix, reads in MIXES:
                order = list(running)
                random.Random(number * 100 + reads).shuffle(order)
                for name in order:
                    address, processes, _ = running[name]
                    row = load(address, reads, options.connections, options.seconds, processes)
                    if row["failed"]:
                        print(f"! {name}: {row['failed']} failed: {row['first_failure']}")
                    rows.setdefault((mix, name), []).append(row)
    finally:
        for _, _, process in running.values():
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)
        shutil.rmtree(scratch, ignore_errors=True)
    report(rows)


def report(rows):
    print("| requests | server | process | CPU µs per request (min / median) | requests/s (best) | p50 µs | p99 µs | RSS MB |")
    print("|---|---|---|---|---|---|---|---|")
    for (mix, name), runs in rows.items():
        best = max(runs, key=lambda row: row["rps"])
        for process in best["processes"]:
            cpu = sorted(row["processes"][process]["cpu_us"] for row in runs)
            rss = max(row["processes"][process]["rss_mb"] for row in runs)
            print(f"| {mix} | {name} | {process} | {cpu[0]:.1f} / {statistics.median(cpu):.1f} | {best['rps']:.0f} "
                  f"| {best['p50_us']} | {best['p99_us']} | {rss:.0f} |")


main()
