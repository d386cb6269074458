"""The live terminal view: channels, event probability, alarms, and the newest alert in both languages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ewarn.contracts import Alert, Millis, Quality, Readiness, Reading, Verdict
from ewarn.messages import LANGUAGES, render
from ewarn.parameters import PARAMETERS, parameter_of
from ewarn.times import to_text

_STYLES = {Quality.PASS: "green", Quality.NOT_EVALUATED: "white", Quality.SUSPECT: "yellow", Quality.FAIL: "red"}
_MISSING = "bright_black"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the view shows.

    Attributes:
        title: of the whole.
        now: the time shown.
        readings: newest reading by channel.
        verdict: newest verdict, None before the first.
        alarms: newest transition by alarm.
        news: newest alert, None before the first.
        facts: further lines as label and text.
        station_name, time_zone: for the alert's text.
    """

    title: str
    now: Millis
    readings: Mapping[str, Reading]
    verdict: Verdict | None
    alarms: Mapping[str, Alert] = field(default_factory=dict)
    news: Alert | None = None
    facts: Sequence[tuple[str, str]] = ()
    station_name: str = ""
    time_zone: str = "UTC"


def draw(snapshot: Snapshot) -> RenderableType:
    """The view as something rich can print; a small terminal cuts it off below, so what matters most is above."""
    parts: list[RenderableType] = [_facts(snapshot.facts), _probability(snapshot.verdict)]
    if snapshot.alarms:
        parts.append(_alarms(snapshot.alarms))
    if snapshot.news is not None:
        parts.append(_news(snapshot, snapshot.news))
    parts.append(_channels(snapshot))
    return Panel(Group(*parts), title=snapshot.title, subtitle=to_text(snapshot.now)[:19] + "Z")


def _channels(snapshot: Snapshot) -> Table:
    table = Table(expand=True, box=None, header_style="bold")
    for name, justify in (
        ("channel", "left"),
        ("value", "right"),
        ("unit", "left"),
        ("expected", "right"),
        ("flag", "left"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    moved = {e.channel: e for e in snapshot.verdict.evidence} if snapshot.verdict else {}
    for channel, r in snapshot.readings.items():
        style = "bold red" if channel in moved else _STYLES.get(r.quality, _MISSING)
        expected = f"{moved[channel].expected:.4g}" if channel in moved else ""
        value = "–" if r.value is None else f"{r.value:.4g}"
        table.add_row(channel, value, _unit(channel), expected, f"{int(r.quality)} {r.reason}".rstrip(), style=style)
    return table


def _unit(channel: str) -> str:
    parameter = PARAMETERS.get(parameter_of(channel) or "")
    return parameter.display if parameter else ""


def _probability(verdict: Verdict | None) -> RenderableType:
    if verdict is None or verdict.probability is None:
        state = verdict.readiness if verdict else Readiness.WARMING
        return Text(f"event probability: {state}", style="cyan")
    color = "red" if verdict.abnormal else "green"
    row = Table.grid(padding=(0, 1))
    row.add_row(
        Text("event probability", style=color),
        ProgressBar(total=1.0, completed=verdict.probability, width=40, complete_style=color, finished_style=color),
        Text(f"{verdict.probability:.2f} {verdict.cause}", style=color),
    )
    return row


def _alarms(alarms: Mapping[str, Alert]) -> RenderableType:
    text = Text("alarms: ")
    for name, alert in alarms.items():
        text.append(f"{name} {alert.state}  ", style="bold red" if alert.active else "green")
    return text


def _news(snapshot: Snapshot, alert: Alert) -> RenderableType:
    return Columns(
        [
            Panel(render(alert, code, station_name=snapshot.station_name, time_zone=snapshot.time_zone), title=code)
            for code in LANGUAGES
        ],
        equal=True,
        expand=True,
    )


def _facts(facts: Sequence[tuple[str, str]]) -> RenderableType:
    return Text("   ".join(f"{label}: {value}" for label, value in facts), style="bright_black")
