"""`ewarn challenge`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ewarn.cli.common import numbers_of

_WIDTH = 400


def challenge(
    station_file: Annotated[Path, typer.Argument(metavar="STATION.toml", help="For this kind of station.")],
    records: Annotated[
        list[Path] | None, typer.Argument(metavar="RECORD.csv[.gz]...", help="Recorded waters.")
    ] = None,
    *,
    detectors: Annotated[
        list[str] | None, typer.Option(help="Detector, or several as A,B; may be repeated. As configured where absent.")
    ] = None,
    seeds: Annotated[
        str, typer.Option(help="Of the contaminations laid over a record, as 1-5 or 1,3; none where empty.")
    ] = "1",
    every_days: Annotated[float, typer.Option(help="Mean days from one contamination to the next.")] = 2.0,
    grace_minutes: Annotated[float, typer.Option(help="A labelled event can be found so long after its end.")] = 30.0,
    skip_days: Annotated[float, typer.Option(help="Left out at the begin of a labelled record.")] = 0.0,
    join: Annotated[
        list[Path] | None, typer.Option(help="Show what an earlier --json printed in the same tables.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw pictures into this folder.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Tables for a document.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array as the last line.")] = False,
) -> None:
    """Lay contaminations over recorded waters and compare what detectors find at which price."""
    from rich.console import Console

    from ewarn.lab.challenge import AS_CONFIGURED, Terms
    from ewarn.lab.challenge import challenge as work
    from ewarn.lab.report import tables

    if plot is not None:
        from ewarn.lab.drawing import require_matplotlib

        require_matplotlib()
    names, terms = detectors or [AS_CONFIGURED], Terms(every_days, grace_minutes * 60, skip_days)
    documents = [document for path in join or () for document in _earlier(path)]
    with Console(stderr=True).status("reading") as status:
        entries = list(
            work(
                station_file, records or (), names, numbers_of(seeds, "--seeds"), terms=terms, on_progress=status.update
            )
        )
    documents += [entry.document() for entry in entries]
    if plot is not None:
        from ewarn.lab.plots import draw

        draw(entries, plot)
    if as_json:
        print(json.dumps(documents))
        return
    console = Console(width=_WIDTH)  # a narrower terminal folds the lines; figures cut short would tell nothing
    for table in tables(documents, markdown=markdown):
        console.print(table)


def _earlier(path: Path) -> list[dict[str, Any]]:
    """What an earlier call printed. Raises RecordError."""
    from ewarn.errors import RecordError

    try:
        documents: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8").splitlines()[-1])
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, IndexError) as error:
        raise RecordError(f"{path}: is not what `ewarn challenge --json` prints") from error
    return documents
