"""`ewarn challenge`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from ewarn.lab.challenge import Entry
    from ewarn.lab.judge import Judged

AS_CONFIGURED = "as configured"


def challenge(
    station_file: Annotated[Path, typer.Argument(metavar="STATION.toml", help="For this kind of station.")],
    records: Annotated[list[Path], typer.Argument(metavar="RECORD.csv[.gz]...", help="Recorded waters.")],
    *,
    detectors: Annotated[
        list[str] | None, typer.Option(help="Detector, or several as A+B; may be repeated. As configured where absent.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="How many variants with contaminations, from seed 1.")] = 1,
    every_days: Annotated[float, typer.Option(help="Mean days from one contamination to the next.")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array as the last line.")] = False,
) -> None:
    """Lay contaminations over recorded waters and compare what detectors find at which price."""
    from rich.console import Console

    from ewarn.lab.challenge import challenge as work

    names, numbers = detectors or [AS_CONFIGURED], range(1, seeds + 1)
    with Console(stderr=True).status("reading") as status:
        entries = list(
            work(station_file, records, names, numbers, every_days=every_days, on_progress=status.update)
        )
    if as_json:
        print(json.dumps([entry.document() for entry in entries]))
    else:
        Console().print(_table(entries))


def _table(entries: Sequence[Entry]) -> Table:
    from rich.table import Table

    table = Table(caption="intervals of 95 %; rates of events found at that many false episodes")
    for name in ("record", "what", "detectors", "F1", "AP", "own: found", "own: false/wk", "at 1/week", "at 1/month",
                 "delay", "evaluated", "µs/row"):  # fmt: skip
        table.add_column(name, justify="left" if name in ("record", "what", "detectors") else "right")
    for e in entries:
        low, high = e.own.false_interval
        table.add_row(
            e.record, e.what, e.detectors, f"{e.f1:.2f}", f"{e.average_precision:.2f}", _share(e.own),
            f"{e.own.false_per_week:.2f} ({low:.2f}-{high:.2f})", _share(e.weekly), _share(e.monthly),
            "-" if e.own.delay is None else f"{e.own.delay / 60:.0f} min", f"{e.evaluated:.1%}", f"{e.us_per_row:.0f}",
        )  # fmt: skip
    return table


def _share(judged: Judged | None) -> str:
    if judged is None:
        return "never"
    low, high = judged.rate_interval
    return f"{sum(judged.found)}/{len(judged.found)} ({low:.2f}-{high:.2f})"
