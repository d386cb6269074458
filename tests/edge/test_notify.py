"""sd_notify, without systemd."""

import os
import socket
import time

import pytest
from manager import Manager

from ewarn.edge.notify import Notifier


def until(condition, limit=5.0):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_assignments_arrive_as_one_message(tmp_path):
    with Manager(tmp_path) as manager:
        Notifier(manager.environment()).say("STATUS=all deliver", "WATCHDOG=1")
        until(lambda: manager.heard)
        assert manager.heard[0][1] == "STATUS=all deliver\nWATCHDOG=1"


def test_an_abstract_socket_is_an_address_too():
    name = f"ewarn-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name)
        listening.settimeout(5)
        Notifier({"NOTIFY_SOCKET": "@" + name}).say("READY=1")
        assert listening.recv(100) == b"READY=1"


def test_where_nobody_listens_nothing_is_said_and_nothing_fails(tmp_path):
    Notifier({}).say("READY=1")
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).say("READY=1")


def test_a_manager_that_does_not_read_holds_nothing_up(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "notify"))
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        for _ in range(1000):
            notifier.say("X" * 1000)


@pytest.mark.parametrize(("environment", "seconds"), [
    ({"WATCHDOG_USEC": "30000000"}, 30.0),
    ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
    ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0.0),
    ({"WATCHDOG_USEC": "soon"}, 0.0),
    ({}, 0.0),
])  # fmt: skip
def test_how_long_the_manager_waits(environment, seconds):
    assert Notifier(environment).watchdog == seconds
