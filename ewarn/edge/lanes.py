"""What is on its way: the rows of one kind that one central was sent and has not confirmed. Bookkeeping, no I/O.

A lane remembers at most `WINDOW` rows, whatever the backlog. When they are that many it rests until some are confirmed
or it is time to send some again. Each central has lanes of its own, so that one that never confirms holds up no other;
a message that brings rows to several centrals counts in the lanes of all of them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ewarn.edge.outbox import OutboxRow

WINDOW = 1000
"""Rows of one kind that may wait for one central's confirmation: some of the messages that a collector takes at once
(`ewarn.mqtt.WINDOW`), so that there is room for an alert among them."""
RESEND = 30.0
"""Seconds after which an unconfirmed row is sent again; doubled each time, up to `RESEND_MOST`."""
RESEND_MOST = 3600.0


@dataclass(slots=True)
class _Sent:
    boot: str
    times: int
    due: float


class Lane:
    """The rows of one kind that one central is owed.

    Times are seconds of the machine's monotonic clock.

    Args:
        central: its name.
        window: rows that it remembers.
        resend: seconds after which an unconfirmed row is first sent again.

    Attributes:
        sent: rows that are not confirmed yet, by seq.
    """

    def __init__(self, central: str, window: int, resend: float) -> None:
        self.central, self._window, self._resend = central, window, resend
        self.sent: dict[int, _Sent] = {}
        self._after = 0
        self._rewound = False

    @property
    def full(self) -> bool:
        """Whether no further row may be sent."""
        return len(self.sent) >= self._window

    def place(self, now: float) -> tuple[int, set[int]] | None:
        """After which row to look for those to be sent, and which to leave out; None where there can be none."""
        due = [seq for seq, sent in self.sent.items() if sent.due <= now]
        if self.full and not due:
            return None
        self._rewound = False
        return min([self._after, *(seq - 1 for seq in due)]), self.sent.keys() - set(due)

    def admit(self, rows: Sequence[OutboxRow]) -> list[OutboxRow]:
        """Of rows in order, those that the window has room for."""
        room = self._window - len(self.sent)
        admitted = []
        for row in rows:
            room -= row.seq not in self.sent
            if room < 0:
                break
            admitted.append(row)
        return admitted

    def took(self, rows: Iterable[OutboxRow], now: float, *, own: bool) -> None:
        """The broker has these rows.

        Args:
            rows: in order; those that the central is not owed do not matter.
            now: when.
            own: whether they are what this lane asked for; else they are remembered as far as there is room.
        """
        for row in rows:
            before = self.sent.get(row.seq)
            if self.central in row.owed and (own or before or not self.full):
                times = before.times if before else 0
                due = now + min(self._resend * 2.0 ** min(times, 20), RESEND_MOST)
                self.sent[row.seq] = _Sent(row.boot, times + 1, due)
            if own and not self._rewound:
                self._after = max(self._after, row.seq)

    def settle(self, boot: str, ranges: Sequence[tuple[int, int]]) -> None:
        """The central has these rows."""
        for first, last in ranges:
            # A range may be longer than what was sent, and what was sent longer than the range.
            long = last - first >= len(self.sent)
            numbers = [n for n in self.sent if first <= n <= last] if long else range(first, last + 1)
            for seq in numbers:
                sent = self.sent.get(seq)
                if sent is not None and sent.boot == boot:
                    del self.sent[seq]

    def forget_overdue(self, now: float) -> None:
        """Drop what was due and was not found in the outbox."""
        left = {seq: sent for seq, sent in self.sent.items() if sent.due > now}
        if len(left) < len(self.sent):
            self.sent = left
            self.rewind()

    def rewind(self) -> None:
        """Look again from the first row on: there may be some that were passed by."""
        self._after, self._rewound = 0, True

    def send_again(self) -> None:
        """Everything unconfirmed is due now."""
        for sent in self.sent.values():
            sent.times, sent.due = 0, 0.0
        self.rewind()


class Stream:
    """One kind of row, with a lane for each central.

    Attributes:
        kind: of the rows, and leaf of their topic.
        awake: set when there may be something to send.
        wanted: set when a central may have come back.
        pause: seconds to rest after the next refusal.
    """

    def __init__(self, kind: str, centrals: Iterable[str], window: int, resend: float) -> None:
        self.kind = kind
        self.lanes = deque(Lane(central, window, resend) for central in centrals)
        self.awake, self.wanted = asyncio.Event(), asyncio.Event()
        self.pause = 1.0

    def in_turn(self) -> list[Lane]:
        """The lanes, each time another one first."""
        self.lanes.rotate(-1)
        return list(self.lanes)

    def due(self, otherwise: float) -> float:
        """When the next row is to be sent again."""
        return min((sent.due for lane in self.lanes for sent in lane.sent.values()), default=otherwise)

    def begin_anew(self) -> None:
        """The numbers of rows begin anew: nothing is on its way of those that come."""
        for lane in self.lanes:
            lane.sent.clear()
        self.rewind()

    def rewind(self) -> None:
        """Look again from the first row on."""
        for lane in self.lanes:
            lane.rewind()
        self.awake.set()

    def send_again(self, central: str = "") -> None:
        """Everything unconfirmed (by this central) is due now."""
        for lane in self.lanes:
            if central in ("", lane.central):
                lane.send_again()
        self.wanted.set()
        self.awake.set()

    def took(self, rows: Sequence[OutboxRow], now: float, own: Lane) -> int:
        """The broker has these rows, which this lane asked for. Returns how many it had had before."""
        repeated = sum(any(row.seq in lane.sent for lane in self.lanes) for row in rows)
        for lane in self.lanes:
            lane.took(rows, now, own=lane is own)
        return repeated

    def settle(self, central: str, boot: str, ranges: Sequence[tuple[int, int]]) -> None:
        """This central has these rows."""
        for lane in self.lanes:
            if lane.central == central:
                if lane.full:
                    self.awake.set()
                lane.settle(boot, ranges)
