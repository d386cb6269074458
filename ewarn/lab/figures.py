"""The documents' pictures, from water that anyone can have: what each detector says of a contamination."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ewarn.config import Station, load_station
from ewarn.core.pipeline import Pipeline
from ewarn.lab.challenge import AS_CONFIGURED, challenge, with_detectors
from ewarn.lab.drawing import ALERT, COLOURS, EVENT, new_figure, plain, save, shade
from ewarn.lab.gallery import moved, quality
from ewarn.lab.judge import Bools, Floats, runs
from ewarn.lab.plots import draw
from ewarn.lab.record import station_for
from ewarn.lab.replay import ReplayReport, follow
from ewarn.lab.superimpose import superimpose
from ewarn.lab.synthetic import synthetic, write
from ewarn.lab.truth import LabelledRecord, rows_of
from ewarn.registry import load_detectors, plugins
from simulators.contamination import Contamination

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ewarn.contracts import Verdict

_SLOW_S = 300.0
_SEED = 5
_CHALLENGE_DAYS, _CHALLENGE_SEEDS = 42.0, (1, 2)
_MOST_CHANNELS, _MOST_POINTS = 4, 400
_EXAMPLES = {"river": "river.anomaly.HalfSpaceTrees"}
Progress = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class _Water:
    """Water to be shown: arrays of one place a row; drawn are `shown`, which hold one event."""

    title: str
    times: NDArray[np.int64]
    columns: Mapping[str, Floats]
    event: Bools
    shown: slice


def figures(
    folder: Path, stations: Sequence[Path], records: Sequence[Path] = (), *,
    on_progress: Progress = lambda _text: None,
) -> list[Path]:  # fmt: skip
    """One picture a registered detector: channels, its score against its threshold, and the true event.

    Args:
        folder: where they go, as DETECTOR.svg.
        stations: files; a detector is shown at the first that names it, else at the first of all.
        records: shown too, as DETECTOR-RECORD.svg, for the detectors of the first station.
        on_progress: told what is done next.

    Raises:
        EwarnError: there is no matplotlib; a file is wrong or cannot be written; a detector cannot be made.
    """
    made, loaded = [], [load_station(path) for path in stations]
    for registered, name in shown_detectors().items():
        station = loaded[_home(name, loaded)]
        on_progress(name)
        made.append(save(_picture(name, station, _made_up(station)), folder / f"{registered}.svg"))
    for path in records:
        station, _ = station_for(stations[0], path)
        water = _recorded(path, station)
        for spec in station.detectors:
            on_progress(f"{spec.name}, {path.name}")
            made.append(save(_picture(spec.name, station, water), folder / f"{spec.name}-{water.title}.svg"))
    return made


def challenge_figures(
    folder: Path, stations: Sequence[Path], *, days: float = _CHALLENGE_DAYS,
    on_progress: Progress = lambda _text: None,
) -> list[Path]:  # fmt: skip
    """The pictures of a challenge on made-up water, into a folder for each station.

    Args:
        folder: above these.
        stations: files; each is challenged as it is configured, and with each detector that is at home there.
        days: how long the water is; two weeks and more.
        on_progress: told what is done next.

    Raises:
        EwarnError: as `figures`.
    """
    made, loaded = [], [load_station(path) for path in stations]
    with tempfile.TemporaryDirectory(prefix="ewarn-figures-") as name:
        for number, (path, station) in enumerate(zip(stations, loaded, strict=True)):
            record = write(Path(name) / f"{path.stem}.csv", *synthetic(station, days, _SEED))
            sets = [AS_CONFIGURED, *(n for n in shown_detectors().values() if _home(n, loaded) == number)]
            entries = list(challenge(path, [record], sets, _CHALLENGE_SEEDS, on_progress=on_progress))
            made += draw(entries, folder / path.stem, galleries=1)
    return made


def shown_detectors() -> dict[str, str]:
    """What is shown of each registered detector that works: itself, or one of many that it stands for."""
    names = sorted({p.name for p in plugins() if p.group == "ewarn.detectors" and not p.problem})
    return {name: _EXAMPLES.get(name, name) for name in names}


def _home(name: str, stations: Sequence[Station]) -> int:
    """Number of the station at which a detector is shown."""
    named = [i for i, station in enumerate(stations) if any(spec.name == name for spec in station.detectors)]
    return named[0] if named else 0


def _made_up(station: Station) -> _Water:
    """Days of water, with sewage passing on the last of them."""
    slow = station.detection.step >= _SLOW_S
    before, length, after = (12 * 86400.0, 6 * 3600.0, 86400.0) if slow else (3 * 86400.0, 2 * 3600.0, 3 * 3600.0)
    sewage = Contamination("sewage", before, length)
    times, columns = synthetic(station, (before + length + after) / 86400, _SEED, [sewage])
    event = sewage.concentration((times - times[0]) / 1000) >= 0.1 * sewage.concentration(
        np.array([before + length / 12])
    )
    return _Water("made-up water", times, columns, event, _around(event, station))


def _recorded(path: Path, station: Station) -> _Water:
    """A record with its own events, or with contaminations laid over it."""
    record = LabelledRecord.read(path, station)
    columns, event = record.columns, record.event
    if not event.any():
        laid = superimpose(station, record.times / 1000, columns, _SEED)
        columns, event = laid.columns, laid.event
    title = path.name.removesuffix(".gz").removesuffix(".csv")
    return _Water(title, record.times, columns, event, _around(event, station))


def _around(event: Bools, station: Station) -> slice:
    """Rows around the event in the middle; the last ones where there is none."""
    spans = runs(event)
    a, b = spans[len(spans) // 2] if spans else (len(event) - 1, len(event))
    reach = round((12 if station.detection.step >= _SLOW_S else 2) * 3600 / station.detection.step)
    begin, end = max(0, a - reach), min(len(event), b + reach)
    return slice(begin, end, -(-(end - begin) // _MOST_POINTS))


def _picture(name: str, station: Station, water: _Water) -> Figure:
    detectors = load_detectors(with_detectors(station, name))
    threshold = float(getattr(detectors[name], "threshold", 1.0))
    pipeline = Pipeline(station, detectors)
    shown = list(follow(pipeline, rows_of(water.times, water.columns), ReplayReport()))
    score = np.array([_score(s.verdict, name) for s in shown])
    alert = np.array([s.alert for s in shown])
    here = {n: v[water.shown.start : water.shown.stop] for n, v in quality(station, water.columns).items()}
    begin = int(np.argmax(water.event[water.shown.start : water.shown.stop]))
    channels = moved(here, max(1, begin))[:_MOST_CHANNELS]
    figure = _drawn(water, channels, score, threshold, alert)
    figure.axes[0].set_title(f"{name}, {water.title} (yellow: the event; red: the alert; dashed: the threshold)")
    return figure


def _score(verdict: Verdict | None, name: str) -> float:
    return np.nan if verdict is None else verdict.scores.get(name, np.nan)


def _drawn(water: _Water, names: Sequence[str], score: Floats, threshold: float, alert: Bools) -> Figure:
    cut = water.shown
    begin = cut.start + int(np.argmax(water.event[cut.start : cut.stop]))
    hours = (water.times[cut] - water.times[begin]) / 3_600_000
    figure = new_figure(1.0 + 0.75 * len(names))
    panels = figure.subplots(len(names) + 1, 1, sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(panels, names, strict=False):
        axes.plot(hours, water.columns[name][cut], color=COLOURS[0])
        axes.set_ylabel(name)
    panels[-1].plot(hours, score[cut], color=COLOURS[1])
    panels[-1].axhline(threshold, color="#555555", linestyle="--")
    panels[-1].set(ylabel="score", xlabel="hours from the begin of the event")
    for axes in panels:
        plain(axes)
        shade(axes, hours, water.event[cut], EVENT)
    shade(panels[-1], hours, alert[cut], ALERT)
    return figure
