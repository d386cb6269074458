"""What a profile has to hold beyond its schema, so that no driver and no simulator stumbles over it while it runs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ewarn.errors import ConfigError
from ewarn.parameters import PARAMETERS

if TYPE_CHECKING:
    from ewarn.profiles import Ascii, Bind, Channel, Profile

_REGISTERS = 0x10000
_MOST_REGISTERS = 125
_SLOTS = range(2, 63)
_MOST_COLUMNS = 1000

Findings = Iterator[tuple[str, str, str]]
"""Key, problem and remedy of what is wrong; the first is enough."""


def check_profile(profile: Profile, file: str) -> None:
    """Refuse a profile that cannot be read by. Raises ConfigError."""
    for key, problem, remedy in _findings(profile):
        raise ConfigError(file, key, problem, remedy)


def _findings(profile: Profile) -> Findings:
    yield from _twice([c.id for c in profile.channels], "channels")
    yield from _twice([s.id for s in profile.status], "status")
    for i, channel in enumerate(profile.channels):
        yield from _meaning(profile, channel, f"channels[{i}]")
    if profile.protocol == "modbus":
        yield from _modbus(profile)
    elif profile.ascii is None:
        yield "ascii", "missing", "describe the lines in an [ascii] table"
    else:
        yield from _ascii(profile, profile.ascii)


def _twice(ids: list[str], key: str) -> Findings:
    for i, id_ in enumerate(ids):
        if id_ in ids[:i]:
            yield f"{key}[{i}].id", f"{id_!r} is there twice: two have the same id", "give each its own"


def _meaning(profile: Profile, channel: Channel, key: str) -> Findings:
    known = PARAMETERS.get(channel.parameter)
    if known is None:
        yield f"{key}.parameter", f"unknown parameter {channel.parameter!r}", "see ewarn/parameters.py"
    elif channel.unit != known.unit:
        problem = f"{channel.unit!r} is not the unit of {channel.parameter}"
        yield f"{key}.unit", problem, f"use {known.unit!r}, with scale and offset where the device reports another"
    if not math.isfinite(channel.scale) or channel.scale == 0:
        yield f"{key}.scale", f"{channel.scale} would lose the value", "value = raw * scale + offset"
    if not math.isfinite(channel.offset):
        yield f"{key}.offset", f"{channel.offset} would lose the value", "value = raw * scale + offset"
    if channel.valid is not None and not channel.valid[0] < channel.valid[1]:
        yield f"{key}.valid", f"{list(channel.valid)} is empty", "write [low, high]"
    if channel.status is not None and channel.status not in {s.id for s in profile.status}:
        yield f"{key}.status", f"no status register {channel.status!r}", "declare it under [[status]]"
    if channel.status is not None and profile.bind is not None:
        yield f"{key}.status", "would not be read: the probe binds its own", "leave it out"


def _modbus(profile: Profile) -> Findings:
    yield from _limits(profile)
    for i, status in enumerate(profile.status):
        if status.type.startswith("float"):
            yield f"status[{i}].type", f"{status.type!r} has no bits to mask", "use a type of whole numbers"
        yield from _on_the_wire(profile, status.address, status.registers, f"status[{i}].address")
    if profile.bind is not None and profile.bind.mode == "slots":
        yield from _slots(profile, profile.bind)
    elif profile.bind is not None:
        yield from _block(profile, profile.bind)
    for i, channel in enumerate(profile.channels):
        yield from _place(profile, profile.bind, channel, f"channels[{i}]")


def _limits(profile: Profile) -> Findings:
    limits, wake = profile.limits, profile.wake
    if not 1 <= limits.max_registers <= _MOST_REGISTERS:
        yield "limits.max_registers", f"{limits.max_registers} cannot be", f"1 to {_MOST_REGISTERS}, as in Modbus"
    for key, number in (
        ("limits.max_gap", limits.max_gap), ("limits.pause_ms", limits.pause_ms),
        ("wake.retries", wake.retries), ("wake.idle_ms", wake.idle_ms),
    ):  # fmt: skip
        if number < 0:
            yield key, f"{number} is less than 0", "use 0 for none"


def _on_the_wire(profile: Profile, address: int, count: int, key: str) -> Findings:
    """Registers that a frame can name, and one request can read."""
    first = profile.wire(address)
    if not 0 <= first <= _REGISTERS - count:
        problem = f"{count} registers at {address} are {first} to {first + count - 1} on the wire"
        yield key, problem, "there are 0 to 65535; see address_base"
    if count > profile.limits.max_registers:
        problem = f"{count} registers at {address} belong together, max_registers is less"
        yield key, problem, "raise limits.max_registers"


def _place(profile: Profile, bind: Bind | None, channel: Channel, key: str) -> Findings:
    """Where a channel's value is."""
    if bind is not None:
        if channel.code is None:
            yield f"{key}.code", "missing", "give the code under which the device lists the parameter"
        elif not 1 <= channel.code < _REGISTERS:
            yield f"{key}.code", f"{channel.code} is no code of a register", "1 to 65535"
        if channel.type != "float32":
            yield f"{key}.type", f"{channel.type!r} in a {bind.mode.removesuffix('s')}", "it holds float32"
    if bind is not None and bind.mode == "slots":
        return
    if channel.address is None:
        yield f"{key}.address", "missing", "give the register address, or bind by slots"
    else:
        count = channel.registers if bind is None else bind.size
        yield from _on_the_wire(profile, channel.address, count, f"{key}.address")


def _slots(profile: Profile, bind: Bind) -> Findings:
    """The three tables: each can be read whole at once, and none lies over another."""
    if bind.slots not in _SLOTS:
        problem = f"{bind.slots} slots cannot be read as they have to be: all at once, and told from a single register"
        yield "bind.slots", problem, f"{_SLOTS[0]} to {_SLOTS[-1]}"
    tables = {"codes": (bind.codes, bind.slots), "status": (bind.status, bind.slots),
              "values": (bind.values, 2 * bind.slots)}  # fmt: skip
    for name, (address, count) in tables.items():
        yield from _on_the_wire(profile, address, count, f"bind.{name}")
        for other, (start, length) in tables.items():
            if other != name and address < start + length and start < address + count:
                yield f"bind.{name}", f"its {count} registers at {address} lie over bind.{other}", "see bind.slots"


def _block(profile: Profile, bind: Bind) -> Findings:
    """Every part of the block is in it, in a place of its own."""
    if not 1 <= bind.size <= profile.limits.max_registers:
        yield "bind.size", f"{bind.size} registers cannot be read at once", "1 to limits.max_registers"
    taken: dict[int, str] = {}
    for name, width in (("value", 2), ("quality", 1), ("units", 1), ("parameter", 1), ("sentinel", 2)):
        offset = getattr(bind, name)
        for register in range(offset, offset + width):
            if not 0 <= register < bind.size:
                problem = f"register {register} is not in a block of {bind.size}"
                yield f"bind.{name}", problem, "count from 0; value and sentinel take 2 registers"
            if register in taken:
                problem = f"register {register} is also of bind.{taken[register]}"
                yield f"bind.{name}", problem, "count from 0; value and sentinel take 2 registers"
            taken[register] = name


def _ascii(profile: Profile, form: Ascii) -> Findings:
    if not form.terminator:
        yield "ascii.terminator", "the terminator is empty", 'give the end of a line, as "\\r\\n"'
    if form.mode == "poll" and not form.request:
        yield "ascii.request", "no request: the device would be asked with nothing", "give what asks for a line"
    if not form.interval_s > 0:
        yield "ascii.interval_s", f"{form.interval_s} is not more than 0", "seconds between two lines"
    try:
        groups = set(re.compile(form.pattern).groupindex)
    except re.error as error:
        yield "ascii.pattern", f"pattern {form.pattern!r}: {error}", "give a regular expression"
        return
    for i, channel in enumerate(profile.channels):
        field, key = channel.field, f"channels[{i}].field"
        column = isinstance(field, int) and 0 <= field < (form.columns or _MOST_COLUMNS)
        if field is None:
            yield key, "missing", "give the group's name or the column's number"
        elif not (field in groups if form.split == "regex" else column):
            yield key, f"{field!r} is a field which no line has", "give the group's name or the column's number"
