"""Causes are told apart by what speaks for them, in words, and `unknown` is an answer."""

import pytest

from ewarn.contracts import Cause, Evidence
from ewarn.core.causes import CLASSES, WEIGHTS, Circumstances, findings, posterior
from ewarn.messages.catalog import CATALOGS

MEASURED = frozenset({"ph", "spcond", "do", "turbidity", "water_temp", "water_level", "chl_a", "ammonium_n"})


def moved(**changes):
    return tuple(Evidence(c, 100.0 + d, 100.0, 10.0, 0) for c, d in changes.items())


def likeliest(evidence, *, alone=False, strong=False, water="river", doubts=None, **around):
    found = findings(evidence, Circumstances(water, MEASURED, doubts or {}, **around), alone=alone, strong=strong)
    told = posterior(found)
    return max(told, key=told.get), found


@pytest.mark.parametrize(
    ("changes", "cause", "finding"),
    [
        ({"turbidity": 50, "spcond": -40}, Cause.NATURAL, "pattern_storm"),
        ({"do": -1, "ph": -0.2}, Cause.NATURAL, "pattern_daylight"),
        ({"chl_a": 9, "do": 2, "ph": 0.4}, Cause.NATURAL, "pattern_bloom"),
        ({"spcond": -30, "water_level": 0.3}, Cause.NATURAL, "pattern_snowmelt"),
        ({"ammonium_n": 3, "spcond": 80, "do": -2}, Cause.CONTAMINATION, "pattern_contamination"),
        ({"ph": -2, "spcond": 200}, Cause.CONTAMINATION, "pattern_contamination"),
    ],
)
def test_signs_of_the_changes_speak_for_a_cause(changes, cause, finding):
    told, found = likeliest(moved(**changes))
    assert finding in found
    assert told is cause


def test_one_sensor_alone_is_a_sensor():
    told, found = likeliest(moved(ph=3), alone=True)
    assert (told, "one_sensor" in found) == (Cause.SENSOR, True)


def test_a_probe_out_of_the_water_is_a_sensor_however_much_moves():
    told, _ = likeliest(moved(spcond=-900, ph=1, do=3, turbidity=40), dry=True)
    assert told is Cause.SENSOR


def test_a_doubted_sensor_counts_against_contamination():
    evidence = moved(ph=-2, spcond=200)
    without = posterior(likeliest(evidence)[1])
    doubted = posterior(likeliest(evidence, doubts={"ph": "jump"})[1])
    assert doubted[Cause.SENSOR] > 3 * without[Cause.SENSOR]
    assert doubted[Cause.CONTAMINATION] < without[Cause.CONTAMINATION]


def test_what_operations_usually_bring_is_operation():
    told, found = likeliest(moved(ph=1, turbidity=-1), moved=frozenset({"flow"}), explained=0.8)
    assert (told, found[-1]) == (Cause.OPERATION, "operation_explains")


@pytest.mark.parametrize(("known", "cause"), [("natural", Cause.NATURAL), ("operation", Cause.OPERATION), ("sensor", Cause.SENSOR)])
def test_what_operators_said_before_is_believed(known, cause):
    told, _ = likeliest(moved(ph=1, turbidity=-1), known=known)
    assert told is cause


def test_where_nothing_speaks_the_answer_is_unknown():
    told = posterior(())
    assert max(told, key=told.get) is Cause.UNKNOWN


@pytest.mark.parametrize("found", [(), ("one_sensor",), tuple(WEIGHTS)])
def test_the_classes_add_up_to_one(found):
    told = posterior(found)
    assert set(told) == set(CLASSES)
    assert sum(told.values()) == pytest.approx(1)
    assert all(0 < p < 1 for p in told.values())


def test_in_treated_water_no_river_is_seen():
    _, found = likeliest(moved(do=-1, ph=-0.2), water="treated")
    assert "pattern_daylight" not in found


@pytest.mark.parametrize("language", sorted(CATALOGS))
def test_every_finding_has_its_words(language):
    assert {f"finding.{code}" for code in WEIGHTS} <= CATALOGS[language].keys()
