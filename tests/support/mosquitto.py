"""A real broker that tests may kill, freeze and configure."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from ewarn.config import BrokerTable

PROGRAM = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
BASE = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 100000
max_packet_size 262144
"""


class Mosquitto:
    """Runs on one free port, over restarts."""

    def __init__(self, folder: Path, extra: str = ""):
        if PROGRAM is None:
            pytest.skip("mosquitto is not installed")
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.conf = folder / "mosquitto.conf"
        self.configure(extra)
        self.process = None

    def configure(self, extra):
        user = "user root\n" if os.getuid() == 0 else ""
        self.conf.write_text(BASE.format(port=self.port) + user + extra)

    def settings(self, **changes):
        return BrokerTable(**{"host": "127.0.0.1", "port": self.port, "insecure": True} | changes)

    def start(self):
        self.process = subprocess.Popen(
            [PROGRAM, "-c", str(self.conf)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return self
        raise AssertionError("mosquitto does not listen")

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def restart(self):
        self.kill()
        return self.start()
