"""Which registers are read in which request. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from drivers._frames import Request
from ewarn.profiles import Limits, RegisterKind

_LAST_ADDRESS = 0xFFFF
_MOST_REGISTERS = 125
_LIKELY = 3


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Registers that belong together: they are never split over two requests.

    Attributes:
        register: which table.
        address: of the first, as in the frame (from 0).
        count: how many.
    """

    register: RegisterKind
    address: int
    count: int

    @property
    def end(self) -> int:
        """Address after the last."""
        return self.address + self.count


def plan(unit: int, spans: Iterable[Span], limits: Limits) -> tuple[Request, ...]:
    """Few requests that cover every span, by table and address.

    Spans are joined where at most `max_gap` unused registers lie between them. Where a gap may be read at all, requests
    of equal length are made different by up to that many registers, so that a reply cannot be taken for another's.

    Raises:
        ValueError: a span is longer than one request may be.
    """
    blocks: list[Span] = []
    for span in sorted(set(spans)):
        if span.count > limits.max_registers:
            raise ValueError(f"{span.count} registers at {span.address} belong together, max_registers is less")
        joined = _joined(blocks[-1], span, limits) if blocks else None
        if joined is None:
            blocks.append(span)
        else:
            blocks[-1] = joined
    return tuple(Request(unit, b.register, b.address, b.count) for b in _distinct(blocks, limits))


def _joined(block: Span, span: Span, limits: Limits) -> Span | None:
    """Both in one, where the limits allow it."""
    count = max(block.end, span.end) - block.address
    near = span.register == block.register and span.address - block.end <= limits.max_gap
    return replace(block, count=count) if near and count <= limits.max_registers else None


def _distinct(blocks: Sequence[Span], limits: Limits) -> list[Span]:
    taken: set[tuple[RegisterKind, int]] = set()
    result = []
    for block in blocks:
        longest = min(block.count + limits.max_gap, limits.max_registers, _LAST_ADDRESS + 1 - block.address)
        free = (n for n in range(block.count, longest + 1) if (block.register, n) not in taken)
        chosen = replace(block, count=next(free, block.count))
        taken.add((chosen.register, chosen.count))
        result.append(chosen)
    return result


def challenges(requests: Sequence[Request], ends: Collection[tuple[RegisterKind, int]]) -> tuple[Request, ...]:
    """Reads whose answers cannot be taken for an answer to one of `requests`, the likeliest to be answered first.

    First beginnings of a request that end where a value ends (devices may refuse half a value); then one register;
    then more registers than asked elsewhere; then the other table, which most devices answer with an exception.

    Args:
        requests: all that this unit is asked.
        ends: table and address after the last register of each value.
    """
    used = {r.shape for r in requests}
    first = requests[0]
    other: RegisterKind = "input" if first.register == "holding" else "holding"
    candidates = [
        *(replace(r, count=n) for r in requests for n in range(1, r.count) if (r.register, r.address + n) in ends),
        replace(first, count=1),
        *(replace(first, count=n) for n in range(first.count + 1, _MOST_REGISTERS + 1)),
        replace(first, register=other, count=1),
    ]
    by_shape: dict[tuple[int, int], Request] = {}
    for c in candidates:
        if c.shape not in used and c.address + c.count <= _LAST_ADDRESS + 1:
            by_shape.setdefault(c.shape, c)
    unique = list(by_shape.values())
    return (*unique[:_LIKELY], *unique[_LIKELY:][-1:])
