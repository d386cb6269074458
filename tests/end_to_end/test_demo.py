"""The demonstration: what `make demo` runs, with other seeds and other stories."""

import json
import subprocess
import sys

import pytest

KEYS = ("readings_accepted", "points_stored", "lost", "duplicates", "wrong_values", "alert_raised", "alert_stored",
        "alert_delay_s", "alert_en", "alert_es", "wall_s")  # fmt: skip


def demo(*args, speed=300):
    result = subprocess.run(
        [sys.executable, "-m", "ewarn", "demo", "--headless", "--json", "--speed", str(speed), *args],
        check=False, capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    found = json.loads(result.stdout.splitlines()[-1])
    return result.returncode, found, result.stderr


def check_whole(found):
    assert found["readings_accepted"] > 300
    assert found["points_stored"] == found["readings_accepted"]
    assert (found["lost"], found["duplicates"], found["wrong_values"]) == (0, 0, 0)


def test_a_contamination_raises_an_alert_in_both_languages():
    code, found, log = demo("--seed", "1")
    assert code == 0, log
    assert set(KEYS) <= found.keys()
    check_whole(found)
    assert found["alert_raised"]
    assert found["alert_stored"]
    assert 0 < found["alert_delay_s"] <= 360
    assert "possible contamination" in found["alert_en"]
    assert "posible contaminación" in found["alert_es"]
    assert "expected" in found["alert_en"]
    assert "esperado" in found["alert_es"]
    assert found["wall_s"] < 90


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 11))
@pytest.mark.parametrize("story", ["contamination", "no contamination", "sensor fault"])
def test_ten_seeds_of_each_story(story, seed):
    option = {"contamination": (), "no contamination": ("--no-contamination",), "sensor fault": ("--sensor-fault",)}[story]
    code, found, log = demo("--seed", str(seed), *option)
    check_whole(found)
    assert found["alert_raised"] == found["alert_stored"] == (story == "contamination"), found
    assert code == 0, log
