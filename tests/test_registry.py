"""Probes and their drivers: what cannot work together is refused before anything is opened."""

from pathlib import Path

import pytest

from ewarn.config import station_from
from ewarn.errors import ConfigError
from ewarn.registry import load_detectors, make_drivers
from ewarn.times import SystemClock

PROFILE = """
schema = 1
id = "PROFILE"
name = "PROFILE"
source = "test"
grade = "I"
protocol = "ascii"
[ascii]
mode = "MODE"
request = "D"
terminator = "TERMINATOR"
prefix = "PREFIX"
[[channels]]
id = "ph"
parameter = "ph"
unit = "[pH]"
field = 0
"""
PSI = """
import msgspec

class PsiDriver:
    api = 1

    class Options(msgspec.Struct, forbid_unknown_fields=True):
        pass

    def __init__(self, settings, clock):
        self.settings = settings

    def channel_units(self):
        return {name: ("pressure", "[psi]") for name in self.settings.channels}

    def make_line(self):
        raise NotImplementedError

    async def read(self, line):
        raise NotImplementedError
"""
SONDE = {"id": "sonde", "driver": "modbus", "line": "bus", "profile": "ysi_exo_modbus", "channels": ["do"]}


def bound(folder, *probes, **tables):
    document = {
        "station": {"id": "s"},
        "lines": {"bus": {"kind": "serial", "device": "/dev/null"}, "other": {"kind": "serial", "device": "/dev/zero"}},
        "probes": list(probes),
        **tables,
    }
    return make_drivers(station_from(document, Path(folder) / "s.toml"), SystemClock())


def printing(folder, name, channel, prefix, mode="poll", terminator="x", line="bus"):
    text = PROFILE.replace("PROFILE", name).replace("MODE", mode).replace("TERMINATOR", terminator)
    (folder / f"{name}.toml").write_text(text.replace("PREFIX", prefix))
    return {"id": name, "driver": "ascii_line", "line": line, "profile": f"{name}.toml", "channels": {channel: "ph"}}


@pytest.mark.parametrize("mode", ["poll", "stream"])
@pytest.mark.parametrize(("one", "other"), [("", ""), ("A", ""), ("", "B"), ("A", "A"), ("A", "AB"), ("AB", "A")])
def test_two_printing_probes_that_one_line_cannot_tell_apart(one, other, mode, tmp_path):
    with pytest.raises(ConfigError, match=r"probes\[1\]\.line: a line that 'red' .*'bus' .* 'blue'; .*own line"):
        bound(tmp_path, printing(tmp_path, "red", "ph", one, mode), printing(tmp_path, "blue", "ph_2", other, mode))


def test_two_printing_probes_with_different_ends_of_line(tmp_path):
    red = printing(tmp_path, "red", "ph", "A")
    with pytest.raises(ConfigError, match="same terminator"):
        bound(tmp_path, red, printing(tmp_path, "blue", "ph_2", "B", terminator="y"))


def test_two_printing_probes_that_can_be_told_apart(tmp_path):
    red = printing(tmp_path, "red", "ph", "A")
    assert len(bound(tmp_path, red, printing(tmp_path, "blue", "ph_2", "B"))) == 2
    assert len(bound(tmp_path, red, printing(tmp_path, "blue", "ph_2", "A", line="other"))) == 2


def test_two_protocols_on_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"probes\[1\]\.line: probe 'red' speaks ascii_line on 'bus', .*'sonde'.*mod"):
        bound(tmp_path, SONDE, printing(tmp_path, "red", "ph", "A"))
    assert len(bound(tmp_path, SONDE, printing(tmp_path, "red", "ph", "A", line="other"))) == 2
    assert len(bound(tmp_path, SONDE, {**SONDE, "id": "second", "unit": 2, "channels": {"do_2": "do"}})) == 2


def test_an_error_within_a_profile_names_the_profile(tmp_path):
    probe = printing(tmp_path, "red", "ph", "A")
    path = tmp_path / "red.toml"
    path.write_text(path.read_text() + 'status = "zz"\n')
    with pytest.raises(ConfigError) as caught:
        bound(tmp_path, probe)
    assert (caught.value.file, caught.value.key) == (str(path), "channels[0].status")


def test_a_profile_that_is_not_there_is_named_with_the_key_that_names_it(tmp_path):
    with pytest.raises(ConfigError) as caught:
        bound(tmp_path, {**SONDE, "profile": "none.toml"})
    assert (caught.value.file, caught.value.key) == (str(tmp_path / "s.toml"), "probes[0].profile")
    assert str(tmp_path / "none.toml") in caught.value.problem


def test_an_unknown_key_of_a_probe_is_answered_with_all_that_are_known(tmp_path):
    with pytest.raises(ConfigError, match=r"probes\[0\]\.colour: unknown key; known keys: .*every.*settle.*timeout"):
        bound(tmp_path, {**SONDE, "colour": 3})
    with pytest.raises(ConfigError, match=r"probes\[0\]\.evry: unknown key; did you mean 'every'"):
        bound(tmp_path, {**SONDE, "evry": "3s"})


def test_a_probe_cannot_be_declared_in_another_unit(tmp_path):
    probe = {**SONDE, "channels": {"water_temp": "water_temp"}}
    with pytest.raises(ConfigError, match=r"channels\.water_temp\.unit: '\[degF\]' is for recorded data; .*'Cel'"):
        bound(tmp_path, probe, channels={"water_temp": {"unit": "[degF]"}})
    recorded = {"station": {"id": "s"}, "channels": {"water_temp": {"unit": "[degF]"}}}
    assert station_from(recorded, tmp_path / "s.toml").channels["water_temp"].unit == "[degF]"


def test_a_driver_cannot_deliver_another_unit(tmp_path, monkeypatch):
    """Texts and views print the parameter's own unit behind whatever number there is."""
    (tmp_path / "psi_of_test.py").write_text(PSI)
    (tmp_path / "psi_of_test-1.dist-info").mkdir()
    (tmp_path / "psi_of_test-1.dist-info" / "METADATA").write_text("Name: psi-of-test\nVersion: 1\n")
    entry = "[ewarn.drivers]\npsi = psi_of_test:PsiDriver\n"
    (tmp_path / "psi_of_test-1.dist-info" / "entry_points.txt").write_text(entry)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"probes\[0\]\.channels\.pressure: .*'psi' .*'\[psi\]'.*'kPa'; .*convert"):
        bound(tmp_path, {"id": "p", "driver": "psi", "line": "bus", "channels": ["pressure"]})


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ({"threshold": 0}, "threshold: 0 is no threshold; more than 0"),
        ({"threshold": -1.0}, "is no threshold"),
        ({"threshold": float("nan")}, "threshold: nan is not finite"),
        ({"threshold": "abc"}, "threshold: 'abc' is of type str; expected float"),
        ({"height": "8"}, "height: '8' is of type str; expected int"),
        ({"height": 8.5}, "height: 8.5 is of type float"),
        ({"n_trees": True}, "n_trees: True is of type bool"),
        ({"n_trees": 0}, "refuses its settings"),
        ({"height": 20}, "height 1 to 12"),
        ({"hight": 8}, "hight: unknown key"),
    ],
)
def test_settings_that_a_detector_cannot_work_with_are_refused(setting, problem):
    document = {
        "station": {"id": "s"},
        "channels": {"ph": {}},
        "detectors": [{"name": "residual_trees", **setting}],
    }
    with pytest.raises(ConfigError) as caught:
        load_detectors(station_from(document, Path("s.toml")))
    assert problem in str(caught.value)
    assert str(caught.value).startswith("s.toml: detectors[0]")
