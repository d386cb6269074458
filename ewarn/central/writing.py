"""Writing so that one bad point costs one point."""

from __future__ import annotations

from collections.abc import Sequence

from ewarn.contracts import Point, Store
from ewarn.errors import StoreRefused, StoreUnavailable

Refused = tuple[Point, str]
"""A point that no attempt will store, and why."""


def write_all(store: Store, points: Sequence[Point], faultless: Point) -> list[Refused]:
    """Store what can be stored; return what the store refuses.

    A refused batch is halved until what is refused stands alone. Writing a point twice is harmless, so after
    StoreUnavailable the whole call is made again: nothing has to be remembered of it.

    A refusal is believed only of a store that takes `faultless`: one that refuses everything (a server that is none,
    a proxy set up wrongly) would else have all data set aside.

    Raises:
        StoreUnavailable: some of the points may be stored, others not.
    """
    refused: list[Refused] = []
    believed = False
    waiting = [points] if points else []
    while waiting:
        part = waiting.pop()
        try:
            store.write(part)
        except StoreRefused as error:
            if not believed:
                _ask(store, faultless)
                believed = True
            if len(part) == 1:
                refused.append((part[0], str(error)))
            else:
                half = len(part) // 2
                waiting += [part[half:], part[:half]]
    return refused


def _ask(store: Store, faultless: Point) -> None:
    try:
        store.write([faultless])
    except StoreRefused as error:
        raise StoreUnavailable(f"it refuses everything: {error}") from error
