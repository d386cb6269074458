"""What central knows of stations, what of it survives a restart, and when a station counts as silent."""

import json
import math

import pytest
from centre import ME, T0, alert

from ewarn import messages, wire
from ewarn.central import points
from ewarn.central.known import MAX_NAMES, Known, Names
from ewarn.central.silence import SILENT, Silence
from ewarn.central.stations import StationView
from ewarn.contracts import AlarmState, Readiness, Reading, Verdict


def document(content, station=ME):
    return wire.document(station, T0, "", content)


@pytest.fixture
def view():
    return StationView(ME, heard=100.0)


class TestView:
    def test_documents_are_kept_and_taken_away(self, view):
        for leaf in ("status", "meta", "health"):
            view.take_document(leaf, "", document({"x": leaf}))
            assert getattr(view, leaf)["x"] == leaf
            view.take_document(leaf, "", b"")
            assert getattr(view, leaf) == {}

    def test_alarms_are_kept_by_name_and_taken_away(self, view):
        view.take_document("alarm", "contamination", document(wire.alert_row(alert())))
        assert view.alarms == {"contamination": alert()}
        view.take_document("alarm", "never-there", b"")
        view.take_document("alarm", "contamination", b"")
        assert view.alarms == {}

    @pytest.mark.parametrize(
        ("leaf", "name", "payload"),
        [
            ("status", "", b"nonsense"),
            ("status", "", document({"state": "online"}, station="us-9")),
            ("alarm", "contamination", document({"alarm": "contamination"})),
            ("alarm", "probe-sonde", document(wire.alert_row(alert()))),
        ],
    )
    def test_what_is_wrong_changes_nothing(self, view, leaf, name, payload):
        with pytest.raises(wire.WireError):
            view.take_document(leaf, name, payload)
        assert view == StationView(ME, heard=100.0)

    def test_the_newest_counts_whatever_the_order(self, view):
        for time in (T0, T0 + 2, T0 + 1):
            view.take(Reading("ph", time, 7.0), T0 + 10)
            view.take(Verdict(time, 0.5, Readiness.READY), T0 + 10)
        assert (view.readings["ph"].time, view.verdict.time) == (T0 + 2, T0 + 2)

    def test_a_reading_from_the_future_does_not_stay_for_ever(self, view):
        view.take(Reading("ph", T0 + 10**10, 7.0), T0)
        view.take(Reading("ph", T0, 7.5), T0)
        assert view.readings["ph"].value == 7.5


META = {
    "name": "Nuevo Laredo 1", "time_zone": "America/Matamoros",
    "channels": {"ph_2": {"parameter": "ph"}, "raw": {"parameter": "turbidity"}, "odd": {"parameter": "charm"}, "x": 3},
}  # fmt: skip


class TestKnown:
    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "data" / "stations.json"

    def test_it_survives_a_restart(self, path):
        first = Known(path)
        first.load()
        first.learn(ME, META)
        again = Known(path)
        again.load()
        for known in (first, again):
            assert known.parameters(ME) == {"ph_2": "ph", "raw": "turbidity"}
            assert (known.name(ME), known.time_zone(ME)) == ("Nuevo Laredo 1", "America/Matamoros")
            assert (known.parameters("us-9"), known.name("us-9"), known.time_zone("us-9")) == ({}, "", "UTC")

    def test_the_same_again_is_not_written_again(self, path):
        known = Known(path)
        known.learn(ME, META)
        path.unlink()
        known.learn(ME, dict(META))
        assert not path.exists()
        known.learn(ME, META | {"name": "Other"})
        assert path.exists()

    @pytest.mark.parametrize("zone", ["", "Mars/Base", "../../etc/passwd", "a\0b", "x" * 5000, 3, None, "America"])
    def test_an_unknown_time_zone_is_utc(self, path, zone):
        known = Known(path)
        known.learn(ME, META | {"time_zone": zone})
        assert known.time_zone(ME) == "UTC"
        messages.render(alert(), "es", time_zone=known.time_zone(ME))

    @pytest.mark.parametrize("meta", [{}, {"channels": 3}, {"channels": [1]}, {"channels": {"ph": {}}}, {"name": None}])
    def test_a_poor_meta_is_no_error(self, path, meta):
        known = Known(path)
        known.learn(ME, meta)
        assert known.parameters(ME) == {}

    def test_a_name_is_one_line_and_not_too_long(self, path):
        known = Known(path)
        known.learn(ME, {"name": "one\ntwo " + "x" * 9999})
        assert known.name(ME).startswith("one two x")
        assert len(known.name(ME)) <= 200

    def test_channels_are_bounded(self, path):
        known = Known(path)
        known.learn(ME, {"channels": {f"ph_{i}": {"parameter": "ph"} for i in range(5000)}})
        assert len(known.parameters(ME)) == MAX_NAMES

    @pytest.mark.parametrize("text", ["", "[1]", "{", '{"mx-1": 3}', '{"mx-1": {"channels": [], "time_zone": 3}}'])
    def test_a_damaged_file_is_begun_anew(self, path, text):
        path.parent.mkdir()
        path.write_text(text)
        known = Known(path)
        known.load()
        assert known.parameters(ME) == {}
        known.learn(ME, META)
        assert json.loads(path.read_text())[ME]["channels"]["raw"] == "turbidity"

    def test_a_disk_that_takes_nothing_is_logged(self, tmp_path, caplog):
        (tmp_path / "file").write_text("")
        known = Known(tmp_path / "file" / "stations.json")
        known.learn(ME, META)
        assert known.parameters(ME)["raw"] == "turbidity"
        assert "cannot be written" in caplog.text


def test_names_are_bounded_for_each_station_and_kind():
    names = Names(3)
    names.admit("a", "channels", ["x", "y", "z"])
    names.admit("a", "alarms", ["u"])
    names.admit("b", "channels", ["u"])
    for new in (["u"], ["x", "u"]):
        with pytest.raises(wire.WireError, match="a names more than 3 of channels"):
            names.admit("a", "channels", new)
    names.admit("a", "channels", ["x"])


class TestSilence:
    LIMIT = 300.0

    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "silence.json"

    @pytest.fixture
    def silence(self, path):
        silence = Silence(path)
        assert silence.load() == []
        return silence

    def watch(self, silence, view, at, now=None, **more):
        return silence.watch(view, T0 + int(at * 1000) if now is None else now, at, self.LIMIT, **more)

    def test_quiet_is_an_alarm_once(self, silence, view):
        assert self.watch(silence, view, 400.0) is None
        raised = self.watch(silence, view, 401.0)
        assert (raised.alarm, raised.station, raised.number) == (SILENT, ME, 1)
        assert (raised.state, raised.previous, raised.detail) == ("UNACK", "NORM", {"reason": "quiet"})
        assert raised.onset == T0 + 100_000
        silence.stored(ME)
        assert self.watch(silence, view, 9999.0) is None

    def test_being_heard_clears_it(self, silence, view):
        raised = self.watch(silence, view, 401.0)
        silence.stored(ME)
        view.heard = 450.0
        cleared = self.watch(silence, view, 451.0)
        assert (cleared.occurrence, cleared.number, cleared.state) == (raised.occurrence, 2, "RTNUN")
        assert (cleared.onset, cleared.previous) == (raised.onset, "UNACK")
        silence.stored(ME)
        assert self.watch(silence, view, 452.0) is None
        again = self.watch(silence, view, 800.0)
        assert (again.number, again.previous) == (1, "RTNUN")
        assert again.occurrence > raised.occurrence

    def test_lost_is_an_alarm_at_once_until_the_station_speaks(self, silence, view):
        view.status = {"state": "lost"}
        assert self.watch(silence, view, 101.0).detail == {"reason": "lost"}
        silence.stored(ME)
        view.heard = 102.0
        assert self.watch(silence, view, 103.0) is None
        view.status = {"state": "online"}
        assert self.watch(silence, view, 104.0).state is AlarmState.RETURNED_UNACKNOWLEDGED

    def test_a_clean_stop_is_silence_too_when_it_lasts(self, silence, view):
        view.status = {"state": "offline"}
        assert self.watch(silence, view, 200.0) is None
        assert self.watch(silence, view, 401.0) is not None

    def test_while_central_itself_hears_nothing_no_station_is_silent(self, silence, view):
        assert self.watch(silence, view, 1000.0, deaf=1000.0) is None
        assert self.watch(silence, view, 1299.0, deaf=1000.0) is None
        assert self.watch(silence, view, 1301.0, deaf=1000.0) is not None

    def test_the_next_transition_waits_until_the_last_is_stored(self, silence, view):
        raised = self.watch(silence, view, 401.0)
        view.heard = 402.0
        assert self.watch(silence, view, 403.0) is None
        silence.stored(ME)
        assert self.watch(silence, view, 404.0).number == raised.number + 1

    def test_a_restart_neither_raises_again_nor_clears_by_itself(self, silence, view, path):
        raised = self.watch(silence, view, 401.0)
        silence.stored(ME)
        again = Silence(path)
        assert again.load() == []
        assert again.active() == [ME]
        fresh = StationView(ME, heard=-math.inf)
        assert self.watch(again, fresh, 10.0, deaf=9.0) is None
        fresh.heard = 20.0
        cleared = self.watch(again, fresh, 21.0)
        assert cleared.id == raised.id.removesuffix("1") + "2"

    def test_a_kill_before_it_is_stored_gives_the_same_point_again(self, silence, view, path):
        raised = self.watch(silence, view, 401.0)
        again = Silence(path)
        (pending,) = again.load()
        assert pending == raised
        assert points.of_alert(pending, lambda *_: "") == points.of_alert(raised, lambda *_: "")

    def test_a_clock_set_back_repeats_no_number_and_no_time(self, silence, view):
        raised = self.watch(silence, view, 401.0)
        silence.stored(ME)
        view.heard = 402.0
        cleared = self.watch(silence, view, 403.0, now=T0 - 10**9)
        silence.stored(ME)
        again = self.watch(silence, view, 900.0, now=T0 - 10**9)
        assert raised.time < cleared.time < again.time
        assert again.occurrence > raised.occurrence

    @pytest.mark.parametrize("text", ["", "{", '{"mx-1": 3}', '{"mx-1": {"alarm": "x"}}', "[]"])
    def test_a_damaged_file_is_begun_anew(self, path, text, view):
        path.write_text(text)
        silence = Silence(path)
        assert silence.load() == []
        assert self.watch(silence, view, 401.0) is not None
        assert len(Silence(path).load()) == 1
