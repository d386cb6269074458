"""Recorded files through the pipeline."""

import csv
import gzip
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from ewarn.config import load_station, station_from
from ewarn.errors import RecordError
from ewarn.lab.replay import replay
from ewarn.registry import load_detectors
from ewarn.times import to_text

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
T0 = 1_780_000_020_000 - 1_780_000_020_000 % 60_000


def station(warmup="2h"):
    data = {"station": {"id": "r"}, "channels": {"ph": {}, "spcond": {}}, "detection": {"warmup": warmup}}
    return station_from(data, Path("r.toml"))


def rows(count=600, event=(400, 420)):
    rng = random.Random(1)
    for i in range(count):
        up = event[0] <= i < event[1]
        yield [to_text(T0 + i * 60_000), f"{8 + rng.gauss(0, 0.02) - 0.5 * up:.2f}", f"{950 + rng.gauss(0, 3) + 80 * up:.1f}",
               str(int(up))]  # fmt: skip


def write(path, table, header=("time", "ph", "spcond", "event")):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", newline="") as f:
        csv.writer(f).writerows([header, *table])
    return path


def run(record, tmp_path, **kwargs):
    made = station(**kwargs)
    report = replay(made, record, tmp_path / "scores.csv", load_detectors(made))
    with (tmp_path / "scores.csv").open() as f:
        return report, list(csv.DictReader(f))


@pytest.mark.parametrize("name", ["r.csv", "r.csv.gz"])
def test_one_row_out_for_each_row_in(tmp_path, name):
    table = list(rows())
    report, out = run(write(tmp_path / name, table), tmp_path)
    assert [r["time"] for r in out] == [r[0] for r in table]
    assert report.rows == 600
    assert out[0]["probability"] == ""
    assert next(i for i, r in enumerate(out) if r["alert"] == "1") in range(400, 403)
    assert {r["cause"] for r in out[401:415]} == {"contamination"}
    assert all(0 < float(r["probability"]) < 1 for r in out[121:])
    assert not any(r["alert"] == "1" for r in out[:400])


def test_labels_are_never_given_to_detection(tmp_path):
    table = list(rows())
    one = run(write(tmp_path / "a.csv", table), tmp_path)[1]
    flipped = [[*r[:3], str(1 - int(r[3]))] for r in table]
    two = run(write(tmp_path / "b.csv", flipped, ("time", "ph", "spcond", "fault_ph")), tmp_path)[1]
    assert one == two


def test_bad_rows_are_named_counted_and_passed_over(tmp_path):
    table = list(rows(60))
    table[10][1] = "wet"
    table[20] = table[20][:2]
    table[30][0] = "noon"
    table[40][0] = table[39][0]
    table[50][0] = table[3][0]
    report, out = run(write(tmp_path / "r.csv", table), tmp_path)
    assert len(out) == 60
    assert report.skipped == {"order": 2, "width": 1, "time": 1}
    assert report.no_numbers == 1
    assert "taken as missing since they are no numbers: 1 cells" in report.summary()
    text = "\n".join(report.complaints)
    for expected in ("row 12: number: ph 'wet'", "row 22: width: 2 cells instead of 4", "row 32: time: 'noon'",
                     "row 42: order: time", "repeats the row before", "row 52: order", "runs backwards"):  # fmt: skip
        assert expected in text


def test_one_wild_time_costs_its_own_row_only(tmp_path):
    table = list(rows(200))
    table[100][0] = "2099-01-01T00:00:00Z"
    report, _ = run(write(tmp_path / "r.csv", table), tmp_path, warmup="1h")
    assert report.skipped == {"order": 1}
    assert report.evaluated > 130


@pytest.mark.parametrize("cell", ["1_0", "٣", "0x10", "8,1", "--"])
def test_what_is_no_plain_number_is_missing_and_named(tmp_path, cell):
    table = list(rows(5))
    table[2][1] = cell
    report, _ = run(write(tmp_path / "r.csv", table), tmp_path)
    assert report.no_numbers == 1
    assert repr(cell) in report.complaints[0]


def test_a_spreadsheets_byte_order_mark_is_no_part_of_a_name(tmp_path):
    path = write(tmp_path / "r.csv", rows(5))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert run(path, tmp_path)[0].rows == 5


def test_scores_never_replace_the_record(tmp_path):
    path = write(tmp_path / "r.csv", rows(5))
    before, made = path.read_bytes(), station()
    for scores in (path, tmp_path / "." / "r.csv"):
        with pytest.raises(RecordError, match="the record itself"):
            replay(made, path, scores, load_detectors(made))
    assert path.read_bytes() == before
    with pytest.raises(RecordError, match="cannot be written"):
        replay(made, path, tmp_path / "nowhere" / "s.csv", load_detectors(made))


def test_a_record_cut_short_is_named(tmp_path):
    path = write(tmp_path / "r.csv.gz", rows(500))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(RecordError, match=r"r\.csv\.gz: damaged after line"):
        run(path, tmp_path)


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    table = [[*r[:2], *r[1:]] for r in rows(5)]
    with pytest.raises(RecordError, match="column ph is there twice"):
        run(write(tmp_path / "r.csv", table, ("time", "ph", "ph", "spcond", "event")), tmp_path)


@pytest.mark.parametrize(
    ("header", "expected"),
    [(("when", "ph", "spcond", "e"), "no column `time`"), (("time", "ph", "x", "event"), "no column spcond")],
)
def test_a_missing_column_is_refused_by_name(tmp_path, header, expected):
    with pytest.raises(RecordError, match=expected):
        run(write(tmp_path / "r.csv", rows(5), header), tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x1f\x8bnot gzip at all"])
def test_an_unreadable_record_is_refused_as_such(tmp_path, content):
    path = tmp_path / "r.csv.gz"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"r\.csv\.gz"):
        run(path, tmp_path)


def test_a_missing_record_is_refused_as_such(tmp_path):
    with pytest.raises(RecordError, match="cannot be read"):
        run(tmp_path / "none.csv", tmp_path)


def test_columns_that_are_no_channels_are_named(tmp_path):
    table = [[*r, "x"] for r in rows(5)]
    report, _ = run(write(tmp_path / "r.csv", table, ("time", "ph", "spcond", "event", "remark")), tmp_path)
    assert report.ignored == ("remark",)
    assert "remark" in report.summary()


@pytest.mark.long
@pytest.mark.parametrize("year", [2017, 2018])
def test_a_real_plants_labelled_events_are_found(tmp_path, year):
    record, judge = SHARED / "data" / f"plant-{year}.csv.gz", SHARED / "bench" / "score.py"
    if not record.exists():
        pytest.skip("the labelled records are not here")
    made = load_station(ROOT / "config" / "plant.toml")
    replay(made, record, tmp_path / "s.csv", load_detectors(made))
    result = subprocess.run(
        [sys.executable, judge, record, tmp_path / "s.csv", "--json"], check=True, capture_output=True, text=True
    )
    found = json.loads(result.stdout)
    assert found["f1"] >= 0.5
    assert found["evaluated"] >= (0.95 if year == 2018 else 0.85)  # 2017 lacks a tenth of its values
