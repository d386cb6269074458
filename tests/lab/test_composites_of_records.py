"""Composites of a station file, on recorded water."""

import csv

import pytest

from ewarn.lab.record import Record, station_for
from ewarn.lab.replay import replay

FILE = """
[station]
id = "r"
[channels.cl2_free]
[channels.cl2_total]
[channels.flow]
[channels.demand]
parameter = "cl2_total"
formula = "cl2_total - cl2_free"
[channels.index]
formula = "demand / flow"
"""


def record(path, header):
    rows = [[f"2026-01-01T00:{i:02}:00Z", *["1.5"] * (len(header) - 1)] for i in range(30)]
    with path.open("w", newline="") as f:
        csv.writer(f).writerows([header, *rows])
    return path


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text(FILE)
    return path


def test_composites_stay_whose_inputs_the_record_has_and_the_others_are_named(file, tmp_path):
    path = record(tmp_path / "r.csv", ["time", "cl2_free", "cl2_total"])
    station, absent = station_for(file, path)
    assert list(station.channels) == ["cl2_free", "cl2_total", "demand"]
    assert absent == ["flow", "index"]
    assert replay(station, path, None, {}).rows == 30


def test_a_column_of_a_composite_is_computed_anew(file, tmp_path):
    path = record(tmp_path / "r.csv", ["time", "cl2_free", "cl2_total", "demand"])
    station, _ = station_for(file, path)
    assert set(Record.open(path, station).channels.values()) == {"cl2_free", "cl2_total"}
