#!/usr/bin/env python3
"""The metadata tier with real processes: the runs behind docs/metadata/measured.md.

    cargo build --profile measured -p weir && cargo build --profile measured -p loadgen --example open_loop
    target/e2e-venv/bin/python loadgen/bench/routing.py [SCENARIO ...] [--seconds 15] [--capacity N]

Each scenario starts a `weir cluster` in a folder of its own, drives it in an open loop with constant arrivals,
and prints what was measured beside what must be reached; series and plots go to docs/metadata. Everything runs
on one machine, so the load generator, the proxies, MemDS and the storage nodes share its cores.
"""

import argparse
import os
import subprocess
import sys
import traceback
from pathlib import Path

from admission import RESULTS, ROOT, check
from metadata.cold_caches import cold
from metadata.constant_work import constant
from metadata.leader_moves import moves
from metadata.local_fleet import Settings
from metadata.missed_changes import missed
from metadata.outages import outage
from metadata.zone_reads import zones

SCENARIOS = [constant, cold, outage, moves, missed, zones]


def main():
    wanted, settings = arguments()
    for scenario in wanted:
        # One that breaks off is a miss, and the others still run.
        try:
            scenario(settings)
        except Exception as error:
            traceback.print_exc()
            check(scenario.__name__, "ran to its end", " ".join(repr(error).split())[:200], "yes", False)
    publish(settings)
    missed_checks = [row for row in RESULTS if not row[4]]
    print(f"\n{len(RESULTS) - len(missed_checks)} of {len(RESULTS)} held")
    sys.exit(1 if missed_checks else 0)


def arguments():
    about = "\n".join(f"  {one.__name__:10} {one.__doc__}" for one in SCENARIOS)
    parser = argparse.ArgumentParser(description=f"{__doc__}\nscenarios:\n{about}",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = Settings()
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="which; all unless given")
    parser.add_argument("--seconds", type=int, default=usual.seconds, help="length of each phase (15)")
    parser.add_argument("--rate", type=float, help="requests per second; default: a share of the capacity")
    parser.add_argument("--capacity", type=float, help="requests per second that this machine does; default: sought")
    parser.add_argument("--writes", type=float, default=usual.writes, help="share of writes (0.1)")
    parser.add_argument("--rounds", type=int, default=usual.rounds, help="flushes in `cold` (5)")
    parser.add_argument("--out", type=Path, default=usual.out, help="where series and plots go (docs/metadata)")
    given = vars(parser.parse_args())
    names = given.pop("scenarios")
    if unknown := set(names) - {one.__name__ for one in SCENARIOS}:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    return [one for one in SCENARIOS if not names or one.__name__ in names], Settings(**given)


def publish(settings):
    """Prints each scenario's table; puts it between its marks in the page beside the plots, if there is one."""
    done = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    page = settings.out / "measured.md"
    text = page.read_text() if page.exists() else ""
    for scenario in dict.fromkeys(row[0] for row in RESULTS):
        table = f"Commit {done.stdout.strip() or 'unknown'}, {os.cpu_count()} cores.\n\n{markdown(scenario)}"
        print(f"\n### {scenario}\n\n{table}")
        begin, end = f"<!-- {scenario} -->", f"<!-- /{scenario} -->"
        if begin in text and end in text:
            text = f"{text.split(begin)[0]}{begin}\n{table}\n{end}{text.split(end)[1]}"
    if text:
        page.write_text(text)


def markdown(scenario):
    rows = ["| what | measured | must be | |", "|---|---|---|---|"]
    for _, what, measured, must, holds in (row for row in RESULTS if row[0] == scenario):
        shown = must == "(shown)"
        row = f"| {what} | {measured} | {'–' if shown else must} | {'–' if shown else 'pass' if holds else '**MISS**'} |"
        rows.append(row.replace("+-", "±").replace("<=", "≤").replace(">=", "≥").replace("->", "→"))
    return "\n".join(rows)


if __name__ == "__main__":
    main()
