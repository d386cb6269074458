"""The tables: one line a record and set of detectors, and what they come to."""

import io

import pytest
from challenged import entry
from rich.console import Console

from ewarn.lab.report import tables


def lines(documents, **how):
    out = io.StringIO()
    for table in tables(documents, **how):
        Console(file=out, width=400).print(table)
    return out.getvalue().splitlines()


def cells(documents, start):
    """Cells by column, of the first table of events and that of sensors."""
    rows = [[c.strip() for c in line.strip().strip("|").split("|")] for line in lines(documents, markdown=True) if "|" in line]
    heads = [row for row in rows if row[0] == "record"]
    return [dict(zip(head[3:], row[3:], strict=True)) for head, row in zip(heads, [r for r in rows if r[: len(start)] == start], strict=True)]


def test_a_line_says_all_with_intervals():
    events, sensor = cells([entry().document()], ["r", "labelled", "residual"])
    assert events["own alert"] == "1/2 (0.09-0.91)"
    assert events["false"].startswith("0.17 (")
    assert (events["delay, min"], events["evaluated"], events["µs/row"], events["budget"]) == ("30", "98.0%", "250", "0.50")
    assert events["at 1/week"].startswith("1/2")
    assert events["F1"].count("-") == 1
    assert sensor == {"faults alarmed": "1/4", "faults named": "3/4", "other rows named": "2.0%", "events named": "1/2"}


def test_the_last_lines_are_means_over_records_and_sums_of_faults():
    documents = [entry("a", found=2).document(), entry("b", found=1).document(), entry("a", "forecast").document()]
    events, sensor = cells(documents, ["all 2", "labelled", "residual"])
    assert events["own alert"] == "0.75"
    assert events["F1"] == f"{(documents[0]['f1'] + documents[1]['f1']) / 2:.2f}"
    assert sensor["faults alarmed"] == "2/8"
    assert not any(line.startswith("| all") and "forecast" in line for line in lines(documents, markdown=True))


def test_what_has_no_events_has_no_figures_of_them():
    quiet = entry(events=(), found=0).document()
    assert (quiet["f1"], quiet["calibration_error"], quiet["at_1_per_week"]["rate"]) == (None, None, 0)
    events, _ = cells([quiet], ["r", "labelled", "residual"])
    assert (events["F1"], events["own alert"], events["calibration"], events["delay, min"]) == ("-", "-", "-", "-")


@pytest.mark.parametrize("markdown", [False, True])
def test_no_figure_is_cut_short(markdown):
    assert not any("…" in line for line in lines([entry("a-record-with-a-rather-long-name").document()], markdown=markdown))


def test_seeds_are_shown_as_a_range():
    document = entry().document()
    for seeds, shown in (([1, 2, 3], "labelled 1-3"), ([1, 3], "labelled 1,3"), ([7], "labelled 7")):
        assert any(shown in line for line in lines([{**document, "seeds": seeds}]))
