"""Real databases and a real broker, each with its own folder and free ports."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

from ewarn.config import InfluxTable
from ewarn.toml import Seconds

TOKEN = "test-token"

INFLUXD = """
reporting-enabled = false
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  index-version = "tsi1"
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
[ifql]
  enabled = false
"""

NGINX = """
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
daemon off;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_max_body_size 1m;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  map $arg_precision $v1_precision {{ default n; us u; ms ms; s s; }}
  map $http_authorization $known {{ default 0; "Token {token}" 1; }}
  server {{
    listen 127.0.0.1:{port};
    proxy_set_header Authorization "";
    location = /api/v2/write {{
      if ($known = 0) {{ return 401 '{{"code":"unauthorized","message":"unauthorized access"}}'; }}
      set $args "db=$arg_bucket&precision=$v1_precision";
      rewrite ^ /write break;
      proxy_pass http://127.0.0.1:{influx};
    }}
    location / {{ proxy_pass http://127.0.0.1:{influx}; }}
  }}
}}
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def program(name: str) -> str:
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def wait_for(condition, what: str, seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if condition():
                return
        time.sleep(0.02)
    raise AssertionError(f"{what} within {seconds} s")


def listens(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


class Program:
    """A child process that can be killed and started again on the same port."""

    def __init__(self, command: list[str], port: int) -> None:
        self.port, self._command = port, command
        self._process: subprocess.Popen[bytes] | None = None

    def ready(self) -> bool:
        return listens(self.port)

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.ready, f"{self._command[0]} is ready")

    def send(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(20)
            self._process = None


class Influx(Program):
    """Debian's InfluxDB 1.x."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        port = free_port()
        conf = folder / "influx.conf"
        conf.write_text(INFLUXD.format(folder=folder, port=port, rpc=free_port()))
        super().__init__([program("influxd"), "-config", str(conf)], port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ready(self) -> bool:
        with urllib.request.urlopen(f"{self.url}/ping", timeout=1) as reply:
            return reply.status == 204

    def create(self, database: str) -> None:
        self._do(f'CREATE DATABASE "{database}"')

    def drop(self, database: str) -> None:
        self._do(f'DROP DATABASE "{database}"')

    def _do(self, statement: str) -> None:
        body = urllib.parse.urlencode({"q": statement}).encode()
        with urllib.request.urlopen(f"{self.url}/query", body, timeout=10) as reply:
            reply.read()


class FakeServer:
    """An HTTP server that answers what a test says: `(status, headers, body)`, "hang" or "reset"."""

    def __init__(self) -> None:
        self.answers: list = []
        self.requests: list[tuple[str, str, bytes]] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                fake.connections.append(self.connection)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                fake.requests.append((self.path, self.headers.get("Authorization", ""), body))
                self.answer(fake.answers.pop(0) if fake.answers else (204, {}, b""))

            do_GET = do_POST  # noqa: N815

            def answer(self, how) -> None:
                if how == "hang":
                    fake.hanging.wait(5)
                    self.close_connection = True
                    return
                status, headers, body = (400, {}, b"half of it") if how == "reset" else how
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Length", str(len(body) * (2 if how == "reset" else 1)))
                self.end_headers()
                self.wfile.write(body)
                if how == "reset":
                    self.close_connection = True

            def log_message(self, *args) -> None:
                pass

        self.hanging = Event()
        self.connections: list[socket.socket] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self.hanging.set()
        self._server.shutdown()
        self._thread.join()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()


def influx_table(url: str, bucket: str, *, api: str = "v1", token_file: str = "", timeout: float = 10) -> InfluxTable:
    return InfluxTable(url=url, bucket=bucket, api=api, org="any", token_file=token_file, timeout=Seconds(timeout))
