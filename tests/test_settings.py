"""Station and central files: what is right is taken, what is wrong is named."""

from pathlib import Path

import pytest

from ewarn.config import central_from, load_station, station_from
from ewarn.errors import ConfigError

FILE = Path("intake.toml")


def station(**changes):
    data = {
        "station": {"id": "mx-nld-intake1"},
        "broker": {"host": "127.0.0.1", "port": 1883, "insecure": True},
        "lines": {"gateway": {"kind": "tcp", "host": "10.0.0.2", "port": 502}},
        "probes": [
            {"id": "sonde", "driver": "modbus", "line": "gateway", "profile": "ysi_exo_modbus", "channels": ["ph"]}
        ],
    }
    for path, value in changes.items():
        *parents, leaf = path.split("__")
        table = data
        for step in parents:
            table = table[int(step)] if isinstance(table, list) else table.setdefault(step, {})
        if value is None:
            del table[leaf]
        else:
            table[leaf] = value
    return data


def test_defaults_are_filled_in():
    made = station_from(station(), FILE)
    ph = made.channels["ph"]
    assert (ph.parameter, ph.unit, ph.role, ph.probe, ph.every, ph.fail_span) == (
        "ph",
        "[pH]",
        "quality",
        "sonde",
        60.0,
        (0, 14),
    )
    assert made.probes[0].options == {"profile": "ysi_exo_modbus"}
    assert [d.name for d in made.detectors] == ["residual", "residual_trees"]


WRONG = {
    "unknown key": ({"station__idd": "x"}, "station.idd", "did you mean 'id'?"),
    "wrong type": ({"station__id": 7}, "station.id", "expected str"),
    "bad id": ({"station__id": "MX/1"}, "station.id", "a-z"),
    "duration without unit": ({"probes__0__every": 15}, "probes[0].every", "15s"),
    "wrong unit": ({"channels__ph__unit": "mV"}, "channels.ph.unit", "'[pH]'"),
    "unknown parameter": ({"probes__0__channels": ["acidity"]}, "channels.acidity.parameter", "one of"),
    "no such line": ({"probes__0__line": "rs485"}, "probes[0].line", "[lines.rs485]"),
    "duplicate probe": ({"probes": [station()["probes"][0], station()["probes"][0]]}, "probes[1].id", "its own"),
    "plain broker": ({"broker__insecure": False}, "broker.ca", "insecure = true"),
    "time zone": ({"station__time_zone": "Mexico/Nowhere"}, "station.time_zone", "IANA"),
    "reserved channel": ({"channels__q__parameter": "ph", "probes__0__channels": {"q": "ph"}}, "channels.q", "id"),
    "centrals twice": ({"station__centrals": ["a", "a"]}, "station.centrals[1]", "its own"),
    "empty span": ({"channels__ph__fail_span": [9, 9]}, "channels.ph.fail_span", "low, high"),
    "choice": ({"lines__gateway__kind": "udp"}, "lines.gateway.kind", "'serial', 'tcp'"),
    "detector without name": ({"detectors": [{"cap": 3}]}, "detectors[0].name", "ewarn plugins"),
    "impossible delay": ({"detection": {"on_steps": 4}}, "detection.on_steps", "on_steps <= of_steps"),
    "channel of no probe": ({"channels__do__spike": 1.0}, "channels.do", "channels are: ph"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_station_is_refused_by_name(name):
    changes, key, remedy = WRONG[name]
    with pytest.raises(ConfigError) as caught:
        station_from(station(**changes), FILE)
    assert caught.value.key == key
    assert remedy in str(caught.value)
    assert str(caught.value).startswith("intake.toml: ")
    assert "\n" not in str(caught.value)


def test_two_probes_with_one_channel_id():
    second = {**station()["probes"][0], "id": "other"}
    with pytest.raises(ConfigError, match=r"channel 'ph' is also of probe 'sonde'; .*ph_2"):
        station_from(station(probes=[station()["probes"][0], second]), FILE)


def test_not_toml_names_file_and_line(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text("[station]\nid = x\n")
    with pytest.raises(ConfigError, match=r"s\.toml: is not TOML.*line 2"):
        load_station(path)


def test_no_such_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_station(tmp_path / "none.toml")


def central(**changes):
    return {"central": {"name": "main"}, "broker": {"host": "h", "port": 1883, "insecure": True}, **changes}


def test_central_store_is_chosen_by_kind():
    made = central_from(
        central(store={"kind": "influx", "url": "http://127.0.0.1:8086", "bucket": "wq", "api": "v1"}), FILE
    )
    assert made.store.api == "v1"


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"central": {"stations": ["+", "mx-nld-intake1"]}}, "central.stations"),
        ({"central": {"stations": ["a", "a"]}}, "central.stations[1]"),
        ({"central": {"stations": []}}, "central.stations"),
        ({"store": {"kind": "influx", "url": "ftp://x", "bucket": "b"}}, "store.url"),
        ({"store": {"kind": "influx", "url": "http://x"}}, "store.bucket"),
        ({"broker": {"host": "h", "port": 99999, "insecure": True}}, "broker.port"),
    ],
)
def test_wrong_central_is_refused_by_name(changes, key):
    with pytest.raises(ConfigError) as caught:
        central_from(central(**changes), FILE)
    assert caught.value.key == key
