"""Points as InfluxDB's line protocol, precision milliseconds.

Source: InfluxDB v2 documentation, "Line protocol". Points are as `rules.normal` leaves them: names need no escape, tag
values are not empty, one line, and without a backslash at the end.
"""

from __future__ import annotations

from collections.abc import Iterable

from ewarn.contracts import Point

_TAG = str.maketrans({",": r"\,", "=": r"\=", " ": r"\ "})
_TEXT = str.maketrans({'"': r"\"", "\\": r"\\"})


def encode(points: Iterable[Point]) -> bytes:
    """One line a point."""
    return "\n".join(map(line, points)).encode()


def line(point: Point) -> str:
    r"""One point.

    >>> line(Point("wq", {"station": "a b"}, {"value": 7.25, "qc": 1}, 1767225600123))
    'wq,station=a\\ b value=7.25,qc=1i 1767225600123'
    """
    tags = "".join(f",{name}={value.translate(_TAG)}" for name, value in sorted(point.tags.items()))
    fields = ",".join(f"{name}={_field(value)}" for name, value in point.fields.items())
    return f"{point.measurement}{tags} {fields} {point.time}"


def _field(value: float | str) -> str:
    """A float is written so that reading it gives the same bits; the suffix `i` alone makes an integer."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value}i"
    if isinstance(value, float):
        return repr(value)
    return f'"{value.translate(_TEXT)}"'
