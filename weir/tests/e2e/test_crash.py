"""`weir dev` killed under a writing client: every acknowledged write is there after the restart."""

import threading

from botocore.exceptions import BotoCoreError, ClientError

import fleet

CYCLES = 20
WRITERS = 4
WRITES_BEFORE_KILL = 60


def test_no_acknowledged_write_is_lost_in_twenty_kills(tmp_path):
    acknowledged = {}
    for cycle in range(CYCLES):
        with fleet.Weir(data_dir=tmp_path / "data") as weir:
            db = weir.client(retries=1)
            if cycle == 0:
                fleet.create_table(db, "ledger")
            verify(db, acknowledged)
            write_until_killed(weir, cycle, acknowledged)
    with fleet.Weir(data_dir=tmp_path / "data") as weir:
        verify(weir.client(), acknowledged)
        assert weir.stop() == 0
    assert len(acknowledged) >= CYCLES * WRITES_BEFORE_KILL


def write_until_killed(weir, cycle, acknowledged):
    """Writers write until the process dies under them; the kill comes in the middle of their writing."""
    enough = threading.Semaphore(0)

    def write(writer):
        db = weir.client(retries=1, timeout=5)
        for number in range(1_000_000):
            key, value = f"{cycle}-{writer}-{number}", f"v{cycle}.{writer}.{number}"
            try:
                db.put_item(TableName="ledger", Item={"pk": {"S": key}, "v": {"S": value * 20}})
            except (BotoCoreError, ClientError):
                return
            acknowledged[key] = value * 20
            enough.release()

    writers = [threading.Thread(target=write, args=(n,)) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    for _ in range(WRITES_BEFORE_KILL):
        assert enough.acquire(timeout=60), "the writers make no progress"
    weir.kill()
    for writer in writers:
        writer.join()


def verify(db, acknowledged):
    keys = list(acknowledged)
    found = {}
    for first in range(0, len(keys), 100):
        wanted = {"ledger": {"Keys": [{"pk": {"S": key}} for key in keys[first:first + 100]], "ConsistentRead": True}}
        while wanted:
            answer = db.batch_get_item(RequestItems=wanted)
            found |= {item["pk"]["S"]: item["v"]["S"] for item in answer["Responses"]["ledger"]}
            wanted = answer["UnprocessedKeys"]
    lost = [key for key in keys if found.get(key) != acknowledged[key]]
    assert not lost, f"{len(lost)} acknowledged writes lost, the first: {lost[:5]}"
