"""Reading back by InfluxQL, which InfluxDB 1.x, 2.x and 3.x all answer on `/query`: questions and answers, no I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ewarn.central.stores.rules import kind
from ewarn.contracts import Millis, Point
from ewarn.errors import StoreUnavailable


def question(measurement: str, tags: Mapping[str, str], start: Millis, end: Millis) -> dict[str, str]:
    """Parameters of a request for points and the types of their fields; tag values are bound, not quoted."""
    wanted = "".join(f' AND "{name}" = $tag{i}' for i, name in enumerate(tags))
    return {
        "q": f'SELECT * FROM "{measurement}" WHERE time >= {start}ms AND time < {end}ms{wanted} GROUP BY *; '  # noqa: S608
        f'SHOW FIELD KEYS FROM "{measurement}"',
        "params": json.dumps({f"tag{i}": value for i, value in enumerate(tags.values())}),
        "epoch": "ms",
    }


def answer(body: bytes, measurement: str) -> list[Point]:
    """The points of an answer to `question`, by time. Raises StoreUnavailable where it is an error or no answer."""
    try:
        return _read(json.loads(body), measurement)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise StoreUnavailable(f"what answers is no InfluxDB: {error!r}") from error


def _read(document: dict[str, Any], measurement: str) -> list[Point]:
    results = document.get("results", [])
    problem = document.get("error") or next((r["error"] for r in results if "error" in r), None)
    if problem or len(results) != 2:
        raise StoreUnavailable(f"the database cannot answer: {problem or 'no result'}")
    kinds = {name: is_kind for s in results[1].get("series", []) for name, is_kind in s["values"]}
    points = [p for s in results[0].get("series", []) for p in _points(s, measurement, kinds)]
    return sorted(points, key=lambda p: p.time)


def _points(series: dict[str, Any], measurement: str, kinds: Mapping[str, str]) -> list[Point]:
    tags = {name: value for name, value in series.get("tags", {}).items() if value}
    names = series["columns"][1:]
    points = []
    for time, *values in series["values"]:
        present = {n: v for n, v in zip(names, values, strict=True) if v is not None}
        points.append(Point(measurement, tags, {n: _typed(v, kinds.get(n)) for n, v in present.items()}, time))
    return points


def _typed(value: float | str | bool, is_kind: str | None) -> float | int | str | bool:
    """JSON writes 1.0 as 1: only the field's type tells them apart."""
    return float(value) if is_kind == "float" and kind(value) == "integer" else value
