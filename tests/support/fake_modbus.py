"""A Modbus device in bytes, written apart from the drivers: RTU on a pty, MBAP or RTU on a socket.

Every register holds a value that tells its own address and the request that it was read for, so a value that reached
another channel, or another poll, is known by itself.
"""

from __future__ import annotations

import asyncio
import os
import pty
import struct
import tty
from collections.abc import Callable

from ewarn.contracts import LineSettings


def checksum(data):
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            low, crc = crc & 1, crc >> 1
            if low:
                crc ^= 0xA001
    return struct.pack("<H", crc)


def profile_text(addresses, *, limits="", extra="", kind="uint16"):
    """A profile whose channel `a<n>` is the register n."""
    text = (
        'schema = 1\nid = "fake"\nname = "fake"\nsource = "test"\ngrade = "I"\nprotocol = "modbus"\n'
        f"{extra}\n[limits]\n{limits}\n"
    )
    for address in addresses:
        text += (
            f'[[channels]]\nid = "a{address}"\nparameter = "pressure"\nunit = "kPa"\n'
            f'address = {address}\ntype = "{kind}"\n'
        )
    return text


class Device:
    """`fault(n, reply)` gives what to send for the nth request: a list of (delay in s, bytes)."""

    def __init__(self, fault=None, *, value=None, refuses=lambda _fc, _addr, _count: 0):
        self.fault: Callable = fault or (lambda _n, reply: [(0, reply)])
        self.value = value or (lambda address, poll: (address << 6 | poll % 64) & 0xFFFF)
        self.refuses = refuses
        self.requests = []
        self.poll = 0
        self.free_at = 0.0
        self.pending = 0
        self.unit = 1

    def pdu(self, function, address, count):
        code = self.refuses(function, address, count)
        if code:
            return bytes([function | 0x80, code])
        words = [self.value(a, self.poll) for a in range(address, address + count)]
        return bytes([function, 2 * count]) + b"".join(struct.pack(">H", w) for w in words)

    def answer(self, request, send, frame):
        """`request`: unit and PDU; `frame` makes a reply's frame of unit and PDU."""
        function, address, count = struct.unpack(">BHH", request[1:6])
        self.requests.append((request[0], function, address, count))
        if request[0] != self.unit:
            return
        reply = frame(bytes([self.unit]) + self.pdu(function, address, count))
        loop = asyncio.get_running_loop()
        for delay, data in self.fault(len(self.requests), reply):
            # One queue: what is slow delays what comes after it, also where a timer is late.
            now = loop.time()
            at = max(now + delay, self.free_at if self.pending else now)
            if at > now or self.pending:
                self.free_at, self.pending = at + 1e-4, self.pending + 1
                loop.call_at(at, self.send_late, send, data)
            else:
                send(data)

    def send_late(self, send, data):
        self.pending -= 1
        send(data)


class RtuPort:
    """The device at the far end of a pty."""

    def __init__(self, device):
        self.device = device
        self.far, self.near = pty.openpty()
        tty.setraw(self.near)
        os.set_blocking(self.far, False)
        self.buffer = b""
        self.line = LineSettings("rs485", "serial", device=os.ttyname(self.near), baud=115200)
        self.loop = asyncio.get_running_loop()
        self.loop.add_reader(self.far, self.readable)

    def readable(self):
        try:
            self.buffer += os.read(self.far, 4096)
        except OSError:
            return
        while len(self.buffer) >= 8:
            request, self.buffer = self.buffer[:8], self.buffer[8:]
            assert checksum(request[:6]) == request[6:]
            self.echo(request)
            self.device.answer(request[:6], self.send, lambda body: body + checksum(body))

    def echo(self, request):
        pass

    def send(self, data):
        if self.far >= 0:
            os.write(self.far, data)

    def close(self):
        self.loop.remove_reader(self.far)
        os.close(self.far)
        os.close(self.near)
        self.far = -1


class TcpPort:
    """The device behind a socket: `rtu` frames, or MBAP."""

    def __init__(self, device, *, rtu=False):
        self.device, self.rtu = device, rtu
        self.writers, self.connections = set(), 0
        self.tid = None

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        port = self.server.sockets[0].getsockname()[1]
        self.line = LineSettings("net", "tcp", host="127.0.0.1", port=port, framing="rtu" if self.rtu else "auto")
        return self

    async def serve(self, reader, writer):
        self.connections += 1
        self.writers.add(writer)

        def send(data):
            if not writer.is_closing():
                writer.write(data)

        try:
            while True:
                if self.rtu:
                    request = (await reader.readexactly(8))[:6]
                    self.device.answer(request, send, lambda body: body + checksum(body))
                else:
                    head = await reader.readexactly(6)
                    request = await reader.readexactly(struct.unpack(">H", head[4:])[0])
                    self.device.answer(
                        request, send,
                        lambda body, tid=head[:2]: (self.tid or tid) + struct.pack(">HH", 0, len(body)) + body,
                    )
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.writers.discard(writer)

    def reset(self):
        for writer in list(self.writers):
            writer.transport.abort()

    async def stop(self):
        self.reset()
        self.server.close()
        await self.server.wait_closed()
