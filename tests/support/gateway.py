"""Modbus TCP units behind one socket, as real drivers read them; any of them may go silent."""

import asyncio
import contextlib
import struct

PROFILE = """
schema = 1
id = "fake"
name = "fake"
source = "test"
grade = "I"
protocol = "modbus"
[[channels]]
id = "spcond"
parameter = "spcond"
unit = "uS/cm"
address = 7
type = "uint16"
[[channels]]
id = "orp"
parameter = "orp"
unit = "mV"
address = 8
type = "uint16"
"""


class Gateway:
    """Listens while its context lasts.

    Attributes:
        registers: what every unit holds.
        dead: units that say nothing.
        asked: unit of each request so far.
    """

    def __init__(self, port):
        self.port, self.registers, self.dead, self.asked, self.writers = port, {7: 900, 8: 300}, set(), [], set()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for writer in self.writers:
            writer.transport.abort()
        await self.server.wait_closed()

    async def serve(self, reader, writer):
        self.writers.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readexactly(6)
                body = await reader.readexactly(struct.unpack(">H", head[4:])[0])
                unit, function, address, count = struct.unpack(">BBHH", body)
                self.asked.append(unit)
                if unit not in self.dead:
                    words = [self.registers.get(a, 0) for a in range(address, address + count)]
                    reply = bytes([unit, function, 2 * count]) + struct.pack(f">{count}H", *words)
                    writer.write(head[:4] + struct.pack(">H", len(reply)) + reply)
        self.writers.discard(writer)
        writer.close()
