"""Device profiles: what an instrument's registers or lines mean. Data that drivers and simulators share.

A profile is one TOML file. Built-in ones are found through the entry point group `ewarn.profiles`, whose values are
packages with TOML files in them; a station file may also name a path. Only the schema lives here, its checks are in
`ewarn.profile_checks`; nothing in this module encodes or decodes a value.
"""

from __future__ import annotations

import importlib.resources
from importlib.metadata import entry_points
from pathlib import Path
from typing import Literal

import msgspec

from ewarn.errors import ConfigError
from ewarn.profile_checks import check_profile
from ewarn.toml import decode_toml, file_problem

NumberType = Literal["int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
WordOrder = Literal["ABCD", "CDAB", "BADC", "DCBA"]
RegisterKind = Literal["holding", "input"]

REGISTERS: dict[str, int] = {
    "int16": 1, "uint16": 1, "int32": 2, "uint32": 2, "float32": 2, "int64": 4, "uint64": 4, "float64": 4,
}  # fmt: skip
"""Registers of 16 bits that each type takes."""


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the instrument leaves the factory: for `ewarn check` and the simulators; the station file decides."""

    baud: int = 9600
    bytesize: int = 8
    parity: Literal["N", "E", "O"] = "N"
    stopbits: int = 1
    unit: int = 1


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one request may ask.

    Attributes:
        max_registers: most registers in one read.
        max_gap: most unused registers that may be read along to join two reads; 0 where undefined ones are refused.
        pause_ms: least pause between two requests.
        timeout_ms: what a healthy instrument needs at most to begin its answer.
    """

    max_registers: int = 125
    max_gap: int = 0
    pause_ms: int = 0
    timeout_ms: int = 1000


class Wake(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An instrument that sleeps: after `idle_ms` without traffic the first `retries` requests may be lost."""

    retries: int = 0
    idle_ms: int = 0


class Status(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A register that judges channels.

    The masked register is looked up in `good` and `suspect`; anything else is bad. With both empty, zero is good.
    Its type is one of whole numbers, its byte order the profile's.
    """

    id: str
    address: int
    register: RegisterKind = "holding"
    type: NumberType = "uint16"
    mask: int = 0xFFFFFFFF
    good: tuple[int, ...] = ()
    suspect: tuple[int, ...] = ()

    @property
    def registers(self) -> int:
        """How many it takes."""
        return REGISTERS[self.type]


class Channel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One value of the instrument.

    Attributes:
        id: its name in this profile.
        parameter: id in `ewarn.parameters`.
        unit: UCUM unit of the value after `scale` and `offset`; must be the parameter's.
        address: of its first register, counted from the profile's `address_base`; absent where `bind` finds it.
        register, type, word_order: how it is stored (word_order: the profile's where absent). The order goes for
            numbers of 16 bits too: BADC and DCBA swap their two bytes.
        scale, offset: value = raw * scale + offset.
        missing: raw numbers that mean "no value".
        valid: bounds of the value; outside them the reading is FAIL with reason `out_of_range`.
        status: id of the status register that judges it.
        code: parameter code under which a self-describing instrument lists it.
        units_code: unit codes accepted from a self-describing instrument (empty: any).
        decimals: decimals that the instrument shows (ASCII lines, simulators).
        field: name of the regex group, or column number from 0, in an ASCII line; the prefix belongs to the line.
    """

    id: str
    parameter: str
    unit: str
    address: int | None = None
    register: RegisterKind = "holding"
    type: NumberType = "float32"
    word_order: WordOrder | None = None
    scale: float = 1.0
    offset: float = 0.0
    missing: tuple[float, ...] = ()
    valid: tuple[float, float] | None = None
    status: str | None = None
    code: int | None = None
    units_code: tuple[int, ...] = ()
    decimals: int | None = None
    field: str | int | None = None

    @property
    def registers(self) -> int:
        """How many its value takes."""
        return REGISTERS[self.type]


class Bind(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a self-describing Modbus instrument says where a parameter is.

    mode "slots" (YSI EXO): a list of parameter codes from `codes` (ends with 0), `slots` long; slot i has its uint16
    status at `status + i` (values in `status_good` are good) and its float32 value at `values + 2 i`.

    mode "block" (In-Situ): each channel's block begins at the channel's own `address`, is `size` registers long and
    has at the given offsets the value, the quality id, the units id, the parameter id (which must equal the channel's
    `code`) and the sentinel, a value that means "no value" in this block.
    """

    mode: Literal["slots", "block"]
    codes: int = 0
    status: int = 0
    values: int = 0
    slots: int = 0
    status_good: tuple[int, ...] = (0,)
    size: int = 0
    value: int = 0
    quality: int = 0
    units: int = 0
    parameter: int = 0
    sentinel: int = 0
    quality_good: tuple[int, ...] = (0,)
    quality_suspect: tuple[int, ...] = ()


class Ascii(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A device that prints lines.

    Attributes:
        mode: "stream" (prints by itself every `interval_s`) or "poll" (answers `request`).
        request: sent to ask for a line, with its terminator.
        terminator: end of a line.
        split: "regex" (pattern with named groups) or "csv" (columns).
        pattern: regular expression that the whole line has to match.
        delimiter: of columns; "" means any white space.
        prefix: lines that do not begin with it are passed over ("" = none are).
        missing: tokens that mean "no value".
        checksum: "none" or "nmea" (XOR of what stands between $ and *, as two hexadecimal digits); the asterisk and
            what follows it are taken off before the line is split.
        columns: how many columns a CSV line has; another number is a wrong line.
        interval_s: seconds between lines of a streaming device.
    """

    mode: Literal["stream", "poll"] = "stream"
    request: str = ""
    terminator: str = "\r\n"
    split: Literal["regex", "csv"] = "csv"
    pattern: str = ""
    delimiter: str = ","
    prefix: str = ""
    missing: tuple[str, ...] = ("", "-", "--", "NaN", "nan", "*****", "-9999")
    checksum: Literal["none", "nmea"] = "none"
    columns: int = 0
    interval_s: float = 1.0


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One device.

    Attributes:
        schema: version of this schema, 1.
        id: the file's name without .toml.
        name: maker and model.
        source: where the map was found.
        grade: V vendor text read, D open-source driver that runs against the device, I inferred, M from memory.
        protocol: "modbus" or "ascii".
        address_base: 0 where addresses are those on the wire, 1 where they count from 1.
        quirks: what this device does that others do not, for simulators to imitate.
    """

    schema: Literal[1]
    id: str
    name: str
    source: str
    grade: Literal["V", "D", "I", "M"]
    protocol: Literal["modbus", "ascii"]
    channels: tuple[Channel, ...]
    link: Link = Link()
    limits: Limits = Limits()
    wake: Wake = Wake()
    address_base: Literal[0, 1] = 0
    word_order: WordOrder = "ABCD"
    status: tuple[Status, ...] = ()
    bind: Bind | None = None
    ascii: Ascii | None = None
    quirks: tuple[str, ...] = ()

    def channel(self, name: str) -> Channel:
        """The channel of this name. Raises KeyError."""
        for channel in self.channels:
            if channel.id == name:
                return channel
        raise KeyError(name)

    def wire(self, address: int) -> int:
        """Address as it goes into a frame (0-based)."""
        return address - self.address_base


def builtin_profiles() -> dict[str, Path]:
    """Path of each installed profile by id."""
    found: dict[str, Path] = {}
    for entry in entry_points(group="ewarn.profiles"):
        folder = Path(str(importlib.resources.files(entry.value)))
        found |= {path.stem: path for path in sorted(folder.glob("*.toml"))}
    return found


def load_profile(name: str, *, relative_to: Path | None = None) -> Profile:
    """Load a profile by id, or by path (recognised by `.toml` at its end).

    Args:
        name: id of an installed profile, or a path.
        relative_to: folder that a relative path starts from.

    Raises:
        ConfigError: there is no such profile (then it names no file), or it is not a valid one (then it names its).
    """
    if name.endswith(".toml"):
        path = (relative_to or Path()) / name
        problem = file_problem(path)
        if problem:
            hint = "give a path relative to the file that names it, or the id of an installed profile"
            raise ConfigError("", "profile", f"no such profile file: {str(path)!r} ({problem})", hint)
    else:
        known = builtin_profiles()
        if name not in known:
            raise ConfigError("", "profile", f"unknown profile {name!r}", f"one of: {', '.join(sorted(known))}")
        path = known[name]
    profile = decode_toml(path, Profile)
    check_profile(profile, str(path))
    return profile
