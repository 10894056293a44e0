"""Goals 11 and 12: memory of a proxy and of `weir dev`, and how soon `weir dev` answers."""

import http.client
import signal
import statistics
import time

from harness import binaries, weir
from harness.dynamodb import KEYS, Refused, call, create_table
from harness.findings import Section
from harness.load import GETS, Requests, closed, preload
from harness.processes import Server, cpu_seconds, free_port, resident_mb

NAME, GOALS = "footprint", ["11", "12"]
TITLE = "Memory, and the time to the first answer"
INTRO = """The proxy serves a table of a million partitions, whose keys are read evenly over 256 connections until its
caches are full. `weir dev` is started on both CPUs; the clock runs from its start until a signed request has been
answered: ListTables by a new one, GetItem of an item by one that finds data."""
CONNECTIONS, PARTITIONS, TABLE_KEYS = 256, 1_000_000, 3_000_000
STARTS = 5
ANSWERS_WITHIN_S = 60
FIRST = ("ListTables", {})
FOUND = ("GetItem", {"TableName": "usertable", "Key": {"pk": {"S": f"user{7:020}"}}, "ConsistentRead": True})


def measure(settings):
    section = Section(NAME, TITLE, INTRO)
    proxy_memory(section, settings)
    starts(section, settings)
    return section


def proxy_memory(section, settings):
    back = weir.BackTiers(1, PARTITIONS)
    try:
        proxy = weir.Proxy(settings.scratch / "proxy", back)
        try:
            idle = resident_mb(proxy.server.pid)
            few = closed(proxy, GETS, CONNECTIONS, 1)
            row = closed(proxy, Requests(100, keys=TABLE_KEYS), CONNECTIONS, settings.seconds(20, 6))
            most = row["processes"]["proxy"]["rss_mb"]
        finally:
            proxy.stop()
    finally:
        back.stop()
    section.find("11", "RSS of a proxy at 256 connections and 1 M partitions", most, f"{most:.0f} MB", must=80, aim=48,
                 unit=" MB")
    section.find("11", "the same before its first request; and with 10,000 keys only", None,
                 f"{idle:.0f}; {few['processes']['proxy']['rss_mb']:.0f} MB")
    section.raw["proxy"] = {"idle_mb": idle, "few_keys": few, "many_keys": row}


def starts(section, settings):
    rows = []
    count = settings.seconds(STARTS, 3)
    for name, folder, request in [("in memory, new", None, FIRST), ("on disk, new", "new", FIRST),
                                  ("on disk, finding 10,000 items", "kept", FOUND)]:
        took, memory, busy = [], 0.0, 0.0
        for number in range(count):
            where = folder and settings.scratch / f"{folder}{number if folder == 'new' else ''}"
            if folder == "kept" and number == 0:
                prepare(where)
            answered, server = first_answer(where, request)
            took.append(answered)
            if number == count - 1:
                memory, busy = at_rest(server.pid)
            server.stop()
        rows.append([name, ", ".join(f"{one:.0f}" for one in took), f"{memory:.0f}", f"{busy:.1f}"])
        middle = statistics.median(took)
        section.find("12", f"weir dev, {name}: start to first answer", middle,
                     f"{min(took):.0f} / {middle:.0f} ms (to {max(took):.0f})", must=1000, aim=200, unit=" ms")
        section.find("11", f"weir dev, {name}: RSS at rest", memory, f"{memory:.0f} MB", must=150, aim=80, unit=" MB")
    section.tables.append(("", ["weir dev", "first answer after ms", "RSS MB after 2 s at rest",
                                "CPU at rest, % of a core"], rows))


def prepare(folder):
    dev = weir.Dev(data_dir=folder)
    create_table(dev.address, read=40_000, write=40_000)
    preload(dev, GETS)
    dev.stop()


def first_answer(folder, request):
    """Milliseconds, and the server, still running."""
    port = free_port()
    where = ["--data-dir", folder] if folder else ["--ephemeral"]
    began = time.monotonic()
    server = Server([binaries.WEIR, "dev", "--port", port, "--admin-port", free_port(), *where, *KEYS], cpu="0-1")
    while True:
        try:
            call(f"127.0.0.1:{port}", *request)
            return (time.monotonic() - began) * 1000, server
        except (OSError, Refused, http.client.HTTPException) as error:
            if time.monotonic() - began > ANSWERS_WITHIN_S or server.process.poll() is not None:
                server.process.send_signal(signal.SIGTERM)
                raise TimeoutError(f"weir dev does not answer: {error}") from None
            time.sleep(0.001)


def at_rest(pid):
    """MB, and per cent of a core."""
    time.sleep(2)
    before, began = cpu_seconds(pid), time.monotonic()
    time.sleep(2)
    return resident_mb(pid), (cpu_seconds(pid) - before) / (time.monotonic() - began) * 100
