"""Channels of 1 s, 1 min, 2.5 min and 15 min in one station: late, missing, out of order, and away for days."""

import random
from dataclasses import dataclass, field
from itertools import chain, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import MINUTE, T0

from ewarn.config import station_from
from ewarn.contracts import Quality, Reading
from ewarn.core.pipeline import CONTAMINATION, SENSOR, Pipeline
from ewarn.core.sampling import GRACE_S, Sampler
from ewarn.registry import load_detectors

HOUR, DAY = 3_600_000, 86_400_000
PROBES = {"fast": ("1s", ["spcond"]), "sonde": ("60s", ["ph", "do"]), "redox": ("150s", ["orp"]), "lab": ("15m", ["nitrate_n"])}
EVERY = {"spcond": 1_000, "ph": 60_000, "do": 60_000, "orp": 150_000, "nitrate_n": 900_000}
WATER = {"ph": (8.0, 0.02), "spcond": (950.0, 3.0), "do": (8.0, 0.05), "orp": (300.0, 2.0), "nitrate_n": (2.0, 0.03)}
TICK = 5_000


def station(step="60s"):
    return station_from(
        {
            "station": {"id": "mixed"},
            "lines": {"x": {"kind": "tcp", "host": "127.0.0.1", "port": 1}},
            "probes": [
                {"id": p, "driver": "modbus", "line": "x", "every": every, "channels": c}
                for p, (every, c) in PROBES.items()
            ],
            "detection": {"warmup": "2h", "step": step},
        },
        Path("mixed.toml"),
    )


@dataclass
class Feed:
    """What reaches the station: quiet water, read by clocks of their own.

    Attributes:
        seed: of everything.
        span: ms.
        missing: share of reads that give no value.
        late: share that comes up to five minutes late, so out of order.
        away: (begin, end, answered) stretches in ms, in which reads fail, or where not `answered`, are not made at all.
    """

    seed: int
    span: int
    missing: float = 0.0
    late: float = 0.0
    away: list[tuple[int, int, bool]] = field(default_factory=list)
    value: object = None

    def arrivals(self, slowest=1):
        """(instant of arrival, reading), in order of arrival; the channel of 1 s may be thinned to every `slowest` s."""
        rng = random.Random(self.seed)
        found = []
        for channel, usual in EVERY.items():
            every = usual * slowest if channel == "spcond" else usual
            phase = rng.randrange(every)
            for due in range(phase, self.span, every):
                time = T0 + due + rng.randrange(-min(every // 20, 2000), min(every // 20, 2000))
                if (reading := self._read(rng, channel, time)) is not None:
                    delay = rng.randrange(5 * MINUTE) if rng.random() < self.late else rng.randrange(50, 900)
                    found.append((time + delay, reading))
        return sorted(found, key=lambda pair: pair[0])

    def _read(self, rng, channel, time):
        mean, noise = WATER[channel]
        value = time if self.value == "time" else round(mean + rng.gauss(0, noise), 4)
        failed = rng.random() < self.missing
        for begin, end, answered in self.away:
            if begin <= time - T0 < end:
                if not answered:
                    return None
                failed = True
        return Reading(channel, time, None, Quality.MISSING, "no_reply") if failed else Reading(channel, time, value)


def run(target, arrivals, span, *, on=lambda *_: None):
    """Give a pipeline what arrives, with ticks as the daemon makes them. Returns the steps."""
    steps, tick = [], T0
    for now, reading in arrivals:
        while tick < now:
            steps.append(target.tick(tick))
            tick += TICK
        steps.append(target.accept(now, [reading]))
        on(target)
    while tick < T0 + span + MINUTE:
        steps.append(target.tick(tick))
        tick += TICK
    return steps


def judged(steps, feed):
    """Share of the windows outside gaps and after the warm-up that have a probability."""
    verdicts = {-(-v.time // MINUTE): v for step in steps for v in step.verdicts}
    wanted = [
        w for w in range(-(-T0 // MINUTE) + 125, (T0 + feed.span) // MINUTE)
        if not any(b <= w * MINUTE - T0 < e + 2 * MINUTE for b, e, _ in feed.away)
    ]  # fmt: skip
    return sum(w in verdicts and verdicts[w].probability is not None for w in wanted) / len(wanted)


def raised(steps):
    return [a.alarm for step in steps for a in step.alerts if a.alarm in (CONTAMINATION, SENSOR)]


def assert_steady(steps):
    """Every step once and in order; only a gap of more than a day is jumped."""
    windows = [-(-v.time // MINUTE) for step in steps for v in step.verdicts]
    leaps = [later - earlier for earlier, later in pairwise(windows)]
    assert set(leaps) == {1}


FEEDS = {
    "as it should": Feed(1, 8 * HOUR),
    "values missing": Feed(2, 8 * HOUR, missing=0.2),
    "late and out of order": Feed(3, 8 * HOUR, late=0.2),
    "both": Feed(4, 8 * HOUR, missing=0.1, late=0.1),
    "an hour without answers": Feed(5, 8 * HOUR, away=[(4 * HOUR, 5 * HOUR, True)]),
    "an hour without reads": Feed(6, 8 * HOUR, away=[(4 * HOUR, 5 * HOUR, False)]),
}


@pytest.mark.parametrize("name", FEEDS)
def test_quiet_water_of_unequal_cadence_raises_nothing_and_is_judged(name):
    feed, made = FEEDS[name], station()
    steps = run(Pipeline(made, load_detectors(made)), feed.arrivals(), feed.span)
    assert raised(steps) == []
    assert judged(steps, feed) >= 0.95
    assert_steady(steps)


@pytest.mark.parametrize("answered", [True, False])
def test_days_away_raise_nothing_afterwards(answered):
    made = station()
    feed = Feed(7, 4 * DAY, away=[(DAY // 2, 3 * DAY + HOUR, answered)])
    steps = run(Pipeline(made, load_detectors(made)), feed.arrivals(slowest=20), feed.span)
    assert raised(steps) == []
    assert judged(steps, feed) >= 0.95


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**16),
    missing=st.floats(0, 0.3),
    late=st.floats(0, 0.3),
    begin=st.integers(2 * HOUR, 4 * HOUR),
    length=st.integers(0, 2 * HOUR),
    answered=st.booleans(),
)
def test_no_mix_of_mishaps_raises_an_alarm(seed, missing, late, begin, length, answered):
    made = station()
    feed = Feed(seed, 5 * HOUR, missing, late, [(begin, begin + length, answered)])
    steps = run(Pipeline(made, load_detectors(made)), feed.arrivals(slowest=10), feed.span)
    assert raised(steps) == []
    assert judged(steps, feed) >= 0.95
    assert_steady(steps)


def test_one_odd_value_of_a_slow_probe_is_not_said_for_as_long_as_it_is_held():
    made = station()
    pipeline, feed = Pipeline(made, load_detectors(made)), Feed(8, 14 * HOUR)
    arrivals = feed.arrivals(slowest=20)
    odd = [i for i, (_, r) in enumerate(arrivals) if r.channel == "nitrate_n"][48]
    arrivals[odd] = arrivals[odd][0], Reading("nitrate_n", arrivals[odd][1].time, 4.0)
    steps = run(pipeline, arrivals, feed.span)
    assert any(e.channel == "nitrate_n" for s in steps for v in s.verdicts for e in v.evidence)
    assert raised(steps) == []


class Sampled:
    """A sampler in a pipeline's place; its steps are its samples."""

    def __init__(self, made):
        self.sampler = Sampler(made.channels, made.detection.step)

    def accept(self, _now, readings):
        return [s for r in readings for s in self.sampler.accept(r)]

    def tick(self, now):
        return list(self.sampler.tick(now))

    def kept(self):
        return sum(len(c.waiting) for c in self.sampler._columns.values())


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**16),
    missing=st.floats(0, 0.4),
    late=st.floats(0, 0.4),
    step=st.sampled_from([15, 60, 300]),
    away=st.tuples(st.integers(0, HOUR), st.integers(HOUR, 2 * HOUR), st.booleans()),
)
def test_a_sample_shows_what_was_read_in_it_or_is_held_no_longer_than_allowed(seed, missing, late, step, away):
    made, most = station(f"{step}s"), []
    feed = Feed(seed, 3 * HOUR, missing, late, [away], value="time")
    target = Sampled(made)
    samples = list(chain(*run(target, feed.arrivals(), feed.span, on=lambda t: most.append(t.kept()))))
    ends = [-(-s.time // (step * 1000)) * step * 1000 for s in samples]
    assert {later - earlier for earlier, later in pairwise(ends)} == {step * 1000}
    for sample, end in zip(samples, ends, strict=True):
        for channel, read in sample.values.items():
            hold = 1.5 * EVERY[channel] if EVERY[channel] > step * 1000 else step * 1000
            assert end - hold <= read <= end, (channel, sample)
    # A window's values and what comes within the grace after it.
    assert max(most) <= (1.1 * step + GRACE_S) * sum(1000 / every for every in EVERY.values()) + 2 * len(EVERY)


@pytest.mark.parametrize("seed", range(5))
def test_each_channel_is_in_nearly_every_sample(seed):
    """A probe whose answers come after the second's change must not lose to a faster one."""
    feed = Feed(seed, 6 * HOUR)
    samples = list(chain(*run(Sampled(station()), feed.arrivals(), feed.span)))
    for channel in EVERY:
        assert sum(channel in s.values for s in samples[20:]) >= 0.95 * len(samples[20:]), channel


def test_the_same_arrivals_give_the_same_samples():
    feed = Feed(9, 2 * HOUR, missing=0.1, late=0.2)
    one, two = (run(Sampled(station()), feed.arrivals(), feed.span) for _ in range(2))
    assert one == two
