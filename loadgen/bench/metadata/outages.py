"""MemDS servers killed, frozen, slowed; both away; all return."""

import os
import signal
import statistics
import time

from .counters import Watch, read
from .local_fleet import (LOOKUPS, check, endpoints, local_fleet, make_tables, memds_addresses, run,
                          share_of_capacity, streams, warm_up)
from .report import Series, figure

TABLES = 5
SETTLED_S = 3
# Both are away for so many phases: a minute of the usual 15 s.
BOTH_AWAY_PHASES = 4


class Faults:
    """What is done to MemDS servers, and when; signals go to the processes that `weir cluster` names."""

    def __init__(self, cluster, watch):
        self.cluster, self.watch = cluster, watch
        # (monotonic time, what happened), and (server, monotonic time of its return, what happened).
        self.events, self.returns = [], []
        self.held = 0.0

    def kill(self, *names):
        for name in names:
            self.cluster.command("kill", name)
        self._event(f"{' and '.join(names)} killed")

    def start(self, *names):
        for name in names:
            begin = time.monotonic()
            self.cluster.command("start", name)
            self.watch.note(name, begin, 0.0)
            self.returns.append((name, begin, "killed"))
        self._event(f"{' and '.join(names)} back")

    def freeze(self, name):
        row = self.cluster.processes()[name]
        self.pid = row["pid"]
        self.held = read(row["admin"]).sum(LOOKUPS)
        os.kill(self.pid, signal.SIGSTOP)
        self._event(f"{name} frozen")

    def thaw(self, name):
        begin = time.monotonic()
        os.kill(self.pid, signal.SIGCONT)
        self.watch.note(name, begin, self.held)
        self.returns.append((name, begin, "frozen"))
        self._event(f"{name} resumed")

    def slow(self, name):
        self.cluster.command("slow", name, "--ms", "40")
        self._event(f"{name} slow")

    def resume(self, name):
        self.cluster.command("resume", name)
        self.returns.append((name, time.monotonic(), "slow"))
        self._event(f"{name} resumed")

    def _event(self, what):
        self.events.append((time.monotonic(), what))


def outage(settings):
    """At least 99.9 % succeed in every phase; no server meets a spike when it returns."""
    with local_fleet("--proxies", "2") as cluster:
        names, where = make_tables(cluster, TABLES), endpoints(cluster)
        warm_up(settings, names, where, 600, 8)
        rate = share_of_capacity(settings, names, where, 0.4)
        watch = Watch(memds_addresses(cluster))
        faults = Faults(cluster, watch)
        phases = [("calm", 1, None), ("one killed", 1, lambda: faults.kill("memds-1")),
                  ("it is back", 1, lambda: faults.start("memds-1")),
                  ("one frozen", 1, lambda: faults.freeze("memds-1")),
                  ("it is resumed", 1, lambda: faults.thaw("memds-1")),
                  ("one slow", 1, lambda: faults.slow("memds-1")),
                  ("it is fast again", 1, lambda: faults.resume("memds-1")),
                  ("both killed", BOTH_AWAY_PHASES, lambda: faults.kill("memds-1", "memds-2")),
                  ("both are back", 1, lambda: faults.start("memds-1", "memds-2"))]
        ends, at = {}, SETTLED_S
        for name, length, _ in phases:
            ends[name] = (at, at := at + length * settings.seconds)
        done = run(streams(settings, names, where, rate, 0, at))
        for name, _, action in phases:
            done.until(ends[name][0])
            if action:
                action()
        done.done()
        time.sleep(0.5)
        watch.stop()
        judge_requests(done, ends)
        most = judge_returns(done, watch, faults, ends["calm"], at)
        Series(done, at, watch, [(when - done.began, what) for when, what in faults.events]).write(
            settings, "outage", f"MemDS servers killed, frozen, slow, both away ({rate:.0f} requests/s)",
            [("1.05 x calm mean", most * 1.05)])


def judge_requests(done, ends):
    def p99(phase):
        """The median over its seconds: one stray second of the machine is not the phase's."""
        begin, end = ends[phase]
        return statistics.median([done.window(second, second + 1).ms(0.99) or float("inf")
                                  for second in range(begin, end)])

    calm = p99("calm")
    for phase, (begin, end) in ends.items():
        window = done.window(begin, end)
        check("outage", f"{phase}: successful, %", f"{window.success:.3f} of {window.offered}", ">= 99.9",
              window.success >= 99.9)
        if phase != "calm":
            # The design bounds p99 where one server of two is away; that of all latencies is beside it.
            bounded = phase.startswith("one")
            now = p99(phase)
            check("outage", f"{phase}: p99 calm -> then, ms; longest", f"{calm:.2f} -> {now:.2f}; {figure(window.ms(1.0), 1)}",
                  "+10 %" if bounded else "(shown)", not bounded or now <= calm * 1.1)
    check("outage", "why requests did not succeed", str(done.reasons() or "none"), "(shown)", True)


def judge_returns(done, watch, faults, calm, end):
    """No 1 s window since a server's return is above 1.05 x its calm mean; returns the larger of those means."""
    means = {name: watch.mean(name, *(done.began + second for second in calm)) for name in watch.points}
    for name, at, what in faults.returns:
        until = min([when for when, event in faults.events if when > at + 1 and name in event],
                    default=done.began + end)
        windows = watch.windows(name, at, until - 0.2)
        when, most = max(windows, key=lambda window: window[1], default=(at, 0.0))
        check("outage", f"{name}, that was {what}: worst 1 s since its return / calm mean",
              f"{most / means[name]:.3f} ({most:.0f}/{means[name]:.0f}, until {when - at:.1f} s after)", "<= 1.05",
              bool(windows) and most <= 1.05 * means[name])
    return max(means.values())
