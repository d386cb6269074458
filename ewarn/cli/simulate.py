"""`ewarn simulate`."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from ewarn.cli.common import CLOCK_HELP, clock_of, stop_on_signals
from ewarn.contracts import Clock, Millis
from ewarn.errors import ConfigError
from ewarn.times import ScaledClock, to_text


def simulate(
    file: Annotated[Path, typer.Argument(metavar="SCENARIO.toml", help="The scenario file.")],
    speed: Annotated[float, typer.Option(help="Simulated seconds in one real second.")] = 1.0,
    clock: Annotated[str, typer.Option(help=CLOCK_HELP)] = "",
    truth: Annotated[Path | None, typer.Option(help="Record here, as CSV, what was true at each sample.")] = None,
) -> None:
    """Serve simulated probes over their real protocols until interrupted.

    The first line on standard output is one JSON object: `endpoints` of the probes, the `start` of the scenario, and
    the `clock` to give to others ("" for the machine's).
    """
    from simulators.record import record
    from simulators.scenario import Scenario
    from simulators.simulation import Simulation

    scenario = Scenario.load(file)
    time = _clock(clock, speed, scenario.start)
    told = str(time) if isinstance(time, ScaledClock) else ""

    async def serve() -> None:
        stop = stop_on_signals()
        async with Simulation(scenario, time) as simulation:
            start = to_text(simulation.start)
            first = {"ready": True, "endpoints": simulation.endpoints, "start": start, "clock": told}
            print(json.dumps(first), flush=True)
            parts: list[Coroutine[Any, Any, object]] = [stop.wait()]
            if truth is not None:
                parts.append(record(simulation.truth, time, truth))
            tasks = [asyncio.create_task(part) for part in parts]
            done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in rest:
                task.cancel()
            for task in done:
                task.result()

    asyncio.run(serve())


def _clock(clock: str, speed: float, start: Millis | None) -> Clock:
    """The clock of the scenario. Raises ConfigError."""
    if not (math.isfinite(speed) and speed > 0):
        raise ConfigError("", "--speed", f"{speed:g} is no speed", "give a number of more than 0")
    if clock and speed != 1.0:
        raise ConfigError("", "--speed", f"{speed:g} beside --clock", "the clock has a speed already; leave one out")
    time = clock_of(clock)
    if clock or (speed == 1.0 and start is None):
        return time
    return ScaledClock(time.now() if start is None else start, speed=speed)
