"""What is on its way to a central: bounded, in order, sent again when it is time, and no central waits for another."""

import random
from itertools import pairwise

from ewarn.edge.lanes import RESEND_MOST, Lane, Stream
from ewarn.edge.outbox import OutboxRow

RESEND = 10.0


def row(seq, *owed):
    return OutboxRow(seq, "b1", "obs", seq, {}, frozenset(owed or ("mx",)))


def rows(first, last, *owed):
    return [row(seq, *owed) for seq in range(first, last + 1)]


class Outbox:
    """What the journal does for a lane."""

    def __init__(self, count, *owed):
        self.rows = {r.seq: r for r in rows(1, count, *owed)}

    def batch(self, lane, place, limit=7):
        after, skip = place
        found = [r for r in self.rows.values() if r.seq > after and r.seq not in skip and lane.central in r.owed]
        return sorted(found, key=lambda r: r.seq)[:limit]


def pump(outbox, stream, now):
    """One message; the seqs in it."""
    for lane in stream.in_turn():
        place = lane.place(now)
        if place is None:
            continue
        admitted = lane.admit(outbox.batch(lane, place))
        if admitted:
            stream.took(admitted, now, lane)
            return [r.seq for r in admitted]
        lane.forget_overdue(now)
    return []


def drain(outbox, stream, now):
    sent = []
    while message := pump(outbox, stream, now):
        sent += message
    return sent


def test_a_lane_remembers_no_more_than_its_window_and_rests_until_some_are_confirmed():
    outbox, stream = Outbox(1000), Stream("obs", ["mx"], 50, RESEND)
    assert drain(outbox, stream, 0.0) == list(range(1, 51))
    assert stream.lanes[0].full
    stream.awake.clear()
    stream.settle("mx", "b1", [(1, 20)])
    assert stream.awake.is_set()
    for seq in range(1, 21):
        del outbox.rows[seq]
    assert drain(outbox, stream, 1.0) == list(range(51, 71))
    assert len(stream.lanes[0].sent) == 50


def test_what_is_not_confirmed_is_sent_again_less_and_less_often():
    outbox, stream = Outbox(3), Stream("obs", ["mx"], 50, RESEND)
    times, now = [], 0.0
    while now < 20_000:
        if drain(outbox, stream, now):
            times.append(now)
        now = max(now + 1, stream.due(now + 1))
    waits = [b - a for a, b in pairwise(times)]
    assert waits[:4] == [10, 20, 40, 80]
    assert waits[-1] == RESEND_MOST


def test_a_full_lane_sends_again_what_is_due_and_nothing_new():
    outbox, stream = Outbox(1000), Stream("obs", ["mx"], 50, RESEND)
    drain(outbox, stream, 0.0)
    assert drain(outbox, stream, RESEND) == list(range(1, 51))
    assert len(stream.lanes[0].sent) == 50


def test_a_central_that_never_confirms_holds_up_no_other():
    outbox, stream = Outbox(500, "mx", "us"), Stream("obs", ["mx", "us"], 50, RESEND)
    sent = []
    for now in range(200):
        for seq in (message := pump(outbox, stream, now / 1000)):
            outbox.rows[seq] = row(seq, "mx")
        sent += message
        stream.settle("us", "b1", [(1, 10**6)])
    assert sorted(set(sent)) == list(range(1, 501))
    assert len(sent) <= 550
    assert {lane.central: len(lane.sent) for lane in stream.lanes} == {"mx": 50, "us": 0}


def test_what_reaches_two_centrals_by_one_message_is_not_sent_twice():
    outbox, stream = Outbox(40, "mx", "us"), Stream("obs", ["mx", "us"], 50, RESEND)
    assert drain(outbox, stream, 0.0) == list(range(1, 41))
    assert all(len(lane.sent) == 40 for lane in stream.lanes)


def test_a_central_that_comes_back_is_sent_at_once_what_it_is_owed_and_the_others_nothing():
    outbox, stream = Outbox(40, "mx", "us"), Stream("obs", ["mx", "us"], 50, RESEND)
    drain(outbox, stream, 0.0)
    outbox.rows = {seq: row(seq, "us") for seq in range(10, 41)}
    stream.settle("mx", "b1", [(1, 40)])
    stream.send_again("us")
    assert drain(outbox, stream, 0.1) == list(range(10, 41))


def test_rows_that_come_back_below_what_was_sent_are_found():
    outbox, stream = Outbox(100), Stream("obs", ["mx"], 500, RESEND)
    low = {seq: outbox.rows.pop(seq) for seq in range(1, 31)}
    drain(outbox, stream, 0.0)
    outbox.rows |= low
    assert drain(outbox, stream, 0.0) == []
    stream.rewind()
    assert drain(outbox, stream, 0.0) == list(range(1, 31))


def test_a_rewind_while_a_message_is_under_way_is_not_lost():
    outbox, lane = Outbox(100), Lane("mx", 500, RESEND)
    low = {seq: outbox.rows.pop(seq) for seq in range(1, 31)}
    batch = lane.admit(outbox.batch(lane, lane.place(0.0)))
    outbox.rows |= low
    lane.rewind()
    lane.took(batch, 0.0, own=True)
    assert [r.seq for r in outbox.batch(lane, lane.place(0.0))] == list(range(1, 8))


def test_a_full_lane_whose_rows_left_the_outbox_goes_on():
    outbox, stream = Outbox(300), Stream("obs", ["mx"], 50, RESEND)
    drain(outbox, stream, 0.0)
    for seq in range(1, 51):
        del outbox.rows[seq]
    assert drain(outbox, stream, RESEND) == []
    assert drain(outbox, stream, RESEND) == list(range(51, 101))


def test_of_another_boot_nothing_is_confirmed():
    outbox, stream = Outbox(5), Stream("obs", ["mx"], 50, RESEND)
    drain(outbox, stream, 0.0)
    stream.settle("mx", "b0", [(1, 5)])
    stream.settle("us", "b1", [(1, 5)])
    assert len(stream.lanes[0].sent) == 5


def test_whatever_is_lost_and_confirmed_everything_arrives_in_the_end_within_the_window():
    rng = random.Random(5)
    for _ in range(30):
        centrals = ["mx", "us"][: rng.choice([1, 2])]
        outbox, stream = Outbox(200, *centrals), Stream("obs", centrals, 30, RESEND)
        owed = {seq: set(centrals) for seq in outbox.rows}
        now = 0.0
        while outbox.rows and now < 10**6:
            message = pump(outbox, stream, now)
            for central in centrals:
                heard = [seq for seq in message if rng.random() < 0.6]
                stream.settle(central, "b1", [(seq, seq) for seq in heard])
                for seq in heard:
                    owed[seq].discard(central)
            for seq in message:
                outbox.rows.pop(seq, None)
                if owed[seq]:
                    outbox.rows[seq] = row(seq, *owed[seq])
            if rng.random() < 0.05:
                stream.send_again(rng.choice(["", *centrals]))
            assert all(len(lane.sent) <= 30 for lane in stream.lanes)
            now = now + 0.1 if message else max(now + 0.1, stream.due(now))
        assert outbox.rows == {}
