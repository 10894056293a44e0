"""`weir load run`, several beside one another: each has connections of its own, so that none waits for another's."""

import json
import subprocess
import tempfile

from . import binaries
from .dynamodb import ACCESS_KEY, REGION, SECRET_KEY
from .load import LoadFailed
from .processes import LOAD_CPU, pinned
from .weir import ENVIRONMENT

# Exit codes that come with a result: it went well, or an overload made the generator's own sends late.
WITH_RESULT = (0, 98)
SCENARIO = """
endpoints = ["http://{address}"]
region = "{region}"
pacing = "{pacing}"
duration = "{duration:.3f}s"
warm_up = "{warm_up:.3f}s"
connections = {connections}
attempt_timeout = "{timeout:.3f}s"
seed = {seed}

[[streams]]
name = "{table}"
table = "{table}"
mix = "{mix}"
keys = "{keys}"
item_size = "{item_size}"
{more}
"""


class Run:
    """Begins at once; `result` waits for its end."""

    def __init__(self, address, duration, *, rate=None, table="usertable", mix="get=100", keys="uniform:10000",
                 item_size="900", connections=64, timeout=1.0, warm_up=0.3, since=None, to=None, processes=None, seed=1):
        self.file = tempfile.NamedTemporaryFile(prefix="weir-load-", suffix=".json")
        self.scenario = tempfile.NamedTemporaryFile("w", prefix="weir-load-", suffix=".toml")
        more = [f'arrivals = "{rate:.0f}/s"'] if rate else []
        more += [f'from = "{since:.3f}s"'] if since else []
        more += [f'to = "{to:.3f}s"'] if to else []
        self.scenario.write(SCENARIO.format(
            address=address, region=REGION, pacing="open" if rate else "closed", duration=duration, warm_up=warm_up,
            connections=connections, timeout=timeout, seed=seed, table=table, mix=mix, keys=keys, item_size=item_size,
            more="\n".join(more)))
        self.scenario.flush()
        command = [binaries.WEIR_LOAD, "load", "run", "--scenario", self.scenario.name, "--json", self.file.name, "--quiet"]
        for name, pid in (processes or {}).items():
            command += ["--process", f"{name}:{pid}"]
        self.within = 60 + 3 * duration
        self.process = subprocess.Popen(pinned(command, LOAD_CPU), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                        text=True, env={**ENVIRONMENT, "AWS_ACCESS_KEY_ID": ACCESS_KEY,
                                                        "AWS_SECRET_ACCESS_KEY": SECRET_KEY})

    def result(self):
        try:
            _, errors = self.process.communicate(timeout=self.within)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise LoadFailed("weir load does not end") from None
        if self.process.returncode not in WITH_RESULT:
            raise LoadFailed(f"weir load: {self.process.returncode}: {errors[-2000:]}")
        with open(self.file.name) as file:
            found = json.load(file)
        self.file.close()
        self.scenario.close()
        return Result(found)


class Result:
    """Of one stream."""

    def __init__(self, found):
        self.found, self.stream = found, found["streams"][0]
        self.summary = self.stream["summary"]
        self.seconds = {row["at"]: row for row in self.stream["seconds"]}

    def ok(self, since, until):
        """Successful requests among those due from second `since` to `until`, per second."""
        return sum(self.outcome(second, "ok") for second in range(since, until)) / (until - since)

    @property
    def rate(self):
        """Successful requests per second of the whole run, as a closed loop makes them."""
        return self.summary["outcomes"].get("ok", 0) / (self.found["lasted_us"] / 1e6)

    def outcome(self, second, name):
        return self.seconds.get(second, {}).get("outcomes", {}).get(name, 0)

    def offered(self, since, until):
        return sum(self.seconds.get(second, {}).get("offered", 0) for second in range(since, until)) / (until - since)

    def p99(self, second):
        row = self.seconds.get(second)
        return row["latency"]["p99_us"] / 1000 if row and row["latency"]["count"] else None

    def cpu_us(self, name):
        return next(row["cpu_us"] for row in self.found["processes"] if row["name"] == name)

    @property
    def reasons(self):
        return {"outcomes": self.summary["outcomes"], "errors": self.summary["errors"], "why": self.found["validity"]["reasons"]}
