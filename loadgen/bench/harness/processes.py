"""Server processes on a CPU of their own, and what the kernel says they cost.

Servers under test run on CPU 0; load, stubs and everything else on CPU 1, all of it at real-time priority if
that is allowed, so that whatever else the machine does falls into the gaps.
"""

import atexit
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTED_CPU, LOAD_CPU = 0, 1
# A server must have said where it listens by then.
STARTS_WITHIN_S = 90
STOPS_WITHIN_S = 30

_RUNNING = []


class DidNotStart(Exception):
    """A server that ended, or says nothing."""


def _real_time():
    if not shutil.which("chrt"):
        return []
    tried = subprocess.run(["chrt", "-r", "1", "true"], capture_output=True)
    return ["chrt", "-r", "1"] if tried.returncode == 0 else []


REAL_TIME = _real_time()


def check_machine():
    """Why comparisons cannot be made here; and what makes them less exact."""
    if sys.platform != "linux" or not shutil.which("taskset"):
        raise SystemExit("The benchmarks need Linux and `taskset` (util-linux).")
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("The benchmarks need two CPUs: one for the server, one for the load.")
    if not REAL_TIME:
        print("! no right to `chrt -r 1` (run as root): other work on this machine will show in the figures",
              file=sys.stderr)


def pinned(command, cpu):
    return [*REAL_TIME, "taskset", "-c", str(cpu), *map(str, command)]


class Server:
    """A process that runs until it is told to stop."""

    def __init__(self, command, cpu=TESTED_CPU, environment=None, stdin=None, cwd=None):
        self.command = command
        # A file, not a pipe: a pipe that nobody reads would stop the process once it is full.
        self.errors = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen(pinned(command, cpu), stdout=subprocess.PIPE, stderr=self.errors, stdin=stdin,
                                        env={**os.environ, **(environment or {})}, cwd=cwd)
        self.output = b""
        _RUNNING.append(self)

    @property
    def pid(self):
        return self.process.pid

    def until_printed(self, pattern, within_s=STARTS_WITHIN_S):
        """Reads its standard output until `pattern` occurs; returns all matches so far."""
        deadline = time.monotonic() + within_s
        while not re.search(pattern, self.output.decode(errors="replace")):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            read = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not read:
                raise DidNotStart(f"{self.command[0]} did not say {pattern!r}: {self.failure()}")
            self.output += read
        return re.findall(pattern, self.output.decode(errors="replace"))

    def until_listening(self, port, within_s=STARTS_WITHIN_S):
        deadline = time.monotonic() + within_s
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise DidNotStart(f"{self.command[0]} does not listen on {port}: {self.failure()}") from None
                time.sleep(0.005)

    def failure(self):
        self.errors.seek(0)
        return f"exit {self.process.poll()}: {self.errors.read()[-2000:]}"

    def stop(self):
        if self in _RUNNING:
            _RUNNING.remove(self)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOPS_WITHIN_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for stream in (self.process.stdout, self.process.stdin, self.errors):
            if stream:
                stream.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


@atexit.register
def _stop_all():
    for server in reversed(list(_RUNNING)):
        server.stop()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def move(pid, cpu):
    """All threads of a process."""
    subprocess.run(["taskset", "-acp", str(cpu), str(pid)], capture_output=True, check=True)


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def cpu_seconds(pid):
    """Of all its threads."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def resident_mb(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1)) * 1024 / 1e6
