"""Points as lines, and InfluxQL's answers as points."""

import json

import pytest

from ewarn.central.stores import influxql
from ewarn.central.stores.line_protocol import encode, line
from ewarn.contracts import Point
from ewarn.errors import StoreUnavailable

LINES = [
    (Point("wq", {}, {"value": 7.0}, 0), "wq value=7.0 0"),
    (Point("wq", {"b": "2", "a": "1"}, {"v": 1}, -5), "wq,a=1,b=2 v=1i -5"),
    (Point("wq", {"a": "x, y=z"}, {"v": True, "w": False}, 1), r"wq,a=x\,\ y\=z v=true,w=false 1"),
    (Point("wq", {"a": "µ"}, {"v": 'say "a\\b"'}, 1), r'wq,a=µ v="say \"a\\b\"" 1'),
    (Point("wq", {}, {"v": 1e-7, "w": 1e22, "x": -0.1}, 1), "wq v=1e-07,w=1e+22,x=-0.1 1"),
    (Point("wq", {"a": "b\\c"}, {"v": ""}, 1), 'wq,a=b\\c v="" 1'),
]


@pytest.mark.parametrize(("point", "text"), LINES)
def test_lines(point, text):
    assert line(point) == text


def test_encode():
    assert encode(point for point, _ in LINES) == "\n".join(text for _, text in LINES).encode()


def test_an_answer():
    document = {
        "results": [
            {
                "series": [
                    {"name": "wq", "tags": {"station": "a", "param": ""}, "columns": ["time", "value", "qc", "why"],
                     "values": [[2, 7, 1, None], [1, 7.5, 3, "spike"]]},
                ]
            },
            {"series": [{"name": "wq", "values": [["value", "float"], ["qc", "integer"], ["why", "string"]]}]},
        ]
    }  # fmt: skip
    points = influxql.answer(json.dumps(document).encode(), "wq")
    assert points == [
        Point("wq", {"station": "a"}, {"value": 7.5, "qc": 3, "why": "spike"}, 1),
        Point("wq", {"station": "a"}, {"value": 7.0, "qc": 1}, 2),
    ]
    assert isinstance(points[1].fields["value"], float)
    assert isinstance(points[1].fields["qc"], int)


@pytest.mark.parametrize("document", [{}, [1], {"results": [1, 2]}, {"error": "no"}, {"results": [{"error": "no"}, {}]}, {"results": [{}]}])
def test_no_answer(document):
    with pytest.raises(StoreUnavailable):
        influxql.answer(json.dumps(document).encode(), "wq")
