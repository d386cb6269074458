"""`ewarn run`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ewarn.cli.common import CLOCK_HELP, clock_of, log_to_stderr, stop_on_signals
from ewarn.errors import ConfigError, PermanentError

if TYPE_CHECKING:
    from ewarn.config import Station
    from ewarn.contracts import Clock
    from ewarn.edge.notify import Notifier
    from ewarn.registry import BoundProbe

log = logging.getLogger(__name__)

LEAVE_S = 9.0
"""Seconds after which a process that was told to end does so, whatever still hangs in it; what is committed stays."""


@dataclass(frozen=True, slots=True)
class _Settings:
    """A station file, checked as far as that goes without I/O."""

    station: Station
    probes: list[BoundProbe]


def run(
    file: Annotated[Path, typer.Argument(metavar="STATION.toml", help="The station file.")],
    clock: Annotated[str, typer.Option(help=CLOCK_HELP)] = "",
) -> None:
    """Run a station: read its probes, detect, and send alerts and readings to every central.

    SIGHUP has the station file read again: a good one takes effect, a bad one is refused and named. SIGTERM ends.
    """
    from ewarn.times import SteadyClock

    log_to_stderr()
    asyncio.run(_run(file, SteadyClock(clock_of(clock))))


async def _run(file: Path, clock: Clock) -> None:
    from ewarn.edge.notify import Notifier

    stop, reload, notifier = stop_on_signals(), asyncio.Event(), Notifier()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload.set)
    settings: _Settings | None = _load(file, clock)
    leaving = asyncio.create_task(_leave_in_time(stop))
    while settings is not None:
        settings = await _run_with(settings, _Orders(file, clock, stop, reload, notifier))
    leaving.cancel()


@dataclass(frozen=True, slots=True)
class _Orders:
    """What may come while a station runs, and what is needed to follow it."""

    file: Path
    clock: Clock
    stop: asyncio.Event
    reload: asyncio.Event
    notifier: Notifier


def _load(file: Path, clock: Clock) -> _Settings:
    """Raises ConfigError."""
    from ewarn.config import load_station
    from ewarn.registry import load_detectors, make_drivers

    station = load_station(file)
    if not station.probes:
        raise ConfigError(station.file, "probes", "there is none", "declare [[probes]]; `ewarn replay` needs none")
    if station.broker is None:
        raise ConfigError(station.file, "broker", "missing", "say where the MQTT broker is, under [broker]")
    probes = make_drivers(station, clock)
    load_detectors(station)
    return _Settings(station, probes)


async def _run_with(settings: _Settings, orders: _Orders) -> _Settings | None:
    """Run the station until it shall end; gives the settings to go on with, None where it shall not."""
    from ewarn.edge.daemon import Edge
    from ewarn.registry import load_detectors

    station = settings.station
    edge = Edge(station, orders.clock, settings.probes, lambda: load_detectors(station), orders.notifier)
    end = asyncio.Event()
    running = asyncio.create_task(edge.run(end))
    following = None
    while following is None and not orders.stop.is_set() and not running.done():
        await _first(running, orders.stop, orders.reload)
        if orders.reload.is_set() and not orders.stop.is_set():
            orders.reload.clear()
            following = _reload(orders)
    if following is None:
        orders.notifier.say("STOPPING=1")
    end.set()
    await running
    return None if orders.stop.is_set() else following


def _reload(orders: _Orders) -> _Settings | None:
    """The settings as they stand in the file now, None where they cannot be used."""
    try:
        settings = _load(orders.file, orders.clock)
    except PermanentError as error:
        log.error("the new settings are refused, the old ones stay: %s", error)  # noqa: TRY400
        return None
    log.info("new settings from %s", orders.file)
    orders.notifier.say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
    return settings


async def _first(running: asyncio.Task[None], *events: asyncio.Event) -> None:
    """Return when the task is done or one of the events is set."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait({running, *waiting}, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


async def _leave_in_time(stop: asyncio.Event) -> None:
    """A driver or detector that does not let go must not keep the process from ending."""
    await stop.wait()
    last = threading.Timer(LEAVE_S, _leave)
    last.daemon = True
    last.start()


def _leave() -> None:
    log.error("something does not end within %g s; what is committed is safe", LEAVE_S)
    logging.shutdown()
    os._exit(1)
