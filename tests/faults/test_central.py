"""Row C1: what befalls the database, and the collector before it."""

import uuid

import pytest
from front import Front
from whole import until

pytestmark = [pytest.mark.faults, pytest.mark.broker]
ANSWERS = {
    "401": (401, {}, b'{"error":"no"}'),
    "404": (404, {}, b'{"error":"database not found"}'),
    "429": (429, {"Retry-After": "1"}, b""),
    "500": (500, {}, b'{"error":"timeout"}'),
    "503": (503, {"Retry-After": "1"}, b""),
    "hang": "hang",
    "reset": "reset",
}


@pytest.fixture
def front(influxd):
    made = Front(influxd.port)
    yield made
    made.close()


@pytest.mark.influx
def test_c1_database_refuses_hangs_resets_and_is_killed(make_whole, record, influxd, front):
    bucket = uuid.uuid4().hex
    influxd.create(bucket)
    store = {"kind": "influx", "api": "v1", "url": front.url, "bucket": bucket, "timeout": "2s"}
    whole = make_whole(store=store).start()
    recovery = 0.0
    for name, answer in ANSWERS.items():
        struck, front.answer = front.struck, answer
        until(lambda n=struck: front.struck > n, f"{name} is answered")
        before = whole.count_accepted()
        until(lambda n=before: whole.count_accepted() > n + 12, "the station reads on")
        front.answer = None
        recovery = max(recovery, whole.recovered())
    influxd.kill()
    before = whole.count_accepted()
    until(lambda: whole.count_accepted() > before + 24, "the station reads on")
    influxd.start()
    recovery = max(recovery, whole.recovered())
    record(whole, "401, 404, 429, 500, 503, hang, reset, kill -9", tries=len(ANSWERS) + 1, recovery=recovery)


def test_c1_database_wiped_and_given_again_by_the_station(make_whole, record):
    whole = make_whole().start()
    until(lambda: whole.health()["stored"], "the station knows what is stored")
    first = set(whole.stored())
    whole.collector.kill()
    whole.forget_store()
    for path in whole.central.data.glob("central.sqlite*"):
        path.unlink()
    whole.start_collector()
    recovery = whole.recovered()
    until(lambda: first <= set(whole.stored()), "the oldest is there again")
    record(whole, "database wiped", recovery=recovery)
