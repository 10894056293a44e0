"""Paced load on proxies: tiny writes over kept connections, signed once and sent again."""

import itertools
import json
import threading
import time
from collections import Counter
from http.client import HTTPConnection, HTTPException

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import fleet

# Refusals may wait a moment for the next grant: few connections would pace the load by that.
CONNECTIONS = 32
KEYS = 64


class Load:
    """Writes one unit per request: `rate` requests per second to each of the given proxies."""

    def __init__(self, cluster, table, rates):
        self.rates = dict(rates)
        self.began = time.monotonic()
        self.stopped = threading.Event()
        self.lock = threading.Lock()
        self.admitted = Counter()  # by tenth of a second
        self.refused = Counter()  # by reason
        self.failed = Counter()
        self.refused_ids = []
        self.turns = {proxy: itertools.count() for proxy in rates}
        self.threads = [
            threading.Thread(target=self._run, args=(cluster.endpoints[proxy], proxy, table))
            for proxy in rates for _ in range(CONNECTIONS // len(rates))
        ]
        for thread in self.threads:
            thread.start()

    def _run(self, endpoint, proxy, table):
        requests = [signed(endpoint, table, f"key-{number}") for number in range(KEYS)]
        host = endpoint.removeprefix("http://")
        connection = HTTPConnection(host, timeout=5)
        while not self.stopped.is_set():
            with self.lock:
                turn = next(self.turns[proxy])
            # An open loop as far as the connections reach: the pace does not follow the answers.
            wait = self.began + turn / self.rates[proxy] - time.monotonic()
            if wait > 0 and self.stopped.wait(wait):
                return
            headers, body = requests[turn % KEYS]
            try:
                connection.request("POST", "/", body=body, headers=headers)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, HTTPException) as error:
                with self.lock:
                    self.failed[repr(error)] += 1
                connection = HTTPConnection(host, timeout=5)
                continue
            with self.lock:
                if answer.status == 200:
                    self.admitted[int((time.monotonic() - self.began) * 10)] += 1
                elif reasons := throttling_reasons(content):
                    self.refused[reasons[0]["reason"]] += 1
                    if len(self.refused_ids) < 1000:
                        self.refused_ids.append(answer.headers["x-amzn-RequestId"])
                else:
                    self.failed[content[:200]] += 1

    def now(self):
        return time.monotonic() - self.began

    def wait_until(self, second):
        time.sleep(max(0.0, second - self.now()))

    def admitted_between(self, start, end):
        """Requests admitted from one second to another, since the load began."""
        with self.lock:
            return sum(self.admitted[tenth] for tenth in range(round(start * 10), round(end * 10)))

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def throttling_reasons(content):
    try:
        answer = json.loads(content)
    except ValueError:
        return None
    return answer.get("ThrottlingReasons") or answer.get("throttlingReasons")


def signed(endpoint, table, key):
    """A PutItem of 1 unit. Signatures hold for minutes, so one does for a whole test."""
    body = json.dumps({"TableName": table, "Item": {"pk": {"S": key}, "v": {"N": "1"}}})
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "DynamoDB_20120810.PutItem"}
    request = AWSRequest("POST", endpoint + "/", data=body, headers=headers)
    SigV4Auth(Credentials(fleet.ACCESS_KEY, fleet.SECRET_KEY), "dynamodb", "us-east-1").add_auth(request)
    return dict(request.headers), body.encode()
