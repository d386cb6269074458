"""The truth, recorded: what the water was and what each probe showed, one line a sample, as simulated time passes."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, TextIO

from ewarn.contracts import Clock, Millis
from ewarn.errors import ConfigError
from ewarn.times import to_text
from simulators.tables import SimulatedProbe
from simulators.truth import Truth

COLUMNS = ("time", "probe", "channel", "parameter", "water", "shown")
_PAUSE_S = 0.5


async def record(truth: Truth, clock: Clock, path: Path) -> NoReturn:
    """Write for ever; what was written so far is on its way to the disk at each pause.

    Args:
        truth: of the scenario.
        clock: of the scenario.
        path: of a CSV file, made anew; times are of the samples, values in the parameters' units.

    Raises:
        ConfigError: the file cannot be made.
    """
    due = {probe.id: truth.sample(probe.id, clock.now()) for probe in truth.scenario.probes}
    pause = min(_PAUSE_S, *(p.sample_period for p in truth.scenario.probes))
    with _opened(path) as stream:
        table = csv.writer(stream)
        table.writerow(COLUMNS)
        while True:
            now = clock.now()
            for probe in truth.scenario.probes:
                newest = truth.sample(probe.id, now)
                for number in range(due[probe.id], newest + 1):
                    table.writerows(_lines(truth, probe, round(number * probe.sample_period * 1000)))
                due[probe.id] = newest + 1
            stream.flush()
            await clock.sleep(pause)


def _opened(path: Path) -> TextIO:
    try:
        return path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise ConfigError(str(path), "", f"cannot be written: {error.strerror}", "name another file") from error


def _lines(truth: Truth, probe: SimulatedProbe, time: Millis) -> Iterator[tuple[str | float | None, ...]]:
    for name in probe.channels:
        parameter = probe.device.channel(name).parameter
        yield to_text(time), probe.id, name, parameter, truth.water(parameter, time), truth.value(probe.id, name, time)
