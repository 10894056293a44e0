"""What a comparison found: ratios of pairs, held against what `performance.md` asks."""

import json
import random
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field

from . import binaries


@dataclass
class Finding:
    """One figure of one goal. `value` is judged; none: shown only."""

    goal: str
    what: str
    value: float | None
    # As people read it, with its range.
    measured: str
    must: float | None = None
    aim: float | None = None
    at_least: bool = False
    unit: str = ""

    def _holds(self, bound):
        if bound is None or self.value is None:
            return None
        return self.value >= bound if self.at_least else self.value <= bound

    @property
    def held(self):
        return self._holds(self.must)

    @property
    def verdict(self):
        if self.held is None:
            return "(shown)"
        return "**missed**" if not self.held else "aim" if self._holds(self.aim) else "yes"

    def bound(self, number):
        return "" if number is None else f"{'≥' if self.at_least else '≤'} {number:g}{self.unit}"


@dataclass
class Section:
    """What one module of `goals` found."""

    name: str
    title: str
    intro: str = ""
    findings: list = field(default_factory=list)
    # (caption, header, rows)
    tables: list = field(default_factory=list)
    # (file name, what it shows); the SVG itself is in `svg`.
    plots: list = field(default_factory=list)
    svg: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)
    raw: dict = field(default_factory=dict)
    about: dict = field(default_factory=dict)

    def find(self, *words, **more):
        finding = Finding(*words, **more)
        self.findings.append(finding)
        mark = {"**missed**": "MISS", "(shown)": "    ", "yes": "ok  ", "aim": "aim "}[finding.verdict]
        bounds = [f"{name} {finding.bound(number)}" for name, number in [("must", finding.must), ("aim", finding.aim)]
                  if number is not None]
        print(f"  {mark} {finding.goal:>4} {finding.what}: {finding.measured}"
              f"{' (' + ', '.join(bounds) + ')' if bounds else ''}", flush=True)
        return finding

    def keep(self, folder):
        (folder / f"{self.name}.json").write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def kept(cls, file):
        section = cls(**json.loads(file.read_text()))
        section.findings = [Finding(**one) for one in section.findings]
        return section


@dataclass
class Settings:
    """What the command line says."""

    rounds: int
    quick: bool
    scratch: object = None

    def seconds(self, full, quick):
        return quick if self.quick else full


class Ratio:
    """Two costs that were measured in turn, so that each pair saw the same machine."""

    def __init__(self, ours, theirs):
        self.pairs = [a / b for a, b in zip(ours, theirs)]
        self.of_minima = min(ours) / min(theirs)
        self.median = statistics.median(self.pairs)

    def text(self):
        return f"{self.of_minima:.2f} / {self.median:.2f} ({min(self.pairs):.2f}–{max(self.pairs):.2f})"


def interleaved(settings, cases, targets, run, label=str):
    """`run(case, target)` for all, round by round in shuffled order: {(case, target name): [row, …]}."""
    rows = {}
    for number in range(settings.rounds):
        for at, case in enumerate(cases):
            order = list(targets)
            random.Random(1000 * number + at).shuffle(order)
            for name in order:
                progress(f"round {number + 1} of {settings.rounds}, {label(case)}, {name}")
                rows.setdefault((case, name), []).append(run(case, targets[name]))
    progress("")
    return rows


def progress(text):
    if sys.stdout.isatty():
        print(f"\r\x1b[K  {text}", end="", flush=True)


def cpus(rows):
    return [row["cpu_us"] for row in rows]


def least_and_median(values, digits=1):
    return f"{min(values):.{digits}f} / {statistics.median(values):.{digits}f}"


def machine():
    """Of /proc, in words."""
    words = lambda path: open(path).read()
    model = next((line.split(":")[1].strip() for line in words("/proc/cpuinfo").splitlines() if "model name" in line), "?")
    memory = next(int(line.split()[1]) for line in words("/proc/meminfo").splitlines() if "MemTotal" in line) // 2**20
    kernel = subprocess.run(["uname", "-r"], capture_output=True, text=True).stdout.strip()
    cores = words("/proc/cpuinfo").count("processor\t")
    return f"{cores} CPUs ({model}), {memory} GiB, Linux {kernel}"


def about(settings, began):
    """When, where and of what."""
    return {"commit": binaries.version(), "weir": str(binaries.WEIR), "machine": machine(),
            "at": time.strftime("%Y-%m-%d %H:%M", time.gmtime(began)), "took_s": round(time.time() - began),
            "rounds": settings.rounds, "quick": settings.quick, "load_average": open("/proc/loadavg").read().split()[0]}
