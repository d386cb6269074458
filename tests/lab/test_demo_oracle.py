"""The demonstration's judge of values: true ones pass, another channel's do not, however slow the machine was."""

from pathlib import Path

import pytest

from ewarn.config import station_from
from ewarn.lab.demo import DemoOptions, scenario_of, station_document, wrong_values
from simulators.scenario import Scenario
from simulators.truth import Truth

START = 1_780_000_020_000
SPEED = 300.0
ENDS = {"sonde": {"host": "127.0.0.1", "port": 1}, "aquatroll": {"device": "/dev/a"}, "cabinet": {"device": "/dev/b"}}


@pytest.fixture(scope="module")
def parts():
    options = DemoOptions(seed=3)
    truth = Truth(Scenario.from_dict(scenario_of(options), Path("scenario.toml")).with_start(START))
    return station_from(station_document(options, ENDS, 1883), Path("station.toml")), truth


def shown(station, truth, time):
    return {
        (channel, time): truth.value(probe.id, name, time)
        for probe in station.probes
        for channel, name in probe.channels.items()
    }


@pytest.mark.parametrize("read_ms", [0.0, 100.0, 1000.0])
def test_what_the_probes_showed_is_right_and_what_another_channel_showed_is_wrong(parts, read_ms):
    station, truth = parts
    accepted = shown(station, truth, START + 600_000)
    assert wrong_values(station, truth, accepted, SPEED, read_ms) == []
    keys = list(accepted)
    swapped = dict(zip(keys, [*list(accepted.values())[1:], accepted[keys[0]]], strict=True))
    wrong = {channel for channel, _, _ in wrong_values(station, truth, swapped, SPEED, read_ms)}
    assert wrong == set(station.channels)


def test_a_value_of_long_ago_is_wrong(parts):
    station, truth = parts
    old = {(channel, START + 7_200_000): value for (channel, _), value in shown(station, truth, START).items()}
    wrong = {channel for channel, _, _ in wrong_values(station, truth, old, SPEED)}
    assert {"spcond", "turbidity", "orp", "uv254"} & wrong


def test_missing_is_never_wrong(parts):
    station, truth = parts
    assert wrong_values(station, truth, {("ph", START): None}, SPEED) == []
