"""ASCII lines: from bytes to whole lines to fields. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from drivers.judgement import Judged, in_range, missing
from drivers.registers import scaled
from ewarn.errors import WrongReply
from ewarn.profiles import Ascii, Channel

LONGEST_LINE = 1024
"""Bytes; more without a terminator are noise and are dropped up to the next one."""

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_NMEA = re.compile(rb"\$([^$*]*)\*([0-9A-Fa-f]{2})")


class LineAssembler:
    """Cuts a stream of bytes into lines.

    Args:
        terminator: end of a line.
        begin_whole: whether the first byte begins a line; else all up to the first terminator is dropped.
    """

    def __init__(self, terminator: bytes, *, begin_whole: bool = False) -> None:
        self._terminator = terminator
        self._buffer = b""
        self._skipping = not begin_whole

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Lines that these bytes complete, without terminator."""
        *whole, self._buffer = (self._buffer + data).split(self._terminator)
        for line in whole:
            if not self._skipping and len(line) <= LONGEST_LINE:
                yield line
            self._skipping = False
        if len(self._buffer) > LONGEST_LINE:
            # A terminator may be half here.
            self._skipping, self._buffer = True, self._buffer[-len(self._terminator) :]


@dataclass(frozen=True, slots=True)
class Fields:
    """Texts of a line by column number or group name."""

    texts: Mapping[str | int, str]


def parse_line(line: bytes, form: Ascii) -> Fields | None:
    """Fields of a line; None where the line is another device's or a header (it lacks the prefix).

    Raises:
        WrongReply: check sum, pattern or number of columns are wrong.
    """
    if not line.startswith(form.prefix.encode()):
        return None
    text = (_without_checksum(line) if form.checksum == "nmea" else line).decode("ascii", errors="replace")
    if form.split == "regex":
        match = re.fullmatch(form.pattern, text)
        if match is None:
            raise WrongReply(f"{text[:80]!r} does not match the pattern")
        return Fields({name: found or "" for name, found in match.groupdict().items()})
    columns = text.split(form.delimiter or None)
    if form.columns and len(columns) != form.columns:
        raise WrongReply(f"{text[:80]!r} has {len(columns)} columns instead of {form.columns}")
    return Fields(dict(enumerate(columns)))


def judge_field(fields: Fields, channel: Channel, form: Ascii) -> Judged:
    """Reading of a channel: MISSING where its token means so, or is no number."""
    assert channel.field is not None
    # Blanks alone: Python strips separators as \x1c as well, of which float() knows nothing.
    token = fields.texts.get(channel.field, "").strip(" \t")
    if token in form.missing and channel.field in fields.texts:
        return missing("sentinel")
    if not _NUMBER.fullmatch(token):
        return missing("wrong_reply")
    number = float(token)
    if not math.isfinite(number) or number in channel.missing:
        return missing("sentinel")
    return in_range(scaled(number, channel), channel)


def nmea_sum(body: bytes) -> int:
    """XOR of all bytes.

    >>> f"{nmea_sum(b'WIXDR,C,026.0,C,,'):02X}"
    '56'
    """
    total = 0
    for byte in body:
        total ^= byte
    return total


def _without_checksum(line: bytes) -> bytes:
    match = _NMEA.fullmatch(line)
    if match is None:
        raise WrongReply(f"{line[:80]!r} has no check sum")
    if nmea_sum(match[1]) != int(match[2], 16):
        raise WrongReply(f"{line[:80]!r} has a wrong check sum")
    return line[: line.index(b"*")]
