"""What an InfluxDB answers when it cannot or will not, and what becomes of it."""

import email.utils
import socket
import time

import pytest
from servers import TOKEN, influx_table

from ewarn.central.stores import open_store
from ewarn.contracts import Point
from ewarn.errors import StoreRefused, StoreUnavailable

POINT = Point("wq", {"station": "a"}, {"value": 7.25}, 1_780_000_000_123)
LINE = b"wq,station=a value=7.25 1780000000123"


@pytest.fixture(params=["v1", "v2"])
def store(request, fake_server, token_file):
    if request.param == "v1":
        token_file.write_text("user:pass:word\n")
    store = open_store(
        influx_table(fake_server.url, "water", api=request.param, token_file=str(token_file), timeout=0.4)
    )
    yield store
    store.close()


def test_what_is_sent(store, fake_server):
    store.write([POINT])
    path, authorization, body = fake_server.requests[0]
    assert body == LINE
    assert "precision=ms" in path
    assert (path.split("?")[0], authorization) in [
        ("/write", "Basic dXNlcjpwYXNzOndvcmQ="), ("/api/v2/write", f"Token {TOKEN}")
    ]  # fmt: skip


REFUSED = [
    (400, {}, b'{"code":"invalid","message":"unable to parse"}'),
    (400, {}, b'{"error":"partial write: points beyond retention policy dropped=1"}'),
    (413, {}, b"<html>too large</html>"),
    (422, {}, b'{"code":"unprocessable entity","message":"field type conflict"}'),
]
LATER = [
    (301, {"Location": "/elsewhere"}, b""),
    (408, {}, b""), (500, {}, b"internal"), (502, {}, b"<html>"), (503, {}, b""), (504, {}, b"\xff\xfe"),
    (401, {}, b'{"code":"unauthorized","message":"no"}'), (403, {}, b""), (404, {}, b'{"message":"bucket not found"}'),
    "hang", "reset",
]  # fmt: skip


@pytest.mark.parametrize("answer", REFUSED, ids=lambda a: str(a[0]))
def test_refused(store, fake_server, answer):
    fake_server.answers.append(answer)
    with pytest.raises(StoreRefused, match=str(answer[0])):
        store.write([POINT])
    store.write([POINT])


@pytest.mark.parametrize("answer", LATER, ids=lambda a: a if isinstance(a, str) else str(a[0]))
def test_kept_for_later(store, fake_server, answer):
    fake_server.answers.append(answer)
    begin = time.monotonic()
    with pytest.raises(StoreUnavailable):
        store.write([POINT])
    assert time.monotonic() - begin < 2
    fake_server.hanging.set()
    store.write([POINT])
    assert fake_server.requests[-1][2] == LINE


def test_nobody_listens(fake_server, store):
    fake_server.close()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            store.open()
        with pytest.raises(StoreUnavailable):
            store.write([POINT])


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [("7", 7, 7), ("0", 0, 0), ("3600", 60, 60), ("-5", 0, 0), ("nan", None, None), ("soon", None, None),
     ("a date", 20, 41)],
)  # fmt: skip
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after(store, fake_server, status, header, low, high):
    if header == "a date":
        header = email.utils.formatdate(time.time() + 40, usegmt=True)
    fake_server.answers.append((status, {"Retry-After": header}, b""))
    with pytest.raises(StoreUnavailable) as caught:
        store.write([POINT])
    if low is None:
        assert caught.value.retry_after is None
    else:
        assert low <= caught.value.retry_after <= high


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_is_named_and_read_again(store, fake_server, token_file, status):
    fake_server.answers.append((status, {}, b'{"message":"unauthorized access"}'))
    with pytest.raises(StoreUnavailable, match=r"check the token in .*token.* nothing is lost") as caught:
        store.write([POINT])
    assert TOKEN not in str(caught.value)
    token_file.write_text("new:one")
    store.write([POINT])
    assert fake_server.requests[-1][1] in ("Basic bmV3Om9uZQ==", "Token new:one")


def test_a_missing_bucket_is_named(store, fake_server):
    fake_server.answers.append((404, {}, b'{"error":"database not found"}'))
    with pytest.raises(StoreUnavailable, match=r"database not found; create 'water' there"):
        store.write([POINT])


def test_a_missing_token_file_is_named(store, fake_server, token_file):
    token_file.unlink()
    with pytest.raises(StoreUnavailable, match=r"store\.token_file"):
        store.open()
    token_file.write_text("a:b")
    store.open()


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b'{"results":[{"error":"database not found: x"}]}', b"{}"])
def test_reading_what_is_no_answer(store, fake_server, body):
    fake_server.answers.append((200, {}, body))
    with pytest.raises(StoreUnavailable):
        store.read("wq", {}, 0, 1)


def test_the_server_hangs_up_at_once(token_file):
    with socket.create_server(("127.0.0.1", 0)) as server:
        store = open_store(influx_table(f"http://127.0.0.1:{server.getsockname()[1]}", "water", timeout=0.3))
        with pytest.raises(StoreUnavailable):
            store.write([POINT])
        store.close()


@pytest.mark.influx
def test_the_real_one_says_what_is_wrong(influxd, v2_proxy, token_file):
    missing = open_store(influx_table(influxd.url, "nowhere"))
    missing.open()
    with pytest.raises(StoreUnavailable, match="create 'nowhere'"):
        missing.write([POINT])
    missing.close()
    token_file.write_text("wrong")
    stranger = open_store(influx_table(v2_proxy, "nowhere", api="v2", token_file=str(token_file)))
    with pytest.raises(StoreUnavailable, match="check the token in"):
        stranger.write([POINT])
    stranger.close()


@pytest.mark.influx
def test_too_large_for_the_proxy_is_refused_so_that_halves_may_pass(influxd, v2_proxy, token_file):
    influxd.create("large")
    store = open_store(influx_table(v2_proxy, "large", api="v2", token_file=str(token_file)))
    points = [Point("alarm", {"n": str(i)}, {"text": "x" * 60_000}, POINT.time) for i in range(20)]
    with pytest.raises(StoreRefused, match="413"):
        store.write(points)
    store.write(points[:10])
    assert len(store.read("alarm", {}, POINT.time, POINT.time + 1)) == 10
    store.close()
