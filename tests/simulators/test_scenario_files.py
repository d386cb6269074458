"""Scenario files: what they may say, and how they are refused."""

import tomllib
from pathlib import Path

import pytest
import tomli_w
from simulated import CABINET, SONDE, START, START_TEXT, TROLL

from ewarn.errors import ConfigError
from simulators.scenario import Scenario

ROOT = Path(__file__).parents[2]
POLLED = """
schema = 1
id = "polled"
name = "polled"
source = "test"
grade = "I"
protocol = "ascii"
[ascii]
mode = "poll"
request = "D\\r"
[[channels]]
id = "ph"
parameter = "ph"
unit = "[pH]"
field = 0
"""


def document(*changes, **tables):
    """Three good probes with some keys changed: (index, key, value)."""
    probes = [dict(SONDE), dict(TROLL), dict(CABINET)]
    for index, key, value in changes:
        probes[index][key] = value
    return {"scenario": {"start": START_TEXT}, "probes": probes, **tables}


def load(tmp_path, data):
    file = tmp_path / "s.toml"
    file.write_text(tomli_w.dumps(data))
    (tmp_path / "polled.toml").write_text(POLLED)
    return Scenario.load(file)


def test_a_good_file_is_taken_whole(tmp_path):
    good = load(tmp_path, document((1, "unit", 7), (1, "sample_period", "15s")))
    assert (good.seed, good.water, good.start) == (1, "river", START)
    assert [(p.id, p.unit, p.sample_period) for p in good.probes] == [
        ("sonde", 1, 1),
        ("troll", 7, 15),
        ("cabinet", 1, 1),
    ]


def test_the_example_is_valid():
    assert len(Scenario.load(ROOT / "config" / "scenario.toml").probes) == 3


@pytest.mark.parametrize("seed", [0, -5, 2**63, 2**64 + 1])
def test_any_whole_number_is_a_seed(tmp_path, seed):
    data = document()
    data["scenario"]["seed"] = seed
    assert load(tmp_path, data).seed == seed


def test_a_start_may_have_any_offset_and_may_be_absent(tmp_path):
    data = document()
    data["scenario"]["start"] = "2026-06-01T07:00:00-05:00"
    assert load(tmp_path, data).start == START
    del data["scenario"]["start"]
    assert load(tmp_path, data).start is None
    assert load(tmp_path, data).with_start(5).start == 5


def test_channels_that_share_a_block_are_not_fitted_together(tmp_path):
    troll = load(tmp_path, document()).probes[1]
    assert {"depth", "turbidity"} <= set(troll.channels)
    assert not {"depth_ft", "turbidity_ntu"} & set(troll.channels)
    assert load(tmp_path, document((1, "channels", ["depth_ft"]))).probes[1].channels == ("depth_ft",)


def test_probes_of_one_line_may_name_its_link_together(tmp_path):
    data = document((1, "line", "bus"), (1, "link", "/tmp/x"))
    data["probes"].append({**TROLL, "id": "second", "line": "bus", "link": "/tmp/x", "unit": 2})
    assert len(load(tmp_path, data).probes) == 4


def event(table, **keys):
    return document(**{table: [keys]})


def leak(**keys):
    return event("contaminations", **{"kind": "brine", "after": "1m", "duration": "1h"} | keys)


def sick(**keys):
    return event("sensor_faults", **{"probe": "sonde", "channel": "ph", "kind": "offset", "size": 1.0} | keys)


def noisy(**keys):
    return event("line_faults", **{"probe": "troll", "kind": "crc"} | keys)


def head(**keys):
    return {**document(), "scenario": keys}


# what is wrong: the key that is named, the value that is shown, what would be right
WRONG = {
    "no probes": ({"probes": []}, "probes", "there is none", "declare"),
    "unknown table": ({**document(), "probs": []}, "probs", "unknown key", "did you mean 'probes'"),
    "unknown key": (document((0, "chanels", [])), "probes[0].chanels", "unknown key", "did you mean 'channels'"),
    "unknown profile": (document((0, "profile", "ysi")), "probes[0].profile", "'ysi'", "one of: ascii_uv254"),
    "no such file": (document((0, "profile", "x.toml")), "probes[0].profile", "no such", "path relative"),
    "missing id": ({"probes": [{"profile": "a", "transport": "tcp"}]}, "probes[0].id", "missing", "required"),
    "empty id": (document((0, "id", "")), "probes[0].id", "empty", "name"),
    "duplicate id": (document((1, "id", "sonde")), "probes[1].id", "'sonde'", "give each its own"),
    "unknown transport": (document((0, "transport", "udp")), "probes[0].transport", "'udp'", "'tcp'"),
    "ascii for Modbus": (document((0, "transport", "ascii")), "probes[0].transport", "'ascii'", "'tcp' or 'rtu'"),
    "tcp for ascii": (document((2, "transport", "tcp")), "probes[2].transport", "'tcp'", "'ascii' for devices"),
    "unknown channel": (document((0, "channels", ["acidity"])), "probes[0].channels[0]", "'acidity'", "one of: water"),
    "channel twice": (document((0, "channels", ["ph", "ph"])), "probes[0].channels[1]", "'ph'", "leave one"),
    "one block twice": (document((1, "channels", ["depth", "depth_ft"])), "probes[1].channels[1]", "'depth'", "leave"),
    "no period": (document((0, "sample_period", "0s")), "probes[0].sample_period", "not more than 0", "1s"),
    "negative period": (document((0, "sample_period", "-1s")), "probes[0].sample_period", "'-1s'", "15s"),
    "period as number": (document((0, "sample_period", 1)), "probes[0].sample_period", "1 is not", '"15s"'),
    "port of a serial probe": (document((1, "port", 502)), "probes[1].port", "502", "'tcp'"),
    "line of a tcp probe": (document((0, "line", "a")), "probes[0].line", "'a'", "'rtu'"),
    "link of a tcp probe": (document((0, "link", "/tmp/a")), "probes[0].link", "'/tmp/a'", "serial"),
    "port too large": (document((0, "port", 70000)), "probes[0].port", "70000", "65535"),
    "port negative": (document((0, "port", -1)), "probes[0].port", "-1", "65535"),
    "unit of nobody": (document((1, "unit", 0)), "probes[1].unit", "0", "1 to 247"),
    "unit too large": (document((0, "unit", 300)), "probes[0].unit", "300", "1 to 247"),
    "link twice": (document((1, "link", "/tmp/a"), (2, "link", "/tmp/a")), "probes[2].link", "/tmp/a", "its own"),
    "start without offset": (head(start="2026-06-01T12:00:00"), "scenario.start", "2026-06-01T12:00:00", "Z"),
    "start in words": (head(start="noon"), "scenario.start", "noon", "2026-06-01T00:00:00Z"),
    "start as a date": (head(start=tomllib.loads("a=2026-06-01")["a"]), "scenario.start", "2026", "expected str"),
    "unknown water": (head(water="sea"), "scenario.water", "'sea'", "'river'"),
    "seed in words": (head(seed="one"), "scenario.seed", "'one'", "expected int"),
    "seed with a fraction": (head(seed=1.5), "scenario.seed", "1.5", "expected int"),
    "unknown substance": (leak(kind="milk"), "contaminations[0].kind", "'milk'", "one of: sewage"),
    "no duration": (leak(duration="0s"), "contaminations[0].duration", "0 s", "2h"),
    "negative onset": (leak(after="-1h"), "contaminations[0].after", "'-1h'", "15s"),
    "negative strength": (leak(strength=-1.0), "contaminations[0].strength", "-1.0", "0 to"),
    "strength not a number": (leak(strength=float("nan")), "contaminations[0].strength", "nan", "0 to"),
    "infinite strength": (leak(strength=float("inf")), "contaminations[0].strength", "inf", "0 to"),
    "fault of nobody": (sick(probe="x"), "sensor_faults[0].probe", "'x'", "one of: sonde, troll, cabinet"),
    "fault of no channel": (sick(channel="uv254"), "sensor_faults[0].channel", "'uv254'", "one of: water_temp"),
    "fault without channel": (sick(channel=""), "sensor_faults[0].channel", "missing", "one sensor"),
    "unknown fault": (sick(kind="sad"), "sensor_faults[0].kind", "'sad'", "'stuck'"),
    "fault of no size": (sick(size=0.0), "sensor_faults[0].size", "0", "channel's unit"),
    "fault of infinite size": (sick(size=float("inf")), "sensor_faults[0].size", "inf", "to 1e+06"),
    "fault of no duration": (sick(duration="0s"), "sensor_faults[0].duration", "0 s", "2h"),
    "line of nobody": (noisy(probe="x"), "line_faults[0].probe", "'x'", "one of: sonde"),
    "unknown line fault": (noisy(kind="fire"), "line_faults[0].kind", "'fire'", "'no_reply'"),
    "probability over 1": (noisy(probability=1.01), "line_faults[0].probability", "1.01", "0 to 1"),
    "probability not a number": (noisy(probability=float("nan")), "line_faults[0].probability", "nan", "0 to 1"),
    "line fault of no duration": (noisy(duration="0ms"), "line_faults[0].duration", "0 s", "2h"),
    "negative delay": (noisy(kind="late_reply", size=-5.0), "line_faults[0].size", "-5.0", "0 to"),
    "no exception code": (noisy(kind="exception", size=256.0), "line_faults[0].size", "256.0", "1 to 255"),
    "half an exception": (noisy(kind="exception", size=2.5), "line_faults[0].size", "2.5", "1 to 255"),
    "wrong unit of a printer": (noisy(probe="cabinet", kind="wrong_unit"), "line_faults[0].kind", "'wrong_unit'", "Modbus"),
    "echo of a stream": (noisy(probe="cabinet", kind="echo"), "line_faults[0].kind", "'echo'", "nothing is asked"),
    "unseen flip": (noisy(probe="sonde", kind="crc"), "line_faults[0].kind", "'crc'", "check sum"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_refused_with_file_key_value_and_remedy(name, tmp_path):
    data, key, value, remedy = WRONG[name]
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, data)
    error = caught.value
    assert (error.file, error.key) == (str(tmp_path / "s.toml"), key)
    assert value in error.problem
    assert remedy in error.remedy + error.problem
    assert "\n" not in str(error)


def test_two_probes_of_one_port_or_unit_are_refused(tmp_path):
    data = document((0, "port", 1502))
    data["probes"].append({**SONDE, "id": "second", "port": 1502})
    with pytest.raises(ConfigError, match=r"probes\[3\]\.port: 1502 is also that of probes\[0\]"):
        load(tmp_path, data)
    data = document((1, "line", "bus"))
    data["probes"].append({**TROLL, "id": "second", "line": "bus"})
    with pytest.raises(ConfigError, match=r"probes\[3\]\.unit: 1 is also that of probes\[1\]"):
        load(tmp_path, data)


def test_a_line_with_two_links_is_refused(tmp_path):
    data = document((1, "line", "bus"), (1, "link", "/tmp/x"))
    data["probes"].append({**TROLL, "id": "second", "line": "bus", "link": "/tmp/y", "unit": 2})
    with pytest.raises(ConfigError, match=r"probes\[3\]\.link: '/tmp/y'"):
        load(tmp_path, data)


def test_a_device_whose_lines_are_no_columns_is_refused(tmp_path):
    (tmp_path / "named.toml").write_text(
        POLLED.replace('"polled"', '"named"')
        .replace('mode = "poll"', 'split = "regex"\npattern = "(?P<ph>.+)"')
        .replace("field = 0", 'field = "ph"')
    )
    with pytest.raises(ConfigError, match=r"probes\[2\]\.profile: named cannot be simulated; its lines have to be col"):
        load(tmp_path, document((2, "profile", "named.toml")))


def test_a_polled_device_needs_its_request(tmp_path):
    assert load(tmp_path, document((2, "profile", "polled.toml"))).probes[2].channels == ("ph",)
    (tmp_path / "mute.toml").write_text(POLLED.replace('request = "D\\r"\n', ""))
    with pytest.raises(ConfigError, match="asked with nothing"):
        load(tmp_path, document((2, "profile", "mute.toml")))


def test_more_channels_than_slots_are_refused(tmp_path):
    text = (ROOT / "drivers" / "profiles" / "ysi_exo_modbus.toml").read_text()
    assert "slots = 32" in text
    (tmp_path / "small.toml").write_text(text.replace("slots = 32", "slots = 4"))
    with pytest.raises(ConfigError, match=r"probes\[0\]\.channels: 20 are more"):
        load(tmp_path, document((0, "profile", "small.toml")))
    assert load(tmp_path, document((0, "profile", "small.toml"), (0, "channels", ["ph", "do"])))
