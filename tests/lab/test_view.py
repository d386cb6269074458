"""The live view: what matters most stands where a small terminal still shows it."""

import io

import pytest
from rich.console import Console

from ewarn.contracts import AlarmState, Alert, Cause, Evidence, Priority, Quality, Readiness, Reading, Verdict
from ewarn.lab.view import Snapshot, draw

T0 = 1_780_000_020_000
EVIDENCE = (Evidence("spcond", 1016.2, 1003.9, 21.0, T0), Evidence("ph_2", 7.1, 8.0, 14.0, T0))
ALERT = Alert("s", "contamination", 1, 1, T0, T0, AlarmState.UNACKNOWLEDGED, AlarmState.NORMAL, Priority.CRITICAL,
              Cause.CONTAMINATION, 0.97, EVIDENCE, {"hint": "salt"})  # fmt: skip
READINGS = {
    "spcond": Reading("spcond", T0, 1016.2, Quality.PASS),
    "ph_2": Reading("ph_2", T0, 7.1, Quality.SUSPECT, "spike"),
    "do": Reading("do", T0, None, Quality.MISSING, "no_reply"),
}


def lines(snapshot, width=100):
    console = Console(width=width, color_system=None, record=True, file=io.StringIO())
    console.print(draw(snapshot))
    return console.export_text().splitlines()


def snapshot(**more):
    verdict = Verdict(T0, 0.97, Readiness.READY, True, Cause.CONTAMINATION, EVIDENCE)
    return Snapshot(**{"title": "ewarn", "now": T0, "readings": READINGS, "verdict": verdict} | more)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_an_alert_is_shown_in_both_languages_above_the_channels(width):
    text = lines(snapshot(alarms={"contamination": ALERT}, news=ALERT), width)
    where = {what: next(i for i, line in enumerate(text) if what in line) for what in ("ALERT:", "ALERTA:", "channel ")}
    assert where["ALERT:"] < 6
    assert where["ALERTA:"] < where["channel "]


def test_channels_show_value_unit_expectation_and_flag():
    rows = {line.split()[1]: " ".join(line.split()[2:-1]) for line in lines(snapshot()) if " channel" not in line}
    assert rows["spcond"] == "1016 µS/cm 1004 1"
    assert rows["ph_2"] == "7.1 8 3 spike"
    assert rows["do"] == "– mg/L 9 no_reply"
    assert rows["event"].endswith("0.97 contamination")


@pytest.mark.parametrize("verdict", [None, Verdict(T0, None, Readiness.WARMING)])
def test_before_the_water_is_known_it_says_so(verdict):
    assert any("event probability: warming" in line for line in lines(snapshot(verdict=verdict)))
