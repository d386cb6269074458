"""The ledger against a device that remembers which request each of its frames answers."""

import random

import pytest

from drivers._ledger import FORGET_S, Ledger

VALUES = [(3, 4), (3, 2), (4, 4)]
CHALLENGES = [(3, 1), (3, 3), (4, 1)]


class Unit:
    """One queue of frames on their way: (number of the request, function, count)."""

    def __init__(self, rng, *, late, lost, twice, refused):
        self.rng, self.queue, self.late = rng, [], late
        self.lost, self.twice, self.refused = lost, twice, refused

    def ask(self, number, shape):
        function, count = shape
        if self.rng.random() < self.lost:
            return
        refused = shape in self.refused
        frame = (number, function, None if refused else count)
        self.queue += [frame, frame] if self.rng.random() < self.twice else [frame]

    def frames(self):
        """What comes until the time-out: all, or less where it is late."""
        n = len(self.queue)
        if self.rng.random() < self.late:
            n = self.rng.randint(0, n)
        while n:
            n -= 1
            yield self.queue.pop(0)


def run(seed, *, steps=4000, challenges=CHALLENGES, values=VALUES, repeats=True, **faults):
    """As the line does it: a challenge where the ledger is not clear. Gives right and wrong values."""
    rng = random.Random(seed)
    unit, ledger, shapes = Unit(rng, **faults), Ledger(0, repeats=repeats), list(values)
    right = wrong = 0
    for now in range(steps):
        at = now * 1e-3  # nothing is forgotten within a run
        shape = rng.choice(shapes)
        if not ledger.clear(shape, at):
            challenge = min(challenges, key=ledger.newest)
            unit.ask(ledger.send(challenge, at), challenge)
            for _, function, count in unit.frames():
                if ledger.hear(function, count, at) and ledger.clear(shape, at):
                    break
            if not ledger.clear(shape, at):
                continue
        number = ledger.send(shape, at)
        unit.ask(number, shape)
        for true, function, count in unit.frames():
            if ledger.hear(function, count, at) == number:
                right += true == number and count is not None
                wrong += true != number and count is not None
                break
    return right, wrong


NONE = {"late": 0, "lost": 0, "twice": 0, "refused": ()}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("faults", [
    {"late": 0.3}, {"late": 0.8}, {"late": 0.3, "lost": 0.2}, {"lost": 0.5}, {"twice": 0.5}, {"twice": 1, "lost": 0.2},
    {"late": 0.5, "lost": 0.1, "refused": CHALLENGES}, {"late": 0.5, "refused": VALUES[:1]},
])  # fmt: skip
def test_no_frame_is_taken_for_the_answer_to_another_request(seed, faults):
    right, wrong = run(seed, **{**NONE, **faults})
    assert wrong == 0
    assert right > 50


def test_single_request():
    for seed in range(5):
        right, wrong = run(seed, values=[(3, 4)], **{**NONE, "late": 0.5, "lost": 0.1})
        assert (right > 50, wrong) == (True, 0)
        right, wrong = run(seed, values=[(3, 4)], **{**NONE, "twice": 0.5})
        assert (right > 50, wrong) == (True, 0)


def test_repetitions_need_not_be_feared_where_a_transaction_id_tells():
    ledger = Ledger(0, repeats=False)
    ledger.send((3, 1), 0)
    assert ledger.hear(3, 1, 0)
    number = ledger.send((3, 4), 0)
    assert ledger.hear(3, 4, 0) == number
    assert ledger.clear((3, 4), 0)


def test_unknown_past_and_doubt_need_an_answer():
    ledger = Ledger(0, repeats=True)
    for _ in range(2):
        assert not ledger.clear((3, 4), 1)
        number = ledger.send((3, 1), 1)
        assert ledger.hear(3, 2, 1) is None
        assert not ledger.clear((3, 4), 1)
        assert ledger.hear(3, 1, 1) == number
        assert ledger.clear((3, 4), 1)
        assert not ledger.clear((3, 1), 1), "may come once more"
        ledger.doubt(1)
        ledger.doubt(1)


def test_exception_is_booked_on_the_oldest_of_its_function():
    ledger = Ledger(0, repeats=True)
    first, second, third = ledger.send((4, 1), 0), ledger.send((3, 4), 0), ledger.send((3, 1), 0)
    assert first < second < third
    assert ledger.hear(3, None, 0) == second
    assert ledger.hear(4, None, 0) is None, "struck out with it"
    assert ledger.hear(3, None, 0) == third


def test_what_is_old_is_forgotten():
    ledger = Ledger(0, repeats=True)
    ledger.send((3, 4), 10)
    assert not ledger.clear((3, 2), FORGET_S)
    assert ledger.clear((3, 2), FORGET_S + 1)
    assert not ledger.clear((3, 4), FORGET_S + 1)
    assert ledger.clear((3, 4), FORGET_S + 11)
    assert ledger.newest((3, 4)) == 0
