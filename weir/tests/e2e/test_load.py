"""`weir load`: the command lines of its documentation against a running `weir dev`, exit codes, files."""

import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

import fleet

ANY = None
HELD, FAILED, USAGE, INVALID, MISSED, STOPPED = 0, 1, 2, 98, 99, 130
ATTEMPTS = 5
# On a machine that builds or serves meanwhile, only this lets a generator send in time (docs/load-generator.md).
PRIORITY = ["chrt", "-r", "1"] if shutil.which("chrt") and not subprocess.run(
    ["chrt", "-r", "1", "true"], capture_output=True
).returncode else []
SUCCESSES = ("ok", "condition_failed")


@pytest.fixture
def load(weir, tmp_path):
    """Runs `weir load` against the fixture's endpoint."""
    return Load(weir.endpoint, tmp_path)


class Load:
    def __init__(self, endpoint, directory):
        self.endpoint = endpoint
        self.directory = directory

    def start(self, *words, **options):
        return subprocess.Popen(
            [*PRIORITY, str(fleet.WEIR), "load", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            stdin=subprocess.DEVNULL, env=environment(), cwd=self.directory, **options,
        )

    def __call__(self, *words, code=ANY, endpoint=True):
        """Runs it; returns stdout and stderr together. Without an expected code, a run that this machine made
        invalid will do: its files are complete. With one, it is run again."""
        if endpoint:
            words += ("--endpoint", self.endpoint)
        # A busy machine may be quieter in a while.
        for _ in range(ATTEMPTS):
            process = self.start(*words)
            out, err = process.communicate(timeout=120)
            if process.returncode != INVALID or code in (INVALID, ANY):
                break
        expected = (HELD, INVALID) if code == ANY else (code,)
        assert process.returncode in expected, f"weir load {words}: {process.returncode}\n{out}{err}"
        return out + err

    def json(self, name):
        return json.loads((self.directory / name).read_text())

    def html(self, name):
        """A page that loads nothing from elsewhere."""
        page = (self.directory / name).read_text()
        assert page.lower().startswith("<!doctype html>") and "<svg" in page
        assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page), "it loads something"
        assert "@import" not in page
        return page


def environment(**more):
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("WEIR_", "AWS_"))}
    credentials = {"AWS_ACCESS_KEY_ID": fleet.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": fleet.SECRET_KEY}
    return {**kept, **credentials, "AWS_REGION": "us-east-1", **more}


def check_sums(result):
    """Every request ends in one way, in one stream, under one operation, in one second."""
    total = result["total"]
    assert sum(total["outcomes"].values()) == total["offered"]
    assert sum(stream["summary"]["offered"] for stream in result["streams"]) == total["offered"]
    for stream in result["streams"]:
        offered = stream["summary"]["offered"]
        assert sum(operation["offered"] for operation in stream["operations"].values()) == offered
        assert sum(second["offered"] for second in stream["seconds"]) == offered
    succeeded = sum(total["outcomes"].get(outcome, 0) for outcome in SUCCESSES)
    assert total["latency"]["count"] == succeeded


def test_ycsb_b_as_the_documentation_runs_it_writes_json_and_a_page_that_needs_nothing_else(load):
    # Whether this machine lets it send in time is not ours to say; whether the result says so is.
    output = load("ycsb", "B", "--rate", "500/s", "--duration", "5s", "--json", "b.json", "--html", "b.html")
    result = load.json("b.json")
    check_sums(result)
    assert result["schema"] == "weir-load/1"
    assert result["validity"]["valid"] == (not result["validity"]["reasons"])
    assert ("INVALID run" in output) == (not result["validity"]["valid"])
    # Poisson: 2,500 expected, five standard deviations are 250.
    assert 2250 < result["total"]["offered"] < 2750
    assert result["total"]["outcomes"] == {"ok": result["total"]["offered"]}
    reads = result["streams"][0]["operations"]["GetItem"]["offered"]
    assert 0.9 < reads / result["total"]["offered"] < 0.99
    assert result["spec"]["streams"][0]["table"] == "usertable" and "p99" in output
    assert "Load run" in load.html("b.html")


def test_a_run_with_nothing_but_an_endpoint_and_a_rate_makes_its_own_table(load, db):
    output = load("run", "--rate", "300/s", "--duration", "2s", "--warm-up", "0s", "--keys", "100")
    assert "creating it" in output or "weir-load" in db.list_tables()["TableNames"]
    item = db.scan(TableName="weir-load", Limit=5)["Items"][0]
    assert "pk" in item
    # The second run finds what the first one loaded.
    assert "loading" not in load("run", "--rate", "100/s", "--duration", "1s", "--keys", "100")


def test_a_threshold_that_does_not_hold_is_exit_code_99_and_says_which(load):
    output = load(
        "run", "--rate", "20/s", "--duration", "1s", "--threshold", "p99<1us", "--threshold", "success>=99%",
        "--json", "t.json", code=MISSED,
    )
    assert "NOT HELD: p99<1µs" in output and "held: success>=99%" in output
    check_sums(load.json("t.json"))


def test_a_run_that_could_not_send_what_it_should_is_exit_code_98_even_if_a_threshold_is_missed_too(load):
    output = load(
        "run", "--rate", "100k/s", "--connections", "1", "--duration", "2s", "--warm-up", "0s",
        "--threshold", "p99<1us", "--json", "i.json", code=INVALID,
    )
    assert "invalid" in output
    validity = load.json("i.json")["validity"]
    assert not validity["valid"] and validity["reasons"]


def test_what_is_wrong_on_the_command_line_is_exit_code_2_and_is_explained(load, tmp_path):
    (tmp_path / "s.toml").write_text("[[streams]]\narrivals = \"1/s\"\ncolour = 1\n")
    for words, expected in [
        (("run",), "--rate 500/s"),
        (("run", "--rate", "500"), "500/s"),
        (("run", "--rate", "-5/s"), "`-5/s` is no"),
        (("compare", "--a", "a.json", "--b", "b.json", "--pairs", "3"), "fewer than 4 pairs"),
        (("run", "--rate", "1/s", "--mix", "frobnicate=1"), "get-eventual"),
        (("run", "--rate", "1/s", "--threshold", "p99=1ms"), "compares nothing"),
        (("run", "--rate", "1/s", "--threshold", "p99<1ms@nobody"), "nobody"),
        (("run", "--scenario", "s.toml"), "colour"),
        (("ycsb", "G", "--rate", "1/s"), "A, B, C, D, E and F"),
        (("replay", "missing.jsonl"), "missing.jsonl"),
    ]:
        assert expected in load(*words, code=USAGE), words


def test_what_cannot_work_says_what_to_do(load, weir, table_name):
    quick = ("run", "--rate", "1/s", "--duration", "1s")
    assert "--prepare" in load(*quick, "--table", table_name, code=FAILED)
    unreachable = load(*quick, "--endpoint", "http://127.0.0.1:1", endpoint=False, code=FAILED)
    assert "127.0.0.1:1" in unreachable and unreachable.count("does it run?") == 1, unreachable
    assert "--endpoint" in load(*quick, endpoint=False, code=USAGE)
    fleet.create_table(weir.client(), table_name, sort=True)
    assert "needs" in (text := load(*quick, "--table", table_name, code=FAILED)) or "need" in text


def test_a_foreign_table_is_filled_only_when_asked(load, db, table_name):
    fleet.create_table(db, table_name)
    words = ("run", "--table", table_name, "--keys", "50", "--rate", "100/s", "--duration", "1s")
    assert "--into-existing" in load(*words, "--prepare", code=FAILED)
    assert db.scan(TableName=table_name, ConsistentRead=True)["Count"] == 0
    load(*words, "--into-existing", "--mix", "get=1")
    assert db.scan(TableName=table_name, ConsistentRead=True)["Count"] == 50


def test_wrong_credentials_are_explained_before_anything_is_sent(load, weir):
    for variables, expected in [
        ({"AWS_ACCESS_KEY_ID": "WEIRNOBODY0000000000"}, "access key"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "secret key"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": "/nonexistent"}, "looked at"),
    ]:
        done = subprocess.run(
            [str(fleet.WEIR), "load", "run", "--endpoint", weir.endpoint, "--rate", "1/s"],
            capture_output=True, text=True, timeout=60, env=environment(**variables),
        )
        assert done.returncode == FAILED and expected in done.stderr, done.stderr


def test_a_scenario_sends_several_streams_to_several_tables(load):
    (load.directory / "shop.toml").write_text("""
        duration = "2s"
        warm_up = "0s"
        [[streams]]
        table = "shop-orders"
        arrivals = "200/s"
        mix = "put=50,get=50"
        keys = "zipf:500:0.9"
        [[streams]]
        name = "nightly"
        table = "shop-stock"
        arrivals = "constant:100/s"
        mix = "update=80,delete=20"
        keys = "hotspot:500:0.1:0.9"
        item_size = "uniform:100-500"
        from = "1s"
    """)
    load("run", "--scenario", "shop.toml", "--prepare", "--json", "shop.json", "--threshold", "rate>20/s@nightly")
    result = load.json("shop.json")
    check_sums(result)
    orders, nightly = result["streams"]
    assert (orders["table"], nightly["name"]) == ("shop-orders", "nightly")
    assert set(nightly["operations"]) == {"UpdateItem", "DeleteItem"}
    # Even arrivals, for the second second only.
    assert 99 <= nightly["summary"]["offered"] <= 101
    assert nightly["seconds"][0]["offered"] <= 1


def test_a_replay_sends_what_was_recorded_in_half_the_time(load):
    load("run", "--rate", "200/s", "--duration", "2s", "--warm-up", "0s", "--mix", "get=70,put=30",
         "--trace", "t.jsonl", "--json", "first.json")
    recorded = [json.loads(line) for line in (load.directory / "t.jsonl").read_text().splitlines()[1:]]
    first = load.json("first.json")
    assert len(recorded) == first["total"]["offered"]
    load("replay", "t.jsonl", "--speed", "2x", "--json", "again.json")
    again = load.json("again.json")
    check_sums(again)
    assert again["total"]["offered"] == first["total"]["offered"]
    # By when they were due, whatever the answers did.
    due = [second["at"] for stream in again["streams"] for second in stream["seconds"] if second["offered"]]
    assert max(due) <= 1
    operations = {name: summary["offered"] for name, summary in first["streams"][0]["operations"].items()}
    replayed = {}
    for stream in again["streams"]:
        for name, summary in stream["operations"].items():
            replayed[name] = replayed.get(name, 0) + summary["offered"]
    assert replayed == operations


def test_a_list_of_times_is_replayed(load):
    (load.directory / "times.txt").write_text("".join(f"{0.01 * n:.2f}\n" for n in range(100)))
    load("replay", "times.txt", "--mix", "get=1", "--json", "r.json")
    assert load.json("r.json")["total"]["offered"] == 100


def test_a_search_finds_the_rate_that_a_tables_capacity_allows(load, db, table_name):
    fleet.create_table(
        db, table_name, BillingMode="PROVISIONED",
        ProvisionedThroughput={"ReadCapacityUnits": 1, "WriteCapacityUnits": 100},
    )
    # An item of 900 bytes costs one unit: 100 writes per second, and what burst there is.
    output = load(
        "search", "--table", table_name, "--mix", "put=1", "--objective", "throttled<1%", "--from", "50/s",
        "--highest", "20k/s", "--probe", "1500ms", "--warm-up", "500ms", "--cool-down", "100ms", "--confirm", "1",
        "--resolution", "25%", "--json", "s.json", "--html", "s.html",
    )
    found = load.json("s.json")
    assert found["knee"]["found"] in ("knee", "generator_limit"), output
    assert "holds, confirmed" in output or "generator is the limit" in output
    assert found["probes"][0]["rate"] == 50 and found["probes"][-1]["verdict"] == "held"
    load.html("s.html")


def test_a_comparison_of_an_endpoint_with_itself_finds_no_difference(load):
    output = load(
        "compare", "--a", load.endpoint, "--b", load.endpoint, "--rate", "200/s", "--pairs", "4",
        "--duration", "1s", "--warm-up", "0s", "--keys", "100", "--json", "c.json", "--html", "c.html",
        "--confidence", "99.99%", endpoint=False,
    )
    comparison = load.json("c.json")
    assert comparison["paired"] and comparison["runs"] == [4, 4]
    assert len(comparison["rows"]) == 3
    assert all(row["finding"] in ("no_difference_detectable", "too_noisy") for row in comparison["rows"]), output
    assert output.count("no difference detectable") + output.count("too noisy runs to say") == 3, output
    load.html("c.html")


def test_results_are_compared_and_shown_again(load):
    for name in ("a1", "a2", "b1", "b2"):
        load("run", "--rate", "20/s", "--duration", "1s", "--warm-up", "0s", "--json", f"{name}.json",
             "--hdr", f"{name}.hdr", code=HELD)
    output = load("compare", "--a", "a1.json,a2.json", "--b", "b1.json,b2.json", endpoint=False)
    assert "2 runs of A, 2 of B, not in pairs" in output
    output = load("report", "a1.hdr", "a2.hdr", "--hdr", "all.hdr", endpoint=False)
    requests = sum(load.json(f"{name}.json")["total"]["latency"]["count"] for name in ("a1", "a2"))
    assert f"{requests:,}" in output or str(requests) in output
    assert (load.directory / "all.hdr").exists()
    load("report", "a1.json", "b1.json", "--html", "both.html", endpoint=False)
    load.html("both.html")


def test_a_canary_reckons_availability_per_table_and_endpoint_and_judges_it(load):
    words = ("canary", "--rate", "10/s", "--window", "1s", "--for", "2500ms", "--json", "canary.jsonl",
             "--attempt-timeout", "20s")
    load(*words, "--endpoint", f"zone-a={load.endpoint}", endpoint=False)
    windows = [json.loads(line) for line in (load.directory / "canary.jsonl").read_text().splitlines()]
    assert len(windows) >= 2
    assert all(window["endpoint"] == "zone-a" and window["table"] == "weir-load" for window in windows)
    assert all(window["availability"] == 100.0 for window in windows), windows
    # 10/s of each of three kinds, at both ends of each window one more.
    most = sum(3 * (10 * window["lasted_s"] + 2) for window in windows)
    assert 15 <= sum(window["requests"] for window in windows) <= most, windows


def test_a_canary_starts_while_a_zone_is_down_and_counts_it_as_unavailable(load):
    output = load(
        "canary", "--rate", "10/s", "--window", "1s", "--for", "1500ms", "--json", "canary.jsonl",
        "--attempt-timeout", "20s", "--endpoint", "zone-a=http://127.0.0.1:1",
        "--endpoint", f"zone-b={load.endpoint}", endpoint=False, code=MISSED,
    )
    assert "counts as unavailable" in output
    windows = [json.loads(line) for line in (load.directory / "canary.jsonl").read_text().splitlines()]
    assert {window["endpoint"] for window in windows} == {"zone-a", "zone-b"}
    for window in windows:
        if window["endpoint"] == "zone-a":
            assert window["availability"] == 0.0 and list(window["errors"]) == ["ConnectionRefused"], window
        else:
            assert window["availability"] == 100.0, window


def test_a_canary_whose_endpoint_dies_is_exit_code_99(tmp_path):
    with fleet.Weir() as dying:
        load = Load(dying.endpoint, tmp_path)
        canary = load.start(
            "canary", "--endpoint", dying.endpoint, "--rate", "20/s", "--window", "1s", "--for", "5s",
            "--json", "-", "--attempt-timeout", "20s",
        )
        first = json.loads(canary.stdout.readline())
        assert first["availability"] == 100.0
        dying.kill()
        out, err = canary.communicate(timeout=60)
        assert canary.returncode == MISSED, err
        assert any(json.loads(line)["availability"] < 99.9 for line in out.splitlines())


def test_ctrl_c_writes_what_was_measured_and_marks_it(load):
    process = load.start(
        "run", "--endpoint", load.endpoint, "--rate", "200/s", "--duration", "1m", "--warm-up", "0s",
        "--json", "p.json", "--html", "p.html",
    )
    # Without a terminal there is a line per few seconds: the first says that it runs.
    end = time.monotonic() + 30
    for line in process.stderr:
        if re.search(r"\d+/s", line):
            break
        assert time.monotonic() < end
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode in (STOPPED, INVALID), err
    result = load.json("p.json")
    check_sums(result)
    assert 0 < result["lasted_us"] < 30_000_000
    assert any("stopped after" in warning for warning in result["warnings"])
    load.html("p.html")


def test_a_local_fleet_is_found_by_its_folder(tmp_path):
    with fleet.Weir(data_dir=tmp_path / "data", credentials=False):
        load = Load(None, tmp_path)
        process = load.start("run", "--dir", "data", "--rate", "100/s", "--duration", "2s", "--json", "d.json",
                             "--keys", "100")
        out, err = process.communicate(timeout=60)
        assert process.returncode in (HELD, INVALID), out + err
        result = load.json("d.json")
        assert result["total"]["outcomes"].get("ok") == result["total"]["offered"]
        # The operators' endpoint is in the folder, too: what was admitted is beside what was sent.
        assert any(sample["admitted_milli"] > 0 for sample in result["operators"]["samples"])


def test_help_teaches_with_examples(load):
    for command in ("run", "ycsb", "search", "compare", "replay", "canary", "report"):
        text = load(command, "--help", endpoint=False)
        assert "Examples:" in text and "Exit codes:" in text and f"weir load {command}" in text
