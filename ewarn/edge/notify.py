"""What systemd wants to know, after sd_notify(3): ready, status, alive. Nothing is said where nobody listens."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping


class Notifier:
    """The way to the service manager.

    Args:
        environment: of the process; `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` of it are read.

    Attributes:
        watchdog: seconds after which the manager restarts a process that did not say that it is alive; 0 where it
            does not watch.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        usec, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
        watched = usec.isdecimal() and pid in ("", str(os.getpid()))
        self.watchdog = int(usec) / 1e6 if watched else 0.0

    def say(self, *lines: str) -> None:
        """Send assignments as `READY=1`; never raises, never waits."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
            link.setblocking(False)
            link.sendto("\n".join(lines).encode(), address)
