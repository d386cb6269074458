"""`ewarn collect`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from ewarn.cli.common import CLOCK_HELP, clock_of, log_to_stderr, stop_on_signals


def collect(
    file: Annotated[Path, typer.Argument(metavar="CENTRAL.toml", help="The central file.")],
    clock: Annotated[str, typer.Option(help=CLOCK_HELP)] = "",
) -> None:
    """Collect from the stations' broker into the database."""
    from ewarn.central.collector import Collector
    from ewarn.central.stores import open_store
    from ewarn.config import load_central

    log_to_stderr()
    central, time = load_central(file), clock_of(clock)

    async def work() -> None:
        await Collector(central, open_store(central.store), time).run(stop_on_signals())

    asyncio.run(work())
