"""The demonstration in the terminal."""

from __future__ import annotations

import asyncio

from rich.live import Live

from ewarn.lab.demo import NAME, ZONE, Demo
from ewarn.lab.view import Snapshot, draw

_FRAME_S = 0.25


async def watch(demo: Demo) -> None:
    """Draw until cancelled."""
    with Live(draw(_snapshot(demo)), refresh_per_second=4) as live:
        while True:
            live.update(draw(_snapshot(demo)))
            await asyncio.sleep(_FRAME_S)


def _snapshot(demo: Demo) -> Snapshot:
    edge, now = demo.edge, demo.clock.now()
    minutes = (demo.onset - now) / 60_000
    if edge.warming:
        story = "learning the last week"
    elif minutes > 0:
        story = "normal water" + (f", contamination in {minutes:.0f} min" if demo.options.contamination else "")
    else:
        story = f"contamination since {-minutes:.0f} min" if demo.options.contamination else "normal water"
    facts = [
        ("story", story),
        ("speed", f"{demo.options.speed:g}x"),
        ("points stored", str(demo.collector.counters.points)),
    ]
    return Snapshot(
        title=f"ewarn · {NAME}",
        now=now,
        readings=edge.readings,
        verdict=edge.verdict,
        alarms=edge.alerts,
        news=edge.alerts.get("contamination"),
        facts=facts,
        station_name=NAME,
        time_zone=ZONE,
    )
