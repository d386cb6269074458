"""A TCP proxy on a thread of its own, for what befalls a connection: delay, narrow lines, stalls, resets, refusals."""

import asyncio
import contextlib
import random
import socket
import struct
import threading

_CHUNK = 512


class Proxy:
    """Forwards connections to a port of this machine.

    Attributes:
        port: where it listens.
        delay, jitter: seconds that a chunk waits, and the share of it that is random.
        rate: bytes a second each way, 0 for any.
        stalled: nothing goes through; connections stay.
        refusing: new connections are reset at once.
        cut_after: connections are reset after so many bytes of the server, 0 for never.
        rewrite: makes of each chunk of the server what the client gets.
        opened: connections so far.
    """

    def __init__(self, target):
        self.target, self.port = target, 0
        self.delay = self.jitter = self.rate = self.cut_after = 0
        self.stalled = self.refusing = False
        self.opened = 0
        self.rewrite = None
        self._writers = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def start(self):
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def close(self):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def let_through(self):
        """No chunk is rewritten any more."""
        self.rewrite = None

    def reset_all(self):
        """RST on every connection."""
        self._loop.call_soon_threadsafe(lambda: [_reset(w) for w in list(self._writers)])

    async def _run(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        self.opened += 1
        if self.refusing:
            _reset(writer)
            return
        far = None
        try:
            far_reader, far = await asyncio.open_connection("127.0.0.1", self.target)
            self._writers |= {writer, far}
            ways = (self._pump(reader, far), self._pump(far_reader, writer, back=True))
            await asyncio.wait([asyncio.ensure_future(way) for way in ways], return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            pass
        finally:
            self._writers -= {writer, far}
            _reset(writer)
            if far is not None:
                _reset(far)

    async def _pump(self, reader, writer, *, back=False):
        passed = 0
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await asyncio.sleep(self.delay * random.uniform(1 - self.jitter, 1 + self.jitter))
                if self.rate:
                    await asyncio.sleep(len(data) / self.rate)
                while self.stalled:
                    await asyncio.sleep(0.05)
                passed += len(data)
                if back and self.rewrite:
                    data = self.rewrite(data)
                if back and self.cut_after and passed > self.cut_after:
                    writer.write(data[: len(data) // 2])
                    await asyncio.sleep(0.01)
                    return
                writer.write(data)
                await writer.drain()


def _reset(writer):
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
