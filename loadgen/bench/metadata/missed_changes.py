"""One MemDS server misses at least 1,000 changes of routes, and agrees with its peer again."""

import os
import signal
import time

from .leader_moves import move_leaders
from .local_fleet import check, leaders, local_fleet, make_tables, memds_addresses, memds_status
from .report import figure, write_csv

TABLES = 10
WANTED = 1000
# Servers compare every 5 s.
TWO_COMPARISONS_S = 10


def missed(settings):
    """Agreement within two comparisons; pushes go on meanwhile, as they do in a fleet."""
    with local_fleet("--proxies", "1") as cluster:
        names, memds = make_tables(cluster, TABLES), memds_addresses(cluster)
        await_agreement(memds, 30)
        before = {name: memds_status(address) for name, address in memds.items()}
        pid = cluster.processes()["memds-2"]["pid"]
        os.kill(pid, signal.SIGSTOP)
        begin = time.monotonic()
        try:
            changes = change_routes(cluster, memds["memds-1"], names, begin + 90)
        finally:
            os.kill(pid, signal.SIGCONT)
        away = time.monotonic() - begin
        took = await_agreement(memds, 60)
        check("missed", "changes of routes while memds-2 was frozen", f"{changes} in {away:.0f} s", f">= {WANTED}",
              changes >= WANTED)
        check("missed", "from its return to equal roots, s", figure(took), f"<= {TWO_COMPARISONS_S}",
              took <= TWO_COMPARISONS_S)
        time.sleep(TWO_COMPARISONS_S)
        show(settings, before, {name: memds_status(address) for name, address in memds.items()})


def change_routes(cluster, memds, names, deadline):
    """Moves leaderships until enough routes changed: how many did."""
    changes, node, known = 0, 1, leaders(memds, names)
    while changes < WANTED and time.monotonic() < deadline:
        move_leaders(cluster, node, WANTED)
        time.sleep(1.0)
        now = leaders(memds, names)
        changes += sum(now[one] != known[one] for one in now)
        known, node = now, node % 3 + 1
    return changes


def show(settings, before, after):
    """What each server's comparisons did. Against a full copy it is judged where pushes can be kept away, and
    with a million routes: memds/tests/peers.rs."""
    rows = []
    for name, status in after.items():
        for peer, earlier in zip(status["peers"], before[name]["peers"]):
            repaired = peer["repaired"] - earlier["repaired"]
            rows.append([name, status["routes"], status["route_bytes"], repaired, peer["last_bytes"]])
            check("missed", f"{name}: routes, bytes of them; repaired by comparisons; bytes of the last one",
                  f"{status['routes']}, {status['route_bytes']}; {repaired}; {peer['last_bytes']}", "(shown)", True)
    write_csv(settings, "missed", ["server", "routes", "route_bytes", "repaired_by_comparison", "last_bytes"], rows)


def await_agreement(memds, within):
    """Until all servers' roots are equal: seconds that it took, or `within`."""
    begin = time.monotonic()
    while time.monotonic() < begin + within:
        try:
            if len({memds_status(address)["root"] for address in memds.values()}) == 1:
                return time.monotonic() - begin
        except OSError:
            pass
        time.sleep(0.05)
    return time.monotonic() - begin
