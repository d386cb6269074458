"""What every store takes and refuses. The rules are InfluxDB's, so that changing the store changes nothing else.

- Names of measurements, tags and fields are letters, digits, `_`, `-` and `.`, beginning with a letter.
- A point has a field. Floats are finite, integers have 64 bits, times lie within 1678 to 2261.
- Tag values and texts are one line: control characters become spaces. A tag value cannot end in a backslash, so that
  is cut off; an empty tag is the same as none.
- A field keeps the type that it had first. Each store holds this itself, since it needs memory.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace

from ewarn.contracts import Point
from ewarn.errors import StoreRefused

MAX_TEXT = 65_535
"""Bytes of a text field."""
MAX_TAG = 1000
"""Bytes of a tag value; InfluxDB takes 65,535 for all tags together."""
MAX_TIME = 9_200_000_000_000
"""Milliseconds from 1970 that fit into 64 bits of nanoseconds."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
_CONTROLS = dict.fromkeys((*range(32), 127), " ")
_INT64 = 2**63


def normal(point: Point) -> Point:
    """The point as it is stored. Raises StoreRefused for one that no store can take."""
    for name in (point.measurement, *point.tags, *point.fields):
        if not _NAME.fullmatch(name) or name == "time":
            raise StoreRefused(f"{point.measurement}: {name!r} cannot be a name")
    if not point.fields:
        raise StoreRefused(f"{point.measurement}: a point without fields")
    if abs(point.time) > MAX_TIME:
        raise StoreRefused(f"{point.measurement}: time {point.time} ms is out of range")
    tags = {name: _one_line(value).rstrip("\\") for name, value in sorted(point.tags.items())}
    for name, value in tags.items():
        if len(value.encode()) > MAX_TAG:
            raise StoreRefused(f"{point.measurement}: tag {name} has more than {MAX_TAG} bytes")
    return replace(
        point,
        tags={name: value for name, value in tags.items() if value},
        fields={name: _field(f"{point.measurement}.{name}", value) for name, value in point.fields.items()},
    )


def kind(value: float | str) -> str:
    """Type of a field, as InfluxDB calls it."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    return "float" if isinstance(value, float) else "string"


def _field(name: str, value: float | str) -> float | int | str | bool:
    if isinstance(value, float) and not math.isfinite(value):
        raise StoreRefused(f"{name}: {value} is not a number that a database takes")
    if isinstance(value, int) and not -_INT64 <= value < _INT64:
        raise StoreRefused(f"{name}: {value} has more than 64 bits")
    if not isinstance(value, str):
        return value
    text = _one_line(value)
    if len(text.encode()) > MAX_TEXT:
        raise StoreRefused(f"{name}: the text has more than {MAX_TEXT} bytes")
    return text


def _one_line(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise StoreRefused(f"{text!r} is not text: {error.reason}") from error
    return text.translate(_CONTROLS)
