"""A broker for the tests of the edge."""

import pytest
from mosquitto import Mosquitto


@pytest.fixture
def broker(tmp_path):
    broker = Mosquitto(tmp_path)
    yield broker.start()
    broker.kill()
