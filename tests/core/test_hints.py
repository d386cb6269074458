"""What a contamination is consistent with: never more than the signs say."""

import pytest

from ewarn.contracts import Evidence
from ewarn.core.hints import hint

MEASURED = ("ph", "spcond", "do", "orp", "turbidity", "uv254", "ammonium_n", "nitrate_n")


def moved(**signs):
    return [Evidence(channel, 10.0 + sign, 10.0, 20.0, 0) for channel, sign in signs.items()]


@pytest.mark.parametrize(
    ("signs", "water", "expected"),
    [
        ({"ammonium_n": 1, "spcond": 1, "do": -1, "orp": -1, "uv254": 1, "turbidity": 1}, "river", "sewage"),
        ({"turbidity": 1, "spcond": -1, "uv254": 1}, "river", "storm"),
        ({"ph": -1, "spcond": 1, "orp": 1}, "river", "acid"),
        ({"ph": 1, "spcond": 1}, "river", "alkali"),
        ({"nitrate_n": 1, "ammonium_n": 1, "spcond": 1}, "river", "fertiliser"),
        ({"cl2_free": -1, "orp": -1}, "treated", "reductant"),
        ({"clo2": -1, "orp": -1}, "treated", "reductant"),
        ({"cl2_free": -1, "orp": -1, "uv254": 1}, "treated", "oxidisable"),
    ],
)
def test_patterns_are_told_apart(signs, water, expected):
    assert hint(moved(**signs), {*MEASURED, *signs}, water) == expected


def test_channels_of_a_second_probe_count_as_their_parameter():
    assert hint(moved(ph_2=-1, plant_orp=1, conductivity=1), MEASURED, "river") == "acid"


@pytest.mark.parametrize("signs", [{}, {"ph": 1, "orp": 1, "do": -1}, {"water_temp": 1}])
def test_what_fits_nothing_is_unknown(signs):
    assert hint(moved(**signs), MEASURED, "river") == "unknown"


def test_two_patterns_that_fit_alike_are_unknown():
    both = moved(ph=1)
    assert hint(both, ("ph",), "river") == "unknown"  # alkali as well as a bloom


def test_probes_of_one_parameter_that_contradict_each_other_say_nothing():
    signs = {"ph": -1, "ph_2": 1, "spcond": 1}
    found = moved(**signs)
    assert hint(found, MEASURED, "river") == hint(found[::-1], MEASURED, "river")
