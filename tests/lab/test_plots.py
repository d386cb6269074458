"""Pictures of a challenge."""

import subprocess
import sys

import numpy as np
import pytest
from challenged import entry, run

from ewarn.errors import EwarnError
from ewarn.lab.plots import draw, trade_off

MOST_BYTES = 60_000


@pytest.fixture(scope="module")
def entries():
    return [entry("a"), entry("b", found=2), entry("a", "forecast", found=0), entry("quiet", "forecast", events=(), found=0)]


def test_every_set_of_detectors_is_in_every_picture(entries, tmp_path):
    made = draw(entries, tmp_path / "new" / "folder")
    assert [path.name for path in made] == ["trade-off.svg", "delays.svg", "reliability.svg", "gallery-1.svg", "gallery-2.svg"]
    for path in made:
        text = path.read_text()
        assert text.rstrip().endswith("</svg>")
        assert len(text) < MOST_BYTES
    for path in made[:3]:
        assert "residual" in path.read_text()
    assert "forecast" in made[0].read_text()


def test_the_gallery_shows_what_was_found_what_was_missed_and_a_false_alarm(entries, tmp_path):
    first, second = draw(entries, tmp_path)[3:]
    for kind in ("found: a", "missed: a", "false alarm: a", "ph", "probability"):
        assert kind in first.read_text()
    assert "found: " not in second.read_text()
    assert "missed: a" in second.read_text()


def test_pictures_are_the_same_each_time(entries, tmp_path):
    for one, two in zip(draw(entries, tmp_path / "1"), draw(entries, tmp_path / "2"), strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_the_trade_off_rises_from_few_alarms_to_many():
    false, found = trade_off([run(found=1), run(found=2, seed=2)])
    assert len(false) > 10
    assert (false[0], found[0]) == (pytest.approx(1 / 6), 0.75)
    assert false.min() == false[0]
    assert false.max() > 5


def test_a_scene_starts_where_its_event_does():
    scene = next(s for s in run().scenes if s.kind == "missed")
    assert scene.hours[0] == -6
    assert scene.hours[np.argmax(scene.event)] == 0
    assert next(iter(scene.columns)) == "ph"


def test_without_events_there_is_nothing_to_compare(tmp_path):
    assert len(draw([entry("quiet", events=(), found=0)], tmp_path)) == 4
    assert len(draw([entry("quiet", events=(), found=0)], tmp_path, galleries=0)) == 3


def test_without_matplotlib_it_says_what_to_install(entries, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(EwarnError, match=r"pip install 'ewarn\[plot\]'"):
        draw(entries, tmp_path)


def test_the_command_says_so_before_it_works(tmp_path):
    (tmp_path / "matplotlib.py").write_text("raise ImportError")
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from ewarn.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, tmp_path, "challenge", "none.toml", "none.csv", "--plot", tmp_path / "p"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (2, "ewarn: pictures need matplotlib: pip install 'ewarn[plot]'\n")


def test_a_folder_that_cannot_be_made_is_named(entries, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EwarnError, match=r"file/trade-off\.svg: cannot be written"):
        draw(entries, tmp_path / "file")
