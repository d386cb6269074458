"""Channels of a station file, with every default filled in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from ewarn.config.formula import Formula, formula_of, misplaced
from ewarn.config.tables import ChannelTable, ClimateTable, Span
from ewarn.errors import ConfigError
from ewarn.parameters import (
    ALTERNATIVE_UNITS,
    CHANNEL_ID,
    INDEX,
    PARAMETERS,
    PREFIXES,
    RESERVED_CHANNELS,
    Parameter,
    parameter_of,
)
from ewarn.toml import convert

_OF_COMPOSITES = frozenset(
    {"formula", "parameter", "unit", "role", "resolution", "fail_span", "suspect_span", "alarm_span"}
)
_MOST_LAG_STEPS = 3600
_LEAST_VALUES = 10


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """A channel with every default filled in; times in seconds, spans and limits in `unit`.

    A composite has a formula, and no probe. Limits of quality control are None where they are to be learned, see
    `ewarn.config.tables.ChannelTable`.
    """

    id: str
    parameter: str
    unit: str
    role: str
    resolution: float
    probe: str
    every: float
    fail_span: Span | None
    suspect_span: Span | None
    alarm_span: Span | None
    spike: float | None
    rate: float | None
    flat_after: float | None
    flat_fail: float
    attenuated: float | None
    attenuated_fail: float | None
    attenuated_window: float
    attenuated_by: str
    climatology: tuple[ClimateTable, ...] | None
    neighbour: float | None
    formula: Formula | None = None


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
    formula = _formula(data, table, file, key, probe)
    bounds = (known.low, known.high) if unit == known.unit and formula is None else None
    fail_span = table.fail_span or bounds
    resolution = known.resolution if table.resolution is None else table.resolution
    _check_limits(table, resolution, file, key)
    _check_window(table, float(table.every or every), file, key)
    _check_climatology(table, file, key)
    role = table.role or ("operation" if known.operation or name.startswith(PREFIXES) else "quality")
    return ChannelSpec(
        id=name, parameter=known.id, unit=unit, role=role, resolution=resolution, probe=probe,
        every=float(table.every or every), fail_span=fail_span, suspect_span=table.suspect_span,
        alarm_span=table.alarm_span, spike=table.spike,
        rate=table.rate, flat_after=None if table.flat_after is None else float(table.flat_after),
        flat_fail=float(table.flat_fail or 0.0), attenuated=table.attenuated, attenuated_fail=table.attenuated_fail,
        attenuated_window=float(table.attenuated_window), attenuated_by=table.attenuated_by,
        climatology=table.climatology, neighbour=table.neighbour, formula=formula,
    )  # fmt: skip


def check_formulas(channels: Mapping[str, ChannelSpec], step: float, file: str) -> None:
    """Refuse formulas of channels that are not there, in a circle, or of more steps ago than are kept.

    Raises ConfigError.
    """
    formulas = {spec.id: spec.formula for spec in channels.values() if spec.formula is not None}
    for name, formula in formulas.items():
        key = f"channels.{name}.formula"
        for channel in formula.places:
            if channel not in channels:
                raise misplaced(formula, channel, channels.keys() - {name}, file, key)
        for channel, lag in formula.lags.items():
            if lag > _MOST_LAG_STEPS * step:
                problem = f"{formula.text!r}: {lag:g} s ago is more than {_MOST_LAG_STEPS} steps of {step:g} s"
                raise ConfigError(file, key, f"{problem}, for {channel}", "ask for less, or take a longer step")
    try:
        TopologicalSorter({name: formula.places.keys() for name, formula in formulas.items()}).prepare()
    except CycleError as error:
        circle = list(reversed(error.args[1]))
        key, problem = f"channels.{circle[0]}.formula", f"needs itself: {' from '.join(circle)}"
        raise ConfigError(file, key, problem, "a composite may rest on others, not in a circle") from None


def _formula(data: Mapping[str, Any], table: ChannelTable, file: str, key: str, probe: str) -> Formula | None:
    if table.formula is None:
        return None
    if probe:
        remedy = f"give the composite another id, as {key.rpartition('.')[2]}_2"
        raise ConfigError(file, f"{key}.formula", f"probe {probe!r} has this channel already", remedy)
    for other in data:
        if other not in _OF_COMPOSITES:
            remedy = f"besides formula it takes: {', '.join(sorted(_OF_COMPOSITES - {'formula'}))}"
            raise ConfigError(file, f"{key}.{other}", "is not for a composite", remedy)
    return formula_of(table.formula, file, f"{key}.formula")


def _parameter(name: str, table: ChannelTable, file: str, key: str) -> Parameter:
    parameter = table.parameter or parameter_of(name)
    if parameter is None or parameter not in PARAMETERS:
        raise ConfigError(
            file,
            f"{key}.parameter",
            f"unknown parameter {table.parameter or name!r}",
            f"one of: {', '.join(PARAMETERS)}; further probes add _2, _3, elsewhere add upstream_, plant_; "
            'a composite that is none of them has parameter = "index"',
        )
    return PARAMETERS[parameter]


def _unit(known: Parameter, table: ChannelTable, file: str, key: str, *, probed: bool) -> str:
    """Unit of the values. What a probe gives is printed and judged in the parameter's own, so it has to be in it."""
    unit = table.unit or known.unit
    if known.id == INDEX and table.formula is not None:
        return unit
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
    for name, span in (
        ("fail_span", table.fail_span), ("suspect_span", table.suspect_span), ("alarm_span", table.alarm_span)
    ):
        if span is not None and not span[0] < span[1]:
            raise ConfigError(file, f"{key}.{name}", f"{list(span)} is empty", "write [low, high]")
    for name, limit, remedy in (
        ("resolution", resolution, "the instrument's smallest step"),
        ("spike", table.spike, "a step in the channel's unit; leave it out to have it learned"),
        ("rate", table.rate, "a change a minute in the channel's unit; leave it out to have it learned"),
        ("every", table.every, 'a duration, as "60s"; leave it out for that of the probe'),
        ("attenuated", table.attenuated, "a difference in the channel's unit; leave it out to have it learned"),
        ("attenuated_fail", table.attenuated_fail, "a difference in the channel's unit; leave it out for none"),
        ("neighbour", table.neighbour, "a difference in the channel's unit; leave it out to have it learned"),
    ):
        if limit is not None and not 0 < limit < math.inf:
            raise ConfigError(file, f"{key}.{name}", f"{limit:g} is not more than 0, or has no end", remedy)


def _check_window(table: ChannelTable, every: float, file: str, key: str) -> None:
    given = table.attenuated is not None or table.attenuated_fail is not None
    if given and 0 < table.attenuated_window < _LEAST_VALUES * every:
        problem = f"{table.attenuated_window:g} s have too few values of one in {every:g} s"
        raise ConfigError(file, f"{key}.attenuated_window", problem, f"at least {_LEAST_VALUES} intervals")


def _check_climatology(table: ChannelTable, file: str, key: str) -> None:
    for i, given in enumerate(table.climatology or ()):
        where = f"{key}.climatology[{i}]"
        if not given.span[0] < given.span[1]:
            raise ConfigError(file, f"{where}.span", f"{list(given.span)} is empty", "write [low, high]")
        for name, span, first, last in (("months", given.months, 1, 12), ("hours", given.hours, 0, 23)):
            if not all(first <= number <= last for number in span):
                raise ConfigError(file, f"{where}.{name}", f"{list(span)} cannot be", f"two of {first} to {last}")
