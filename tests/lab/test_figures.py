"""The documents' pictures: one for each registered detector, from made-up water, and every link leads to one."""

import re
from pathlib import Path

import pytest

from ewarn.config import load_station
from ewarn.lab.figures import challenge_figures, figures, shown_detectors
from ewarn.lab.synthetic import synthetic, write
from ewarn.registry import plugins

ROOT = Path(__file__).parents[2]
STATIONS = [ROOT / "config" / "river.toml", ROOT / "config" / "plant.toml"]
MOST_BYTES = 60_000
DOCUMENTS = sorted((ROOT / "docs").rglob("*.md"))
LINK = re.compile(r"!\[[^\]]*\]\(([^)]+)\)")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    record = write(folder / "brook.csv", *synthetic(load_station(STATIONS[0]), 20, 8))
    return figures(folder, STATIONS, [record])


def test_every_registered_detector_gets_its_picture(drawn):
    registered = {p.name for p in plugins() if p.group == "ewarn.detectors"}
    assert registered == set(shown_detectors())
    assert registered <= {path.stem for path in drawn}
    for path in drawn:
        text = path.read_text()
        assert len(text) < MOST_BYTES
        assert "score" in text
        assert "ph" in text


def test_a_record_is_drawn_with_the_detectors_of_the_first_station(drawn):
    assert {p.stem for p in drawn} - set(shown_detectors()) == {f"{d.name}-brook" for d in load_station(STATIONS[0]).detectors}


def test_a_challenge_of_made_up_water_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr("ewarn.lab.figures.shown_detectors", lambda: {"residual": "residual"})
    made = challenge_figures(tmp_path, STATIONS[:1], days=21)
    assert [path.relative_to(tmp_path).as_posix() for path in made[:3]] == [
        "river/trade-off.svg", "river/delays.svg", "river/reliability.svg",
    ]  # fmt: skip
    assert "residual" in made[0].read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_picture_of_a_document_is_there_and_small(document):
    for link in LINK.findall(document.read_text()):
        assert (document.parent / link).is_file(), link
        assert (document.parent / link).stat().st_size < MOST_BYTES


def test_the_document_shows_every_detector_of_ours():
    ours = {p.name for p in plugins() if p.group == "ewarn.detectors" and p.distribution.startswith("ewarn ")}
    shown = {Path(link).stem for link in LINK.findall((ROOT / "docs" / "detection.md").read_text())}
    assert ours <= shown
