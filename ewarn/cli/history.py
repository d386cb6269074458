"""`ewarn history`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def history(
    station_file: Annotated[Path, typer.Argument(metavar="STATION.toml")],
    record: Annotated[Path, typer.Argument(metavar="RECORD.csv[.gz]", help="Columns `time` and channel ids.")],
) -> None:
    """Give a new station its own past, so that detection knows the water from the first minute."""
    from ewarn.config import load_station
    from ewarn.edge.journal import Journal
    from ewarn.lab.record import Record
    from ewarn.times import SystemClock

    station = load_station(station_file)
    rows = Record.open(record, station)
    with Journal.open(station.data / "station.sqlite", boot="history", now=SystemClock().now()) as journal:
        count = journal.import_history(rows.readings())
    print(f"{count} readings of {record} are now history of {station.id}; {rows.skipped_total()} rows were passed over")
