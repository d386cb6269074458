"""The command line as a person meets it: files that are checked, errors in one line."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONFIG = sorted((ROOT / "config").glob("*.toml"))


def ewarn(*args, cwd=ROOT):
    return subprocess.run(
        [sys.executable, "-m", "ewarn", *map(str, args)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
    )


@pytest.mark.parametrize("file", CONFIG, ids=lambda p: p.name)
def test_example_files_are_valid(file):
    result = ewarn("check", file)
    assert result.stderr == ""
    assert result.stdout.endswith("valid\n")


WRONG = {
    "key": ('every = "15s"', 'evry = "15s"', "probes[0].evry: unknown key"),
    "type": ('every = "15s"', "every = 15", "probes[0].every: 15 is not a duration"),
    "profile": ("ysi_exo_modbus", "ysi_exo", "probes[0].profile: unknown profile 'ysi_exo'"),
    "driver": ('driver = "modbus"', 'driver = "modbuss"', "probes[0].driver: unknown driver 'modbuss'"),
    "value of the device": ('ph_2 = "ph"', 'ph_2 = "acidity"', "'acidity'"),
    "meaning": ('ph_2 = "ph"', 'ph_2 = "orp"', "is orp, not ph"),
    "duplicate channel": ("ph_2 =", "ph =", "channel 'ph' is also of probe 'sonde'"),
    "secured broker": ("insecure = true", "insecure = false", "broker.ca: missing"),
    "not TOML": ("[broker]", "[broker", "is not TOML"),
    "no certificate": (
        "insecure = true", 'ca = "tls/ca.pem"\ncert = "c.pem"\nkey = "k.pem"', "tls/ca.pem' cannot be read: No such file",
    ),
    "missing profile": ('"ysi_exo_modbus"', '"x.toml"', "x.toml' (No such file"),
    "two protocols": ('line = "cabinet"', 'line = "rs485"', "'cabinet' speaks ascii_line on 'rs485'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_files_are_refused_in_one_line(name, tmp_path):
    old, new, expected = WRONG[name]
    text = (ROOT / "config" / "station.toml").read_text()
    assert old in text
    file = tmp_path / "station.toml"
    file.write_text(text.replace(old, new, 1))
    result = ewarn("check", file)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"ewarn: {file}: ")
    assert result.stderr.count("\n") == 1
    assert expected in result.stderr


def test_an_error_of_an_option_begins_with_the_option():
    result = ewarn("run", ROOT / "config" / "station.toml", "--clock", "soon")
    assert result.returncode == 2
    assert result.stderr.startswith("ewarn: --clock: 'soon' is not a clock")


def test_run_refuses_before_any_io(tmp_path):
    file = tmp_path / "station.toml"
    file.write_text((ROOT / "config" / "station.toml").read_text().replace('every = "15s"', 'every = "x"', 1))
    result = ewarn("run", file, cwd=tmp_path)
    assert result.returncode == 2
    assert "probes[0].every: 'x' is not a duration" in result.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["station.toml"]


def test_a_file_of_no_kind_is_named(tmp_path):
    file = tmp_path / "x.toml"
    file.write_text("a = 1\n")
    result = ewarn("check", file)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "neither a station, a central nor a scenario" in result.stderr


def test_plugins_lists_ours():
    lines = ewarn("plugins").stdout.splitlines()
    names = {line.split()[1] for line in lines}
    assert {"modbus", "ascii_line", "residual", "residual_trees"} <= names


def test_readme_speaks_of_commands_that_exist():
    text = (ROOT / "README.md").read_text()
    verbs = set(re.findall(r"ewarn (run|[a-z]+)\b(?= [A-Zc./]|`)", text))
    assert {"run", "collect", "simulate", "check", "replay", "plugins"} <= verbs
    for verb in verbs:
        assert ewarn(verb, "--help").returncode == 0, verb
    for target in re.findall(r"^make (\w+)", text, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE), target
    for command in re.findall(r"^ewarn (.+)$", text, flags=re.MULTILINE):
        assert (ROOT / shlex.split(command)[-1]).is_file(), command
