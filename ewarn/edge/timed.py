"""A detector under a stopwatch: a call that takes too long counts as a failure, as one that raises does."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

TOO_LONG_S = 1.0
"""Seconds that one call of a detector may take; usual ones take a few thousandths of that."""
_METHODS = frozenset({"score_one", "learn_one", "explain_one", "doubt_one", "hold_one"})


class TooSlow(Exception):  # noqa: N818
    """A detector took longer than it may."""


class Stopwatch:
    """Says which detector is at work.

    One pipeline has one; it may be read from another thread.
    """

    def __init__(self) -> None:
        self._at_work: tuple[str, float] | None = None

    def hanging(self, seconds: float) -> str:
        """The detector that has not come back from a call for so long, "" where there is none."""
        name, began = self._at_work or ("", math.inf)
        return name if time.monotonic() - began > seconds else ""

    def timed(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same work; it raises TooSlow after it took too long."""

        def measured(*args: Any) -> Any:
            self._at_work = name, (began := time.monotonic())
            try:
                result = work(*args)
            finally:
                self._at_work = None
            if (took := time.monotonic() - began) > TOO_LONG_S:
                raise TooSlow(f"took {took:.1f} s")
            return result

        return measured


class Timed:
    """A detector whose calls are measured; all else of it is as it is.

    Args:
        name: in the station file.
        detector: of any kind.
        watch: of the pipeline that it works for.
    """

    def __init__(self, name: str, detector: Any, watch: Stopwatch) -> None:
        self._name, self._detector, self._watch = name, detector, watch

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(self._detector, attribute)
        return self._watch.timed(self._name, found) if attribute in _METHODS else found

    def score_one(self, x: dict[str, float]) -> float:
        """See `ewarn.contracts.Detector`."""
        score: float = self.__getattr__("score_one")(x)
        return score

    def learn_one(self, x: dict[str, float]) -> None:
        """See `ewarn.contracts.Detector`."""
        self.__getattr__("learn_one")(x)
