"""Texts in both languages."""

import re
from pathlib import Path

import pytest

from ewarn.contracts import AlarmState, Alert, Cause, Evidence, Priority
from ewarn.messages import LANGUAGES, render
from ewarn.messages.catalog import CATALOGS

T0 = 1_767_225_600_000  # 2026-01-01T00:00Z


def alert(state=AlarmState.UNACKNOWLEDGED, alarm="contamination", **changes):
    values = {
        "cause": Cause.CONTAMINATION, "probability": 0.934, "by": "Ana Ríos", "detail": {"hint": "sewage"},
        "evidence": (Evidence("ammonium_n", 2.1, 0.1, 30.0, T0), Evidence("do_2", 5.123, 8.1, 20.0, T0)), **changes,
    }  # fmt: skip
    return Alert("mx-nld-intake1", alarm, 1, 1, T0, T0 - 120_000, state, AlarmState.NORMAL, Priority.CRITICAL, **values)


def test_every_language_has_every_text_with_the_same_blanks():
    import string

    def blanks(text):
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    keys = {language: {k: blanks(v) for k, v in texts.items()} for language, texts in CATALOGS.items()}
    assert keys["en"] == keys["es"]


def test_alert_says_where_what_and_since_when():
    text = render(alert(), "en", station_name="Nuevo Laredo 1", time_zone="America/Matamoros")
    assert text.splitlines()[0] == "ALERT: possible contamination at Nuevo Laredo 1"
    assert "Ammonium as N rose to 2.10 mg N/L (expected 0.10 mg N/L) since 2025-12-31 18:00 CST" in text
    assert "Dissolved oxygen (do_2) fell to 5.12 mg/L" in text
    assert "Consistent with sewage" in text
    assert "In 93 of 100 such moments" in text


def test_spanish_is_spanish():
    text = render(alert(), "es")
    assert text.startswith("ALERTA: posible contaminación en mx-nld-intake1")
    assert "Nitrógeno amoniacal subió a 2.10 mg N/L (esperado 0.10 mg N/L)" in text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("state", list(AlarmState))
@pytest.mark.parametrize("alarm", ["contamination", "sensor", "probe-sonde", "rate-sonde", "health-disk", "disk-full"])
def test_every_state_of_every_alarm_has_a_text(language, state, alarm):
    text = render(alert(state, alarm, detail={"reason": "no_reply"}), language)
    assert text
    assert "{" not in text


REASONS = [
    "no_reply", "wrong_reply", "busy", "refused", "line_lost", "driver_error", "profile_mismatch", "not_configured",
    "not_finite", "out_of_range", "probe_status", "probe_suspect", "sentinel", "unit_unknown", "time_backwards", "gap",
    "gross_range", "rate_of_change", "spike", "flat_line", "silent", "lost", "quiet", "zero", "implausible", "jump",
    "stuck", "attenuated", "climatology", "neighbour:ph", "revised",
    "disk_refuses", "file_set_aside", "broker_refuses", "clock_unsync", "clock_jump", "detector_off:residual",
    "detection_stuck:residual", "line_failed:rs485", "line_stalled:rs485", "driver_fails:sonde", "sparse",
    "no_input", "no_past", "division_by_zero", "out_of_domain", "too_large", "suspect_input",
]  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_is_said_in_words(reason, language):
    text = render(alert(alarm="probe-sonde", cause=Cause.COMMUNICATION, detail={"reason": reason}), language)
    (line,) = (line for line in text.splitlines() if line.startswith(("Reason: ", "Motivo: ")))
    assert len(line) > len("Reason: ") + 5
    assert "_" not in line
    assert not line.endswith(f": {reason}.")


def test_no_reason_of_the_code_is_left_out():
    """Flags with their codes, as drivers and quality control write them."""
    root = Path(__file__).parents[1]
    sources = [path.read_text() for package in ("drivers", "ewarn/core") for path in (root / package).rglob("*.py")]
    codes = {code for text in sources for code in re.findall(r'(?:Quality\.\w+|quality|missing\(), ?"([a-z_]+)"', text)}
    codes |= {code for text in sources for code in re.findall(r'missing\("([a-z_]+)"', text)}
    assert {"gap", "probe_status", "sentinel"} <= codes
    assert codes <= set(REASONS)


def test_a_reason_names_the_other_channel_of_a_pair():
    text = render(alert(alarm="sensor", detail={"reason": "neighbour:ph_2"}), "es")
    assert "Motivo: no coincide con pH (ph_2); no se sabe cuál de los dos falla." in text
    assert "Reason: a{b}:c." in render(alert(alarm="sensor", detail={"reason": "a{b}:c"}), "en")


def test_unknown_channels_and_codes_are_shown_as_they_are():
    text = render(alert(evidence=(Evidence("wind", 3.0, 1.0, 9.0, T0),), detail={"hint": "lava"}), "en")
    assert "wind rose to 3 (expected 1)" in text
    assert "lava" in text
