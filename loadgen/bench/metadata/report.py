"""What a scenario leaves behind: a series per second as CSV, and its plot."""

import csv

from . import svg_plot


def figure(value, digits=2):
    return "none" if value is None else f"{value:.{digits}f}"


def write_csv(settings, name, header, rows):
    settings.out.mkdir(parents=True, exist_ok=True)
    cell = lambda value: "" if value is None else f"{value:.2f}" if isinstance(value, float) else value
    with open(settings.out / f"{name}.csv", "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        table.writerows([[cell(value) for value in row] for row in rows])


class Series:
    """One row per second of a run: requests, latencies, and lookups at each MemDS server if they were watched."""

    def __init__(self, done, seconds, watch=None, events=()):
        self.windows = [done.window(second, second + 1) for second in range(seconds)]
        self.lookups = {name: [rate for _, rate in watch.by_second(name, done.began, seconds)]
                        for name in (watch.points if watch else {})}
        self.events = sorted(events)

    def write(self, settings, name, title, levels=()):
        """`levels`: (name, value) of bounds on a server's lookups per second."""
        self._csv(settings, name)
        panels = []
        if self.lookups:
            panel = svg_plot.Panel("MemDS: lookups served per second")
            for server, rates in self.lookups.items():
                panel.line(server, self._points(rates))
            for level in levels:
                panel.level(*level)
            panels.append(panel)
        panels.append(svg_plot.Panel("Requests per second")
                      .line("offered", self._points(window.offered for window in self.windows))
                      .line("successful", self._points(window.ok for window in self.windows)))
        panels.append(svg_plot.Panel("Latency from the intended time, ms")
                      .line("p99", self._points(window.ms(0.99) for window in self.windows))
                      .line("p50", self._points(window.ms(0.5) for window in self.windows)))
        svg_plot.write(settings.out / f"{name}.svg", title, panels, self.events)

    def _points(self, values):
        # A second's figure stands in its middle, so that events show where in it they were.
        return [(second + 0.5, value) for second, value in enumerate(values)]

    def _csv(self, settings, name):
        marks = {}
        for when, what in self.events:
            marks.setdefault(int(when), []).append(what)
        header = ["second", "offered", "ok", "throttled", "failed", "p50_ms", "p99_ms", "max_ms",
                  *[f"{server}_lookups" for server in self.lookups], "event"]
        rows = [[second, window.offered, window.ok, window.throttled, window.failed, window.ms(0.5), window.ms(0.99),
                 window.ms(1.0), *[rates[second] for rates in self.lookups.values()],
                 "; ".join(marks.get(second, []))] for second, window in enumerate(self.windows)]
        write_csv(settings, name, header, rows)
