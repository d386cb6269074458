"""Checks that station and central files share."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from ewarn.config.tables import BrokerTable
from ewarn.errors import ConfigError
from ewarn.toml import file_problem

STATION_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


_MOST_KEEPALIVE_S = 65535


def checked_broker(table: BrokerTable, path: Path) -> BrokerTable:
    """The broker with the paths of its PEM files, which start from the folder of the file at `path`.

    Raises ConfigError where it is neither secured, by files that are there, nor openly insecure.
    """
    file = str(path)
    if not table.host:
        raise ConfigError(file, "broker.host", "is empty", "give the name or address of the MQTT broker")
    if not 0 < table.port < 65536:
        raise ConfigError(file, "broker.port", f"{table.port} is not a port", "1 to 65535; usual are 8883 and 1883")
    if not 1 <= table.keepalive <= _MOST_KEEPALIVE_S:
        raise ConfigError(file, "broker.keepalive", f"{table.keepalive:g} s cannot be", '"1s" to "65535s", as "10s"')
    if table.insecure:
        return table
    return msgspec.structs.replace(
        table, **{key: str(_pem(f"broker.{key}", getattr(table, key), path)) for key in ("ca", "cert", "key")}
    )


def _pem(key: str, name: str, path: Path) -> Path:
    remedy = "name the PEM files of mutual TLS, or say insecure = true on a line that you trust"
    if not name:
        raise ConfigError(str(path), key, "missing", remedy)
    found = path.parent / name
    problem = file_problem(found)
    if problem:
        raise ConfigError(str(path), key, f"{str(found)!r} cannot be read: {problem}", remedy)
    return found


def unique(names: list[str], file: str, key: str, leaf: str) -> None:
    """Refuse a name that appears twice. Raises ConfigError."""
    seen: set[str] = set()
    for i, name in enumerate(names):
        if name in seen:
            where = f"{key}[{i}].{leaf}" if leaf else f"{key}[{i}]"
            raise ConfigError(file, where, f"{name!r} appears twice", "give each its own")
        seen.add(name)
