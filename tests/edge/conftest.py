"""A station that tests hold in their hands, and whose pauses are short."""

import pytest
from house import House

from ewarn import mqtt
from ewarn.edge import acquisition, daemon, recorder


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(acquisition, "REST_S", 0.3)
    monkeypatch.setattr(acquisition, "BACKOFF_MOST_S", 0.2)
    monkeypatch.setattr(mqtt, "MAX_BACKOFF", 0.3)
    monkeypatch.setattr(recorder, "RETRY_S", 0.05)
    monkeypatch.setattr(daemon, "_HEALTH_S", 0.1)


@pytest.fixture
async def house(tmp_path):
    home = House(tmp_path)
    async with home.gateway:
        yield home
