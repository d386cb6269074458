"""`ewarn simulate`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from ewarn.cli.common import CLOCK_HELP, clock_of, stop_on_signals
from ewarn.times import ScaledClock


def simulate(
    file: Annotated[Path, typer.Argument(metavar="SCENARIO.toml", help="The scenario file.")],
    speed: Annotated[float, typer.Option(help="Simulated seconds in one real second.")] = 1.0,
    clock: Annotated[str, typer.Option(help=CLOCK_HELP)] = "",
) -> None:
    """Serve simulated probes over their real protocols until interrupted.

    The first line on standard output is one JSON object: `endpoints` of the probes, and the `clock` to give to others.
    """
    from simulators.scenario import Scenario
    from simulators.simulation import Simulation

    scenario = Scenario.load(file)
    time = clock_of(clock)
    if not clock and (speed != 1.0 or scenario.start is not None):
        time = ScaledClock(scenario.start if scenario.start is not None else time.now(), speed=speed)

    async def work() -> None:
        stop = stop_on_signals()
        async with Simulation(scenario, time) as simulation:
            print(json.dumps({"ready": True, "endpoints": simulation.endpoints, "clock": str(time)}), flush=True)
            await stop.wait()

    asyncio.run(work())
