"""Weir under test: `weir dev`, `weir cluster`, and one proxy before tiers that only pretend to store."""

import json
import os
import subprocess

from . import binaries
from .dynamodb import ACCESS_KEY, KEYS, SECRET_KEY
from .processes import LOAD_CPU, TESTED_CPU, Server, free_port, move


def environment(fields):
    return {name: str(value) for name, value in (fields or {}).items()}


def one_replica(subcommand):
    """The option, if this build has it, and what to say of it."""
    if binaries.understands(subcommand, "--replicas"):
        return ["--replicas", "1"], "one replica"
    return [], "three replicas: this build knows no --replicas"


def in_memory(subcommand):
    """The option, if this build has it, and what to say of it."""
    if binaries.understands(subcommand, "--ephemeral"):
        return ["--ephemeral"], "in memory"
    return [], "on disk: this build knows no --ephemeral"


class Dev:
    """`weir dev`: every tier in one process."""

    def __init__(self, *arguments, data_dir=None, cpu=TESTED_CPU):
        where = ["--data-dir", data_dir] if data_dir else ["--ephemeral"]
        self.server = Server([binaries.WEIR, "dev", "--port", 0, "--admin-port", 0, *where, *arguments, *KEYS], cpu=cpu)
        self.address = self.server.until_printed(r"endpoint\s+http://(\S+)")[0]
        self.server.until_printed(r"operators\s+http")
        self.processes = {"all": self.server.pid}

    def stop(self):
        self.server.stop()


class Fleet:
    """`weir cluster`: every tier in processes of its own, all on the tested CPU until `leave` says otherwise."""

    def __init__(self, folder, *arguments, fields=None):
        self.folder = folder
        self.server = Server([binaries.WEIR, "cluster", "--dir", folder, "--port", 0, *arguments, *KEYS],
                             environment=environment(fields))
        self.server.until_printed(r"the fleet is ready")
        self.addresses = self.server.until_printed(r"endpoint\s+http://(\S+)")
        self.address = self.addresses[0]
        self.rows = {row["name"]: row for row in json.loads(self.command("status", "-o", "json"))}
        self.processes = {name: row["pid"] for name, row in self.rows.items()}
        self.admin = self.rows["proxy-1"]["admin"]

    def command(self, *words):
        done = subprocess.run([str(binaries.WEIR), "cluster", "--dir", str(self.folder), *words], capture_output=True,
                              text=True, timeout=60, check=True)
        return done.stdout

    def leave(self, *names):
        """Only these stay on the tested CPU; the others share the load's."""
        move(self.server.pid, LOAD_CPU)
        for name, pid in self.processes.items():
            if name not in names:
                move(pid, LOAD_CPU)
        return self

    def stop(self):
        self.server.stop()


class BackTiers:
    """MemDS, GAC, a key and a storage node for any number of tables and partitions; usually on the load's CPU."""

    def __init__(self, tables, partitions, cpu=LOAD_CPU):
        self.server = Server([binaries.BACK_TIERS, "--tables", tables, "--partitions", partitions, *KEYS],
                             cpu=cpu, stdin=subprocess.PIPE)
        self.addresses = json.loads(self.server.until_printed(r"(\{.*\})\n", within_s=300)[0])

    def stop(self):
        self.server.stop()


class Proxy:
    """`weir proxy` alone, before such tiers."""

    def __init__(self, folder, back, fields=None):
        folder.mkdir(parents=True, exist_ok=True)
        port, self.admin = free_port(), f"127.0.0.1:{free_port()}"
        lists = "".join(f"{tier} = {json.dumps(addresses)}\n" for tier, addresses in back.addresses.items())
        config = folder / "proxy.toml"
        config.write_text(f'listen = "127.0.0.1:{port}"\nexpected_proxies = 1\n{lists}')
        self.server = Server([binaries.WEIR, "proxy", "--config", config, "--admin", self.admin],
                             environment=environment(fields))
        self.server.until_listening(port)
        self.address = f"127.0.0.1:{port}"
        self.processes = {"proxy": self.server.pid}

    def stop(self):
        self.server.stop()


CREDENTIALS = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
ENVIRONMENT = {**os.environ, **CREDENTIALS}
