"""Lines that simulated probes are served on: a pty for each serial line. No root, ready at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tty
from pathlib import Path

_MOST_UNREAD = 64


class Pty:
    """A serial line; clients open `device`.

    The far end stays open here as well, so that a client may come and go. Parity and speed are not enforced by a pty.

    Args:
        link: a stable path that is made to point at the device, "" for none; an old link is replaced. Raises OSError
            where it cannot be made, as where the path is a file.
    """

    def __init__(self, link: str = "") -> None:
        self._near, self._far = os.openpty()
        tty.setraw(self._far)
        os.set_blocking(self._near, False)
        self._terminal = os.ttyname(self._far)
        self._link = Path(link) if link else None
        self.device = link or self._terminal
        self._received: asyncio.Queue[bytes] = asyncio.Queue(_MOST_UNREAD)
        try:
            self._make_link()
        except OSError:
            os.close(self._near)
            os.close(self._far)
            raise

    def start(self) -> None:
        """Listen; call it inside the event loop."""
        asyncio.get_running_loop().add_reader(self._near, self._readable)

    async def read(self) -> bytes:
        """Some bytes from the client; what nobody reads here is bounded, and the rest of it lost."""
        return await self._received.get()

    def write(self, data: bytes) -> None:
        """Bytes to the client; what a client that does not read leaves no room for is lost, as on a wire."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._near, data)

    def close(self) -> None:
        """Take the line away."""
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().remove_reader(self._near)
        os.close(self._near)
        os.close(self._far)
        if self._link is not None and self._link.is_symlink() and str(self._link.readlink()) == self._terminal:
            self._link.unlink(missing_ok=True)

    def _make_link(self) -> None:
        if self._link is None:
            return
        if self._link.is_symlink():
            self._link.unlink(missing_ok=True)
        self._link.symlink_to(self._terminal)

    def _readable(self) -> None:
        with contextlib.suppress(BlockingIOError, asyncio.QueueFull):
            self._received.put_nowait(os.read(self._near, 4096))
