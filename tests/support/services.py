"""Fixtures: a real broker and real databases, each with its own folder and free ports."""

import os

import pytest
from mosquitto import Mosquitto
from servers import NGINX, TOKEN, FakeServer, Influx, Program, free_port, program


@pytest.fixture
def broker(tmp_path):
    """mosquitto, started; one a test."""
    broker = Mosquitto(tmp_path)
    yield broker.start()
    broker.kill()


@pytest.fixture(scope="session")
def influxd(tmp_path_factory):
    """Debian's InfluxDB 1.x; one for all tests: each makes a database of its own."""
    influx = Influx(tmp_path_factory.mktemp("influxd") / "own")
    influx.start()
    yield influx
    influx.stop()


@pytest.fixture(scope="session")
def v2_proxy(tmp_path_factory, influxd):
    """nginx that makes an InfluxDB 1.x answer /api/v2/write, with a token."""
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    conf = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    conf.write_text(NGINX.format(folder=folder, port=port, influx=influxd.port, token=TOKEN, user=user))
    nginx = Program([program("nginx"), "-p", str(folder), "-c", str(conf), "-e", str(folder / "error.log")], port)
    nginx.start()
    yield f"http://127.0.0.1:{port}"
    nginx.stop()


@pytest.fixture
def token_file(tmp_path):
    """The token that the proxy asks for, in a file."""
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return path


@pytest.fixture
def fake_server():
    """An HTTP server that answers what a test says."""
    server = FakeServer()
    yield server
    server.close()
