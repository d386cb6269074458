"""`ewarn check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ewarn.errors import ConfigError


def check(file: Annotated[Path, typer.Argument(help="A station, central or scenario file.")]) -> None:
    """Validate a file without touching a device or the network."""
    print(f"{file}: {describe(file)}")


def describe(path: Path) -> str:
    """What a valid file is, in a few words. Raises ConfigError."""
    from ewarn.toml import read_toml

    data = read_toml(path)
    checks = {"station": _station, "central": _central, "scenario": _scenario}
    for table, work in checks.items():
        if table in data:
            return work(data, path)
    raise ConfigError(
        str(path),
        "",
        "is neither a station, a central nor a scenario",
        "it needs a table [station], [central] or [scenario]",
    )


def _station(data: dict[str, Any], path: Path) -> str:
    from ewarn.config import station_from
    from ewarn.registry import load_detectors, make_drivers
    from ewarn.times import SystemClock

    station = station_from(data, path)
    make_drivers(station, SystemClock())
    load_detectors(station)
    return f"station {station.id}: {len(station.probes)} probes, {len(station.channels)} channels: valid"


def _central(data: dict[str, Any], path: Path) -> str:
    from ewarn.config import central_from

    return f"central {central_from(data, path).name}: valid"


def _scenario(_data: dict[str, Any], path: Path) -> str:
    from simulators.scenario import Scenario

    return f"scenario with {len(Scenario.load(path).probes)} probes: valid"
