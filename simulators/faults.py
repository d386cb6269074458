"""Faults of a line, on what a device says: each reply suffers each fault that is due with its probability."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from ewarn.contracts import Millis
from simulators.tables import LineFaultTable

_LATE_MS = 1200.0
_BUSY = 6
_READS = (3, 4)


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes that go onto the line after a pause (real seconds)."""

    data: bytes
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply before it is framed."""

    unit: int
    pdu: bytes


class LineFaults:
    """Draws what befalls each reply of one probe.

    Args:
        faults: of this probe.
        start: of the scenario.
        seed: of the draws.
    """

    def __init__(self, faults: Sequence[LineFaultTable], start: Millis, seed: int) -> None:
        self._faults, self._start, self._random = tuple(faults), start, random.Random(seed)
        self.counts: dict[str, int] = {}

    def draw(self, now: Millis) -> list[LineFaultTable]:
        """The faults that strike now."""
        seconds = (now - self._start) / 1000
        struck = [
            f
            for f in self._faults
            if f.after <= seconds < f.after + f.duration and self._random.random() < f.probability
        ]
        for fault in struck:
            self.counts[fault.kind] = self.counts.get(fault.kind, 0) + 1
        return struck

    def garble(self, reply: Reply, struck: Sequence[LineFaultTable]) -> Reply:
        """Faults of a device that answers wrongly, though in whole frames."""
        unit, pdu = reply.unit, reply.pdu
        for fault in struck:
            match fault.kind:
                case "wrong_unit":
                    unit = unit % 247 + 1
                case "wrong_function":
                    pdu = bytes((pdu[0] ^ 7,)) + pdu[1:]
                case "wrong_count":
                    pdu = bytes((pdu[0], len(pdu) - 4)) + pdu[2:-2] if pdu[0] in _READS else pdu
                case "exception":
                    pdu = bytes((pdu[0] | 0x80, int(fault.size) or _BUSY))
                case _:
                    pass
        return Reply(unit, pdu)

    def damage(self, frame: bytes, request: bytes, struck: Sequence[LineFaultTable]) -> list[Piece]:
        """Faults of the wire; `request` is what an echo repeats."""
        pieces = [Piece(frame)]
        for fault in struck:
            pieces = self._damaged(pieces, request, fault)
        return pieces

    def _damaged(self, pieces: list[Piece], request: bytes, fault: LineFaultTable) -> list[Piece]:
        whole = b"".join(p.data for p in pieces)
        pause = pieces[0].pause if pieces else 0.0
        match fault.kind:
            case "no_reply":
                return []
            case "late_reply":
                return [Piece(whole, pause + (fault.size or _LATE_MS) / 1000)]
            case "crc" if whole:
                at = self._random.randrange(len(whole))
                return [
                    Piece(whole[:at] + bytes((whole[at] ^ 1 << self._random.randrange(8),)) + whole[at + 1 :], pause)
                ]
            case "truncate" if len(whole) > 1:
                return [Piece(whole[: self._random.randrange(1, len(whole))], pause)]
            case "noise_before":
                return [Piece(self._random.choice((b"\x00", b"\xff", b"\xf8\x00")) + whole, pause)]
            case "extra_after":
                return [Piece(whole + b"\x00", pause)]
            case "echo":
                return [Piece(request + whole, pause)]
            case "split" if len(whole) > 1:
                middle = len(whole) // 2
                return [Piece(whole[:middle], pause), Piece(whole[middle:], 0.02)]
            case _:
                return pieces
