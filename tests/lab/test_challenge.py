"""Contaminations over a recorded water, and detectors against each other."""

import csv
import json
import math
import subprocess
import sys

import numpy as np
import pytest

from ewarn.config import load_station
from ewarn.errors import ConfigError, RecordError
from ewarn.lab.challenge import challenge
from ewarn.lab.record import station_for
from ewarn.lab.superimpose import BURN_S, superimpose
from ewarn.times import to_text
from simulators.water import Water

STEP, DAYS = 900, 45
TIMES = 1_780_000_200.0 + STEP * np.arange(DAYS * 96)
CHANNELS = {"ph": 0.01, "spcond": 0.1, "do": 0.01, "turbidity": 0.01, "water_temp": 0.01}
STATION = """
[station]
id = "r"
[channels.water_temp]
role = "operation"
[detection]
step = "15m"
warmup = "2d"
hold = "0s"
"""


@pytest.fixture(scope="module")
def columns():
    rng, water = np.random.default_rng(1), Water(5)
    return {n: np.round((water.values(n, TIMES) + 2 * r * rng.normal(size=len(TIMES))) / r) * r for n, r in CHANNELS.items()}


@pytest.fixture(scope="module")
def files(tmp_path_factory, columns):
    folder = tmp_path_factory.mktemp("challenge")
    (folder / "station.toml").write_text(STATION)
    with (folder / "river.csv").open("w", newline="") as f:
        out = csv.writer(f)
        out.writerow(["time", *columns])
        out.writerows([to_text(round(t * 1000)), *(f"{c[i]:.6g}" for c in columns.values())] for i, t in enumerate(TIMES))
    return folder / "station.toml", folder / "river.csv"


@pytest.fixture(scope="module")
def station(files):
    return station_for(*files)[0]


def test_only_events_differ_and_operation_never(station, columns):
    laid = superimpose(station, TIMES, columns, 1)
    assert laid.event.any()
    assert not laid.event[: int(BURN_S / STEP)].any()
    assert np.array_equal(laid.columns["water_temp"], columns["water_temp"])
    far = ~np.convolve(laid.event, np.ones(97), "same").astype(bool)
    for name in CHANNELS:
        assert np.allclose(laid.columns[name][far], columns[name][far], atol=1e-9)
    assert (np.abs(laid.columns["spcond"] - columns["spcond"])[laid.event] > 1).mean() > 0.3
    assert set(np.unique(laid.strength)) <= {0, 0.25, 0.5, 1, 2}


def test_rounding_tells_nothing(station, columns):
    laid = superimpose(station, TIMES, columns, 1)
    for name, resolution in CHANNELS.items():
        assert np.allclose(laid.columns[name] / resolution, np.round(laid.columns[name] / resolution))


def test_seeds_repeat_and_differ(station, columns):
    one, again, other = (superimpose(station, TIMES, columns, seed) for seed in (1, 1, 2))
    assert np.array_equal(one.event, again.event)
    assert not np.array_equal(one.event, other.event)
    assert all(np.array_equal(one.columns[n], again.columns[n]) for n in CHANNELS)


def test_missing_values_stay_missing(station, columns):
    holed = {n: np.where(np.arange(len(TIMES)) % 7 == 0, np.nan, v) for n, v in columns.items()}
    laid = superimpose(station, TIMES, holed, 1)
    assert all(np.array_equal(np.isnan(laid.columns[n]), np.isnan(holed[n])) for n in CHANNELS)


def test_detectors_are_compared_on_the_same_events(files):
    entries = list(challenge(files[0], [files[1]], ["forecast", "residual"], [1]))
    assert [(e.what, e.detectors) for e in entries] == [("superimposed 1", "forecast"), ("superimposed 1", "residual")]
    forecast, residual = entries
    assert len(forecast.own.found) == len(residual.own.found) > 8
    assert forecast.weekly.rate > 0.5
    assert forecast.weekly.false_per_week <= 1
    assert forecast.evaluated > 0.9
    assert math.isfinite(forecast.us_per_row)


def test_the_command_prints_json(files):
    result = subprocess.run(
        [sys.executable, "-m", "ewarn", "challenge", *map(str, files), "--detectors", "residual", "--json"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    (entry,) = json.loads(result.stdout.splitlines()[-1])
    assert entry["detectors"] == "residual"
    assert set(entry["at_1_per_week"]) == {"rate", "rate_interval", "false_per_week", "false_interval", "delay_s"}


def test_what_is_wrong_is_said(files, tmp_path):
    with pytest.raises(ConfigError, match="unknown detector"):
        list(challenge(files[0], [files[1]], ["oracle"], [1]))
    with pytest.raises(RecordError):
        list(challenge(files[0], [tmp_path / "nothing.csv"], ["residual"], [1]))


def test_the_kinds_of_stations_name_their_detectors():
    root = __import__("pathlib").Path(__file__).parents[2] / "config"
    assert [d.name for d in load_station(root / "river.toml").detectors] == ["forecast"]
    assert [d.name for d in load_station(root / "plant.toml").detectors] == ["residual", "residual_trees"]
