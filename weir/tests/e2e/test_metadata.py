"""Routing as operators see it: `weir routes`, `weir memds status`, `weir cache`, with servers that come and go.

Short forms. The long ones, with their figures, are loadgen/bench/routing.py.
"""

import json
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError

import fleet

SERVERS = ["memds-1", "memds-2"]
# 24,000 read units per second: a partition serves 3,000 of them, and the writes take a part of one.
NINE_PARTITIONS = {
    "BillingMode": "PROVISIONED",
    "ProvisionedThroughput": {"ReadCapacityUnits": 24_000, "WriteCapacityUnits": 100},
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with fleet.Cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(scope="module")
def orders(cluster):
    """A table of nine partitions, written to, whose routes both servers know."""
    db = cluster.client()
    fleet.create_table(db, "orders", sort=True, **NINE_PARTITIONS)
    for number in range(20):
        db.put_item(TableName="orders", Item=key(number))
    await_agreement(cluster)
    return "orders"


def key(number):
    return {"pk": {"S": f"key-{number}"}, "sk": {"N": "1"}}


def routes(cluster, table, *words):
    return cluster.weir("routes", table, *words, "-o", "json")


def memds(cluster):
    return cluster.weir("memds", "status", "-o", "json")


def await_agreement(cluster, servers=2, deadline_s=30):
    end = time.monotonic() + deadline_s
    while True:
        seen = memds(cluster)
        ready = [server for server in seen["servers"].values() if server["ready"]]
        leaders = [row["leader"] for table in cluster.client().list_tables()["TableNames"]
                   for row in routes(cluster, table)["partitions"]]
        if len(ready) == servers and seen["agree"] and all(leaders):
            return seen
        assert time.monotonic() < end, seen
        time.sleep(0.05)


def test_routes_are_the_ones_that_the_storage_nodes_serve_by(cluster, orders):
    seen = routes(cluster, orders)
    rows = seen["partitions"]

    assert (len(rows), seen["partitions_total"], seen["seams"]) == (9, 9, [])
    assert [row["start"] for row in rows] == [""] + [row["end"] for row in rows[:-1]]
    assert rows[-1]["end"] is None
    for row in rows:
        assert sorted(zone for _, zone, _ in row["members"]) == [0, 1, 2]
        assert row["leader"] in [node for node, _, _ in row["members"]]
        assert (row["agree"], row["differing"]) == (2, {})
    assert {name: server["knows_table"] for name, server in seen["servers"].items()} == dict.fromkeys(SERVERS, True)
    led = {node: 0 for node in (1, 2, 3)}
    for table in cluster.client().list_tables()["TableNames"]:
        for row in routes(cluster, table)["partitions"]:
            led[row["leader"]] += 1
    assert led == {node: cluster.metric(f"storage-{node}", "weir_storage_leaders") for node in led}

    shown = cluster.weir("routes", orders)
    assert shown.splitlines()[-1] == "9 partitions, 2 of 2 servers agree"
    assert "!" not in shown


def test_a_key_is_found_in_the_one_partition_that_holds_it(cluster, orders):
    found = set()
    for number in range(20):
        seen = routes(cluster, orders, "--key", json.dumps(key(number)))
        [row] = seen["partitions"]
        assert row["start"] <= seen["key"] and (row["end"] is None or seen["key"] < row["end"])
        place = routes(cluster, orders, "--key", json.dumps({"pk": key(number)["pk"]}))
        assert seen["key"].startswith(place["key"]) and place["partitions"] == [row]
        found.add(row["partition"])
    assert len(found) > 3, "twenty keys spread over nine partitions"
    number = min(found)
    shown = cluster.weir("routes", orders, "--partition", str(number), "--wide")
    assert shown.splitlines()[-1] == "1 of 9 partitions, 2 of 2 servers agree"
    assert "…" not in shown and "…" in cluster.weir("routes", orders)


# What a proxy counts when the machine was too busy for it: then lookups are not exactly two.
DISTURBANCES = [
    ("weir_proxy_lookups_dropped_total", {}),
    ("weir_proxy_lookup_batches_total", {"result": "failed"}),
    ("weir_proxy_repeated_lookups_total", {}),
    ("weir_proxy_retries_total", {}),
]


def lookups_of(cluster, requests, request):
    """Lookups that each MemDS server served for so many requests through proxy-1, on an undisturbed try."""
    def disturbances():
        return [cluster.metric("proxy-1", metric, **labels) for metric, labels in DISTURBANCES]

    def served():
        return {name: server["lookups"] for name, server in memds(cluster)["servers"].items()}

    for _ in range(5):
        disturbed, before = disturbances(), served()
        for number in range(requests):
            request(number)
        # Those that nobody waits for leave within milliseconds; then no others must follow.
        end = time.monotonic() + 5
        while sum(served().values()) < sum(before.values()) + 2 * requests and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(0.2)
        after = served()
        if disturbances() == disturbed:
            return [after[name] - before[name] for name in after]
    raise AssertionError(f"five tries were disturbed: {dict(zip(map(str, DISTURBANCES), disturbed))}")


def test_every_request_costs_two_lookups_whether_the_caches_know_or_not(cluster, orders):
    db = cluster.client()

    def get(number):
        db.get_item(TableName=orders, Key=key(number % 20))

    def cold(number):
        cluster.weir("cache", "flush", "--yes")
        get(number)

    get(0)
    assert lookups_of(cluster, 40, get) == [40, 40]
    assert lookups_of(cluster, 5, cold) == [5, 5]


def test_a_flush_empties_all_proxies_and_no_request_fails(cluster, orders):
    stopped, failures, done = threading.Event(), [], [0, 0]

    def read(proxy):
        db = cluster.client(proxy, retries=1)
        while not stopped.is_set():
            try:
                db.get_item(TableName=orders, Key=key(done[proxy] % 20))
                done[proxy] += 1
            except (BotoCoreError, ClientError) as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=read, args=(proxy,)) for proxy in (0, 1)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            wanted = [count + 40 for count in done]
            end = time.monotonic() + 20
            while any(now < then for now, then in zip(done, wanted)):
                assert time.monotonic() < end, (done, failures)
                time.sleep(0.01)
            said = cluster.weir("cache", "flush", "--yes", "--reason", "e2e", "--author", "test", "-o", "json")
            assert not said["missing"] and set(said["proxies"]) == {"proxy-1", "proxy-2"}
            for forgotten in said["proxies"].values():
                assert forgotten["tables"] >= 1 and forgotten["routes"] >= 1
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
    assert not failures, failures[:3]

    cluster.weir("cache", "flush", "--yes")
    said = cluster.weir("cache", "flush", "--yes", "-o", "json")
    nothing = {"tables": 0, "routes": 0, "warm": 0}
    assert said["proxies"] == {"proxy-1": nothing, "proxy-2": nothing}
    log = (cluster.directory / "logs" / "proxy-1.log").read_text()
    assert "e2e" in log and "emptied the caches" in log


def test_status_of_the_caches_shows_what_is_in_them_and_who_answers(cluster, orders):
    db = cluster.client()
    cluster.weir("cache", "flush", "--yes")
    for number in range(20):
        db.get_item(TableName=orders, Key=key(number))

    seen = cluster.weir("cache", "status", "-o", "json")

    assert set(seen["proxies"]) == {"proxy-1", "proxy-2"} and not seen["missing"]
    used, idle = seen["proxies"]["proxy-1"], seen["proxies"]["proxy-2"]
    assert used["tables"] == 1 and 3 < used["routes"] + used["warm"] <= 9 and used["route_bytes"] > 0
    assert (idle["tables"], idle["routes"], idle["warm"]) == (0, 0, 0)
    addresses = {server["address"] for server in memds(cluster)["servers"].values()}
    for proxy in (used, idle):
        assert proxy["nodes"] == 3
        assert {server["address"] for server in proxy["servers"]} == addresses
        assert all(server["connected"] for server in proxy["servers"])
    assert "MEDIAN" in cluster.weir("cache", "status")


def test_status_shows_what_each_server_holds_and_that_they_agree(cluster, orders):
    seen = await_agreement(cluster)

    assert set(seen["servers"]) == set(SERVERS) and not seen["missing"]
    for server in seen["servers"].values():
        assert server["ready"] and server["uptime_seconds"] > 0
        assert server["tables"] >= 1 and server["routes"] >= 9
        assert 0 < server["route_bytes"] < 1000 * server["routes"]
        assert sorted(node["node"] for node in server["nodes"]) == [1, 2, 3]
        assert all(node["push_seconds"] < 30 for node in server["nodes"])
        [peer] = server["peers"]
        assert peer["connected"] and peer["address"] != server["address"]
    assert len({server["root"] for server in seen["servers"].values()}) == 1
    shown = cluster.weir("memds", "status", "--nodes")
    assert shown.splitlines()[-1].startswith("2 servers, ")
    assert shown.splitlines()[-1].endswith("all hold the same routes")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has huge pages to be kept from")
def test_proxies_live_in_small_pages_and_memds_may_use_huge_ones(cluster):
    def may_use_huge_pages(name):
        status = Path(f"/proc/{cluster.processes()[name]['pid']}/status").read_text()
        return re.search(r"THP_enabled:\s+(\d)", status).group(1) == "1"

    assert not may_use_huge_pages("proxy-1")
    assert may_use_huge_pages("memds-1")


def test_a_killed_server_is_silent_and_comes_back_filled(cluster, orders):
    cluster.command("kill", "memds-2")
    assert set(memds(cluster)["missing"]) == {"memds-2"}
    shown = cluster.weir("routes", orders)
    assert "! memds-2 is silent" in shown
    assert shown.splitlines()[-1] == "9 partitions, 1 of 1 servers agree, 1 silent"
    fleet.create_table(cluster.client(), "made-meanwhile")

    cluster.command("start", "memds-2")
    seen = await_agreement(cluster)
    assert not seen["missing"]
    for table in (orders, "made-meanwhile"):
        rows = routes(cluster, table)["partitions"]
        assert rows and all(row["agree"] == 2 for row in rows), rows


def test_a_frozen_server_is_silent_within_seconds_and_no_request_notices(cluster, orders):
    db = cluster.client(retries=1)
    cluster.command("pause", "memds-1")
    try:
        assert cluster.processes()["memds-1"]["state"] == "paused"
        for number in range(20):
            db.get_item(TableName=orders, Key=key(number))
        await_gray(cluster, [memds_address("memds-1", cluster)])
        began = time.monotonic()
        assert "! memds-1 is silent" in cluster.weir("memds", "status")
        assert time.monotonic() - began < 10
    finally:
        cluster.command("resume", "memds-1")
    assert cluster.processes()["memds-1"]["state"] == "running"
    await_agreement(cluster)
    await_gray(cluster, [])


def memds_address(name, cluster):
    return cluster.processes()[name]["listen"]


def await_gray(cluster, wanted, deadline_s=20):
    """Waits until the proxy avoids these MemDS servers and no others, while requests go on."""
    db = cluster.client(retries=1)
    end = time.monotonic() + deadline_s
    while True:
        db.get_item(TableName="orders", Key=key(0))
        servers = cluster.weir("cache", "status", "-o", "json")["proxies"]["proxy-1"]["servers"]
        if [server["address"] for server in servers if server["gray"]] == wanted:
            return
        assert time.monotonic() < end, servers


def test_a_slowed_server_lives_and_is_resumed(cluster, orders):
    db = cluster.client(retries=1)
    cluster.command("slow", "memds-1", "--ms", "40")
    try:
        assert cluster.processes()["memds-1"]["state"] == "slowed"
        for number in range(20):
            db.get_item(TableName=orders, Key=key(number))
        assert set(memds(cluster)["servers"]) == set(SERVERS), "slow is not silent"
    finally:
        cluster.command("resume", "memds-1")
    assert cluster.processes()["memds-1"]["state"] == "running"
    assert "neither paused nor slowed" in refused(cluster, "resume", "memds-1")
    assert "no process" in refused(cluster, "pause", "memds-9")


def refused(cluster, *words):
    done = subprocess.run(
        [str(fleet.WEIR), "cluster", "--dir", str(cluster.directory), *words],
        capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 1, (words, done.stdout, done.stderr)
    return done.stderr


def test_commands_say_by_their_exit_codes_what_went_wrong(cluster, orders):
    assert "no table nowhere" in cluster.weir("routes", "nowhere", code=3)
    assert "no partition 9999" in cluster.weir("routes", orders, "--partition", "9999", code=3)
    for wrong in ["", "x", "[]", '{"pk": "a"}', '{"id": {"S": "a"}}', '{"pk": {"N": "1"}, "sk": {"N": "1"}}']:
        cluster.weir("routes", orders, "--key", wrong, code=4)
    assert "pk (S) and sk (N)" in cluster.weir("routes", orders, "--key", '{"id": {"S": "a"}}', code=4)
    cluster.weir("routes", code=2)
    cluster.weir("routes", orders, "--partition", "1", "--key", "{}", code=2)
    cluster.weir("memds", "frobnicate", code=2)
    cluster.weir("memds", code=2)
    cluster.weir("cache", code=2)
    proxy = cluster.processes()["proxy-1"]["admin"]
    assert "no MemDS server" in fleet.run_weir("routes", orders, "--admin", proxy, code=5)
    assert "no proxy" in fleet.run_weir(
        "cache", "flush", "--admin", cluster.processes()["memds-1"]["admin"], code=5
    )


def test_nothing_is_flushed_without_the_operators_token(cluster):
    proxy = cluster.processes()["proxy-1"]["admin"]
    flush = ("cache", "flush", "--yes", "--admin", proxy)
    assert "token" in fleet.run_weir(*flush, code=4, token="wrong-token-0123456789")

    def post(body, token=None):
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(f"http://{proxy}/routing/flush", body.encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    token = (cluster.directory / "operator-token").read_text().strip()
    signed = '{"author": "mallory"}'
    assert post(signed) == 401
    assert post(signed, "wrong-token-0123456789") == 401
    assert [post(body, token) for body in ["", "{}", "[]", '{"author": 1}', '{"author": "a", "x": 1}']] == [400] * 5
    assert post(signed, token) == 200


def test_a_dry_run_flushes_nothing(cluster, orders):
    cluster.client().get_item(TableName=orders, Key=key(0))
    said = cluster.weir("cache", "flush", "--dry-run")
    assert "proxy-1" in said and "proxy-2" in said
    flushed = cluster.weir("cache", "flush", "--yes", "-o", "json")["proxies"]["proxy-1"]
    assert flushed["tables"] >= 1 and flushed["routes"] >= 1


def test_servers_that_say_different_things_are_shown_with_what_they_say(cluster, weir, table_name):
    """Two fleets asked as if they were one: no server of one agrees with those of the other."""
    fleet.create_table(cluster.client(), table_name, **NINE_PARTITIONS)
    fleet.create_table(weir.client(), table_name)
    ask = ("routes", table_name, "--admin", cluster.processes()["memds-1"]["admin"], "--admin", weir.admin)
    end = time.monotonic() + 10
    while True:
        seen = fleet.run_weir(*ask, "-o", "json")
        if len(seen["servers"]) == 3 and all(server["knows_table"] for server in seen["servers"].values()):
            break
        assert time.monotonic() < end, seen
        time.sleep(0.05)
    assert any(server["differs_on"] for server in seen["servers"].values())
    shown = fleet.run_weir(*ask)
    assert " differs on partition " in shown
    assert shown.splitlines()[-1].endswith("of 3 servers agree") and "3 of 3" not in shown
    status = fleet.run_weir("memds", "status", "--admin", weir.admin, "--admin",
                            cluster.processes()["memds-1"]["admin"])
    assert "they hold different routes" in status


def test_weir_dev_shows_its_two_servers(weir, db, table_name):
    fleet.create_table(db, table_name)
    end = time.monotonic() + 10
    while weir.weir("routes", table_name).splitlines()[-1] != "4 partitions, 2 of 2 servers agree":
        assert time.monotonic() < end, weir.weir("routes", table_name)
        time.sleep(0.05)
    assert len(weir.weir("memds", "status", "-o", "json")["servers"]) == 2
    assert weir.weir("cache", "flush", "--yes", "-o", "json")["missing"] == {}


def test_another_number_of_servers_is_kept_for_later_starts(tmp_path):
    for arguments in (["--memds", "3", "--proxies", "1", "--gac", "1"], []):
        with fleet.Cluster(tmp_path, arguments) as cluster:
            names = sorted(name for name in cluster.processes() if name.startswith("memds-"))
            assert names == ["memds-1", "memds-2", "memds-3"]
            assert len(memds(cluster)["servers"]) == 3
            if arguments:
                fleet.create_table(cluster.client(), "spread", **NINE_PARTITIONS)
            await_agreement(cluster, servers=3)
            db = cluster.client()
            each = lookups_of(
                cluster, 30, lambda number: db.get_item(TableName="spread", Key={"pk": {"S": f"key-{number}"}})
            )
            assert sum(each) == 60 and min(each) >= 10, each
