"""Counters of running processes: read at once, or by a steady clock beside a load."""

import http.client
import re
import threading
import time

# A sample is `name{labels} value`.
SAMPLE = re.compile(r'^(weir_\w+)(?:\{([^}]*)\})? (\S+)$', re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')


class Metrics:
    """One reading of a process's /metrics."""

    def __init__(self, text):
        self.samples = [(name, dict(LABEL.findall(labels)), float(value)) for name, labels, value in SAMPLE.findall(text)]

    def sum(self, name, **labels):
        """All samples of a name whose labels are these; a label's value may be a set of them."""
        fits = lambda have: all(have.get(key) in (want if isinstance(want, set) else {want})
                                for key, want in labels.items())
        return sum(value for found, have, value in self.samples if found == name and fits(have))

    def by(self, name, label):
        """Sums by a label's value."""
        total = {}
        for found, have, value in self.samples:
            if found == name:
                total[have.get(label, "")] = total.get(have.get(label, ""), 0) + value
        return total

    def buckets(self, name):
        """A histogram's cumulative counts by upper bound."""
        total = {}
        for found, have, value in self.samples:
            if found == name + "_bucket":
                bound = float(have["le"].replace("+Inf", "inf"))
                total[bound] = total.get(bound, 0) + value
        return total


def read(address, timeout=5):
    """One process's metrics now."""
    connection = http.client.HTTPConnection(address, timeout=timeout)
    try:
        connection.request("GET", "/metrics")
        return Metrics(connection.getresponse().read().decode())
    finally:
        connection.close()


def of_tier(cluster, tier):
    """The metrics of a tier's running processes, by name."""
    return {name: read(row["admin"]) for name, row in cluster.processes().items()
            if name.startswith(tier + "-") and row["state"] == "running"}


def total(readings, name, **labels):
    return sum(reading.sum(name, **labels) for reading in readings.values())


def totals_by(readings, name, label):
    sums = {}
    for reading in readings.values():
        for key, value in reading.by(name, label).items():
            sums[key] = sums.get(key, 0) + value
    return sums


def gained(after, before):
    """What each key gained; those that gained nothing are left out."""
    return {key: value - before.get(key, 0) for key, value in after.items() if value != before.get(key, 0)}


def histogram_quantile(after, before, name, q):
    """Between two readings of a tier, in the histogram's unit: from the bucket that holds it, evenly within."""
    counts = {}
    for process, reading in after.items():
        earlier = before[process].buckets(name) if process in before else {}
        for bound, count in reading.buckets(name).items():
            counts[bound] = counts.get(bound, 0) + count - earlier.get(bound, 0)
    bounds = sorted(counts)
    if not bounds or not counts[bounds[-1]]:
        return None
    wanted, low, below = counts[bounds[-1]] * q, 0.0, 0
    for bound in bounds:
        if counts[bound] >= wanted:
            inside = counts[bound] - below
            high = bound if bound != float("inf") else low
            return low + (high - low) * ((wanted - below) / inside if inside else 1)
        low, below = bound, counts[bound]
    return low


class Watch:
    """Reads one counter of several processes by a steady clock; each reading has its own exact time."""

    EVERY = 0.25
    # When a reading that took longer was made is not known well enough for a window of 1 s.
    CERTAIN = 0.04

    def __init__(self, addresses, counter="weir_memds_lookups_total"):
        self.pattern = re.compile(rf"^{counter}(?:\{{[^}}]*\}})? (\S+)$", re.MULTILINE)
        # By process: (time, value); a value of None: it did not answer.
        self.points = {name: [] for name in addresses}
        # Times of readings that are good for a plot only.
        self.uncertain = set()
        self.ending = threading.Event()
        self.base = time.monotonic()
        self.threads = [threading.Thread(target=self._run, args=item, daemon=True) for item in addresses.items()]
        for thread in self.threads:
            thread.start()

    def _run(self, name, address):
        tick, connection = 0, None
        while not self.ending.wait(max(0.0, self.base + tick * self.EVERY - time.monotonic())):
            connection, point = self._read(address, connection)
            self.points[name].append(point)
            tick = max(tick + 1, int((time.monotonic() - self.base) / self.EVERY))

    def _read(self, address, connection):
        asked = time.monotonic()
        try:
            # Shorter than a tick: a frozen process must not put the next readings off.
            connection = connection or http.client.HTTPConnection(address, timeout=self.EVERY * 0.9)
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException):
            if connection:
                connection.close()
            return None, (asked, None)
        answered = time.monotonic()
        when = (asked + answered) / 2
        if answered - asked > self.CERTAIN:
            self.uncertain.add(when)
        return connection, (when, sum(map(float, self.pattern.findall(text))))

    def note(self, name, when, value):
        """A reading that is known without asking, such as 0 at a process's start."""
        self.points[name].append((when, value))

    def last(self, name):
        """The last value that was read."""
        return next((value for _, value in reversed(self.points[name]) if value is not None), 0.0)

    def stop(self):
        self.ending.set()
        for thread in self.threads:
            thread.join()
        for points in self.points.values():
            points.sort(key=lambda point: point[0])

    def mean(self, name, start, end):
        """Per second between the first and the last reading in a window."""
        inside = [(t, v) for t, v in self.points[name] if start <= t <= end and v is not None]
        (t0, v0), (t1, v1) = inside[0], inside[-1]
        return (v1 - v0) / (t1 - t0)

    def windows(self, name, start, end, length=1.0):
        """Every window of about `length` between two readings: (its end, gained per second in it)."""
        inside = [(t, v) for t, v in self.points[name] if start <= t <= end and t not in self.uncertain]
        found, first = [], 0
        for last, (t1, v1) in enumerate(inside):
            while first < last and inside[first][0] < t1 - length - self.EVERY / 2:
                first += 1
            t0, v0 = inside[first]
            # A restart in it: the counter began again.
            if v0 is None or v1 is None or v1 < v0 or abs(t1 - t0 - length) > self.EVERY / 2:
                continue
            found.append((t1, (v1 - v0) / (t1 - t0)))
        return found

    def fleet_windows(self, start, end, length=1.0):
        """The same for all processes together: only windows in which each of them answered."""
        by_name = [self.windows(name, start, end, length) for name in self.points]
        together = []
        for when, rate in by_name[0]:
            others = [min(other, key=lambda point: abs(point[0] - when), default=None) for other in by_name[1:]]
            if all(point and abs(point[0] - when) < self.EVERY / 2 for point in others):
                together.append((when, rate + sum(point[1] for point in others)))
        return together

    def by_second(self, name, began, seconds):
        """(second, rate or None) for each whole second since `began`, from the readings nearest to its ends."""
        rows = []
        for second in range(seconds):
            near = []
            for edge in (began + second, began + second + 1):
                t, v = min(self.points[name], key=lambda point: abs(point[0] - edge), default=(0, None))
                near.append((t, v) if abs(t - edge) <= self.EVERY else (t, None))
            (t0, v0), (t1, v1) = near
            usable = v0 is not None and v1 is not None and v1 >= v0 and t1 > t0
            rows.append((second, (v1 - v0) / (t1 - t0) if usable else None))
        return rows
