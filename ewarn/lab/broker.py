"""A broker for demonstrations and tests: mosquitto as a child process where it is installed, else one from PyPI."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ewarn.config import BrokerTable
from ewarn.errors import EwarnError

_MOSQUITTO = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 100000
max_packet_size 262144
"""
_RUMQTTD = """\
id = 0
[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
[v5.1]
name = "v5"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 262144
max_inflight_count = 100
dynamic_filters = true
"""


class EmbeddedBroker:
    """Runs a broker on a free loopback port for as long as the context lasts.

    Args:
        folder: where its configuration goes.

    Raises:
        EwarnError: neither broker is installed, or it does not start.
    """

    def __init__(self, folder: Path) -> None:
        self.port = _free_port()
        self.kind = "mosquitto" if _mosquitto() else "iotcore"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._iotcore: Any = None

    @property
    def settings(self) -> BrokerTable:
        """How clients reach it."""
        return BrokerTable(host="127.0.0.1", port=self.port, insecure=True)

    async def __aenter__(self) -> Self:
        if self.kind == "mosquitto":
            self._start_mosquitto()
        else:
            self._start_iotcore()
        await self._wait()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            await asyncio.to_thread(self._process.wait, 10)
        if self._iotcore is not None:
            self._iotcore.__exit__(None, None, None)

    def _start_mosquitto(self) -> None:
        conf = self._folder / "mosquitto.conf"
        conf.write_text(_MOSQUITTO.format(port=self.port), encoding="utf-8")
        self._process = subprocess.Popen(  # noqa: S603  (a fixed program with our own configuration)
            [str(_mosquitto()), "-c", str(conf)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def _start_iotcore(self) -> None:
        try:
            from iotcore import Broker  # noqa: PLC0415  (needed only without mosquitto)
        except ImportError as error:
            raise EwarnError("no MQTT broker: install mosquitto (apt install mosquitto) or iotcore (pip)") from error
        conf = self._folder / "rumqttd.toml"
        conf.write_text(_RUMQTTD.format(port=self.port), encoding="utf-8")
        self._iotcore = Broker(config_path=str(conf))
        self._iotcore.__enter__()

    async def _wait(self) -> None:
        for _ in range(100):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            await asyncio.sleep(0.05)
        raise EwarnError(f"the embedded broker ({self.kind}) does not listen on port {self.port}")


def _mosquitto() -> str | None:
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port
