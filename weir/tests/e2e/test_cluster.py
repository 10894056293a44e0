"""`weir cluster`: separate processes; the leader's node dies, returns, and is wiped."""

import threading
import time

from botocore.exceptions import BotoCoreError, ClientError

import fleet

STORAGE_NODES = ["storage-1", "storage-2", "storage-3"]
RESUME_WITHIN_S = 5


class Writers:
    """Each writer counts up in an item of its own, and reads it back strongly after each write."""

    def __init__(self, cluster, count=3):
        self.stopped = threading.Event()
        self.acknowledged = [0] * count
        self.longest_gap = [0.0] * count
        self.violations = []
        self.threads = [
            threading.Thread(target=self._run, args=(cluster.client(n % 2, retries=1, timeout=3), n))
            for n in range(count)
        ]
        for thread in self.threads:
            thread.start()

    def _run(self, db, number):
        key, value, last = {"pk": {"S": f"counter-{number}"}}, 0, time.monotonic()
        while not self.stopped.is_set():
            value += 1
            try:
                db.put_item(TableName="counters", Item={**key, "n": {"N": str(value)}})
                self.acknowledged[number] = value
                now = time.monotonic()
                self.longest_gap[number] = max(self.longest_gap[number], now - last)
                last = now
                read = db.get_item(TableName="counters", Key=key, ConsistentRead=True)
            except (BotoCoreError, ClientError):
                continue
            seen = int(read["Item"]["n"]["N"])
            if seen < value:
                self.violations.append(f"writer {number} wrote {value} and then read {seen}")

    def await_progress(self, writes=20, deadline_s=RESUME_WITHIN_S):
        target = [count + writes for count in self.acknowledged]
        end = time.monotonic() + deadline_s
        while any(now < then for now, then in zip(self.acknowledged, target)):
            assert time.monotonic() < end, f"no progress: {self.acknowledged} of {target}"
            time.sleep(0.02)

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        assert not self.violations, self.violations[:3]


def leaders(cluster):
    return {
        name: cluster.metric(name, "weir_storage_leaders")
        for name, row in cluster.processes().items()
        if name.startswith("storage-") and row["state"] == "running"
    }


def await_replicas(cluster, name, deadline_s=30):
    """Waits until the node's replicas have everything that their leaders have."""
    end = time.monotonic() + deadline_s
    while True:
        try:
            if (cluster.metric(name, "weir_storage_replicas") > 0
                    and cluster.metric(name, "weir_storage_replicas_behind") == 0):
                return
        except OSError:
            pass
        assert time.monotonic() < end, f"{name} did not catch up"
        time.sleep(0.1)


def test_a_killed_leader_and_a_wiped_node_lose_nothing_and_are_healed(tmp_path):
    with fleet.Cluster(tmp_path) as cluster:
        db = cluster.client()
        fleet.create_table(
            db, "counters", BillingMode="PROVISIONED",
            ProvisionedThroughput={"ReadCapacityUnits": 3000, "WriteCapacityUnits": 500},
        )
        writers = Writers(cluster)
        try:
            writers.await_progress(deadline_s=30)
            led = leaders(cluster)
            victim = max(led, key=led.get)
            assert led[victim] >= 1

            cluster.command("kill", victim)
            writers.await_progress()

            cluster.command("start", victim)
            await_replicas(cluster, victim)
            writers.await_progress()

            cluster.command("kill", victim)
            cluster.command("wipe", victim)
            cluster.command("start", victim)
            await_replicas(cluster, victim)

            # The refilled replica counts: with another node gone, it is needed for the quorum.
            other = next(name for name in STORAGE_NODES if name != victim)
            cluster.command("kill", other)
            writers.await_progress(deadline_s=2 * RESUME_WITHIN_S)
        finally:
            writers.stop()
        assert max(writers.longest_gap) < 2 * RESUME_WITHIN_S
        for number, value in enumerate(writers.acknowledged):
            key = {"pk": {"S": f"counter-{number}"}}
            read = db.get_item(TableName="counters", Key=key, ConsistentRead=True)
            assert int(read["Item"]["n"]["N"]) >= value
