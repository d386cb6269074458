"""The conformance kit: what every driver, every detector and every store must pass, ours and third parties'.

Each check is a function that raises AssertionError with what is wrong. Test runners need nothing else:

    @pytest.mark.parametrize("check", detector_checks())
    def test_mine(check):
        check(lambda: MyDetector())
"""

from __future__ import annotations

import contextlib
import copy
import math
import pickle
import random
from collections.abc import Awaitable, Callable, Mapping

from ewarn.contracts import Clock, Detector, Driver, Millis, Point, Quality, Reading, Store
from ewarn.errors import EwarnError, StoreRefused, TransientError

MakeDetector = Callable[[], Detector]
MakeDriver = Callable[[], Driver]
MakeStore = Callable[[], Store]

CHANNELS = {"ph": (8.0, 0.02), "spcond": (950.0, 4.0), "do": (8.0, 0.05), "turbidity": (20.0, 1.0), "orp": (300.0, 2.0)}
"""Mean and noise of the synthetic water that detectors are checked on."""


def synthetic_sample(rng: random.Random) -> dict[str, float]:
    """One sample of quiet water."""
    return {name: rng.gauss(mean, noise) for name, (mean, noise) in CHANNELS.items()}


def detector_checks() -> list[Callable[[MakeDetector], None]]:
    """All checks of a detector; `make` gives a new one each time."""
    return [
        check_scores_are_finite, check_score_learns_nothing, check_empty_sample, check_channels_come_and_go,
        check_sample_is_left_alone, check_detector_repeats, check_memory_is_bounded,
    ]  # fmt: skip


def _trained(make: MakeDetector, steps: int = 400, seed: int = 1) -> tuple[Detector, random.Random]:
    detector, rng = make(), random.Random(seed)
    for _ in range(steps):
        x = synthetic_sample(rng)
        detector.score_one(x)
        detector.learn_one(x)
    return detector, rng


def check_scores_are_finite(make: MakeDetector) -> None:
    """Scores are finite and not negative, for the wildest values too."""
    detector, rng = _trained(make)
    for factor in (1.0, 0.0, -1.0, 1e3, 1e9, 1e-9):
        score = detector.score_one({k: v * factor for k, v in synthetic_sample(rng).items()})
        assert math.isfinite(score), f"score {score} for values times {factor}"
        assert score >= 0, f"score {score} for values times {factor}"


def check_score_learns_nothing(make: MakeDetector) -> None:
    """The same sample scores the same twice."""
    detector, rng = _trained(make)
    x = synthetic_sample(rng)
    first, second = detector.score_one(x), detector.score_one(x)
    assert first == second, f"{first} became {second}: score_one changed the state"


def check_empty_sample(make: MakeDetector) -> None:
    """A sample without any value is no evidence and no error, before and after learning."""
    for detector in (make(), _trained(make)[0]):
        score = detector.score_one({})
        detector.learn_one({})
        assert math.isfinite(score), f"score {score} for an empty sample"


def check_channels_come_and_go(make: MakeDetector) -> None:
    """Absent channels, and ones never seen before, are no errors."""
    detector, rng = _trained(make)
    for _ in range(50):
        x = synthetic_sample(rng)
        x = {k: v for k, v in x.items() if rng.random() < 0.5} | ({"uv254": 0.1} if rng.random() < 0.5 else {})
        assert math.isfinite(detector.score_one(x)), f"score for {x}"
        detector.learn_one(x)


def check_sample_is_left_alone(make: MakeDetector) -> None:
    """The sample given is not changed."""
    detector, rng = _trained(make, 50)
    x = synthetic_sample(rng)
    before = copy.deepcopy(x)
    detector.score_one(x)
    detector.learn_one(x)
    assert x == before, "the sample was changed"


def check_detector_repeats(make: MakeDetector) -> None:
    """The same history gives the same scores to the last bit, whatever the order of the keys."""
    one, rng_one = _trained(make)
    two, rng_two = _trained(make)
    for _ in range(50):
        x, y = synthetic_sample(rng_one), synthetic_sample(rng_two)
        y = dict(reversed(list(y.items())))
        assert one.score_one(x) == two.score_one(y), "scores differ for the same history"
        one.learn_one(x)
        two.learn_one(y)


def check_memory_is_bounded(make: MakeDetector) -> None:
    """What it keeps does not grow with what it has seen."""
    detector, rng = _trained(make, 1500)
    early = len(pickle.dumps(detector))
    for _ in range(3000):
        detector.learn_one(synthetic_sample(rng))
    late = len(pickle.dumps(detector))
    assert late < early * 1.3 + 4096, f"state grew from {early} to {late} bytes"


def driver_checks() -> list[Callable[[MakeDriver, Clock], Awaitable[None]]]:
    """All checks of a driver; `make` gives a new one for a probe that is there and answers."""
    return [check_driver_names_its_channels, check_readings_are_whole, check_line_comes_back, check_units_are_known]


async def check_units_are_known(make: MakeDriver, clock: Clock) -> None:
    """Each channel speaks of a parameter that ewarn knows, in its unit."""
    from ewarn.parameters import ALTERNATIVE_UNITS, PARAMETERS  # noqa: PLC0415  (the vocabulary, for this check alone)

    del clock
    for channel, (parameter, unit) in make().channel_units().items():
        assert parameter in PARAMETERS, f"{channel}: unknown parameter {parameter!r}"
        allowed = (PARAMETERS[parameter].unit, *ALTERNATIVE_UNITS.get(parameter, ()))
        assert unit in allowed, f"{channel}: {unit!r} is not a unit of {parameter}"


async def check_driver_names_its_channels(make: MakeDriver, clock: Clock) -> None:
    """A read gives exactly the channels that `channel_units` names, each once."""
    driver = make()
    readings = await _read(driver, clock)
    names = [r.channel for r in readings]
    assert sorted(names) == sorted(driver.channel_units()), f"read gave {names}"


async def check_readings_are_whole(make: MakeDriver, clock: Clock) -> None:
    """A value is finite or missing with a reason, one at least is there, and times lie within the read."""
    before = clock.now()
    readings = await _read(make(), clock)
    after = clock.now()
    assert any(r.value is not None for r in readings), "no reading has a value"
    for r in readings:
        assert (r.value is None) == (r.quality is Quality.MISSING), f"{r}: missing without saying so"
        assert r.value is None or math.isfinite(r.value), f"{r}: not finite"
        assert r.quality is not Quality.MISSING or r.reason, f"{r}: missing without a reason"
        assert before <= r.time <= after, f"{r}: stamped outside the read"


async def check_line_comes_back(make: MakeDriver, clock: Clock) -> None:
    """After the line was closed, reading either works or says TransientError until the line is opened again."""
    del clock
    driver = make()
    line = driver.make_line()
    await line.open()
    try:
        await driver.read(line)
        await line.close()
        with contextlib.suppress(TransientError):
            await driver.read(line)
        await line.open()
        assert await driver.read(line), "nothing after the line was opened again"
    finally:
        await line.close()


async def _read(driver: Driver, clock: Clock) -> list[Reading]:
    del clock
    line = driver.make_line()
    await line.open()
    try:
        return list(await driver.read(line))
    finally:
        await line.close()


def store_checks() -> list[Callable[[MakeStore], None]]:
    """All checks of a store; `make` gives one, not yet opened, that is empty of the measurement names used here."""
    return [
        check_store_gives_back,
        check_store_repeats,
        check_store_merges,
        check_store_refuses_nonsense,
        check_store_selects,
    ]


_START: Millis = 1_780_000_000_123


def _wq(channel: str, time: Millis, value: float, qc: int = 1, station: str = "check") -> Point:
    fields: Mapping[str, float | int | str | bool] = {"value": value, "qc": qc}
    return Point("wq", {"station": station, "channel": channel, "param": channel}, fields, time)


def _opened(make: MakeStore) -> Store:
    store = make()
    store.open()
    return store


def check_store_gives_back(make: MakeStore) -> None:
    """Numbers come back exactly, to the last bit; times to the millisecond; texts and truth values as they were."""
    values = [0.1, 1e-7, 123456.789, -0.0, 1 / 3, 1e15]
    texts: Mapping[str, float | int | str | bool] = {"state": 'a "b", c=d \\ ñ', "active": True, "occurrence": 7}
    store = _opened(make)
    store.write([_wq("ph", _START + i, v) for i, v in enumerate(values)])
    store.write([Point("alarm", {"station": "check", "alarm": "a b,c=d"}, texts, _START)])
    back = store.read("wq", {"station": "check", "channel": "ph"}, _START, _START + 100)
    alarm = store.read("alarm", {"station": "check"}, _START, _START + 1)
    store.close()
    assert [p.fields["value"] for p in back] == values, f"wrote {values}, read {back}"
    assert [p.time for p in back] == [_START + i for i in range(len(values))], "times differ"
    assert [dict(p.fields) for p in alarm] == [dict(texts)], f"wrote {texts}, read {alarm}"


def check_store_repeats(make: MakeStore) -> None:
    """Writing a point again changes nothing."""
    store = _opened(make)
    for _ in range(3):
        store.write([_wq("repeat", _START, 1.5), _wq("repeat", _START + 1, 2.5)])
    back = store.read("wq", {"channel": "repeat"}, _START, _START + 10)
    store.close()
    assert [p.fields["value"] for p in back] == [1.5, 2.5], f"read {back}"


def check_store_merges(make: MakeStore) -> None:
    """A later write of the same identity wins."""
    store = _opened(make)
    store.write([_wq("merge", _START, 1.5, qc=2)])
    store.write([_wq("merge", _START, 1.75, qc=1)])
    back = store.read("wq", {"channel": "merge"}, _START, _START + 1)
    store.close()
    assert [(p.fields["value"], p.fields["qc"]) for p in back] == [(1.75, 1)], f"read {back}"


def check_store_refuses_nonsense(make: MakeStore) -> None:
    """A number that is not finite is refused as permanent, and the store goes on."""
    store = _opened(make)
    for bad in (math.nan, math.inf):
        try:
            store.write([_wq("nonsense", _START, bad)])
        except StoreRefused:
            continue
        except EwarnError as error:
            raise AssertionError(f"{bad} gave {error!r} instead of StoreRefused") from error
        raise AssertionError(f"{bad} was taken")
    store.write([_wq("nonsense", _START, 1.0)])
    back = store.read("wq", {"channel": "nonsense"}, _START, _START + 1)
    store.close()
    assert [p.fields["value"] for p in back] == [1.0], f"read {back}"


def check_store_selects(make: MakeStore) -> None:
    """Reading keeps to the measurement, the tags and the half-open interval."""
    store = _opened(make)
    store.write([_wq("select", _START + i, float(i)) for i in range(5)])
    store.write([_wq("select", _START + 2, 99.0, station="other"), _wq("elsewhere", _START + 2, 98.0)])
    back = store.read("wq", {"station": "check", "channel": "select"}, _START + 1, _START + 4)
    none = store.read("wq", {"channel": "select' OR 1=1 --"}, _START, _START + 10)
    store.close()
    assert [p.fields["value"] for p in back] == [1.0, 2.0, 3.0], f"read {back}"
    assert not none, "a tag value was taken for a query"
