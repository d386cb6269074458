"""What is said of a row rests on that row and on earlier ones: a record that is cut short gets the same verdicts."""

import csv
from pathlib import Path

import numpy as np
import pytest

from ewarn.config import load_station, station_from
from ewarn.core.pipeline import Pipeline
from ewarn.lab.replay import ReplayReport, follow, replay
from ewarn.lab.synthetic import synthetic, write
from ewarn.lab.truth import rows_of
from ewarn.registry import load_detectors
from simulators.contamination import Contamination

CONFIG = Path(__file__).parents[2] / "config"
HOUR, DAY = 3600.0, 86400.0
KINDS = {
    "river": (12, [Contamination("sewage", 8 * DAY, 5 * HOUR, 1.0), Contamination("acid", 10 * DAY, 4 * HOUR, 2.0)]),
    "plant": (2.5, [Contamination("sulfite", 1.6 * DAY, HOUR, 2.0), Contamination("sewage", 2.1 * DAY, HOUR, 1.0)]),
}


def scores(station, record, path):
    report = replay(station, record, path, load_detectors(station))
    with path.open() as f:
        return list(csv.reader(f)), report.alerts


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_cut_short_gets_the_same_verdicts_and_alerts(kind, tmp_path):
    station = load_station(CONFIG / f"{kind}.toml")
    days, contaminations = KINDS[kind]
    times, columns = synthetic(station, days, 3, contaminations)
    holes = np.random.default_rng(2).uniform(size=(len(columns), len(times))) < 0.02
    columns = {name: np.where(hole, np.nan, values) for hole, (name, values) in zip(holes, columns.items(), strict=True)}
    lines = write(tmp_path / "whole.csv", times, columns).read_text().splitlines(keepends=True)
    whole, alerts = scores(station, tmp_path / "whole.csv", tmp_path / "scores.csv")
    assert {row[2] for row in whole[1:]} == {"0", "1"}
    up = [i for i, row in enumerate(whole) if row[2] == "1"]
    for count in (up[0], up[0] + 1, up[len(up) // 2]):
        (tmp_path / "cut.csv").write_text("".join(lines[: count + 1]))
        cut, earlier = scores(station, tmp_path / "cut.csv", tmp_path / "cut-scores.csv")
        assert cut == whole[: count + 1]
        assert earlier == [alert for alert in alerts if alert.time <= times[count - 1]]


def shown(spacing, every):
    """What is shown over rows so many milliseconds apart, with channels that stay out now and then."""
    channels = {"ph": {"every": every}, "spcond": {"every": every}}
    data = {"station": {"id": "r"}, "channels": channels, "detection": {"step": "60s", "warmup": "1h"}}
    station, rng, times = station_from(data, Path("r.toml")), np.random.default_rng(4), 1_780_000_030_000 + spacing * np.arange(600)
    columns = {n: np.where(rng.uniform(size=600) < 0.1, np.nan, rng.normal(m, 0.1, 600)) for n, m in (("ph", 8), ("spcond", 900))}
    return list(follow(Pipeline(station, load_detectors(station)), rows_of(times, columns), ReplayReport()))


@pytest.mark.parametrize("every", ["60s", "1s"])
@pytest.mark.parametrize("spacing", [60_000, 20_000, 47_000, 150_000])
def test_no_row_shows_a_verdict_of_a_later_time_or_a_stale_one(spacing, every):
    """Rows at the step, finer, coarser and at odds with it."""
    rows = [s for s in shown(spacing, every) if s.verdict is not None]
    assert len(rows) > 400
    assert all(s.row.time - 120_000 < s.verdict.time <= s.row.time for s in rows)


@pytest.mark.parametrize("every", ["60s", "1s"])
def test_rows_between_two_samples_show_the_last_verdict(every):
    """A row that cannot complete its sample is no row without a verdict."""
    warm = [s for s in shown(20_000, every) if s.row.time > 1_780_000_030_000 + 4_000_000]
    assert all(s.verdict is not None for s in warm)
    assert len({s.verdict.time for s in warm}) == pytest.approx(len(warm) / 3, abs=1)
