"""Parsers under attack: whatever comes, they give sound values or raise an error of ours, and soon."""

import time
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutate import mutated
from parsers import RTU_FRAMES, TARGETS, digest, mbap, rtu, sound

from drivers._frames import rtu_bodies
from ewarn import wire
from ewarn.errors import EwarnError
from ewarn.times import from_text, to_text

INPUTS = {"station": 4000, "profile": 4000, "record": 6000}
EACH = 10_000
DEADLINE_S = 1.0
"""Of the thread's own time, so that a busy machine makes no difference."""


@pytest.mark.parametrize("name", TARGETS)
def test_random_and_mutated_inputs_bring_nothing_but_errors_of_ours(name):
    _, seeds = TARGETS[name]
    accepted = 0
    for number in range(INPUTS.get(name, EACH)):
        data = mutated(seeds, number)
        began = time.thread_time()
        try:
            accepted += digest(name, data)
        except Exception as error:
            error.add_note(f"{name}, input {number}: {data[:500]!r}")
            raise
        assert time.thread_time() - began < DEADLINE_S, f"{name}, input {number}"
    assert accepted > 20, "inputs that are never taken test nothing"


@pytest.mark.parametrize("name", TARGETS)
def test_what_every_input_was_bent_from_is_taken_itself(name):
    _, seeds = TARGETS[name]
    assert any(digest(name, seed) for seed in seeds)


@given(st.dictionaries(st.text(max_size=8), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["t", "q", "why", "ph"]), inner), max_leaves=8,
)))  # fmt: skip
@settings(deadline=None, max_examples=500)
def test_any_row_is_sound_readings_or_refused(row):
    for extra in ({}, {"t": "2026-01-01T00:00:00Z"}):
        try:
            found = wire.readings_of({**row, **extra})
        except EwarnError:
            continue
        for reading in found:
            sound(reading)


@given(st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat()) | st.text(max_size=40))
@settings(deadline=None, max_examples=500)
def test_an_instant_that_is_taken_can_be_written(text):
    try:
        instant = from_text(text)
    except ValueError:
        return
    assert from_text(to_text(instant)) == instant


@given(st.binary(max_size=30), st.sampled_from(RTU_FRAMES), st.binary(max_size=30))
@settings(deadline=None, max_examples=500)
def test_a_frame_is_found_in_noise_and_noise_is_none(before, frame, after):
    rtu(before + frame + after)
    mbap(before + frame + after)
    bodies = list(rtu_bodies(before + frame + after))
    assert all(body.frame in before + frame + after for body in bodies)
    assert next(rtu_bodies(frame + after)).frame == frame


@pytest.mark.parametrize("bomb", [b" " * 50_000_000, b"[" * 5_000_000, b'{"v":1,"a":"' + b"x" * 50_000_000 + b'"}'])
def test_a_payload_that_unfolds_without_end_is_refused(bomb):
    packed = zlib.compress(bomb, 9)
    assert len(packed) < 100_000
    with pytest.raises(wire.WireError):
        wire.unpack(packed)
