"""What a scenario file holds, table by table.

Times in a scenario (`after`, `duration`) count from its start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from ewarn.profiles import Profile
from ewarn.toml import Seconds
from simulators.sensor import FaultKind

LineFaultKind = Literal[
    "no_reply", "late_reply", "crc", "truncate", "noise_before", "extra_after", "split", "wrong_unit", "wrong_function",
    "wrong_count", "exception", "echo",
]  # fmt: skip


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of a scenario file."""


class ScenarioTable(_Table, frozen=True):
    """The whole: `start` is an RFC 3339 instant, the moment of serving where absent."""

    seed: int = 1
    water: Literal["river", "treated"] = "river"
    start: str = ""


class ProbeTable(_Table, frozen=True):
    """One simulated probe.

    Attributes:
        id: its name.
        profile: device profile.
        transport: how it is served.
        port: TCP port, 0 for any free one.
        link: path of a symbolic link to its pty, "" for none.
        line: RTU probes that name the same line share one pty.
        unit: Modbus address; the profile's where absent.
        sample_period: how often it takes a new value.
        channels: profile channels that are fitted; all that the water has where empty.
    """

    id: str
    profile: str
    transport: Literal["tcp", "rtu", "ascii"]
    port: int = 0
    link: str = ""
    line: str = ""
    unit: int | None = None
    sample_period: Seconds = Seconds(1)
    channels: tuple[str, ...] = ()


class ContaminationTable(_Table, frozen=True):
    """A contamination; `strength` 1 is the substance's usual peak."""

    kind: str
    after: Seconds
    duration: Seconds
    strength: float = 1.0


class SensorFaultTable(_Table, frozen=True):
    """A fault of one sensor, or of a whole probe where `channel` is absent (`size` in the channel's unit)."""

    probe: str
    kind: FaultKind
    channel: str = ""
    after: Seconds = Seconds(0)
    duration: Seconds = Seconds(3600)
    size: float = 0.0


class LineFaultTable(_Table, frozen=True):
    """A fault of a line; each reply suffers it with `probability`. `size`: ms of late_reply, code of exception."""

    probe: str
    kind: LineFaultKind
    probability: float = 1.0
    after: Seconds = Seconds(0)
    duration: Seconds = Seconds(1e9)
    size: float = 0.0


class ScenarioFile(_Table, frozen=True):
    """The file."""

    scenario: ScenarioTable = ScenarioTable()
    probes: tuple[ProbeTable, ...] = ()
    contaminations: tuple[ContaminationTable, ...] = ()
    sensor_faults: tuple[SensorFaultTable, ...] = ()
    line_faults: tuple[LineFaultTable, ...] = ()


@dataclass(frozen=True, slots=True)
class SimulatedProbe:
    """A probe with its profile loaded; attributes as in `ProbeTable`."""

    id: str
    device: Profile
    transport: str
    port: int
    link: str
    line: str
    unit: int
    sample_period: float
    channels: tuple[str, ...]
