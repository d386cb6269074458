"""Which request a reply answers, where replies do not say so. Pure.

An RTU reply names neither the address that was asked nor the request. All that it tells is its shape: function code and
number of registers, or function code and "exception". What may be assumed of a device, or of a gateway with devices
behind it, is that it has one queue: it answers in the order in which it was asked, late, repeatedly or not at all.

So a ledger is kept of what a unit was asked and has not answered, oldest first. A frame is booked on the *oldest* open
request that it fits, and everything older is struck out with it. By induction a frame is never booked on a later
request than its own: its own is still open, since earlier frames were booked no later than on earlier requests. Hence a
frame that is booked on the newest request is the answer to that request.

A repetition breaks the induction, as its request is struck out already. It comes before the reply to any later request,
so the danger is only in a request of the same shape as the reply heard last; `clear` is False for such a one.

What nothing is known of (what an earlier run of this program asked) stands in the ledger as well, as a request that no
frame fits. Nothing stays longer than FORGET_S: that a reply comes later than that is the one thing ruled out by time.
"""

from __future__ import annotations

from dataclasses import dataclass

FORGET_S = 30.0

Shape = tuple[int, int]
"""Function code and number of registers."""


@dataclass(frozen=True, slots=True)
class _Entry:
    number: int
    shape: Shape | None
    at: float


class Ledger:
    """Open requests of one unit. Times are seconds of any clock that does not run backwards.

    Args:
        now: time.
        repeats: whether replies may come more than once (a transaction id would tell).
    """

    def __init__(self, now: float, *, repeats: bool) -> None:
        self._repeats = repeats
        self._open = [_Entry(0, None, now)]
        self._last: _Entry | None = None
        self._count = 0

    def send(self, shape: Shape, now: float) -> int:
        """Book a request; gives its number."""
        self._count += 1
        self._forget(now)
        self._open.append(_Entry(self._count, shape, now))
        return self._count

    def hear(self, function: int, count: int | None, now: float) -> int | None:
        """Book a frame; gives the number of the request that it is booked on, None where it fits none.

        Args:
            function: of the request (without the exception bit).
            count: registers in it; None for an exception.
            now: time.
        """
        self._forget(now)
        for i, entry in enumerate(self._open):
            if entry.shape is not None and entry.shape == (function, entry.shape[1] if count is None else count):
                del self._open[: i + 1]
                self._last = _Entry(entry.number, entry.shape, now)
                return entry.number
        return None

    def doubt(self, now: float) -> None:
        """Something unknown may be open: a reply had the content of another, or was not the unit's own."""
        if not self._open or self._open[-1].shape is not None:
            self._open.append(_Entry(0, None, now))

    def newest(self, shape: Shape) -> int:
        """Number of the newest request whose reply of this shape may still come, late or once more; 0 where none."""
        last = [self._last] if self._last is not None else []
        return max((e.number for e in [*self._open, *last] if e.shape == shape), default=0)

    def clear(self, shape: Shape, now: float) -> bool:
        """Whether a frame of this shape can be nothing but the answer to a request that is sent next."""
        self._forget(now)
        repeated = self._repeats and self._last is not None and self._last.shape == shape
        return not repeated and all(e.shape is not None and e.shape != shape for e in self._open)

    def _forget(self, now: float) -> None:
        while self._open and now - self._open[0].at > FORGET_S:
            del self._open[0]
        if self._last is not None and now - self._last.at > FORGET_S:
            self._last = None
