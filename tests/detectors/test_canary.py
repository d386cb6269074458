"""CANARY's algorithms: their parts by hand, and their decisions on its own tutorial record."""

import csv
import gzip
import random
from pathlib import Path

import numpy as np
import pytest

from detectors._bed import Bed
from detectors.canary_lpcf import LpcfDetector, predictors
from detectors.canary_mvnn import MvnnDetector

STATION_B = Path(__file__).resolve().parents[3] / "shared" / "data" / "station-b.csv.gz"
EPSILON = {"cl2_free": 0.0035, "conductivity": 1.0, "ph": 0.01, "toc": 0.01, "turbidity": 0.01}
TUTORIAL = {"window": 144, "outlier": 0.8, "bed_window": 6, "threshold": 0.85, "timeout": 12}


# The least number of outliers that make an event, for p = 0.5: rows n, columns P(event).
LEAST = {
    4: [3, 3, 3, 4, 4, 4], 6: [4, 4, 5, 5, 6, 6], 8: [5, 5, 6, 6, 7, 8],
    10: [6, 7, 7, 8, 9, 9], 12: [7, 8, 8, 9, 10, 11], 18: [11, 11, 12, 12, 14, 15],
}  # fmt: skip


@pytest.mark.parametrize("n", LEAST)
@pytest.mark.parametrize(("column", "threshold"), list(enumerate([0.8, 0.85, 0.9, 0.95, 0.99, 0.999])))
def test_so_many_outliers_make_an_event(n, column, threshold):
    bed, count = Bed(n, 0.5, threshold, 1000), 0
    while not bed.open:
        bed.push(True)
        count += 1
    assert count == LEAST[n][column]


def test_an_event_ends_where_p_falls_to_one_half():
    bed = Bed(6, 0.5, 0.85, 100)
    for _ in range(6):
        bed.push(True)
    while bed.open:
        assert bed.score(False) <= 0.5 or bed.score(False) >= 0.85
        bed.push(False)
    assert sum(bed._bits) == 2  # F(2; 6, 0.5) = 0.34, F(3; 6, 0.5) = 0.66


def test_an_event_times_out_and_the_count_begins_anew():
    bed = Bed(6, 0.5, 0.85, 12)
    assert [bed.push(True) for _ in range(15)] == [False] * 14 + [True]  # three before it begins, then twelve
    assert bed.score(True) == pytest.approx(7 / 64)


def test_one_recursion_solves_the_normal_equations_of_all_channels():
    track = np.random.default_rng(1).normal(size=(60, 4)).cumsum(axis=0)
    filters = predictors(track)
    for k in range(4):
        lags = np.array([track[: 60 - i, k] @ track[i:, k] for i in range(60)]) / 60
        toeplitz = lags[np.abs(np.subtract.outer(np.arange(59), np.arange(59)))]
        assert filters[1:, k] == pytest.approx(np.linalg.solve(toeplitz, -lags[1:]), abs=1e-9)
    assert filters[0].tolist() == [1] * 4


def test_a_channel_that_stands_still_has_no_prediction_and_harms_no_other():
    track = np.random.default_rng(1).normal(size=(30, 2))
    alone = predictors(track[:, :1])
    track[:, 1] = 0
    assert predictors(track)[1:, 1].tolist() == [0] * 29
    assert predictors(track)[:, :1] == pytest.approx(alone, abs=1e-12)


def quiet(rng):
    return {"ph": 8 + 0.02 * rng.gauss(0, 1), "toc": 3 + 0.1 * rng.gauss(0, 1)}


def trained(kind, steps=60, **settings):
    usual = {"window": 40, "outlier": 2.5, "bed_window": 6, "threshold": 0.85, "timeout": 12}
    detector, rng = kind(resolution={"ph": 0.01, "toc": 0.01}, **{**usual, **settings}), random.Random(1)
    for _ in range(steps):
        detector.learn_one(quiet(rng))
    return detector, rng


def test_nearest_neighbour_by_hand():
    detector, _ = trained(MvnnDetector)
    x = {"ph": 8.13, "toc": 2.6}
    window = detector._accepted
    spread = np.maximum(window.std(axis=0, ddof=1), 0.01)
    apart = np.sqrt((((np.array([8.13, 2.6]) - window) / spread) ** 2).sum(axis=1)).min()
    for threshold, outlier in ((float(apart) - 1e-6, True), (float(apart) + 1e-6, False)):
        detector.outlier, detector._cache = threshold, None
        assert detector._look(x).outlier is outlier


def test_spread_is_never_less_than_the_resolution():
    for outlier, least in ((2.0, 0.01), (0.8, 0.01 * 1.05 / 0.8)):
        detector = MvnnDetector(resolution={"ph": 0.01}, window=10, outlier=outlier)
        for _ in range(10):
            detector.learn_one({"ph": 8.0})
        assert not detector._look({"ph": 8.0 + 0.99 * outlier * least}).outlier
        detector._cache = None
        assert detector._look({"ph": 8.0 + 1.01 * outlier * least}).outlier


@pytest.mark.parametrize("kind", [LpcfDetector, MvnnDetector])
def test_the_window_stands_still_during_outliers(kind):
    detector, rng = trained(kind)
    before = detector._accepted.copy()
    for i in range(3):
        detector.learn_one({"ph": 9.0 + 0.3 * (i % 2), "toc": 3.0})
    assert (detector._accepted == before).all()
    detector.learn_one(quiet(rng))
    assert (detector._accepted[:-1] == before[1:]).all()


def test_after_a_timeout_the_last_raw_samples_are_the_window():
    detector, rng = trained(MvnnDetector)
    rows = [{"ph": 9 + 0.02 * rng.gauss(0, 1), "toc": 3 + 0.1 * rng.gauss(0, 1)} for _ in range(15)]
    for x in rows:
        assert detector._accepted[-1, 0] < 8.5
        detector.learn_one(x)
    assert detector._accepted[-15:, 0].tolist() == [x["ph"] for x in rows]
    assert detector._accepted[-16, 0] < 8.5
    assert detector.score_one(rows[-1]) < 0.05


def test_a_channel_that_does_not_move_is_no_outlier_unless_it_was_before():
    detector, _ = trained(LpcfDetector)
    high = {"ph": 8.0, "toc": 9.0}
    detector.learn_one(high)
    assert detector._contributed.tolist() == [False, True]
    detector._cache = None
    assert detector._look(high).outlier
    detector._contributed[:] = False
    detector._cache = None
    assert not detector._look(high).outlier


def test_what_is_missing_is_the_mean():
    detector, _ = trained(MvnnDetector)
    assert not detector._look({"ph": 8.0}).outlier
    assert detector.score_one({}) == 0.0
    before = detector._raw.copy()
    detector.learn_one({})
    assert np.array_equal(detector._raw, before)


# Station B, the record of CANARY's tutorial.


@pytest.fixture(scope="module")
def station_b():
    if not STATION_B.exists():
        pytest.skip("needs ../shared/data/station-b.csv.gz")
    with gzip.open(STATION_B, "rt", newline="") as file:
        return [{name: float(row[name]) for name in EPSILON if row[name]} for row in csv.DictReader(file)]


def events(kind, rows, settings, channels=tuple(EPSILON)):
    """First and last sample of each event, and how often each channel contributed in all."""
    detector = kind(step_s=1200, resolution={name: EPSILON[name] for name in channels}, **settings)
    found, contributed = [], []
    for i, row in enumerate(rows):
        x = {name: value for name, value in row.items() if name in channels}
        if detector.score_one(x) >= detector.threshold:
            if found and found[-1][1] == i - 1:
                found[-1][1] = i
            else:
                found.append([i, i])
        look = detector._look(x) if x else None
        contributed.append(look.contributes if look else None)
        detector.learn_one(x)
    return found, contributed, detector._names


def test_the_tutorials_own_event_is_found_as_canary_reports_it(station_b):
    """Its summary: one event in two weeks, StationB.383, begun 2006-02-26 07:40, 12 samples, PH 15 and CL2 15."""
    channels = ("cl2_free", "ph", "turbidity", "toc")
    found, contributed, names = events(MvnnDetector, station_b[:1008], TUTORIAL, channels)
    assert found == [[383, 394]]
    counts = np.sum(contributed[380:395], axis=0)
    assert dict(zip(names, counts.tolist(), strict=True)) == {"cl2_free": 15, "ph": 15, "toc": 0, "turbidity": 0}


STRICTER = {"window": 144, "outlier": 1.15, "bed_window": 8, "threshold": 0.9, "timeout": 15}


@pytest.mark.parametrize(
    ("kind", "settings", "canary", "ours"),
    [
        (MvnnDetector, TUTORIAL, 150, 142),
        (MvnnDetector, STRICTER, 65, 61),
        pytest.param(LpcfDetector, TUTORIAL, 71, 65, marks=pytest.mark.long),
        pytest.param(LpcfDetector, STRICTER, 33, 31, marks=pytest.mark.long),
        pytest.param(LpcfDetector, STRICTER | {"outlier": 1.5, "threshold": 0.95}, 26, 25, marks=pytest.mark.long),
    ],
)
def test_as_many_events_in_a_hundred_days_as_canary(station_b, kind, settings, canary, ours):
    """CANARY 5 in Java, measured; it differs from 4.3, which is followed here, in how it treats what is missing."""
    found, _, _ = events(kind, station_b, settings)
    assert len(found) == ours
    assert 0.9 * canary <= len(found) <= canary
