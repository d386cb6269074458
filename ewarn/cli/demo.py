"""`ewarn demo`."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer


def demo(
    *,
    headless: Annotated[bool, typer.Option(help="No live view.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line.")] = False,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 1,
    contamination: Annotated[bool, typer.Option(help="Let a contamination reach the intake.")] = True,
    sensor_fault: Annotated[bool, typer.Option(help="Let one sensor fail instead.")] = False,
    speed: Annotated[float, typer.Option(help="Simulated seconds in one real second.")] = 150.0,
) -> None:
    """Run the main job on simulated probes: from a probe's bytes to an alert in the database."""
    from ewarn.lab.demo import DemoOptions, run_demo
    from ewarn.lab.demo_view import watch

    options = DemoOptions(
        seed=seed, contamination=contamination and not sensor_fault, sensor_fault=sensor_fault, speed=speed
    )
    result = asyncio.run(run_demo(options, None if headless else watch))
    print(json.dumps(result.document(), ensure_ascii=False) if as_json else result.summary())
    raise typer.Exit(0 if result.good(contamination=options.contamination) else 1)
