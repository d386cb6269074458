"""The challenge as pictures: the trade-off, delays by strength, reliability, and a gallery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ewarn.lab.drawing import ALERT, COLOURS, EVENT, new_figure, plain, save, shade
from ewarn.lab.entry import Entry, Run, pooled_reliability
from ewarn.lab.gallery import KINDS, Scene
from ewarn.lab.judge import Floats, thresholds, together
from ewarn.lab.reliability import calibration_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_THRESHOLDS = 60
_TOLD = 50
_LEAST_FALSE = 0.02
"""Episodes a week at the left end of the trade-off, where fewer are drawn."""


def draw(entries: Sequence[Entry], folder: Path, *, galleries: int | None = None) -> list[Path]:
    """Draw what there is to draw, over all records that have events.

    Args:
        entries: of a challenge.
        folder: where the pictures go; made where it is not there.
        galleries: for how many sets of detectors there is to be one; for all where absent.

    Raises:
        EwarnError: there is no matplotlib, or a file cannot be written.
    """
    sets: dict[str, list[Entry]] = {}
    for entry in entries:
        sets.setdefault(entry.detectors, []).append(entry)
    made = [
        save(_trade_off(sets), folder / "trade-off.svg"), save(_delays(sets), folder / "delays.svg"),
        save(_reliability(sets), folder / "reliability.svg"),
    ]  # fmt: skip
    for number, (names, group) in enumerate(list(sets.items())[:galleries], start=1):
        scenes = _one_of_each(group)
        if scenes:
            made.append(save(_gallery(names, scenes), folder / f"gallery-{number}.svg"))
    return made


def trade_off(runs: Sequence[Run]) -> tuple[Floats, Floats]:
    """Events found (share) against false episodes (a week), over thresholds that fall.

    Every run is given the same thresholds on the probability: what one station file would do on all of them.
    """
    ranked = [run.course.ranked(run.probability) for run in runs]
    known = np.concatenate([r[run.course.judged] for r, run in zip(ranked, runs, strict=True)])
    judged = [
        together([run.course.judge(r >= threshold) for r, run in zip(ranked, runs, strict=True)])
        for threshold in thresholds(known, _THRESHOLDS)[::-1]
    ]
    return np.array([j.false_per_week for j in judged]), np.array([j.rate for j in judged])


def _trade_off(sets: Mapping[str, Sequence[Entry]]) -> Figure:
    figure = new_figure(3.4)
    axes = figure.subplots()
    for colour, names, group in _coloured(sets):
        runs = [run for entry in group for run in entry.runs]
        false, found = trade_off(runs)
        axes.plot(np.maximum(false, _LEAST_FALSE), found, color=colour, label=names)
        own = together([entry.own for entry in group])
        axes.plot(max(own.false_per_week, _LEAST_FALSE), own.rate, "o", color=colour, markersize=5)
    axes.set(xscale="log", ylim=(0, 1), xlabel="false episodes a week", ylabel="events found")
    axes.set_title("Trade-off over all records (dots: the station's own alert)")
    _legend(axes)
    return figure


def _delays(sets: Mapping[str, Sequence[Entry]]) -> Figure:
    """Median and middle half of the delays, by strength, at one false episode a week."""
    figure = new_figure(3.0)
    axes = figure.subplots()
    places: dict[float, int] = {}
    for number, (colour, names, group) in enumerate(_coloured(sets)):
        levels = together([entry.weekly for entry in group]).delays_by_strength()
        for strength in levels:
            places.setdefault(strength, len(places))
        low, middle, high = (np.array([np.quantile(d, q) / 60 for d in levels.values()]) for q in (0.25, 0.5, 0.75))
        x = np.array([places[strength] for strength in levels]) + 0.08 * number
        axes.errorbar(x, middle, (middle - low, high - middle), fmt="o", color=colour, label=names, capsize=3)
    axes.set_xticks(list(places.values()), [f"{strength:g}" for strength in places])
    axes.set(xlabel="strength, times a usual spill", ylabel="minutes", ylim=(0, None))
    axes.set_title("Delay of what is found at one false episode a week (median, middle half)")
    _legend(axes)
    return figure


def _reliability(sets: Mapping[str, Sequence[Entry]]) -> Figure:
    figure = new_figure(3.4, 6.0)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#999999", linestyle=":")
    for colour, names, group in _coloured(sets):
        bins = pooled_reliability([run for entry in group for run in entry.runs], group[0].prior)
        error = calibration_error(bins)
        if error is not None:
            label = f"{names}: {error:.3f}"
            told = [b for b in bins if b.steps >= _TOLD]
            axes.plot([b.predicted for b in told], [b.observed for b in told], "o-", color=colour, label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="predicted probability", ylabel="observed share", aspect="equal")
    axes.set_title(f"Reliability (bins of {_TOLD} steps and more), expected calibration error")
    _legend(axes)
    return figure


def _gallery(names: str, scenes: Sequence[tuple[str, Scene]]) -> Figure:
    """A column a scene; its channels, and the probability below them."""
    figure = new_figure(5.5)
    rows = max(len(scene.columns) for _, scene in scenes) + 1
    grid = figure.subplots(rows, len(scenes), squeeze=False, sharex="col")
    for column, (record, scene) in enumerate(scenes):
        panels = [grid[row][column] for row in range(rows)]
        panels[0].set_title(f"{scene.kind}: {record}")
        for axes in panels[len(scene.columns) : -1]:
            axes.set_visible(False)
        for axes, (channel, values) in zip(panels, scene.columns.items(), strict=False):
            axes.plot(scene.hours, values, color=COLOURS[0])
            axes.set_ylabel(channel)
        panels[-1].plot(scene.hours, scene.probability, color=COLOURS[1])
        panels[-1].set(ylim=(0, 1.02), ylabel="probability", xlabel="hours")
        for axes in panels:
            plain(axes)
            shade(axes, scene.hours, scene.event, EVENT)
        shade(panels[-1], scene.hours, scene.alert, ALERT)
    figure.suptitle(f"{names}: yellow is the event, red the station's own alert")
    return figure


def _one_of_each(entries: Sequence[Entry]) -> list[tuple[str, Scene]]:
    """The first scene of each kind, with its record."""
    first: dict[str, tuple[str, Scene]] = {}
    for entry in entries:
        for scene in (scene for run in entry.runs for scene in run.scenes):
            first.setdefault(scene.kind, (entry.record, scene))
    return [first[kind] for kind in KINDS if kind in first]


def _coloured(sets: Mapping[str, Sequence[Entry]]) -> list[tuple[str, str, list[Entry]]]:
    """Colour, names and entries with events of each set of detectors that has such."""
    known = [(names, [entry for entry in group if entry.own.found]) for names, group in sets.items()]
    return [(COLOURS[i % len(COLOURS)], names, group) for i, (names, group) in enumerate(known) if group]


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
