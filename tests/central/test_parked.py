"""What cannot be stored is kept for a person, and never holds up the rest."""

import json

import msgspec
import pytest
from centre import DEEP, T0

from ewarn.central.parked import MAX_CONTENT, Parked, ParkedFile
from ewarn.contracts import Point


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_it_says_what_and_why(tmp_path):
    file = ParkedFile(tmp_path / "data")
    file.add(T0, [Parked("ewarn/v1/a/obs", "not JSON", "ñ\n\x00"), Parked("wq", "no", Point("wq", {}, {"v": 1.0}, T0))])
    file.add(T0 + 1, [Parked("t", "r", {"seq": 1})])
    assert lines(file.path) == [
        {"t": "2026-05-28T20:26:40.000Z", "topic": "ewarn/v1/a/obs", "reason": "not JSON", "content": "ñ\n\x00"},
        {"t": "2026-05-28T20:26:40.000Z", "topic": "wq", "reason": "no",
         "content": {"measurement": "wq", "tags": {}, "fields": {"v": 1.0}, "time": T0}},
        {"t": "2026-05-28T20:26:40.001Z", "topic": "t", "reason": "r", "content": {"seq": 1}},
    ]  # fmt: skip


def test_nothing_makes_no_file(tmp_path):
    ParkedFile(tmp_path).add(T0, [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["x" * 500_000, {"x": "\x00" * 100_000}], ids=["text", "row"])
def test_what_is_long_is_cut(tmp_path, content):
    file = ParkedFile(tmp_path)
    file.add(T0, [Parked("t", "r" * 5000, content)])
    (line,) = lines(file.path)
    assert line["cut"] is True
    assert len(line["content"]) == MAX_CONTENT


@pytest.mark.parametrize("content", [msgspec.json.decode(DEEP), {1, 2}, object(), "\ud800", float("nan")], ids=["deep", "set", "object", "surrogate", "nan"])
def test_whatever_it_is_it_is_named(tmp_path, content):
    file = ParkedFile(tmp_path)
    file.add(T0, [Parked("t", "bad", content), Parked("t", "next", 1)])
    assert [line["reason"] for line in lines(file.path)] == ["bad", "next"]


def test_the_disk_is_bounded_and_the_newest_is_kept(tmp_path):
    file = ParkedFile(tmp_path, limit=5000)
    for i in range(200):
        file.add(T0, [Parked("t", "r", f"{i:03d}")])
    file.add(T0, [Parked("t", "r", f"{i:03d}") for i in range(200, 1000)])
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) < 11_000
    old, new = lines(tmp_path / "parked.1.jsonl"), lines(file.path)
    kept = [int(line["content"]) for line in old + new]
    assert kept == list(range(kept[0], 1000))


def test_a_disk_that_takes_nothing_is_logged(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    ParkedFile(tmp_path / "file").add(T0, [Parked("t", "why", "content")])
    assert "cannot park" in caplog.text
    assert "why" in caplog.text
