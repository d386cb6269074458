"""Quality control gives the flags of `ioos_qc` for the same limits, on random and on real values.

`ioos_qc` brings pandas, scipy and xarray: it is in an extra of its own, `pip install -e .[qartod]`; without it these
tests are skipped. Where streaming differs, the last tests say how.
"""

import csv
import gzip
import random
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from ewarn.config import station_from
from ewarn.config.tables import ClimateTable
from ewarn.contracts import Quality, Reading
from ewarn.core.quality import QualityControl
from ewarn.core.quality.attenuation import PARTS

qartod = pytest.importorskip("ioos_qc.qartod", reason="ioos_qc is not installed: pip install -e .[qartod]")

MINUTE = 60_000
T0 = 1_780_000_020_000 - 1_780_000_020_000 % MINUTE
OFF = {
    "fail_span": None, "spike": 1e9, "rate": 1e9, "flat_after": 0.0, "attenuated_window": 0.0, "climatology": ()
}  # fmt: skip
SPEC = replace(
    station_from({"station": {"id": "q"}, "channels": {"ph": {"resolution": 0.01}}}, Path("q.toml")).channels["ph"], **OFF
)
PLANT = Path(__file__).resolve().parents[3] / "shared" / "data" / "plant-2018.csv.gz"


def walk(seed):
    """Steps of 0.01 that stand still now and then, with spikes and jumps."""
    rng, level, out, still = random.Random(seed), 800, [], 0
    for _ in range(3000):
        still = still - 1 if still else rng.choice([0] * 60 + [5, 20, 60])
        level += 0 if still else rng.choice([-2, -1, -1, 0, 0, 1, 1, 2]) + rng.choice([0] * 300 + [-80, 80])
        out.append((level + (0 if still else rng.choice([0] * 100 + [-40, 40]))) / 100)
    return out


def real(name):
    if not PLANT.exists():
        return None
    with gzip.open(PLANT, "rt") as file:
        return [float(row[name]) for row in islice(csv.DictReader(file), 6000) if row[name]]


SERIES = {"random 1": walk(1), "random 2": walk(2), "ph": real("ph"), "orp": real("orp")}


@pytest.fixture(params=SERIES)
def values(request):
    if SERIES[request.param] is None:
        pytest.skip("no real records here")
    return SERIES[request.param]


def finals(values, every=MINUTE, **limits):
    """Flags after all revisions, by one test alone."""
    control, found = QualityControl({"ph": replace(SPEC, **limits)}), []
    for i, value in enumerate(values):
        reading, revised = control.check(Reading("ph", T0 + i * every, value))
        if revised is not None:
            found[-1] = int(revised.quality)
        found.append(int(reading.quality))
    return found


def seconds(values, every=MINUTE):
    return (np.arange(len(values)) * every + T0).astype("datetime64[ms]").astype("datetime64[ns]")


def check_same(ours, theirs, *, least=3):
    """The first has no past, which we call 2; of the last, the flag is not final yet."""
    theirs = [int(flag) for flag in np.ma.filled(theirs, 9)]
    assert ours[1:-1] == theirs[1:-1]
    assert sum(flag in (3, 4) for flag in theirs) >= least, "the limits tell nothing"
    assert sum(flag == 1 for flag in theirs) >= least


def share(values, size):
    """A limit that a few exceed."""
    return float(np.quantile(size, 0.98)) + 1e-6


def test_gross_range(values):
    low, high = np.quantile(values, [0.02, 0.95])
    spans = {"fail_span": (float(low), float(high) + 1), "suspect_span": (float(low), float(high))}
    ours = finals(values, **spans)
    check_same([1, *ours[1:]], qartod.gross_range_test(values, spans["fail_span"], spans["suspect_span"]))


def test_spike(values):
    v = np.array(values)
    limit = share(values, np.abs(v[1:-1] - (v[:-2] + v[2:]) / 2))
    check_same(finals(values, spike=limit), qartod.spike_test(values, suspect_threshold=limit))


def test_rate_of_change(values):
    limit = share(values, np.abs(np.diff(values)))
    theirs = qartod.rate_of_change_test(values, seconds(values), limit / 60)
    check_same(finals(values, rate=limit), theirs)


@pytest.mark.parametrize(("suspect", "fail"), [(300, 900), (600, 1800)])
def test_flat_line(values, suspect, fail):
    step = 0.01 if max(values) < 100 else 1.0
    ours = finals(values, flat_after=float(suspect), flat_fail=float(fail), resolution=step)
    check_same(ours, qartod.flat_line_test(values, seconds(values), suspect, fail, tolerance=step * 0.9))


@pytest.mark.parametrize("kind", ["std", "range"])
def test_attenuated_signal(values, kind):
    """As many values as parts: every part of the window has one, so that it is exact."""
    windows = np.lib.stride_tricks.sliding_window_view(values, PARTS)
    spread = windows.std(axis=1) if kind == "std" else np.ptp(windows, axis=1)
    suspect, fail = (float(np.quantile(spread, q)) + 1e-6 for q in (0.3, 0.1))
    ours = finals(
        values, attenuated_window=PARTS * 60.0, attenuated_by=kind, attenuated=suspect, attenuated_fail=fail
    )
    theirs = qartod.attenuated_signal_test(
        values, seconds(values), suspect, fail, test_period=PARTS * 60, min_obs=PARTS, check_type=kind
    )
    check_same(ours, np.where(theirs == 2, 1, theirs))  # before the first whole window: theirs 2, ours 1


HOUR = 60 * MINUTE


@pytest.mark.parametrize("period", ["month", "hour"])
def test_climatology(values, period):
    middle = float(np.median(values))
    spans = [((2, 6), (middle - 0.1, middle + 0.2)), ((5, 11), (middle, middle + 1))]
    ours = finals(
        values, 2 * HOUR, climatology=tuple(ClimateTable(**{f"{period}s": when, "span": span}) for when, span in spans)
    )
    config = [{"tspan": when, "vspan": span, "period": period} for when, span in spans]
    theirs = qartod.climatology_test(config, values, seconds(values, 2 * HOUR), np.full(len(values), np.nan))
    check_same(ours, np.where(theirs == 2, 1, theirs))  # outside all spans: theirs 2, ours what the other tests say


def test_gap():
    """Theirs fails the value after a gap; ours is a missing reading in it, and the value after it is as good as any."""
    times = [0, 1, 2, 5, 6, 9, 10, 11]
    stamps = (np.array(times) * MINUTE + T0).astype("datetime64[ms]").astype("datetime64[ns]")
    theirs = qartod.time_gap_test(stamps, fail_span=2.5 / 60)
    control, ours, gap = QualityControl({"ph": replace(SPEC, probe="sonde")}), [], False
    for now in range(12):
        gap = bool(control.overdue(T0 + now * MINUTE - 1)) or gap
        if now in times:
            ours.append(4 if gap else 1)
            gap = False
            assert control.check(Reading("ph", T0 + now * MINUTE, 8.0))[0].quality is not Quality.FAIL
    assert ours == [int(f) for f in theirs] == [1, 1, 1, 4, 1, 4, 1, 1]


def test_theirs_knows_nothing_beside_a_missing_value_and_ours_bridges_it():
    values = [8.0, 8.0, 9.0, np.nan, 8.0, 8.0, 8.0]
    assert list(qartod.spike_test(values, suspect_threshold=0.5)) == [2, 1, 2, 9, 2, 1, 2]
    control, found = QualityControl({"ph": replace(SPEC, spike=0.5)}), {}
    for i, value in enumerate(values):
        for r in control.check(Reading("ph", T0 + i * MINUTE, None if np.isnan(value) else value)):
            if r is not None:
                found[(r.time - T0) // MINUTE] = int(r.quality)
    assert found[2] == 3
    assert [found[i] for i in (1, 4, 5, 6)] == [1] * 4


def test_theirs_judges_the_rate_over_a_gap_and_ours_begins_anew():
    times = (np.array([0, 1, 2, 10]) * MINUTE + T0).astype("datetime64[ms]").astype("datetime64[ns]")
    values = [8.0, 8.0, 8.0, 20.0]
    assert list(qartod.rate_of_change_test(values, times, 1 / 60)) == [1, 1, 1, 3]
    control = QualityControl({"ph": replace(SPEC, rate=1.0)})
    assert [
        control.check(Reading("ph", T0 + i * MINUTE, v))[0].quality for i, v in zip([0, 1, 2, 10], values, strict=True)
    ] == [2, 1, 1, 1]


def test_theirs_lets_a_failed_value_speak_for_its_neighbours_and_ours_does_not():
    values = [8.0, 8.0, 30.0, 8.0, 8.0, 8.0]
    assert list(qartod.spike_test(values, suspect_threshold=0.5))[1:4] == [3, 3, 3]
    assert finals(values, spike=0.5, fail_span=(0, 14))[1:] == [1, 4, 1, 1, 1]


def test_creep_below_the_resolution_is_flat_to_theirs_and_not_to_ours():
    """Ours holds values against the one that the standstill began with, however long ago."""
    values = [8.0 + 0.0006 * i for i in range(100)]
    theirs = qartod.flat_line_test(values, seconds(values), 600, 6000, tolerance=0.01)
    assert set(theirs[11:]) == {3}
    assert set(finals(values, flat_after=600.0)[1:]) == {1}
