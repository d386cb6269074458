"""The water: repeatable to the last bit, in any order, and physically sane."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from ewarn.parameters import PARAMETERS
from simulators.chance import key, normal, uniform, wander
from simulators.water import DAY, HOUR, Water, saturation

BEGIN = 1767225600.0  # 2026-01-01
YEAR = np.arange(BEGIN, BEGIN + 366 * DAY, HOUR)
WEEK = np.arange(BEGIN + 150 * DAY, BEGIN + 157 * DAY, 600.0)
NAMES = Water(1).parameters

DIGEST = """
import hashlib, locale, numpy as np
from pathlib import Path
from simulators.scenario import Scenario
from simulators.truth import Truth
from simulators.water import Water
try:
    locale.setlocale(locale.LC_ALL, "")
except locale.Error:
    pass
water = Water(2**64 + 5)
t = np.arange(1.78e9, 1.78e9 + 1e5, 977.0)
digest = hashlib.sha256(b"".join(water.values(p, t).tobytes() for p in water.parameters))
probes = [{"id": "a", "profile": "insitu_aquatroll_500_600", "transport": "rtu"}]
head = {"seed": 2**64 + 5, "start": "2026-06-01T00:00:00Z"}
truth = Truth(Scenario.from_dict({"scenario": head, "probes": probes}, Path("x")))
start = truth.scenario.start
for name in truth.scenario.probes[0].channels:
    digest.update(repr(truth.history("a", name, start, start + 60000, 1000)).encode())
print(digest.hexdigest())
"""


def test_two_processes_with_other_hashes_and_locales_agree():
    def told(**environment):
        done = subprocess.run(
            check=False,
            args=[sys.executable, "-c", DIGEST],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stderr == ""
        return done.stdout

    assert told(PYTHONHASHSEED="1", LC_ALL="C") == told(PYTHONHASHSEED="77", LC_ALL="de_DE.UTF-8", TZ="Asia/Tokyo")


@pytest.mark.parametrize("kind", ["river", "treated"])
def test_values_do_not_depend_on_how_they_are_asked(kind):
    water, times = Water(3, kind), WEEK[:300]
    shuffled = np.random.default_rng(1).permutation(len(times))
    for name in NAMES:
        at_once = water.values(name, times)
        assert (water.values(name, times[shuffled]) == at_once[shuffled]).all(), name
        assert (water.values(name, times[::-3]) == at_once[::-3]).all(), name
        assert [water.values(name, times[i : i + 1])[0] for i in range(20)] == at_once[:20].tolist(), name
        assert float(water.values(name, np.asarray(times[7]))) == at_once[7], name


@pytest.mark.parametrize("seed", [0, 1, -1, 2**63, 2**64, 2**64 + 1, 10**30])
def test_every_seed_is_its_own_water(seed):
    spcond = Water(seed).values("spcond", WEEK)
    assert np.isfinite(spcond).all()
    assert (Water(seed).values("spcond", WEEK) == spcond).all()
    for other in (seed + 1, -seed - 3, seed % 2**64 + 2**65):
        assert (Water(other).values("spcond", WEEK) != spcond).mean() > 0.99


def test_keys_are_what_they_have_always_been():
    expected = hashlib.blake2b(b"1/a/b", digest_size=8).digest()
    assert int(key(1, "a", "b")) == int.from_bytes(expected, "little")
    assert key(1, "a", "b") != key(1, "a/b", "c")


def test_random_numbers_are_fair():
    index = np.arange(-50_000, 50_000)
    u, n = uniform(key(1, "u"), index), normal(key(1, "n"), index)
    assert 0 < u.min() < 1e-3
    assert 1 - 1e-3 < u.max() < 1
    assert abs(u.mean() - 0.5) < 0.005
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 0.02
    assert abs(n.mean()) < 0.02
    assert abs(n.std() - 1) < 0.02
    curve = wander(key(1, "w"), np.arange(0.0, 1e5), 1000.0)
    assert np.abs(np.diff(curve)).max() < 0.02
    assert 0.4 < curve.std() < 1.2


# Benson and Krause, fresh water at one atmosphere, mg/L, as tabled.
TABLE = {0: 14.62, 5: 12.77, 10: 11.29, 15: 10.08, 20: 9.09, 25: 8.26, 30: 7.56}


@pytest.mark.parametrize("celsius", TABLE)
def test_oxygen_saturation_is_the_published_table(celsius):
    assert saturation(np.array([float(celsius)]))[0] == pytest.approx(TABLE[celsius], abs=0.006)


@pytest.mark.parametrize("seed", range(10))
def test_a_year_stays_within_physical_bounds(seed):
    for kind in ("river", "treated"):
        water = Water(seed, kind)
        for name in NAMES:
            values, parameter = water.values(name, YEAR), PARAMETERS[name]
            assert np.isfinite(values).all()
            assert parameter.low <= values.min(), (kind, name)
            assert values.max() <= parameter.high, (kind, name)
        assert 10 < water.values("water_temp", YEAR).mean() < 30
        assert water.values("ph", YEAR).min() > 7
        assert water.values("ph", YEAR).max() < 9
        assert water.values("do_sat", YEAR).min() > 50


def test_parameters_agree_with_each_other():
    water = Water(4)
    temperature, do = water.values("water_temp", WEEK), water.values("do", WEEK)
    assert water.values("do_sat", WEEK) == pytest.approx(100 * do / saturation(temperature))
    compensated = water.values("conductivity", WEEK) / (1 + 0.0191 * (temperature - 25))
    assert water.values("spcond", WEEK) == pytest.approx(compensated)


def by_hour(name, water, times):
    """Mean of each local solar hour."""
    hours = ((times - 6.6 * HOUR) % DAY // HOUR).astype(int)
    values = water.values(name, times)
    return np.array([values[hours == h].mean() for h in range(24)])


def test_days_have_their_cycle():
    water = Water(5)
    oxygen, acidity, warmth = (by_hour(n, water, YEAR) for n in ("do_sat", "ph", "water_temp"))
    for cycle in (oxygen, acidity, warmth):
        assert 13 <= cycle.argmax() <= 18
        assert 1 <= cycle.argmin() <= 7
    assert 5 < oxygen.max() - oxygen.min() < 40
    assert 0.1 < acidity.max() - acidity.min() < 0.5
    assert 0.5 < warmth.max() - warmth.min() < 4


def test_summer_is_warmer_than_winter():
    water = Water(6)
    warmth = water.values("water_temp", YEAR)
    july, january = warmth[24 * 181 : 24 * 212].mean(), warmth[: 24 * 31].mean()
    assert 10 < july - january < 20


def test_storms_muddy_and_dilute_a_river_now_and_then():
    water = Water(7)
    storm = water.storm(YEAR)
    wet, dry = storm > 0.2, storm < 0.001
    assert 0.01 < wet.mean() < 0.25
    assert dry.mean() > 0.5
    assert water.values("turbidity", YEAR)[wet].min() > water.values("turbidity", YEAR)[dry].mean()
    assert water.values("spcond", YEAR)[wet].mean() < 0.92 * water.values("spcond", YEAR)[dry].mean()
    fine = water.storm(np.arange(BEGIN, BEGIN + 60 * DAY, 60.0))
    assert np.abs(np.diff(fine)).max() < 0.02


def test_treated_water_is_clear_and_has_chlorine_while_a_river_has_none():
    river, treated = Water(8), Water(8, "treated")
    assert (river.values("cl2_free", WEEK) == 0).all()
    assert treated.values("cl2_free", WEEK).min() > 0.6
    assert (treated.values("cl2_total", WEEK) > treated.values("cl2_free", WEEK)).all()
    assert treated.values("turbidity", WEEK).max() < 0.5
    assert treated.values("orp", WEEK).min() > 600


def test_a_parameter_that_it_has_not_is_a_key_error():
    with pytest.raises(KeyError):
        Water(1).values("radium", WEEK)
