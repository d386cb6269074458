"""Every store gives back exactly what it took, and refuses alike: SQLite, InfluxDB by v1, and by v2 through nginx."""

import math
import sqlite3
import threading
import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers import influx_table

from ewarn import sqlite_files
from ewarn.central.points import of_readings
from ewarn.central.stores import open_store
from ewarn.central.stores import sqlite as sqlite_module
from ewarn.config import SqliteTable
from ewarn.contracts import Point, Quality, Reading
from ewarn.errors import StoreRefused, StoreUnavailable
from ewarn.testing import store_checks

T = 1_780_000_000_123


def wq(value=7.25, *, channel="ph", time=T, **fields):
    return Point("wq", {"station": "a", "channel": channel, "param": "ph"}, {"value": value, **fields}, time)


INFLUX = [pytest.param(api, marks=pytest.mark.influx) for api in ("v1", "v2")]


@pytest.fixture(params=["sqlite", *INFLUX])
def make_store(request, tmp_path, token_file):
    """Makes stores that are empty at first; those of one test share their contents."""
    if request.param == "sqlite":
        return lambda: open_store(SqliteTable(path=str(tmp_path / "central.sqlite")))
    influxd, bucket = request.getfixturevalue("influxd"), uuid.uuid4().hex
    influxd.create(bucket)
    if request.param == "v1":
        return lambda: open_store(influx_table(influxd.url, bucket))
    proxy = request.getfixturevalue("v2_proxy")
    return lambda: open_store(influx_table(proxy, bucket, api="v2", token_file=str(token_file)))


@pytest.fixture
def store(make_store):
    store = make_store()
    store.open()
    yield store
    store.close()


@pytest.mark.parametrize("check", store_checks(), ids=lambda check: check.__name__)
def test_conformance(make_store, check):
    check(make_store)


FLOATS = [5e-324, 1.7976931348623157e308, -1e-7, 1e16, 123456789.0, 2.0, 1 / 3, -273.15]


def test_numbers_keep_every_bit_and_their_type(store):
    points = [wq(v, time=T + i, qc=i, ok=i % 2 == 0) for i, v in enumerate(FLOATS)]
    store.write([*points, wq(1.0, time=T + 100, qc=2**63 - 1), wq(1.0, time=T + 101, qc=-(2**63))])
    back = store.read("wq", {"station": "a"}, T, T + 1000)
    assert back[: len(points)] == points
    assert [p.fields["qc"] for p in back[-2:]] == [2**63 - 1, -(2**63)]
    for name, is_type in (("value", float), ("qc", int), ("ok", bool)):
        assert {type(p.fields[name]) for p in back if name in p.fields} == {is_type}


TEXTS = ["", " ", "a,b=c d", 'say "hi"', "b\\s", "end\\", '\\"', "ñandú µS/cm ‰ 水 🐟", "'; DROP TABLE wq --", "{}", "#x"]


def test_texts_and_tags_come_back_as_they_were(store):
    points = [
        Point("alarm", {"station": "a", "tag": text or "none"}, {"text": text, "number": i}, T + i)
        for i, text in enumerate(TEXTS)
        if not text.endswith("\\")
    ]
    store.write(points)
    assert store.read("alarm", {}, T, T + 100) == points


def test_what_cannot_be_stored_as_it_is_is_stored_alike(store):
    store.write([Point("alarm", {"station": "a\\", "empty": "", "two": "x\ny"}, {"text": "one\r\ntwo\\"}, T)])
    assert store.read("alarm", {}, T, T + 1) == [
        Point("alarm", {"station": "a", "two": "x y"}, {"text": "one  two\\"}, T)
    ]


@pytest.mark.parametrize(
    "bad",
    [
        wq(math.nan), wq(-math.inf), wq(2**63), wq("x" * 65_536), wq("\ud800"), wq(time=10**14),
        Point("wq", {"station": "a"}, {}, T), Point("_wq", {}, {"value": 1.0}, T),
        Point("wq", {"a b": "c"}, {"v": 1.0}, T), Point("wq", {}, {"time": 1.0}, T), Point('w"q', {}, {"v": 1.0}, T),
        Point("wq", {"station": "x" * 1001}, {"v": 1.0}, T),
    ],
)  # fmt: skip
def test_nonsense_is_refused_and_the_store_goes_on(store, bad):
    with pytest.raises(StoreRefused):
        store.write([wq(), bad])
    store.write([wq(8.0)])
    assert [p.fields["value"] for p in store.read("wq", {}, T, T + 1)] == [8.0]


def test_a_field_keeps_its_first_type(store):
    store.write([wq(7.0, qc=1)])
    with pytest.raises(StoreRefused, match="qc"):
        store.write([wq(7.5, time=T + 1, qc=1.5)])
    with pytest.raises(StoreRefused, match="value"):
        store.write([wq(7, time=T + 2)])
    assert store.read("wq", {}, T, T + 1) == [wq(7.0, qc=1)]


def test_fields_of_one_identity_are_merged(store):
    store.write([wq(7.0)])
    store.write([Point("wq", wq().tags, {"qc": 3, "why": "spike"}, T)])
    assert store.read("wq", {}, T, T + 1) == [wq(7.0, qc=3, why="spike")]


def test_a_final_flag_takes_the_place_of_the_first_one(store):
    suspect = [Reading("ph", T + i, 7.0 + i, Quality.SUSPECT, "spike") for i in range(2)]
    final = [Reading("ph", T + i, 7.0 + i, Quality.PASS, "revised") for i in range(2)]
    store.write(of_readings("a", suspect, {}))
    store.write(of_readings("a", final[:1], {}))
    store.write(of_readings("a", [suspect[1], final[1]], {}))
    assert store.read("wq", {}, T, T + 2) == [wq(7.0 + i, time=T + i, qc=1, why="revised") for i in range(2)]


def test_the_same_identity_twice_in_one_batch_is_one_point(store):
    store.write([wq(7.0), wq(7.5), wq(7.5, channel="ph_2")])
    assert store.read("wq", {"channel": "ph"}, T, T + 1) == [wq(7.5)]


def test_nothing_to_write_and_nothing_to_read(store):
    store.write([])
    assert store.read("nothing", {}, 0, T) == []


def test_what_was_written_is_there_after_opening_again(make_store):
    for i in range(3):
        store = make_store()
        store.open()
        store.write([wq(float(i), time=T + i)])
        store.close()
    store = make_store()
    assert [p.fields["value"] for p in store.read("wq", {}, T, T + 9)] == [0.0, 1.0, 2.0]
    store.close()


def test_a_store_serves_several_threads(store):
    def write(number):
        for i in range(10):
            store.write([wq(float(i), channel=f"c{number}", time=T + i)])
            store.read("wq", {"channel": f"c{number}"}, T, T + 100)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.read("wq", {}, T, T + 100)) == 30


TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20).filter(lambda t: t[-1] != "\\")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tag=TEXT, text=TEXT, value=st.floats(allow_nan=False, allow_infinity=False))
def test_any_point_comes_back(store, tag, text, value):
    point = Point("any", {"tag": tag}, {"text": text, "value": value}, T)
    store.write([point])
    assert store.read("any", {"tag": tag}, T, T + 1) == [point]


class TestSqliteFile:
    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "folder" / "central.sqlite"

    def test_people_can_read_it(self, path):
        store = open_store(SqliteTable(path=str(path)))
        store.write([wq(7.25, qc=1), wq(7.5, time=T + 1, qc=3, why="spike")])
        store.write([Point("wq", {"station": "a", "channel": "do", "depth": "2"}, {"value": 1.0}, T)])
        store.close()
        with sqlite3.connect(path) as db:
            query = "SELECT time, station, channel, depth, value, qc, why FROM wq ORDER BY channel, time"
            rows = db.execute(query).fetchall()
        db.close()
        assert rows == [
            ("2026-05-28T20:26:40.123Z", "a", "do", "2", 1.0, None, None),
            ("2026-05-28T20:26:40.123Z", "a", "ph", None, 7.25, 1, None),
            ("2026-05-28T20:26:40.124Z", "a", "ph", None, 7.5, 3, "spike"),
        ]

    def test_a_measurement_that_sqlite_cannot_show_is_stored(self, path):
        store = open_store(SqliteTable(path=str(path)))
        point = Point("sqlite_x", {}, {"value": 1.0}, T)
        store.write([point])
        assert store.read("sqlite_x", {}, T, T + 1) == [point]
        store.close()

    @pytest.mark.parametrize("damage", ["garbage", "zeroed", "truncated", "empty", "page"])
    def test_a_damaged_file_is_set_aside_and_a_new_one_begun(self, path, damage):
        store = open_store(SqliteTable(path=str(path)))
        store.write([wq(float(i), time=T + i) for i in range(2000)])
        store.close()
        raw = path.read_bytes()
        path.write_bytes({
            "garbage": b"\xa5" * len(raw), "zeroed": bytes(len(raw)), "truncated": raw[: len(raw) // 2 + 100],
            "empty": b"", "page": raw[:4096] + b"\xff" * 4096 + raw[8192:],
        }[damage])  # fmt: skip
        store = open_store(SqliteTable(path=str(path)))
        store.open()
        store.write([wq(1.0)])
        assert store.read("wq", {}, T, T + 1) == [wq(1.0)]
        store.close()
        aside = list(path.parent.glob("*.corrupt-*"))
        assert len(aside) == (0 if damage == "empty" else 1)

    def test_a_file_too_large_to_be_looked_through_opens_and_is_looked_through_when_it_turns_out_damaged(
        self, path, monkeypatch
    ):
        store = open_store(SqliteTable(path=str(path)))
        for n in range(20):
            store.write([wq(float(i), time=T + 100 * n + i) for i in range(100)])
        store.close()
        raw = path.read_bytes()
        middle = len(raw) // 8192 * 4096
        path.write_bytes(raw[:middle] + b"\xff" * 4096 + raw[middle + 4096 :])
        monkeypatch.setattr(sqlite_module, "CHECK_S", -1.0)
        monkeypatch.setattr(sqlite_files, "STEPS", 1)
        store = open_store(SqliteTable(path=str(path)))
        store.open()
        assert list(path.parent.glob("*.corrupt-*")) == []
        with pytest.raises(StoreUnavailable, match="malformed"):
            store.read("wq", {}, 0, 2 * T)
        store.write([wq(1.0)])
        assert store.read("wq", {}, 0, 2 * T) == [wq(1.0)]
        store.close()
        assert len(list(path.parent.glob("*.corrupt-*"))) == 1

    def test_a_folder_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").write_text("")
        store = open_store(SqliteTable(path=str(tmp_path / "file" / "central.sqlite")))
        with pytest.raises(StoreUnavailable, match=r"central\.sqlite"):
            store.open()

    def test_a_locked_file_is_unavailable_and_then_available(self, path):
        store = open_store(SqliteTable(path=str(path)))
        store.open()
        store._db.execute("PRAGMA busy_timeout = 50")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            store.write([wq()])
        other.execute("ROLLBACK")
        other.close()
        store.write([wq()])
        assert store.read("wq", {}, T, T + 1) == [wq()]
        store.close()
