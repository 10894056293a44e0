"""Where a tested fleet keeps its data, and what its disk takes for a sync."""

import contextlib
import os
import random
import tempfile
import time
from pathlib import Path

# A file system in memory: nodes write and sync their logs there as anywhere, and a sync takes no time.
MEMORY = Path("/dev/shm")
WRITES, BYTES, EVERY_S = 300, 900, 0.01

WHY_MEMORY = """The nodes' folders are on a file system in memory, so that latency is Weir's and not the disk's: {syncs}"""


@contextlib.contextmanager
def in_memory(settings):
    """A folder for data that no disk slows down; where there is none, the scratch folder."""
    if not MEMORY.is_dir():
        yield settings.scratch
        return
    with tempfile.TemporaryDirectory(prefix="weir-bench-", dir=MEMORY) as folder:
        yield Path(folder)


def syncs(folder):
    """What the disk under `folder` takes to sync writes into a file that has its blocks: in words, with milliseconds."""
    file = Path(folder) / "syncs"
    handle = os.open(file, os.O_RDWR | os.O_CREAT)
    try:
        os.pwrite(handle, bytes(1 << 20), 0)
        os.fsync(handle)
        took = []
        for number in range(WRITES):
            time.sleep(random.expovariate(1 / EVERY_S))
            os.pwrite(handle, bytes(BYTES), number * BYTES)
            began = time.perf_counter()
            os.fdatasync(handle)
            took.append((time.perf_counter() - began) * 1000)
    finally:
        os.close(handle)
        file.unlink()
    took.sort()
    return f"this disk, idle, synced {BYTES} bytes in {took[WRITES // 2]:.2f} ms (median) and {took[WRITES * 99 // 100]:.1f} ms (p99)."
