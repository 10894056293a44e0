"""A running open_loop, and what became of its requests in any window of the run."""

import array
import bisect
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LOAD = Path(os.environ.get("LOAD_BIN", Path(__file__).resolve().parents[3] / "target" / "measured" / "examples"
                           / "open_loop"))


def quantile(ordered, q):
    """Of a sorted list; none of an empty one."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * q))] if ordered else None


class Window:
    """The requests that were due in a window."""

    def __init__(self, latencies_us, throttled, failed):
        self.ok, self.throttled, self.failed = len(latencies_us), throttled, failed
        self.offered = self.ok + throttled + failed
        self.ordered = sorted(latencies_us)

    def ms(self, q):
        """A quantile of the successful ones' latencies, in milliseconds."""
        value = quantile(self.ordered, q)
        return None if value is None else value / 1000

    @property
    def success(self):
        """Per cent."""
        return self.ok / self.offered * 100 if self.offered else 100.0


class OpenLoad:
    """Starts at once; its second 0 is `began` on the monotonic clock."""

    def __init__(self, streams, keys, processes=(), seed=1):
        self.file = tempfile.NamedTemporaryFile(prefix="weir-samples-")
        command = [str(LOAD), "--access-key", keys[0], "--secret-key", keys[1], "--seed", str(seed),
                   "--samples", self.file.name]
        for one in streams:
            command += ["--stream", one]
        for name, pid in processes:
            command += ["--process", f"{name}:{pid}"]
        self.wall = time.time() - time.monotonic()
        # Nearly: `done` learns exactly.
        self.began = time.monotonic() + 0.31
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def until(self, second):
        time.sleep(max(0.0, self.began + second - time.monotonic()))

    def done(self):
        output = self.process.communicate()[0]
        assert self.process.returncode == 0, output[-2000:]
        self.result = json.loads(output.strip().splitlines()[-1])
        self.began = self.result["began_unix_ms"] / 1000 - self.wall
        words = array.array("I")
        words.frombytes(Path(self.file.name).read_bytes())
        self.file.close()
        if sys.byteorder == "big":
            words.byteswap()
        rows = sorted(zip(words[1::4], words[2::4], words[3::4], words[0::4]))
        self.due = [row[0] for row in rows]
        self.rows = rows
        return self

    def window(self, start, end, streams=None):
        """What was due from second `start` to `end`; of all streams, or of those with these names."""
        wanted = None
        if streams is not None:
            wanted = {number for number, one in enumerate(self.result["streams"]) if one["name"] in streams}
        first, last = (bisect.bisect_left(self.due, second * 1e6) for second in (start, end))
        latencies, counts = [], [0, 0, 0]
        for _, latency, outcome, stream in self.rows[first:last]:
            if wanted is None or stream in wanted:
                counts[outcome] += 1
                if outcome == 0:
                    latencies.append(latency)
        return Window(latencies, counts[1], counts[2])

    def reasons(self):
        """Why requests did not succeed: how often by reason."""
        total = {}
        for one in self.result["streams"]:
            for reason, count in one["reasons"].items():
                total[reason] = total.get(reason, 0) + count
        return total

    @property
    def sent(self):
        return sum(one["sent"] for one in self.result["streams"])

    @property
    def unsuccessful(self):
        return sum(one["throttled"] + one["failed"] for one in self.result["streams"])
