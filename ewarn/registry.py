"""Finds drivers and detectors by entry point. A broken one is named with its distribution, never fatal."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from itertools import combinations
from pathlib import Path
from typing import Any

from ewarn.config import DetectorSpec, ProbeSpec, Station
from ewarn.config.tables import ProbeTable
from ewarn.contracts import Clock, Detector, Driver, ProbeSettings
from ewarn.errors import ConfigError, PluginError
from ewarn.parameters import PARAMETERS
from ewarn.profiles import Ascii
from ewarn.toml import convert

GROUPS = ("ewarn.drivers", "ewarn.detectors")
API = 1


@dataclass(frozen=True, slots=True)
class Plugin:
    """One registered driver or detector.

    Attributes:
        group: entry point group.
        name: as station files say it.
        distribution: name and version of the distribution that brings it.
        problem: why it cannot be used, "" where it can.
    """

    group: str
    name: str
    distribution: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class BoundProbe:
    """A probe of the station with the driver that reads it."""

    spec: ProbeSpec
    driver: Driver


def plugins() -> list[Plugin]:
    """Every registered driver and detector; each is imported to see whether it works."""
    return [_examine(entry) for group in GROUPS for entry in sorted(entry_points(group=group))]


def _examine(entry: EntryPoint) -> Plugin:
    try:
        load(entry.group, entry.name)
    except PluginError as error:
        return Plugin(entry.group, entry.name, _distribution(entry), str(error))
    return Plugin(entry.group, entry.name, _distribution(entry))


def _distribution(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown distribution"


def load(group: str, name: str) -> Any:
    """The class registered under this name.

    A dotted name that is not registered is asked of what is registered under its first part: `river` is given
    `river.anomaly.LODA`, by its method `named`.

    Raises:
        PluginError: there is none, there are several, it cannot be imported, or it is made for another contract.
    """
    found = list(entry_points(group=group, name=name))
    family = name.partition(".")[0]
    if not found and family != name and entry_points(group=group, name=family):
        return _named(load(group, family), name)
    if not found:
        known = sorted({entry.name for entry in entry_points(group=group)})
        raise PluginError(
            f"unknown {group.removeprefix('ewarn.').removesuffix('s')} {name!r}; known: {', '.join(known)}"
        )
    if len(found) > 1:
        raise PluginError(f"{name!r} is registered by {' and by '.join(sorted(map(_distribution, found)))}; remove one")
    entry = found[0]
    try:
        loaded = entry.load()
    except Exception as error:
        raise PluginError(f"{name!r} of {_distribution(entry)} cannot be imported: {error!r}") from error
    if group == "ewarn.drivers" and getattr(loaded, "api", None) != API:
        raise PluginError(
            f"{name!r} of {_distribution(entry)} is for version {getattr(loaded, 'api', None)} of the driver "
            f"contract; this is version {API}"
        )
    missing = [m for m in _METHODS[group] if not callable(getattr(loaded, m, None))]
    if missing:
        raise PluginError(f"{name!r} of {_distribution(entry)} lacks {', '.join(missing)}")
    return loaded


def _named(family: Any, name: str) -> Any:
    """What makes the family's member of that name. Raises PluginError."""
    if not callable(getattr(family, "named", None)):
        raise PluginError(f"unknown name {name!r}: {name.partition('.')[0]!r} is one detector, not many")
    try:
        return family.named(name)
    except PluginError:
        raise
    except Exception as error:
        raise PluginError(f"{name!r} cannot be made: {error!r}") from error


_METHODS = {"ewarn.drivers": ("channel_units", "make_line", "read"), "ewarn.detectors": ("learn_one", "score_one")}


def make_drivers(station: Station, clock: Clock) -> list[BoundProbe]:
    """A driver for each probe, everything checked that can be without I/O. Raises ConfigError."""
    bound = [BoundProbe(spec, _driver(station, spec, clock)) for spec in station.probes]
    for one, other in combinations(bound, 2):
        if one.spec.line == other.spec.line:
            _check_neighbours(station, one, other)
    return bound


def _check_neighbours(station: Station, one: BoundProbe, other: BoundProbe) -> None:
    """Refuse two probes on one line whose replies could not be told apart. Raises ConfigError."""
    line, key = other.spec.line.id, f"{other.spec.key}.line"
    if one.spec.driver != other.spec.driver:
        problem = (
            f"probe {other.spec.id!r} speaks {other.spec.driver} on {line!r}, where probe {one.spec.id!r} speaks "
            f"{one.spec.driver}"
        )
        raise ConfigError(station.file, key, problem, "give each its own line")
    forms = [form for probe in (one, other) if isinstance(form := getattr(probe.driver, "form", None), Ascii)]
    if len(forms) == 2 and not _distinct(*forms):
        problem = f"a line that {one.spec.id!r} prints on {line!r} could be taken for one of {other.spec.id!r}"
        remedy = "give each its own line; only profiles with prefixes of their own and the same terminator can share"
        raise ConfigError(station.file, key, problem, remedy)


def _distinct(one: Ascii, other: Ascii) -> bool:
    """Whether no line of one device looks like the other's, and both end alike."""
    apart = not one.prefix.startswith(other.prefix) and not other.prefix.startswith(one.prefix)
    return apart and one.terminator == other.terminator


def _driver(station: Station, spec: ProbeSpec, clock: Clock) -> Driver:
    try:
        kind = load("ewarn.drivers", spec.driver)
    except PluginError as error:
        raise ConfigError(station.file, f"{spec.key}.driver", str(error)) from error
    common = ProbeTable.__struct_fields__
    options = convert(_anchored(spec.options, station), kind.Options, station.file, spec.key, also=common)
    settings = ProbeSettings(spec.id, spec.line, spec.channels, spec.timeout, options)
    try:
        driver: Driver = kind(settings, clock)
    except ConfigError as error:
        if error.file:
            raise
        key = ".".join(part for part in (spec.key, error.key) if part)
        raise ConfigError(station.file, key, error.problem, error.remedy) from error
    _check_units(station, spec, driver.channel_units())
    return driver


def _anchored(options: Mapping[str, Any], station: Station) -> dict[str, Any]:
    """Profile paths start from the station file's folder."""
    profile = options.get("profile")
    if isinstance(profile, str) and profile.endswith(".toml"):
        return {**options, "profile": str(Path(station.file).parent / profile)}
    return dict(options)


def _check_units(station: Station, spec: ProbeSpec, delivered: Mapping[str, tuple[str, str]]) -> None:
    """Refuse another parameter than the channel's, or another unit than the parameter's own. Raises ConfigError."""
    for channel, (parameter, unit) in delivered.items():
        wanted = station.channels[channel]
        if parameter != wanted.parameter:
            raise ConfigError(
                station.file,
                f"{spec.key}.channels.{channel}",
                f"the device's {spec.channels[channel]!r} is {parameter}, not {wanted.parameter}",
                f"name the channel {parameter}, or {parameter}_2",
            )
        if unit != PARAMETERS[parameter].unit:
            raise ConfigError(
                station.file,
                f"{spec.key}.channels.{channel}",
                f"driver {spec.driver!r} delivers {parameter} in {unit!r}, texts and views show it as "
                f"{PARAMETERS[parameter].unit!r}",
                "the driver has to convert (in a profile: scale and offset)",
            )


def load_detectors(station: Station) -> dict[str, Detector]:
    """The station's detectors, fresh. Raises ConfigError."""
    return {spec.name: _detector(station, spec) for spec in station.detectors}


def _detector(station: Station, spec: DetectorSpec) -> Detector:
    try:
        kind = load("ewarn.detectors", spec.name)
    except PluginError as error:
        raise ConfigError(station.file, f"{spec.key}.name", str(error)) from error
    if hasattr(kind, "named"):
        problem = f"{spec.name!r} stands for many detectors"
        raise ConfigError(station.file, f"{spec.key}.name", problem, f"say which, as {spec.name}.package.Class")
    offered: dict[str, Any] = {
        "step_s": float(station.detection.step),
        "resolution": {c.id: c.resolution for c in station.channels.values()},
        "roles": {c.id: c.role for c in station.channels.values()},
    }
    accepted = inspect.signature(kind).parameters
    for option in spec.options:
        if option not in accepted:
            raise ConfigError(
                station.file,
                f"{spec.key}.{option}",
                "unknown key",
                f"{spec.name} takes: {', '.join(name for name in accepted if name not in offered)}",
            )
        _check_option(station, spec, option, accepted[option].default)
    context = {name: value for name, value in offered.items() if name in accepted}
    try:
        detector: Detector = kind(**{**context, **spec.options})
        threshold = float(getattr(detector, "threshold", 1.0))
    except Exception as error:  # (a third party's constructor may raise anything)
        raise ConfigError(station.file, spec.key, f"{spec.name} refuses its settings: {error}") from error
    if not (math.isfinite(threshold) and threshold > 0):
        raise ConfigError(station.file, f"{spec.key}.threshold", f"{threshold:g} is no threshold", "more than 0")
    return detector


def _check_option(station: Station, spec: DetectorSpec, option: str, default: Any) -> None:
    """Refuse a setting of another type than its default, and a number that is not finite. Raises ConfigError."""
    value, key = spec.options[option], f"{spec.key}.{option}"
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(station.file, key, f"{value!r} is not finite", "write a number")
    wanted = type(default)
    if default is None or default is inspect.Parameter.empty or wanted not in (bool, int, float, str):
        return
    kinds = (int, float) if wanted is float else (wanted,)
    if not isinstance(value, kinds) or isinstance(value, bool) is not (wanted is bool):
        problem = f"{value!r} is of type {type(value).__name__}"
        raise ConfigError(station.file, key, problem, f"expected {wanted.__name__}")
