"""Substances against their stoichiometry and the directions that injection studies report."""

import numpy as np
import pytest

from simulators.contamination import SUBSTANCES, Contamination, Scene, acidified, pulse
from simulators.water import HOUR, Water

ONSET = 1780315200.0
LENGTH = 2 * HOUR
DURING = np.arange(ONSET + 60, ONSET + LENGTH - 60, 60.0)
AROUND = np.concatenate([np.arange(ONSET - HOUR, ONSET + 1, 7.0), np.arange(ONSET + LENGTH, ONSET + 3 * LENGTH, 7.0)])
PEAK = np.array([ONSET + LENGTH / 12])
NAMES = Water(1).parameters


def change(kind, parameter, water="river", *, strength=1.0, times=PEAK):
    """Change by a contamination, and the peak's concentration."""
    clean = Water(1, water)
    scene = Scene(clean, (Contamination(kind, ONSET, LENGTH, strength),))
    return scene.values(parameter, times) - clean.values(parameter, times)


def test_a_pulse_rises_fast_and_has_a_long_tail():
    seconds = np.arange(0.0, LENGTH, 10.0)
    share = pulse(seconds, LENGTH)
    assert share[0] == 0
    assert share.max() == pytest.approx(1)
    rise = seconds[share.argmax()]
    assert 5 * 60 <= rise <= 60 * 60
    assert (np.diff(share[: share.argmax()]) > 0).all()
    assert (np.diff(share[share.argmax() :]) < 0).all()
    half = seconds[share > 0.5]
    assert half[-1] - rise > 2 * (rise - half[0])
    assert (pulse(np.array([-1e9, -1.0, LENGTH, LENGTH + 1, 1e12]), LENGTH) == 0).all()


@pytest.mark.parametrize("kind", SUBSTANCES)
@pytest.mark.parametrize("water", ["river", "treated"])
def test_nothing_changes_to_the_last_bit_before_and_after_and_with_strength_0(kind, water):
    for parameter in NAMES:
        assert (change(kind, parameter, water, times=AROUND) == 0).all(), parameter
        assert (change(kind, parameter, water, strength=0.0, times=DURING) == 0).all(), parameter


# mg/L or uS/cm a mg/L, from molar masses and limiting conductivities (times 0.93 at this ionic strength).
COEFFICIENTS = [
    ("fertiliser", "ammonium_n", 14.007 / 80.04),
    ("fertiliser", "nitrate_n", 14.007 / 80.04),
    ("fertiliser", "spcond", 1.81 * 0.93),
    ("fertiliser", "toc", 0.0),
    ("brine", "spcond", 2.16 * 0.93),
    ("brine", "chloride", 35.45 / 58.44),
    ("brine", "ph", 0.0),
    ("brine", "orp", 0.0),
    ("cyanide", "spcond", 2.61 * 0.93),
    ("cyanide", "toc", 12.011 / 49.007),
    ("phenol", "toc", 0.766),
    ("diesel", "toc", 0.861),
    ("diesel", "spcond", 0.0),
    ("diesel", "ph", 0.0),
    ("diesel", "do", 0.0),
    ("sewage", "toc", 140 / 430),
    ("sewage", "ammonium_n", 25 / 430),
    ("sewage", "chloride", 50 / 430),
    ("sewage", "turbidity", 200 / 430),
    ("sulfite", "do", -0.5 * 32.0 / 126.04),
]


@pytest.mark.parametrize(("kind", "parameter", "coefficient"), COEFFICIENTS)
def test_mass_balance(kind, parameter, coefficient):
    brought = SUBSTANCES[kind].peak
    assert change(kind, parameter)[0] == pytest.approx(coefficient * brought, rel=0.04, abs=1e-9)
    assert change(kind, parameter, strength=0.5)[0] == pytest.approx(0.5 * coefficient * brought, rel=0.04, abs=1e-9)


# mg of chlorine that a mg consumes.
DEMAND = {
    "cyanide": 2.73 * 26.02 / 49.007,
    "sulfite": 0.89 * 80.06 / 126.04,
    "phenol": 2.26,
    "fertiliser": 7.59 * 14.007 / 80.04,
    "brine": 0.0,
    "acid": 0.0,
}


@pytest.mark.parametrize("kind", DEMAND)
def test_chlorine_demand_by_stoichiometry(kind):
    strength = 0.2 / SUBSTANCES[kind].peak  # 0.2 mg/L leave chlorine over
    assert change(kind, "cl2_free", "treated", strength=strength)[0] == pytest.approx(-0.2 * DEMAND[kind], rel=0.02)
    assert (change(kind, "cl2_free", times=DURING) == 0).all()


def test_chlorine_never_falls_below_nothing():
    scene = Scene(Water(1, "treated"), (Contamination("cyanide", ONSET, LENGTH, 100.0),))
    for parameter in ("cl2_free", "cl2_total", "clo2"):
        assert scene.values(parameter, PEAK)[0] == 0
    assert scene.values("do", PEAK)[0] > 0


def test_ammonia_binds_free_chlorine_which_stays_in_the_total():
    assert change("fertiliser", "cl2_free", "treated")[0] < -0.7
    assert change("fertiliser", "cl2_total", "treated")[0] == 0


# Treated water: free chlorine, organic carbon, conductance, redox potential, pH, turbidity, ammonium.
COLUMNS = ("cl2_free", "toc", "spcond", "orp", "ph", "turbidity", "ammonium_n", "chloride")
DIRECTIONS = {
    "sewage": "-++--+++",
    "cyanide": "-++-+000",
    "phenol": "-+0-0000",
    "sulfite": "-0+-0000",
    "diesel": "0+0-0+00",
    "brine": "00+0000+",
    "acid": "00++-000",
    "caustic": "00+-+000",
    "fertiliser": "-0+-00+0",
}


@pytest.mark.parametrize("kind", DIRECTIONS)
def test_directions_in_treated_water(kind):
    signs = "".join("0+-"[int(np.sign(change(kind, name, "treated")[0]))] for name in COLUMNS)
    assert signs == DIRECTIONS[kind]


def test_every_substance_has_its_directions_tested():
    assert set(DIRECTIONS) == set(SUBSTANCES)


def test_a_river_shows_sewage_as_the_field_does():
    for name, sign in {
        "do": -1,
        "do_sat": -1,
        "orp": -1,
        "ammonium_n": 1,
        "uv254": 1,
        "turbidity": 1,
        "ph": -1,
    }.items():
        assert np.sign(change("sewage", name)[0]) == sign, name
    assert change("diesel", "oil_fluor")[0] > 10 * change("diesel", "turbidity")[0]
    assert 0.01 <= change("diesel", "uv254")[0] <= 0.05


def test_redox_potential_follows_free_chlorine():
    scene = Scene(Water(1, "treated"), (Contamination("phenol", ONSET, LENGTH),))
    clean = scene.water.values("orp", PEAK)[0]
    assert scene.values("cl2_free", PEAK)[0] == 0
    assert 650 < clean < 720
    assert 250 < scene.values("orp", PEAK)[0] < 350
    lower = Scene(scene.water, (Contamination("cyanide", ONSET, LENGTH),)).values("orp", PEAK)[0]
    assert -100 < lower < 300


def test_acid_lowers_ph_by_the_alkalinity_balance():
    ph = np.array([7.95])
    all_of_them = np.linspace(5, 9.5, 100_001)
    assert (acidified(all_of_them, np.zeros_like(all_of_them), 2.6) == all_of_them).all()
    carbonic = 2.6 / 10 ** (7.95 - 6.35)
    half = acidified(ph, np.array([1.3]), 2.6)[0]
    assert half == pytest.approx(6.35 + np.log10(1.3 / (carbonic + 1.3)))
    assert 3 < acidified(ph, np.array([2.6]), 2.6)[0] < 4
    assert acidified(ph, np.array([50.0]), 2.6)[0] > 0
    assert acidified(ph, np.array([-50.0]), 2.6)[0] < 14
    doses = np.linspace(-1, 3, 200)
    assert (np.diff(acidified(np.full(200, 7.95), doses, 2.6)) <= 0).all()


def test_less_alkaline_water_is_acidified_further():
    assert change("acid", "ph", "treated")[0] < change("acid", "ph", "river")[0] < -0.3


def test_what_a_probe_computes_follows_what_it_measures():
    scene = Scene(Water(1), (Contamination("brine", ONSET, LENGTH),))
    clean = scene.water
    rise = scene.values("spcond", PEAK) / clean.values("spcond", PEAK)
    assert rise > 1.1
    for name in ("conductivity", "tds", "salinity"):
        assert scene.values(name, PEAK) == pytest.approx(rise * clean.values(name, PEAK))
    sewage = Scene(clean, (Contamination("sewage", ONSET, LENGTH),))
    share = sewage.values("do", PEAK) / clean.values("do", PEAK)
    assert sewage.values("do_sat", PEAK) == pytest.approx(share * clean.values("do_sat", PEAK))


@pytest.mark.parametrize("kind", SUBSTANCES)
def test_two_of_the_same_at_a_time_are_one_of_twice_the_strength(kind):
    for water in (Water(1), Water(1, "treated")):
        one = Contamination(kind, ONSET, LENGTH)
        double = Scene(water, (Contamination(kind, ONSET, LENGTH, 2.0),))
        both = Scene(water, (one, one))
        for name in NAMES:
            assert both.values(name, DURING) == pytest.approx(double.values(name, DURING)), name


def test_overlapping_substances_add_up():
    water = Water(1)
    events = (Contamination("brine", ONSET, LENGTH), Contamination("acid", ONSET + 600, LENGTH))
    together = Scene(water, events).values("spcond", DURING)
    apart = sum(Scene(water, (e,)).values("spcond", DURING) - water.values("spcond", DURING) for e in events)
    assert together == pytest.approx(water.values("spcond", DURING) + apart)
    reverse = Scene(water, events[::-1]).values("ph", DURING)
    assert Scene(water, events).values("ph", DURING) == pytest.approx(reverse)


class Nothing:
    """Treated water in which an instrument reads zero."""

    kind = "treated"

    def values(self, parameter, times):
        return np.zeros_like(times)


@pytest.mark.parametrize("parameter", ["orp", "salinity", "tds", "do_sat", "cl2_free"])
def test_water_that_reads_zero_stays_a_number(parameter):
    times = np.arange(0, 36000, 600.0)
    scene = Scene(Nothing(), (Contamination("sewage", 0.0, 7200.0),))
    assert np.isfinite(scene.values(parameter, times)).all()
