"""Starts and stops Weir for the tests: `weir dev` and `weir cluster`, on free loopback ports."""

import json
import os
import re
import signal
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import boto3
from botocore.config import Config

ROOT = Path(__file__).resolve().parents[3]
WEIR = Path(os.environ.get("WEIR_BIN", ROOT / "target" / "debug" / "weir"))
ACCESS_KEY = "WEIRTESTACCESSKEY000"
SECRET_KEY = "weir-test-secret-key-0123456789abcdefghij"
OPERATOR_TOKEN = "weir-test-operator-token"
START_DEADLINE_S = 60


class Weir:
    """A running `weir dev`."""

    def __init__(self, data_dir=None, arguments=(), credentials=True):
        command = [str(WEIR), "dev", "--port", "0", "--admin-port", "0"]
        command += ["--data-dir", str(data_dir)] if data_dir else ["--ephemeral"]
        if credentials:
            command += ["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]
        environment = dict(os.environ, WEIR_OPERATOR_TOKEN=OPERATOR_TOKEN)
        # A file, not a pipe: a pipe that nobody reads would stop the process once it is full.
        self.log = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen(
            command + list(arguments), stdout=subprocess.PIPE, stderr=self.log, text=True, env=environment
        )
        self.output = []
        self.endpoint = self._await_line(r"endpoint\s+(http://\S+)")
        self.admin = self._await_line(r"operators\s+(http://\S+)")

    def _await_line(self, pattern):
        """Reads what the process prints until a line matches."""
        for line in self.output:
            if found := re.search(pattern, line):
                return found.group(1)
        for line in self.process.stdout:
            self.output.append(line)
            if found := re.search(pattern, line):
                return found.group(1)
        raise RuntimeError(f"weir ended: {self.process.wait()}\n{self.logged()}")

    def logged(self):
        """What it has written to stderr."""
        self.log.seek(0)
        return self.log.read()

    def client(self, **options):
        return client(self.endpoint, **options)

    def weir(self, *words, code=0):
        """Runs an operators' command against it; returns what it prints."""
        return run_weir(*words, "--admin", self.admin, code=code)

    def kill(self):
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()
        self.process.stdout.close()
        self.log.close()


class Cluster:
    """A running `weir cluster`."""

    def __init__(self, directory, arguments=()):
        self.directory = Path(directory)
        command = [str(WEIR), "cluster", "--dir", str(directory), "--port", "0"]
        command += ["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]
        self.log = open(self.directory / "supervisor.log", "w")
        self.process = subprocess.Popen(
            command + list(arguments), stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        self.endpoints = []
        for line in self.process.stdout:
            if found := re.search(r"endpoint\s+(http://\S+)", line):
                self.endpoints.append(found.group(1))
            if "the fleet is ready" in line:
                break
        else:
            raise RuntimeError(f"weir cluster ended: {self.process.wait()}: {self._logged()}")

    def _logged(self):
        return (self.directory / "supervisor.log").read_text()[-4000:]

    def command(self, *words):
        done = subprocess.run(
            [str(WEIR), "cluster", "--dir", str(self.directory), *words],
            capture_output=True, text=True, timeout=60,
        )
        assert done.returncode == 0, f"weir cluster {words}: {done.stdout}{done.stderr}"
        return done.stdout

    def weir(self, *words, code=0):
        """Runs an operators' command against the fleet; returns what it prints."""
        return run_weir(*words, "--dir", str(self.directory), code=code, token=None)

    def processes(self):
        """What `weir cluster status` knows, by name."""
        return {row["name"]: row for row in json.loads(self.command("status", "-o", "json"))}

    def metric(self, name, metric, **labels):
        """The sum of a metric's samples at one process."""
        row = self.processes()[name]
        with urllib.request.urlopen(f"http://{row['admin']}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        total = 0.0
        for line in text.splitlines():
            if line.startswith((metric + " ", metric + "{")):
                if all(f'{key}="{value}"' in line for key, value in labels.items()):
                    total += float(line.rsplit(" ", 1)[1])
        return total

    def client(self, number=0, **options):
        return client(self.endpoints[number], **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()
        self.log.close()


def run_weir(*words, code=0, token=OPERATOR_TOKEN):
    """Runs `weir` and checks its exit code; JSON is decoded, and of a failure stderr is returned."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WEIR_")}
    if token:
        environment["WEIR_OPERATOR_TOKEN"] = token
    done = subprocess.run(
        [str(WEIR), *words], capture_output=True, text=True, timeout=60, env=environment,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, f"weir {words}: {done.returncode}: {done.stdout}{done.stderr}"
    if code:
        return done.stderr
    return json.loads(done.stdout) if "json" in words else done.stdout


def client(endpoint, access_key=ACCESS_KEY, secret_key=SECRET_KEY, retries=4, timeout=15):
    return boto3.client(
        "dynamodb",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(
            retries={"total_max_attempts": retries, "mode": "standard"},
            connect_timeout=5, read_timeout=timeout, max_pool_connections=64,
        ),
    )


def create_table(db, name, sort=False, wait=True, **options):
    keys = [("pk", "HASH", "S")] + ([("sk", "RANGE", "N")] if sort else [])
    options.setdefault("BillingMode", "PAY_PER_REQUEST")
    db.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": k, "AttributeType": t} for k, _, t in keys],
        KeySchema=[{"AttributeName": k, "KeyType": kind} for k, kind, _ in keys],
        **options,
    )
    if wait:
        await_active(db, name)


def await_active(db, name, deadline_s=START_DEADLINE_S):
    end = time.monotonic() + deadline_s
    while db.describe_table(TableName=name)["Table"]["TableStatus"] != "ACTIVE":
        assert time.monotonic() < end, f"{name} did not become ACTIVE"
        time.sleep(0.02)
