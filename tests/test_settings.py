"""Station and central files: what is right is taken, what is wrong is named."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from ewarn.config import central_from, load_station, station_from
from ewarn.errors import ConfigError
from ewarn.mqtt import Link

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
    assert [d.name for d in made.detectors] == ["residual"]


def test_limits_of_quality_control_are_given_or_left_to_be_learned():
    made = station_from(station(), FILE).channels["ph"]
    assert (made.spike, made.rate, made.flat_after, made.attenuated, made.climatology, made.neighbour) == (None,) * 6
    assert (made.flat_fail, made.attenuated_fail, made.attenuated_window, made.attenuated_by) == (0, None, 21600, "std")
    given = {
        "flat_after": "0s", "flat_fail": "2h", "attenuated": 0.1, "attenuated_by": "range", "neighbour": 0.2,
        "climatology": [{"span": [6, 8], "months": [11, 2]}],
    }  # fmt: skip
    ph = station_from(station(channels__ph=given), FILE).channels["ph"]
    assert (ph.flat_after, ph.flat_fail, ph.attenuated, ph.attenuated_by, ph.neighbour) == (0, 7200, 0.1, "range", 0.2)
    assert (ph.climatology[0].span, ph.climatology[0].months, ph.climatology[0].hours) == ((6, 8), (11, 2), (0, 23))


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
    "no host": ({"broker__host": ""}, "broker.host", "MQTT broker"),
    "no keepalive": ({"broker__keepalive": "0s"}, "broker.keepalive", '"1s" to'),
    "long keepalive": ({"broker__keepalive": "65536s"}, "broker.keepalive", '"1s" to'),
    "no baud": ({"lines__rs485": {"kind": "serial", "device": "/dev/x", "baud": 0}}, "lines.rs485.baud", "as 9600"),
    "no spike": ({"channels__ph__spike": 0.0}, "channels.ph.spike", "leave it out"),
    "no rate": ({"channels__ph__rate": -0.1}, "channels.ph.rate", "leave it out"),
    "nan rate": ({"channels__ph__rate": float("nan")}, "channels.ph.rate", "leave it out"),
    "endless step": ({"channels__ph__resolution": float("inf")}, "channels.ph.resolution", "smallest step"),
    "no pace": ({"channels__ph__every": "0s"}, "channels.ph.every", "leave it out"),
    "nan span": ({"channels__ph__suspect_span": [float("nan"), 9]}, "channels.ph.suspect_span", "low, high"),
    "no floor": ({"channels__ph__attenuated": 0.0}, "channels.ph.attenuated", "leave it out"),
    "negative floor": ({"channels__ph__attenuated_fail": -1.0}, "channels.ph.attenuated_fail", "leave it out"),
    "narrow window": (
        {"channels__ph": {"attenuated": 0.1, "attenuated_window": "9m"}}, "channels.ph.attenuated_window", "10 intervals"
    ),
    "no such spread": ({"channels__ph__attenuated_by": "mad"}, "channels.ph.attenuated_by", "'range', 'std'"),
    "negative standstill": ({"channels__ph__flat_fail": "-1h"}, "channels.ph.flat_fail", "15s"),
    "no tolerance": ({"channels__ph__neighbour": float("inf")}, "channels.ph.neighbour", "leave it out"),
    "empty climate": ({"channels__ph__climatology": [{"span": [8, 8]}]}, "channels.ph.climatology[0].span", "low, high"),
    "month 13": (
        {"channels__ph__climatology": [{"span": [6, 8]}, {"span": [6, 8], "months": [1, 13]}]},
        "channels.ph.climatology[1].months",
        "two of 1 to 12",
    ),
    "hour 24": (
        {"channels__ph__climatology": [{"span": [6, 8], "hours": [24, 3]}]}, "channels.ph.climatology[0].hours", "0 to 23"
    ),
    "climate without values": (
        {"channels__ph__climatology": [{"hours": [0, 3]}]}, "channels.ph.climatology[0].span", "required"
    ),
    "too many steps": ({"detection__of_steps": 1001}, "detection.of_steps", "at most 1000"),
    "no silence": ({"detection__silence": "0s"}, "detection.silence", "5m"),
    "negative history": ({"station__history": "-1d"}, "station.history", "7d"),
    "negative warmup": ({"detection__warmup": "-1s"}, "detection.warmup", "15s"),
    "negative delay": ({"detection__off_delay": "-1s"}, "detection.off_delay", "15s"),
    "no end": ({"detection__hold": "9999999d"}, "detection.hold", "100 years"),
    "channel twice": ({"probes__0__channels": ["ph", "do", "ph"]}, "probes[0].channels[2]", "its own"),
    "folder of zones": ({"station__time_zone": "America"}, "station.time_zone", "IANA"),
    "size without unit": ({"station__outbox": 512}, "station.outbox", '"512MB"'),
    "wrong size": ({"station__outbox": "1 pint"}, "station.outbox", "512MB"),
    "no room": ({"station__outbox": "900kB"}, "station.outbox", '"1MB"'),
    "endless zone": ({"station__time_zone": "x" * 9999}, "station.time_zone", "IANA"),
    "zone with a nul": ({"station__time_zone": "UTC\0"}, "station.time_zone", "IANA"),
    "line twice": (
        {"lines__second": {"kind": "tcp", "host": "10.0.0.2", "port": 502, "framing": "rtu"}},
        "lines.second.host",
        "put all probes of it on lines.gateway",
    ),
    "port twice": (
        {"lines__a": {"kind": "serial", "device": "/dev/x"}, "lines__b": {"kind": "serial", "device": "/dev//x"}},
        "lines.b.device",
        "put all probes of it on lines.a",
    ),
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


def test_brackets_without_end(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text(f"a = {'[' * 9999}{']' * 9999}")
    with pytest.raises(ConfigError, match=r"s\.toml: cannot be read: its brackets nest too deeply"):
        load_station(path)


def test_two_lines_to_two_ports_of_one_host():
    second = {"kind": "tcp", "host": "10.0.0.2", "port": 503}
    assert station_from(station(lines__second=second), FILE)


def test_an_error_without_a_file_begins_with_its_key():
    assert str(ConfigError("", "--clock", "'x' is not a clock", "take it")) == "--clock: 'x' is not a clock; take it"
    assert str(ConfigError("a.toml", "", "is not TOML")) == "a.toml: is not TOML"


def test_no_such_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_station(tmp_path / "none.toml")


def central(**changes):
    return {"central": {"name": "main"}, "broker": {"host": "h", "port": 1883, "insecure": True}, **changes}


def test_sizes_have_units():
    assert station_from(station(), FILE).outbox == 512_000_000
    assert station_from(station(station__outbox="1.5GB"), FILE).outbox == 1_500_000_000


def test_a_collector_is_called_as_its_central_where_it_has_no_name_of_its_own():
    assert central_from(central(), FILE).collector == "main"
    assert central_from(central(central={"name": "us", "collector": "us-2"}), FILE).collector == "us-2"


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
        ({"central": {"collector": "main/2"}}, "central.collector"),
        ({"store": {"kind": "influx", "url": "ftp://x", "bucket": "b"}}, "store.url"),
        ({"store": {"kind": "influx", "url": "http://x"}}, "store.bucket"),
        ({"store": {"kind": "influx", "url": "http://x", "bucket": "b", "timeout": "0s"}}, "store.timeout"),
        ({"broker": {"host": "h", "port": 99999, "insecure": True}}, "broker.port"),
        ({"broker": {"host": "", "insecure": True}}, "broker.host"),
        ({"broker": {"host": "h", "insecure": True, "keepalive": "19h"}}, "broker.keepalive"),
    ],
)
def test_wrong_central_is_refused_by_name(changes, key):
    with pytest.raises(ConfigError) as caught:
        central_from(central(**changes), FILE)
    assert caught.value.key == key


@pytest.mark.parametrize(
    ("store", "remedy"),
    [
        ({"kind": "mysql"}, "store.kind: 'mysql' is not allowed; one of: 'sqlite', 'influx'"),
        ({"url": "http://x"}, "store.kind: missing; one of: 'sqlite', 'influx'"),
        ({"kind": "influx", "colour": 1}, "known keys: api, bucket, org, timeout, token_file, url"),
        ({"kind": "sqlite", "colour": 1}, "known keys: path"),
    ],
)
def test_what_a_store_may_be_is_listed(store, remedy):
    with pytest.raises(ConfigError) as caught:
        central_from(central(store=store), FILE)
    assert remedy in str(caught.value)


PEM = ("ca", "cert", "key")


@pytest.fixture
def secured(tmp_path):
    for name in PEM:
        (tmp_path / f"{name}.pem").write_text("not a certificate\n")
    return {"host": "127.0.0.1", **{name: f"{name}.pem" for name in PEM}}


def broker_of(kind, table, folder):
    if kind == "station":
        return station_from(station(broker=table), folder / "s.toml").broker
    return central_from(central(broker=table), folder / "c.toml").broker


@pytest.mark.parametrize("kind", ["station", "central"])
def test_tls_files_start_from_the_folder_of_the_file_that_names_them(kind, secured, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    broker = broker_of(kind, secured, tmp_path)
    assert [getattr(broker, name) for name in PEM] == [str(tmp_path / f"{name}.pem") for name in PEM]
    absolute = {"host": "h", **{name: str(tmp_path / f"{name}.pem") for name in PEM}}
    assert broker_of(kind, absolute, tmp_path / "elsewhere").key == str(tmp_path / "key.pem")


@pytest.mark.parametrize("kind", ["station", "central"])
@pytest.mark.parametrize("name", PEM)
def test_a_tls_file_that_is_not_there_is_named(kind, name, secured, tmp_path):
    path = tmp_path / f"{name}.pem"
    path.unlink()
    with pytest.raises(ConfigError) as caught:
        broker_of(kind, secured, tmp_path)
    assert caught.value.key == f"broker.{name}"
    assert str(path) in caught.value.problem
    assert "insecure = true" in caught.value.remedy
    path.mkdir()
    with pytest.raises(ConfigError, match="Is a directory"):
        broker_of(kind, secured, tmp_path)


def test_a_store_token_may_be_written_later(tmp_path):
    store = {"kind": "influx", "url": "http://x", "bucket": "b", "token_file": "later.token"}
    assert central_from(central(store=store), tmp_path / "c.toml").store.token_file == str(tmp_path / "later.token")


async def problem_of(broker):
    link = Link(broker, "s")
    running = asyncio.create_task(link.run())
    async with asyncio.timeout(20):
        while not link.problem.startswith("TLS"):
            await asyncio.sleep(0.005)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    return link.problem


@pytest.mark.parametrize("name", PEM)
async def test_a_tls_file_that_goes_while_the_link_runs_is_named(name, secured, tmp_path):
    broker = broker_of("station", secured, tmp_path)
    (tmp_path / f"{name}.pem").unlink()
    assert str(tmp_path / f"{name}.pem") in await problem_of(broker)


async def test_a_tls_file_that_is_no_certificate_is_named(secured, tmp_path):
    assert str(tmp_path / "ca.pem") in await problem_of(broker_of("station", secured, tmp_path))
