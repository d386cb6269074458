"""Labels of a record: read for those who judge, with the rows to which they belong."""

import csv
from pathlib import Path

import numpy as np
import pytest

from ewarn.config import station_from
from ewarn.errors import RecordError
from ewarn.lab.record import Record
from ewarn.lab.truth import LabelledRecord, rows_of
from ewarn.times import to_text

T0 = 1_780_000_020_000
STATION = station_from({"station": {"id": "r"}, "channels": {"ph": {}, "spcond": {}}}, Path("r.toml"))


def write(path, header, *rows):
    with path.open("w", newline="") as f:
        csv.writer(f).writerows([["time", "ph", "spcond", *header], *rows])
    return path


def row(i, *labels, ph="8.0"):
    return [to_text(T0 + i * 60_000), ph, 900 + i, *labels]


def test_events_with_strength_say_all(tmp_path):
    path = write(tmp_path / "r.csv", ("event", "strength", "ignore"), row(0, 0, "", 1), row(1, 1, 2, 0), row(2, 0, "", 0))
    record = LabelledRecord.read(path, STATION)
    assert record.event.tolist() == [False, True, False]
    assert record.strength[1] == 2
    assert np.isnan(record.strength[0])
    assert record.ignore.tolist() == [True, False, False]
    assert (record.what, record.complete, record.faults) == ("labelled", True, ())


def test_faults_beside_events_make_these_faults(tmp_path):
    rows = [row(i, int(i in (1, 2)), "stuck" if i in (1, 2) else "") for i in range(4)]
    record = LabelledRecord.read(write(tmp_path / "r.csv", ("event", "fault"), *rows), STATION)
    assert (record.what, record.complete, record.faults) == ("sensor faults", True, ((1, 3),))
    assert not record.event.any()
    assert record.marked.tolist() == [False, True, True, False]


def test_faults_of_two_sensors_are_two(tmp_path):
    rows = [row(i, int(i < 2), int(i > 0)) for i in range(3)]
    record = LabelledRecord.read(write(tmp_path / "r.csv", ("fault_ph", "fault_spcond"), *rows), STATION)
    assert (record.what, record.complete, record.faults) == ("as it was", False, ((0, 2), (1, 3)))
    assert record.marked.all()


def test_labels_stay_with_their_rows_where_others_are_passed_over(tmp_path):
    rows = [row(0, 0), row(1, 0), row(1, 0), ["noon", 8, 900, 0], row(2, 1), row(3, 0)]
    record = LabelledRecord.read(write(tmp_path / "r.csv", ("event",), *rows), STATION)
    assert record.columns["spcond"].tolist() == [900, 901, 902, 903]
    assert record.event.tolist() == [False, False, True, False]


def test_arrays_become_the_rows_that_they_came_from(tmp_path):
    path = write(tmp_path / "r.csv", (), row(0), row(1, ph=""), row(2))
    record = LabelledRecord.read(path, STATION)
    again = [(r.time, r.readings) for r in rows_of(record.times, record.columns)]
    assert again == [(r.time, r.readings) for r in Record.open(path, STATION).rows()]


def test_a_record_without_a_row_of_use_is_refused(tmp_path):
    with pytest.raises(RecordError, match="no row can be used"):
        LabelledRecord.read(write(tmp_path / "r.csv", (), ["noon", 8, 900]), STATION)
