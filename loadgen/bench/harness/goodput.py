"""Successful answers by time, as a proxy counts them while it is loaded."""

import http.client
import threading
import time

from metadata.counters import read

EVERY_S = 0.5


class Goodput:
    """Reads a proxy's counter by a steady clock until it is stopped; second 0 is when it began."""

    def __init__(self, admin):
        self.admin, self.readings, self.stopping = admin, [], threading.Event()
        self.began = time.monotonic()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self):
        while not self.stopping.wait(EVERY_S):
            try:
                answered = read(self.admin).sum("weir_proxy_requests_total", **{"class": "success"})
                self.readings.append((time.monotonic() - self.began, answered))
            except (OSError, http.client.HTTPException):
                # A proxy that is too busy to tell leaves a gap.
                continue

    def stop(self):
        """(second, requests per second since the reading before)."""
        self.stopping.set()
        self.thread.join()
        pairs = zip(self.readings, self.readings[1:])
        return [(after, (more - less) / (after - before)) for (before, less), (after, more) in pairs]
