"""The files in config/ run together, as the README says."""

import json
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from servers import free_port

CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture
def site(tmp_path, broker):
    """A copy of config/ whose ports and links are free."""
    target = tmp_path / "config"
    shutil.copytree(CONFIG, target)
    modbus = free_port()
    for file in target.glob("*.toml"):
        text = file.read_text().replace("15020", str(modbus)).replace("/tmp/ewarn-tty", f"{tmp_path}/tty")
        file.write_text(re.sub(r"port = 1883", f"port = {broker.port}", text))
    return tmp_path


def points(site):
    file = site / "data" / "central" / "central.sqlite"
    if not file.exists():
        return {}
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as db:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'wq'").fetchone():
            return {}
        return dict(db.execute("SELECT channel, COUNT(value) FROM wq GROUP BY channel"))


@pytest.mark.broker
def test_simulate_run_and_collect_work_together(site):
    running = []

    def start(*args):
        running.append(subprocess.Popen(
            [sys.executable, "-m", "ewarn", *args], cwd=site, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ))  # fmt: skip
        return running[-1]

    try:
        ready = json.loads(start("simulate", "config/scenario.toml", "--speed", "60").stdout.readline())
        start("run", "config/station.toml", "--clock", ready["clock"])
        start("collect", "config/central.toml", "--clock", ready["clock"])
        end = time.monotonic() + 45
        while len(points(site)) < 12 or min(points(site).values()) < 3:
            assert time.monotonic() < end, points(site)
            time.sleep(0.3)
    finally:
        for process in reversed(running):
            process.terminate()
        codes = [process.wait(15) for process in running]
        for process in running:
            process.stdout.close()
    assert codes == [0, 0, 0]
