"""A station on synthetic water."""

from pathlib import Path

import pytest
from synthetic import PROBES, Water

from ewarn.config import station_from
from ewarn.registry import load_detectors


@pytest.fixture
def water():
    return Water()


@pytest.fixture
def station():
    return station_from(
        {
            "station": {"id": "test-1"},
            "lines": {"x": {"kind": "tcp", "host": "127.0.0.1", "port": 1}},
            "probes": [{"id": p, "driver": "modbus", "line": "x", "channels": c} for p, c in PROBES.items()],
            "detection": {"warmup": "4h"},
        },
        Path("test.toml"),
    )


@pytest.fixture
def detectors(station):
    return lambda: load_detectors(station)
