"""Contaminations over a recorded water, and detectors against each other."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ewarn.cli.common import numbers_of
from ewarn.config import DetectorSpec, load_station
from ewarn.errors import ConfigError, RecordError
from ewarn.lab.challenge import AS_CONFIGURED, challenge, with_detectors
from ewarn.lab.record import station_for
from ewarn.lab.replay import replay
from ewarn.lab.superimpose import BURN_S, superimpose
from ewarn.registry import load_detectors
from ewarn.times import to_text
from simulators.water import Water

ROOT = Path(__file__).parents[2]
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


def write(path, columns, **labels):
    with path.open("w", newline="") as f:
        out = csv.writer(f)
        out.writerow(["time", *columns, *labels])
        rows = zip(TIMES, *columns.values(), *labels.values(), strict=True)
        out.writerows([to_text(round(t * 1000)), *(f"{v:.6g}" for v in values)] for t, *values in rows)
    return path


@pytest.fixture(scope="module")
def labelled(files, station, columns):
    """A record with its own truth, as contaminations laid over it beforehand leave it."""
    laid = superimpose(station, TIMES, columns, 1)
    truth = {"event": laid.event.astype(int), "strength": laid.strength, "ignore": (np.arange(len(TIMES)) * STEP < BURN_S).astype(int)}
    return write(files[0].parent / "labelled.csv", laid.columns, **truth)


@pytest.fixture(scope="module")
def broken(files, columns):
    """Conductance stands still for a day, twice, and is nothing for an hour."""
    spcond, event = columns["spcond"].copy(), np.zeros(len(TIMES), dtype=int)
    for a, b in ((2000, 2096), (3000, 3096), (4000, 4004)):
        spcond[a:b], event[a:b] = (spcond[a] if b - a > 4 else 0.0), 1
    return write(files[0].parent / "broken.csv", {**columns, "spcond": spcond}, event=event, fault=event)


@pytest.fixture(scope="module")
def entries(files):
    return list(challenge(files[0], [files[1]], ["forecast", "residual"], [1, 2]))


def test_a_record_is_judged_as_it_was_and_with_contaminations_over_it(entries):
    assert [(e.record, e.what, e.seeds, e.detectors) for e in entries] == [
        ("river", "as it was", (), "forecast"), ("river", "as it was", (), "residual"),
        ("river", "laid over", (1, 2), "forecast"), ("river", "laid over", (1, 2), "residual"),
    ]  # fmt: skip
    quiet = entries[0]
    assert (quiet.own.found, quiet.f1, quiet.reliability) == ((), None, ())
    assert quiet.own.weeks == pytest.approx(DAYS / 7, rel=0.1)
    assert quiet.later.weeks == pytest.approx(DAYS / 14, rel=0.01)


def test_detectors_are_compared_on_the_same_events(entries):
    _, _, forecast, residual = entries
    assert forecast.own.strengths == residual.own.strengths
    assert len(forecast.own.found) == sum(len(run.course.spans()) for run in forecast.runs) > 16
    assert forecast.weekly.rate > 0.5
    assert forecast.weekly.false_per_week <= 1
    found, strong = forecast.weekly.strong(2.0)
    assert found / strong > forecast.weekly.rate
    assert forecast.evaluated > 0.9
    low, high = forecast.f1[1]
    assert 0 < low < forecast.f1[0] < high < 1


def test_the_later_half_is_the_later_half(entries):
    run = entries[2].runs[0]
    half = len(run.alert) // 2
    assert replace(run, alert=np.where(np.arange(len(run.alert)) < half, True, False)).later().false == 0
    alert = np.zeros(len(run.alert), dtype=bool)
    alert[np.flatnonzero(run.course.outside())[-10:]] = True
    assert replace(run, alert=alert).later().false == 1


def test_over_a_record_that_says_all_nothing_is_laid(files, labelled, broken):
    entries = list(challenge(files[0], [labelled, broken], ["residual"], [1]))
    assert [(e.record, e.what) for e in entries] == [("labelled", "labelled"), ("broken", "sensor faults")]
    assert set(entries[0].own.strengths) == {0.25, 0.5, 1, 2}


def test_sensor_faults_are_counted_apart(files, broken):
    (entry,) = challenge(files[0], [broken], ["forecast"], [])
    assert (entry.sensor.faults, entry.sensor.events) == (3, 0)
    assert entry.sensor.named >= 2
    assert entry.sensor.others_named < 0.05 * entry.sensor.others
    assert entry.own.found == ()
    assert entry.runs[0].course.passed[2000:2096].all()


def test_a_set_of_detectors_keeps_what_the_file_sets(station):
    configured = replace(station, detectors=(DetectorSpec("residual", {"level_s": 7200.0}, "detectors[0]"),))
    one, two = with_detectors(configured, "residual,residual_trees").detectors
    assert (one.options, two.name, two.options) == ({"level_s": 7200.0}, "residual_trees", {})
    assert with_detectors(configured, AS_CONFIGURED) is configured


def test_records_of_the_same_name_are_told_apart(files, labelled):
    for name in ("one", "two"):
        (files[0].parent / name).mkdir(exist_ok=True)
        (files[0].parent / name / "r.csv").write_bytes(labelled.read_bytes())
    paths = [files[0].parent / name / "r.csv" for name in ("one", "two")]
    assert [e.record for e in challenge(files[0], paths, ["residual"], [])] == ["one/r", "two/r"]


def command(*args, seed="0"):
    return subprocess.run(
        [sys.executable, "-m", "ewarn", "challenge", *map(str, args)],
        check=True, capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": seed},
    ).stdout  # fmt: skip


def test_what_is_printed_is_the_same_each_time(files, labelled):
    args = (files[0], labelled, "--detectors", "forecast", "--json")
    one, two = (json.loads(command(*args, seed=seed).splitlines()[-1]) for seed in ("1", "2"))
    for document in (*one, *two):
        assert document.pop("us_per_row") > 0
    assert one == two
    assert one[0]["at_1_per_week"]["strong_events"] < one[0]["at_1_per_week"]["events"] == one[0]["events"]


def test_earlier_results_are_shown_in_the_same_table(files, labelled, tmp_path):
    (tmp_path / "a.json").write_text(command(files[0], labelled, "--detectors", "residual", "--json"))
    shown = command(files[0], files[1], "--seeds", "", "--detectors", "residual", "--join", tmp_path / "a.json", "--markdown")
    assert "| labelled | labelled  | residual" in shown
    assert "| river    | as it was | residual" in shown
    (tmp_path / "b.json").write_text("no JSON")
    with pytest.raises(subprocess.CalledProcessError) as error:
        command(files[0], "--join", tmp_path / "b.json")
    assert error.value.stderr == f"ewarn: {tmp_path}/b.json: is not what `ewarn challenge --json` prints\n"


@pytest.mark.parametrize("text", ["1-", "a", "-3", "1;2", "٣"])
def test_seeds_are_whole_numbers(text):
    with pytest.raises(ConfigError, match="--seeds"):
        numbers_of(text, "--seeds")


def test_figures_are_those_of_the_common_judge(files, labelled, tmp_path):
    judge = ROOT.parent / "shared" / "bench" / "score.py"
    if not judge.exists():
        pytest.skip("the common judge is not here")
    station, _ = station_for(files[0], labelled)
    station = with_detectors(station, "forecast")
    replay(station, labelled, tmp_path / "s.csv", load_detectors(station))
    scored = subprocess.run([sys.executable, judge, labelled, tmp_path / "s.csv", "--json"], check=True, capture_output=True, text=True)
    theirs, (entry,) = json.loads(scored.stdout), challenge(files[0], [labelled], ["forecast"], [])
    ours = entry.document()
    assert (ours["f1"], ours["average_precision"]) == (theirs["f1"], theirs["auc_pr"])
    assert ours["own"]["false_per_week"] == theirs["false_per_week"]
    assert ours["own"]["delay_s"] == theirs["delay_minutes"] * 60
    assert f"{ours['own']['found']}/{ours['events']}" == theirs["events_detected"]
    for rate in ("at_1_per_week", "at_1_per_month"):
        assert f"{ours[rate]['found']}/{ours['events']}" == theirs[rate]["detected"]
        assert ours[rate]["false_per_week"] == theirs[rate]["false_per_week"]


def test_what_is_wrong_is_said(files, tmp_path):
    with pytest.raises(ConfigError, match="unknown detector"):
        list(challenge(files[0], [files[1]], ["oracle"], [1]))
    with pytest.raises(RecordError):
        list(challenge(files[0], [tmp_path / "nothing.csv"], ["residual"], [1]))


def test_the_kinds_of_stations_name_their_detectors():
    for kind in ("river", "plant"):
        assert load_station(ROOT / "config" / f"{kind}.toml").detectors
