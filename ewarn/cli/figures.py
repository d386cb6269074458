"""`ewarn figures`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def figures(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the pictures go.")],
    records: Annotated[
        list[Path] | None, typer.Argument(metavar="[RECORD.csv[.gz]...]", help="Shown too, at the first station.")
    ] = None,
    *,
    stations: Annotated[
        list[Path], typer.Option("--station", help="A kind of station; detectors that none names are at the first.")
    ],
    with_challenge: Annotated[
        bool, typer.Option("--challenge", help="Those of a challenge on made-up water as well; takes minutes.")
    ] = False,
) -> None:
    """Draw what each registered detector says of a contamination, in water that the simulators make."""
    from rich.console import Console

    from ewarn.lab import figures as work

    with Console(stderr=True).status("drawing") as status:
        made = work.figures(folder, stations, records or (), on_progress=status.update)
        if with_challenge:
            made += work.challenge_figures(folder, stations, on_progress=status.update)
    for path in made:
        print(path)
