"""The challenge as tables: one line a record and set of detectors, and below them what they come to over all records.

Tables are made from documents, as `Entry.document` gives and `--json` prints them, so that those of several calls can
be shown together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from rich import box
from rich.table import Table

Document = dict[str, Any]
Number = Callable[[Document], float | None]

_HEADS = ("record", "events", "detectors")
_CAPTION = (
    "brackets hold 95 % (events: Wilson; all else: weeks drawn anew); false: episodes a week; at 1/week, 1/month:"
    " events found by a threshold on the probability at that many false episodes, ≥2: those of strength 2 and more;"
    " later: false on the second half of the water, against the budget; last lines: means over records"
)
_SENSOR_CAPTION = "what was called a sensor's fault; last lines: sums, and means of shares"


@dataclass(frozen=True, slots=True)
class _Column:
    """One column: its text for a document, and for several together."""

    name: str
    cell: Callable[[Document], str]
    whole: Callable[[Sequence[Document]], str]


def tables(documents: Sequence[Document], *, markdown: bool = False) -> list[Table]:
    """The table of events, and that of sensors' faults.

    Args:
        documents: of the entries.
        markdown: for a document instead of a terminal.
    """
    gap = " " if markdown else "\n"
    return [
        _table(documents, _event_columns(gap), _CAPTION, markdown=markdown),
        _table(documents, _sensor_columns(), _SENSOR_CAPTION, markdown=markdown),
    ]


def _table(documents: Sequence[Document], columns: Sequence[_Column], caption: str, *, markdown: bool) -> Table:
    table = Table(box=box.MARKDOWN if markdown else box.SIMPLE_HEAD, caption=None if markdown else caption)
    for name in _HEADS:
        table.add_column(name, no_wrap=True)
    for column in columns:
        table.add_column(column.name, justify="right", no_wrap=True)
    for document in documents:
        table.add_row(document["record"], _what(document), document["detectors"], *(c.cell(document) for c in columns))
    for (what, detectors), group in _groups(documents).items():
        table.add_row(f"all {len(group)}", what, detectors, *(c.whole(group) for c in columns), style="bold")
    return table


def _groups(documents: Sequence[Document]) -> dict[tuple[str, str], list[Document]]:
    """Documents that are comparable, where there are several of them."""
    groups: dict[tuple[str, str], list[Document]] = {}
    for document in documents:
        groups.setdefault((document["what"], document["detectors"]), []).append(document)
    return {key: group for key, group in groups.items() if len(group) > 1}


def _what(document: Document) -> str:
    return f"{document['what']} {_ranges(document['seeds'])}".rstrip()


def _ranges(seeds: Sequence[int]) -> str:
    if len(seeds) > 1 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}-{seeds[-1]}"
    return ",".join(map(str, seeds))


def _event_columns(gap: str) -> list[_Column]:
    return [
        _figure("F1", lambda d: d["f1"], lambda d: d["f1_interval"], gap=gap),
        _figure("AP", lambda d: d["average_precision"], lambda d: d["average_precision_interval"], gap=gap),
        _found("own alert", "own", gap),
        _figure("false", lambda d: d["own"]["false_per_week"], lambda d: d["own"]["false_interval"], gap=gap),
        _found("at 1/week", "at_1_per_week", gap), _strong("≥2", "at_1_per_week"),
        _found("at 1/month", "at_1_per_month", gap), _strong("≥2", "at_1_per_month"),
        _figure("delay, min", lambda d: _minutes(d["own"]["delay_s"]), form=".0f"),
        _figure("calibration", lambda d: d["calibration_error"], form=".3f"),
        _figure("later", lambda d: d["budget"]["later_per_week"], lambda d: d["budget"]["later_interval"], gap=gap),
        _figure("budget", lambda d: d["budget"]["allowed_per_week"]),
        _figure("evaluated", lambda d: d["evaluated"], form=".1%"),
        _figure("µs/row", lambda d: d["us_per_row"], form=".0f"),
    ]  # fmt: skip


def _sensor_columns() -> list[_Column]:
    return [
        _count("faults alarmed", "alarmed", "faults"),
        _count("faults named", "named", "faults"),
        _figure("other rows named", lambda d: d["sensor"]["share_of_others"], form=".1%"),
        _count("events named", "events_named", "events"),
    ]


def _figure(
    name: str, number: Number, interval: Callable[[Document], Any] = lambda _d: None, *, form: str = ".2f",
    gap: str = " ",
) -> _Column:  # fmt: skip
    """A number, with its interval where it has one; over several, their mean."""

    def cell(document: Document) -> str:
        return _shown(number(document), form) + _bracket(interval(document), form, gap)

    return _Column(name, cell, lambda documents: _shown(_mean(map(number, documents)), form))


def _found(name: str, key: str, gap: str) -> _Column:
    """Events found, of how many; over several, the mean of the shares."""

    def cell(document: Document) -> str:
        judged: Document = document[key]
        if not judged["events"]:
            return "-"
        return f"{judged['found']:d}/{judged['events']:d}" + _bracket(judged["rate_interval"], ".2f", gap)

    return _Column(name, cell, lambda documents: _shown(_mean(_share(d[key], "rate") for d in documents), ".2f"))


def _strong(name: str, key: str) -> _Column:
    def share(document: Document) -> float | None:
        judged = document[key]
        return judged["strong_found"] / judged["strong_events"] if judged["strong_events"] else None

    return _figure(name, share)


def _count(name: str, some: str, of: str) -> _Column:
    """So many of so many; over several, their sums."""

    def whole(documents: Sequence[Document]) -> str:
        total = sum(d["sensor"][of] for d in documents)
        return f"{sum(d['sensor'][some] for d in documents)}/{total}" if total else "-"

    return _Column(name, lambda document: whole([document]), whole)


def _share(judged: Document, name: str) -> float | None:
    return float(judged[name]) if judged["events"] else None


def _mean(numbers: Iterable[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return fmean(known) if known else None


def _minutes(seconds: float | None) -> float | None:
    return None if seconds is None else seconds / 60


def _shown(number: float | None, form: str) -> str:
    return "-" if number is None else format(number, form)


def _bracket(interval: Sequence[float | None] | None, form: str, gap: str) -> str:
    if interval is None:
        return ""
    low, high = (_shown(x, form) for x in interval)
    return f"{gap}({low}-{high})"
