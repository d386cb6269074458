"""`ewarn run`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from ewarn.cli.common import CLOCK_HELP, clock_of, log_to_stderr, stop_on_signals
from ewarn.errors import ConfigError


def run(
    file: Annotated[Path, typer.Argument(metavar="STATION.toml", help="The station file.")],
    clock: Annotated[str, typer.Option(help=CLOCK_HELP)] = "",
) -> None:
    """Run a station: read its probes, detect, and send alerts and readings to every central."""
    from ewarn.config import load_station
    from ewarn.edge.daemon import Edge
    from ewarn.registry import load_detectors, make_drivers
    from ewarn.times import SteadyClock

    log_to_stderr()
    station, time = load_station(file), SteadyClock(clock_of(clock))
    if not station.probes:
        raise ConfigError(station.file, "probes", "there is none", "declare [[probes]]; `ewarn replay` needs none")
    if station.broker is None:
        raise ConfigError(station.file, "broker", "missing", "say where the MQTT broker is, under [broker]")
    probes = make_drivers(station, time)
    load_detectors(station)

    async def work() -> None:
        await Edge(station, time, probes, lambda: load_detectors(station)).run(stop_on_signals())

    asyncio.run(work())
