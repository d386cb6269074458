"""Rows M: what befalls the way from a probe to the station. Real drivers in the daemon, simulated probes."""

import fcntl
import os
from pathlib import Path

import pytest
from matrix import tries
from proxy import Proxy
from whole import until

from ewarn.contracts import Quality

pytestmark = [pytest.mark.faults, pytest.mark.broker]
MODBUS, ALL = ("sonde", "aquatroll"), ("sonde", "aquatroll", "cabinet")
SLOW = {"every": 2.0, "tolerance": 1200}
"""A value of the poll before would be seen: it is further off than the tolerance."""


def struck(whole, probes, kinds, *, probability=0.5, size=0.0, times=3, clear=None):
    """Strike the lines of these probes until each was struck so often, then let go. Gives seconds to recovery."""
    times = tries(times, 100 * times)
    for probe in probes:
        already = whole.probes.struck(probe)
        whole.probes.strike(probe, probability, size, *kinds)
        until(lambda p=probe, n=already: whole.probes.struck(p) >= n + times, f"{probe} is struck", 60 * times)
    whole.probes.calm()
    if clear:
        clear()
    return whole.recovered()


def test_m1_no_reply_and_replies_later_than_the_timeout(make_whole, record):
    whole = make_whole(**SLOW).start()
    recovery = struck(whole, MODBUS, ["late_reply"], size=1200)
    recovery = max(recovery, struck(whole, MODBUS, ["no_reply", "late_reply"], size=1050))
    record(whole, "no reply, late reply", recovery=recovery)


def test_m2_late_replies_without_transaction_ids(make_whole, record):
    """A gateway that answers 0 for every transaction."""
    with through_proxy(make_whole, **SLOW) as (whole, proxy):
        proxy.rewrite = lambda data: b"\0\0" + data[2:]
        recovery = struck(whole, ["sonde"], ["late_reply"], probability=1.0, size=1200, clear=proxy.let_through)
        record(whole, "late replies with transaction id 0", recovery=recovery)


def test_m3_noise_cut_damaged_split_and_echoed_frames(make_whole, record):
    whole = make_whole(**SLOW).start()
    kinds = ["noise_before", "extra_after", "truncate", "crc", "split", "echo"]
    recovery = struck(whole, ["aquatroll"], kinds, probability=0.2, times=8)
    recovery = max(recovery, struck(whole, ["sonde", "cabinet"], ["truncate", "split"], probability=0.4))
    record(whole, "noise, cut, damaged, split, echoed", recovery=recovery)


def test_m4_wrong_unit_function_and_count(make_whole, record):
    whole = make_whole(**SLOW).start()
    recovery = struck(whole, MODBUS, ["wrong_unit", "wrong_function", "wrong_count"], probability=0.3)
    record(whole, "wrong unit, function, count", recovery=recovery)


def test_m5_exceptions_of_the_device(make_whole, record):
    whole = make_whole(**SLOW).start()
    recovery = struck(whole, MODBUS, ["exception"], size=6)
    for probe in MODBUS:
        whole.probes.strike(probe, 1.0, 2, "exception")
    until(lambda: whole.edge.log.read_text().count("exception 2") >= 2, "refusals are named")
    served, said = whole.probes.served("aquatroll"), whole.edge.log.read_text().count("exception 2")
    accepted = whole.count_accepted()
    until(lambda: whole.count_accepted() > accepted + 60, "cycles go by")
    assert whole.probes.served("aquatroll") - served <= 4
    assert whole.edge.log.read_text().count("exception 2") == said
    whole.probes.calm()
    record(whole, "exceptions 6 and 2", recovery=max(recovery, whole.recovered()))


class through_proxy:  # noqa: N801  (a context)
    """A whole system whose sonde is read through a proxy."""

    def __init__(self, make_whole, **how):
        def change(document, whole):
            self.proxy = Proxy(document["lines"]["sonde"]["port"]).start()
            document["lines"]["sonde"]["port"] = self.proxy.port

        self.whole = make_whole(change=change, **how)

    def __enter__(self):
        return self.whole.start(), self.proxy

    def __exit__(self, *_):
        self.proxy.close()


def test_m6_half_open_reset_and_refused_connections(make_whole, record):
    with through_proxy(make_whole) as (whole, proxy):
        recovery = 0.0
        for fault in ("stalled", "cut_after", "refusing"):
            before = whole.count_accepted()
            setattr(proxy, fault, 50 if fault == "cut_after" else True)
            if fault != "stalled":
                proxy.reset_all()
            opened, gone = proxy.opened, len(missing(whole, "ph"))
            until(lambda n=gone: len(missing(whole, "ph")) >= n + 4, f"the sonde is silent: {fault}")
            assert whole.count_accepted() > before
            assert proxy.opened - opened <= len(missing(whole, "ph")) - gone + 3, "no storm of connections"
            setattr(proxy, fault, False)
            recovery = max(recovery, whole.recovered())
        record(whole, "half-open, reset within a frame, refused", recovery=recovery)


def missing(whole, channel):
    return [p for p in whole.read("wq", channel=channel) if p.fields["qc"] == Quality.MISSING]


def test_m7_serial_port_unplugged_renumbered_and_taken_by_another(make_whole, record):
    whole = make_whole().start()
    device = Path(whole.probes.endpoints["aquatroll"]["device"])
    was = device.readlink()
    whole.probes.stop()
    assert not device.exists()
    until(lambda: len(missing(whole, "orp")) >= 4, "the line is lost")
    near, far = os.openpty()  # takes the number that is free now
    whole.probes.start()
    assert device.readlink() != was
    recovery = whole.recovered()
    whole.edge.end()
    other = os.open(device, os.O_RDWR | os.O_NOCTTY)
    fcntl.flock(other, fcntl.LOCK_EX)
    gone = len(missing(whole, "orp"))
    whole.start_edge()
    until(lambda: len(missing(whole, "orp")) >= gone + 4, "the port is another's")
    for handle in (other, near, far):
        os.close(handle)
    record(whole, "unplugged, renumbered, taken by another", recovery=max(recovery, whole.recovered()))


def eight_on_a_bus(document, folder):
    document["probes"] += [
        {
            "id": f"unit-{n}", "profile": "ysi_exo_modbus", "transport": "rtu", "line": "bus", "unit": n,
            "link": str(folder / "tty-bus"), "sample_period": "0.2s", "channels": ["do_sat"],
        }
        for n in range(1, 9)
    ]  # fmt: skip


def read_the_bus(document, whole):
    document["lines"]["bus"] = {"kind": "serial", **whole.probes.endpoints["unit-1"]}
    document["probes"] += [
        {
            "id": f"unit-{n}", "driver": "modbus", "line": "bus", "profile": "ysi_exo_modbus", "unit": n,
            "channels": {f"do_sat_{n}": "do_sat"}, "every": f"{whole.every}s",
        }
        for n in range(1, 9)
    ]  # fmt: skip


def test_m8_one_of_eight_units_dead(make_whole, record):
    """Its neighbours are read as often as before."""
    whole = make_whole(change=read_the_bus, scenario=eight_on_a_bus, **SLOW).start()
    whole.probes.strike("unit-4", 1.0, 0.0, "no_reply")
    until(lambda: len(missing(whole, "do_sat_4")) >= 3, "it is dead")
    since = whole.clock.now()
    until(lambda: len(missing(whole, "do_sat_4")) >= 15, "cycles go by")
    cycles = (whole.clock.now() - since) / 1000 / whole.every
    for n in (1, 3, 5, 8):
        good = [p for p in whole.read("wq", since, channel=f"do_sat_{n}") if "value" in p.fields]
        assert len(good) >= 0.8 * cycles - 2
    whole.probes.calm()
    record(whole, "one of eight units dead", recovery=whole.recovered())


def test_m9_frozen_value_sentinels_and_numbers_that_are_none(make_whole, record):
    """Frozen and far off in the simulator; not a number, and 0xFFFF, put into the replies on their way."""

    def scenario(document, folder):
        document["sensor_faults"] = [
            {"probe": "aquatroll", "kind": "stuck", "channel": "nitrate_n", "after": "5s"},
            {"probe": "aquatroll", "kind": "offset", "channel": "ph", "after": "5s", "size": 90.0},
        ]

    with through_proxy(make_whole, scenario=scenario, **SLOW) as (whole, proxy):
        until(lambda: flagged(whole, "ph_2", Quality.FAIL), "a value out of range is failed")
        proxy.rewrite = lambda data: data[:9] + b"\xff" * (len(data) - 9) if len(data) > 60 else data
        gone = len(missing(whole, "ph"))
        until(lambda: len(missing(whole, "ph")) >= gone + 3, "no number is no value")
        proxy.rewrite = None
        record(whole, "out of range, frozen, not a number", recovery=whole.recovered())


def flagged(whole, channel, quality):
    return [p for p in whole.read("wq", channel=channel) if p.fields["qc"] == quality and "value" in p.fields]
