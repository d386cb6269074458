"""A serial port for asyncio. The one module that touches pyserial.

pyserial opens and sets the port; reading and writing go straight to its descriptor, which does not block: pyserial's
own `write` spins for ever when the other side takes nothing. Whatever the port raises (OSError, SerialException,
termios.error, ValueError) becomes LineLost.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
from collections.abc import Callable

import serial

from ewarn.contracts import LineSettings
from ewarn.errors import LineLost

_CHUNK = 4096
_WRITE_POLL_S = 0.005
_FAULTS = (OSError, serial.SerialException, termios.error, ValueError)


class SerialPort:
    """One port, exclusively ours while open.

    Args:
        settings: of the line.
        on_bytes: called with what comes; with nothing when the port is lost.
    """

    def __init__(self, settings: LineSettings, on_bytes: Callable[[bytes], None]) -> None:
        self._settings = settings
        self._on_bytes = on_bytes
        self._port: serial.Serial | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def is_open(self) -> bool:
        """Whether bytes can come; False also after the port was lost."""
        return self._port is not None

    def open(self) -> None:
        """Open the port and begin to listen; what came before is dropped. Raises LineLost."""
        s = self._settings
        try:
            port = serial.Serial(
                s.device, s.baud, bytesize=s.bytesize, parity=s.parity, stopbits=s.stopbits, timeout=0,
                write_timeout=0, exclusive=True,
            )  # fmt: skip
        except _FAULTS as error:
            raise LineLost(f"{s.device} cannot be opened: {error}") from error
        self._port, self._loop = port, asyncio.get_running_loop()
        self._loop.add_reader(port.fileno(), self._readable)

    def close(self) -> None:
        """Close it; never raises."""
        port, self._port = self._port, None
        if port is None:
            return
        with contextlib.suppress(*_FAULTS, RuntimeError):
            assert self._loop is not None
            self._loop.remove_reader(port.fileno())
        with contextlib.suppress(*_FAULTS):
            port.close()

    async def write(self, data: bytes, timeout: float) -> None:  # noqa: ASYNC109  (of the port, not of the caller)
        """Hand all bytes to the port within `timeout` seconds. Raises LineLost."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while data:
            data = data[self._write_some(data) :]
            if data and loop.time() > deadline:
                self.close()
                raise LineLost(f"{self._settings.device} takes no bytes")
            if data:
                await asyncio.sleep(_WRITE_POLL_S)

    def _write_some(self, data: bytes) -> int:
        if self._port is None:
            raise LineLost(f"{self._settings.device} is gone")
        try:
            return os.write(self._port.fileno(), data)
        except BlockingIOError:
            return 0
        except _FAULTS as error:
            self.close()
            raise LineLost(f"{self._settings.device} cannot be written: {error}") from error

    def _readable(self) -> None:
        assert self._port is not None
        try:
            data = os.read(self._port.fileno(), _CHUNK)
        except BlockingIOError:
            return
        except _FAULTS:
            data = b""
        if not data:
            self.close()
        self._on_bytes(data)
