"""From a probe's bytes to an alert in InfluxDB, every part a process of its own. The oracle is exact."""

import csv
import subprocess
import sys
import time
import uuid

import pytest
import tomli_w
from command import Command

from ewarn.central.stores import open_store
from ewarn.config import central_from, station_from
from ewarn.edge.journal import Journal
from ewarn.lab.demo import (
    DAY_MS,
    STATION,
    DemoOptions,
    central_document,
    past,
    scenario_of,
    station_document,
    wrong_values,
)
from ewarn.times import ScaledClock, SystemClock, to_text
from simulators.scenario import Scenario
from simulators.truth import Truth

SPEED = 60.0
OPTIONS = DemoOptions(seed=4, speed=SPEED, every=20.0, normal_min=14.0, event_min=20.0)


@pytest.fixture
def start(tmp_path):
    running = []

    def begin(*args):
        running.append(Command(tmp_path, *args))
        return running[-1]

    yield begin
    for process in running:
        process.kill()


def wait_for(condition, what, seconds=60.0):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"no {what} within {seconds} s"
        time.sleep(0.2)
    return found


def write(path, document):
    path.write_text(tomli_w.dumps(document))
    return path


@pytest.mark.broker
@pytest.mark.influx
def test_from_a_probes_bytes_to_an_alert_in_influxdb(tmp_path, start, broker, influxd, v2_proxy, token_file):
    bucket = uuid.uuid4().hex
    influxd.create(bucket)
    store_table = {"kind": "influx", "url": v2_proxy, "bucket": bucket, "org": "any", "token_file": str(token_file)}
    central_file = write(tmp_path / "central.toml", central_document(broker.port) | {"store": store_table})

    begin = SystemClock().now() // 60_000 * 60_000
    document = scenario_of(OPTIONS)
    document["scenario"]["start"] = to_text(begin)
    scenario_file = write(tmp_path / "scenario.toml", document)
    truth = Truth(Scenario.load(scenario_file))
    clock = str(ScaledClock(begin, speed=SPEED))
    endpoints = start("simulate", scenario_file, "--clock", clock).first_line()["endpoints"]

    station_file = write(tmp_path / "station.toml", station_document(OPTIONS, endpoints, broker.port))
    station = station_from(station_document(OPTIONS, endpoints, broker.port), station_file)
    give_history(tmp_path, station_file, station, truth, begin)

    collector = start("collect", central_file, "--clock", clock)
    edge = start("run", station_file, "--clock", clock)
    store = open_store(central_from(central_document(broker.port) | {"store": store_table}, central_file).store)
    store.open()

    def read(measurement, **tags):
        return store.read(measurement, {"station": STATION, **tags}, begin - DAY_MS, begin + DAY_MS)

    wait_for(lambda: read("alarm", alarm="contamination"), "alert")
    time.sleep(3)
    edge.stop()
    collector.stop()

    with Journal.open(station.data / "station.sqlite", boot="look", now=begin) as journal:
        accepted = {(channel, moment): value for channel, moment, value in journal.accepted()}
        left = journal.counts().outbox_rows
    stored = {(p.tags["channel"], p.time): p.fields.get("value") for p in read("wq")}
    alarms = read("alarm")
    store.close()

    assert len(accepted) > 12 * 30
    assert {channel for channel, _ in accepted} == set(station.channels)
    assert stored == accepted
    assert left == 0
    assert wrong_values(station, truth, accepted, SPEED) == []
    ids = [p.fields["id"] for p in alarms]
    assert len(ids) == len(set(ids))
    assert {p.tags["alarm"] for p in alarms} == {"contamination"}
    alert = alarms[0]
    onset = begin + OPTIONS.normal_min * 60_000
    assert onset <= alert.time <= onset + 6 * 60_000
    assert alert.fields["state"] == "UNACK"
    assert "possible contamination" in alert.fields["text_en"]
    assert "posible contaminación" in alert.fields["text_es"]


def give_history(folder, station_file, station, truth, begin):
    """The station's own past, by the command that a person would use."""
    rows = {}
    for reading in past(station, truth, begin):
        rows.setdefault(reading.time, {})[reading.channel] = reading.value
    record = folder / "past.csv"
    with record.open("w", newline="") as f:
        table = csv.writer(f)
        table.writerow(["time", *station.channels])
        table.writerows([to_text(t), *(values[c] for c in station.channels)] for t, values in rows.items())
    result = subprocess.run(
        [sys.executable, "-m", "ewarn", "history", station_file, record], check=True, capture_output=True, text=True
    )
    assert result.stdout.startswith(f"{7 * 1440 * len(station.channels)} readings")
