"""Channels of a station file, with every default filled in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ewarn.config.tables import ChannelTable, Span
from ewarn.errors import ConfigError
from ewarn.parameters import ALTERNATIVE_UNITS, CHANNEL_ID, PARAMETERS, PREFIXES, Parameter, parameter_of
from ewarn.toml import convert

RESERVED_CHANNELS = frozenset({"t", "seq", "boot", "q", "why", "backfill"})


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """A channel with every default filled in; times in seconds, spans and limits in `unit`."""

    id: str
    parameter: str
    unit: str
    role: str
    resolution: float
    probe: str
    every: float
    fail_span: Span | None
    suspect_span: Span | None
    spike: float | None
    rate: float | None
    flat_after: float


def channel_spec(name: str, data: dict[str, Any], every: float, file: str, *, probe: str = "") -> ChannelSpec:
    """Check one channel. Raises ConfigError.

    Args:
        name: its id.
        data: its table, as written.
        every: seconds between its values, where the table does not say.
        file: named in errors.
        probe: id of the probe that it is of, "" where there is none.
    """
    key = f"channels.{name}"
    table = convert(data, ChannelTable, file, key)
    if not CHANNEL_ID.fullmatch(name) or name in RESERVED_CHANNELS:
        raise ConfigError(file, key, f"{name!r} cannot be a channel id", "use a-z, 0-9 and _, beginning with a letter")
    known = _parameter(name, table, file, key)
    unit = _unit(known, table, file, key, probed=bool(probe))
    fail_span = table.fail_span or ((known.low, known.high) if unit == known.unit else None)
    resolution = known.resolution if table.resolution is None else table.resolution
    _check_limits(table, resolution, file, key)
    role = table.role or ("operation" if known.operation or name.startswith(PREFIXES) else "quality")
    return ChannelSpec(
        id=name, parameter=known.id, unit=unit, role=role, resolution=resolution, probe=probe,
        every=float(table.every or every), fail_span=fail_span, suspect_span=table.suspect_span, spike=table.spike,
        rate=table.rate, flat_after=_flat_after(table, role),
    )  # fmt: skip


def _parameter(name: str, table: ChannelTable, file: str, key: str) -> Parameter:
    parameter = table.parameter or parameter_of(name)
    if parameter is None or parameter not in PARAMETERS:
        raise ConfigError(
            file,
            f"{key}.parameter",
            f"unknown parameter {table.parameter or name!r}",
            f"one of: {', '.join(PARAMETERS)}; further probes add _2, _3, elsewhere add upstream_, plant_",
        )
    return PARAMETERS[parameter]


def _unit(known: Parameter, table: ChannelTable, file: str, key: str, *, probed: bool) -> str:
    """Unit of the values. What a probe gives is printed and judged in the parameter's own, so it has to be in it."""
    unit = table.unit or known.unit
    alternatives = ALTERNATIVE_UNITS.get(known.id, ())
    if probed and unit in alternatives:
        raise ConfigError(
            file,
            f"{key}.unit",
            f"{unit!r} is for recorded data; what a probe gives is in {known.unit!r}",
            "leave the unit out, give limits in the parameter's own, and convert by scale and offset in the profile",
        )
    allowed = (known.unit,) if probed else (known.unit, *alternatives)
    if unit not in allowed:
        one_of = f"one of: {', '.join(map(repr, allowed))}"
        raise ConfigError(file, f"{key}.unit", f"{unit!r} is not a unit of {known.id}", one_of)
    return unit


def _check_limits(table: ChannelTable, resolution: float, file: str, key: str) -> None:
    for name, span in (("fail_span", table.fail_span), ("suspect_span", table.suspect_span)):
        if span is not None and not span[0] < span[1]:
            raise ConfigError(file, f"{key}.{name}", f"{list(span)} is empty", "write [low, high]")
    for name, limit, remedy in (
        ("resolution", resolution, "the instrument's smallest step"),
        ("spike", table.spike, "a step in the channel's unit; leave it out for no spike test"),
        ("rate", table.rate, "a change a minute in the channel's unit; leave it out for no rate test"),
        ("every", table.every, 'a duration, as "60s"; leave it out for that of the probe'),
    ):
        if limit is not None and not 0 < limit < math.inf:
            raise ConfigError(file, f"{key}.{name}", f"{limit:g} is not more than 0, or has no end", remedy)


def _flat_after(table: ChannelTable, role: str) -> float:
    if table.flat_after is not None:
        return float(table.flat_after)
    return 0.0 if role == "operation" else 6 * 3600.0
