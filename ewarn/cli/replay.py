"""`ewarn replay`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def replay(
    station_file: Annotated[Path, typer.Argument(metavar="STATION.toml")],
    record: Annotated[Path, typer.Argument(metavar="RECORD.csv[.gz]", help="Columns `time` and channel ids.")],
    scores: Annotated[Path | None, typer.Option(help="Write time, probability, alert, cause per row here.")] = None,
    quiet: Annotated[bool, typer.Option(help="No progress.")] = False,
) -> None:
    """Run a recorded file through the very pipeline that runs in the field."""
    from rich.console import Console
    from rich.progress import Progress

    from ewarn.lab.record import station_for
    from ewarn.lab.replay import replay as work
    from ewarn.registry import load_detectors

    station, absent = station_for(station_file, record)
    with Progress(console=Console(stderr=True), disable=quiet) as progress:
        task = progress.add_task(record.name, total=1.0)
        report = work(
            station,
            record,
            scores,
            load_detectors(station),
            on_progress=lambda share: progress.update(task, completed=share),
        )
    print(report.summary())
    if absent:
        print(f"channels that {record} does not give: {', '.join(absent)}")
