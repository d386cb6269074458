"""Rows N: what befalls the way from the station to its central."""

import signal

import pytest
from centre import JUNK
from matrix import tries
from paho.mqtt import publish
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from proxy import Proxy
from whole import until

from ewarn import wire
from ewarn.contracts import Quality, Reading
from ewarn.core.pipeline import Step
from ewarn.edge.journal import Journal
from ewarn.lab.demo import STATION
from ewarn.times import from_text

pytestmark = [pytest.mark.faults, pytest.mark.broker]


def test_n1_broker_down_at_the_start_and_again_and_flapping(make_whole, record):
    whole = make_whole()
    whole.probes.start()
    whole.write_station()
    whole.start_edge()
    whole.start_collector()
    until(lambda: whole.waiting() > 20, "the station reads without a broker")
    whole.broker.start()
    recovery = whole.recovered()
    flaps = tries(4, 100)
    for _ in range(flaps):
        whole.broker.kill()
        before = whole.count_accepted()
        until(lambda n=before: whole.count_accepted() > n + 12, "the station reads on")
        whole.broker.start()
        until(lambda: whole.edge.running and whole.collector.running, "both live")
    recovery = max(recovery, whole.recovered())
    record(whole, "broker down at the start, flapping", tries=flaps, recovery=recovery)


def impatient(document, whole):
    document["broker"]["keepalive"] = "3s"


def test_n2_broker_frozen(make_whole, record):
    whole = make_whole(change=impatient).start()
    whole.broker.signal(signal.SIGSTOP)
    try:
        until(lambda: whole.edge.says("no connection"), "it is noticed")
        before = whole.count_accepted()
        until(lambda: whole.count_accepted() > before + 30, "the station reads on")
    finally:
        whole.broker.signal(signal.SIGCONT)
    record(whole, "broker frozen", recovery=whole.recovered())


def test_n3_broker_killed_after_its_acknowledgement(make_whole, record):
    """The collector is frozen, so the broker has acknowledged what it then loses; and at random moments."""
    fault = "kill -9 of the broker"
    left = record.left(fault, tries(5, 100))
    whole = make_whole().start()
    recovery = 0
    for _ in range(left):
        whole.collector.signal(signal.SIGSTOP)
        before = whole.count_accepted()
        until(lambda b=before: whole.count_accepted() > b + 12, "some go to the broker alone")
        whole.broker.kill()
        whole.collector.signal(signal.SIGCONT)
        whole.broker.start()
        recovery = max(recovery, whole.recovered())
    record(whole, fault, tries=left, recovery=recovery)


def test_n4_refused_by_rights_and_by_name(make_whole, record):
    """What is refused waits, an alarm tells of it. Certificates are tested with the link: tests/test_mqtt_link.py."""
    whole = make_whole().start()
    rights = whole.folder / "acl"
    rights.write_text(f"topic readwrite #\ntopic deny ewarn/v1/{STATION}/obs\n")
    whole.broker.configure(f"acl_file {rights}\n")
    whole.broker.restart()
    until(lambda: whole.read("alarm", alarm="health-link"), "the refusal is an alarm")
    whole.broker.configure("")
    whole.broker.restart()
    recovery = whole.recovered()
    (whole.folder / "passwords").write_text("")
    refusing = f"password_file {whole.folder / 'passwords'}\n"
    whole.broker.configure(refusing)
    whole.broker.conf.write_text(whole.broker.conf.read_text().replace("anonymous true", "anonymous false"))
    whole.broker.restart()
    until(lambda: whole.edge.says("refused") and whole.waiting() > 60, "it is refused and reads on")
    whole.broker.configure("")
    whole.broker.restart()
    record(whole, "obs denied; nobody let in", tries=2, recovery=max(recovery, whole.recovered()))


def test_n5_messages_larger_than_the_broker_takes(make_whole, record):
    whole = make_whole().start()
    whole.broker.kill()
    until(lambda: whole.waiting() > 150, "a backlog")
    whole.broker.configure("")
    text = whole.broker.conf.read_text()
    whole.broker.conf.write_text(text.replace("max_packet_size 262144", "max_packet_size 1500"))
    whole.broker.start()
    until(lambda: whole.ask("SELECT 1 FROM outbox WHERE parked AND owed LIMIT 1"), "something is parked")
    flowing = whole.recovered({"water_temp"})
    whole.broker.configure("")
    whole.broker.restart()
    record(whole, "messages too large", recovery=max(flowing, whole.recovered()))


def test_n6_slow_and_stalling_radio_link_where_alerts_overtake(make_whole, record):
    def change(document, whole):
        document["broker"]["port"] = proxy.port

    whole = make_whole(change=change, every=0.5)
    proxy = Proxy(whole.broker.port).start()
    try:
        whole.start()
        whole.broker.kill()
        until(lambda: whole.waiting() > 400, "a backlog")
        proxy.delay, proxy.jitter, proxy.rate = 1.0, 0.2, 1000
        whole.broker.start()
        until(lambda: whole.edge.says("connected again"), "it is connected again")
        told = len(whole.told())
        until(lambda: len(whole.told()) > told + 2 and whole.waiting() > 50, "alerts come before the backlog")
        proxy.stalled = True
        before = whole.count_accepted()
        until(lambda: whole.count_accepted() > before + 60, "the station reads on")
        proxy.stalled, proxy.delay, proxy.rate = False, 0, 0
        record(whole, "latency 2 s and 1 kB/s, then a stall", recovery=whole.recovered())
    finally:
        whole.edge.kill()
        proxy.close()


def test_n7_a_second_client_under_the_stations_id(make_whole, record):
    whole = make_whole().start()
    thief = Client(CallbackAPIVersion.VERSION2, STATION, protocol=MQTTv5)
    thief.connect("127.0.0.1", whole.broker.port)
    thief.loop_start()
    until(lambda: whole.edge.says("another client"), "it is named")
    thief.disconnect()
    thief.loop_stop()
    record(whole, "a second client under our id", recovery=whole.recovered())


def test_n8_nonsense_into_every_callback(make_whole, record):
    whole = make_whole().start()
    leaves = ("obs", "verdict", "event", "gap", "status", "meta", "health", "alarm/x", "stored/main", "ask/main")
    topics = [wire.topic(STATION, *leaf.split("/")) for leaf in leaves] + ["ewarn/v1/_collector/main/status"]
    messages = [{"topic": t, "payload": p, "qos": 1} for t in topics for p in JUNK.values() if len(p) < 200_000]
    publish.multiple(messages, hostname="127.0.0.1", port=whole.broker.port)
    assert whole.edge.running
    assert whole.collector.running
    record(whole, "nonsense on every topic", tries=len(messages), recovery=whole.recovered())


def test_s4_outbox_full_for_days(make_whole, record):
    """What is not stored is within a stretch that a gap row tells of; every alert is stored."""
    whole = make_whole(change=lambda document, _: document["station"].update(outbox="1MB"))
    whole.probes.start()
    whole.write_station()
    fill(whole)
    whole.start_edge()
    until(lambda: whole.waiting() and whole.raised(), "it reads")
    whole.broker.start()
    whole.start_collector()
    recovery = whole.recovered()
    until(lambda: whole.waiting() < 30, "all that is left is handed on")
    whole.hand_on()
    gaps = [(p.tags.get("channel"), p.time, from_text(p.fields["until"])) for p in whole.read("gap")]
    dropped = whole.accepted().keys() - whole.stored().keys()
    assert dropped
    assert all(any(c == channel and a <= t <= b for c, a, b in gaps) for channel, t in dropped)
    record(whole, "outbox full: thinned, and told of", recovery=recovery, dropped=dropped)


def fill(whole):
    """Two days of readings that no central took, ended an hour ago."""
    names = {c: (probe.id, name) for probe in whole.station.probes for c, name in probe.channels.items()}
    end, step = whole.begin - 3_600_000, 60_000
    columns = {c: whole.probes.truth.history(*n, end - 2 * 86_400_000, end, step) for c, n in names.items()}
    with Journal.open(whole.file, boot="past", now=end, centrals=whole.station.centrals, room=whole.station.outbox) as journal:
        for i, moment in enumerate(next(iter(columns.values()))[0]):
            readings = [Reading(c, moment, values[i], Quality.PASS) for c, (_, values) in columns.items()]
            journal.commit(moment, readings, Step(readings))
