"""InfluxDB: v2 writes through influxdb-client, v1 writes by plain HTTP; both are read by InfluxQL.

influxdb-client's synchronous API is used: its batching mode drops data after some minutes, and keeps what waits in
memory. Retries and waiting are the collector's, which holds the data at the broker meanwhile.
"""

from __future__ import annotations

import email.utils
import json
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlencode

import urllib3
from influxdb_client.client.exceptions import InfluxDBError
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS

from ewarn.central.stores import influxql
from ewarn.central.stores.line_protocol import encode
from ewarn.central.stores.rules import normal
from ewarn.config import InfluxTable
from ewarn.contracts import Millis, Point
from ewarn.errors import EwarnError, StoreRefused, StoreUnavailable

MAX_WAIT = 60.0
"""Seconds; a server that asks for longer is asked again after these."""

_REFUSED = frozenset({400, 413, 422})
"""Malformed, too large, of another type: half of the batch may pass."""


class InfluxStore:
    """Points in an InfluxDB. It may be used from several threads.

    Args:
        table: where it is and how to speak to it.
    """

    def __init__(self, table: InfluxTable) -> None:
        self._table = table
        self._url = table.url.rstrip("/")
        self._lock = threading.Lock()
        self._http: urllib3.PoolManager | None = None
        self._headers: dict[str, str] = {}
        self._client: InfluxDBClient | None = None

    def open(self) -> None:
        """Read the token and see whether somebody answers. Raises StoreUnavailable."""
        with self._lock:
            self._ensure()
            self._request("GET", "/ping")

    def write(self, points: Sequence[Point]) -> None:
        """Store all of them. Raises StoreRefused, StoreUnavailable."""
        body = encode([normal(point) for point in points])
        if not body:
            return
        with self._lock:
            self._ensure()
            if self._client is not None:
                self._write_v2(self._client, body)
            else:
                self._request("POST", "/write", {**self._database(), "precision": "ms"}, body)

    def read(self, measurement: str, tags: Mapping[str, str], start: Millis, end: Millis) -> list[Point]:
        """Points whose tags include `tags`, with start <= time < end, by time. Raises StoreUnavailable."""
        with self._lock:
            self._ensure()
            asked = influxql.question(measurement, tags, start, end)
            text = self._request("GET", "/query", {**self._database(), **asked})
        return influxql.answer(text, measurement)

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            self._release()

    def _ensure(self) -> None:
        if self._http is not None:
            return
        token = self._token()
        if token:
            basic = urllib3.make_headers(basic_auth=token)["authorization"]
            self._headers = {"Authorization": basic if self._table.api == "v1" else f"Token {token}"}
        self._http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(total=self._table.timeout))
        if self._table.api == "v2":
            self._client = InfluxDBClient(self._url, token, org=self._table.org, timeout=self._timeout_ms())

    def _timeout_ms(self) -> int:
        return max(1, round(self._table.timeout * 1000))

    def _release(self) -> None:
        if self._http is not None:
            self._http.clear()
        if self._client is not None:
            self._client.close()  # type: ignore[no-untyped-call]
        self._http = self._client = None
        self._headers = {}

    def _token(self) -> str:
        if not self._table.token_file:
            return ""
        try:
            return Path(self._table.token_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise StoreUnavailable(f"the token cannot be read: {error}; check store.token_file") from error

    def _database(self) -> dict[str, str]:
        database, _, policy = self._table.bucket.partition("/")
        return {"db": database, "rp": policy} if policy else {"db": database}

    def _write_v2(self, client: InfluxDBClient, body: bytes) -> None:
        writer = client.write_api(write_options=SYNCHRONOUS)
        try:
            writer.write(self._table.bucket, self._table.org, body, "ms")  # type: ignore[arg-type]  # an OpenAPI enum
        except InfluxDBError as error:
            status: int = getattr(error, "status", 0) or 0
            message = getattr(error.response, "data", error.message)
            raise self._failure(status, _message(message), error.retry_after) from error
        except (urllib3.exceptions.HTTPError, OSError, UnicodeDecodeError) as error:
            raise StoreUnavailable(f"{self._url}: {error}") from error

    def _request(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> bytes:
        assert self._http is not None
        url = self._url + path + ("?" + urlencode(query) if query else "")
        try:
            reply = self._http.request(method, url, body=body, headers=self._headers, redirect=False)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise StoreUnavailable(f"{self._url}: {error}") from error
        if reply.status in (200, 204):
            return reply.data
        raise self._failure(reply.status, _message(reply.data), reply.headers.get("Retry-After"))

    def _failure(self, status: int, message: str, retry_after: str | None) -> EwarnError:
        """What a status means for the caller, in words that tell a person what to do."""
        text = f"{self._url} answers {status}: {message.strip()[:300]}"
        if status in _REFUSED:
            return StoreRefused(text)
        if status in (401, 403):
            self._release()  # the token is read again with the next call, since it may be renewed
            where = f"the token in {self._table.token_file}" if self._table.token_file else "store.token_file"
            return StoreUnavailable(f"{text}; check {where} and its rights; nothing is lost meanwhile")
        if status == 404:
            return StoreUnavailable(
                f"{text}; create {self._table.bucket!r} there, or check store.bucket, org and api; "
                "nothing is lost meanwhile"
            )
        return StoreUnavailable(text, retry_after=_seconds(retry_after))


def _message(body: bytes | str) -> str:
    text = body.decode(errors="replace") if isinstance(body, bytes) else body
    try:
        document = json.loads(text)
        return str(document.get("message") or document["error"])
    except (ValueError, KeyError, AttributeError):
        return text


def _seconds(retry_after: str | None) -> float | None:
    """Seconds of a Retry-After header, which is a number or a date (RFC 9110, 10.2.3)."""
    if not retry_after:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), MAX_WAIT) if seconds == seconds else None  # noqa: PLR0124  (not a number)
