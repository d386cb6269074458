"""Checks that station and central files share."""

from __future__ import annotations

import re

from ewarn.config.tables import BrokerTable
from ewarn.errors import ConfigError

STATION_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def check_broker(table: BrokerTable, file: str) -> None:
    """Refuse a broker that is neither secured nor openly insecure. Raises ConfigError."""
    if not 0 < table.port < 65536:
        raise ConfigError(file, "broker.port", f"{table.port} is not a port", "1 to 65535; usual are 8883 and 1883")
    if table.insecure:
        return
    for key in ("ca", "cert", "key"):
        if not getattr(table, key):
            raise ConfigError(
                file,
                f"broker.{key}",
                "missing",
                "name the PEM files of mutual TLS, or say insecure = true on a line that you trust",
            )


def unique(names: list[str], file: str, key: str, leaf: str) -> None:
    """Refuse a name that appears twice. Raises ConfigError."""
    seen: set[str] = set()
    for i, name in enumerate(names):
        if name in seen:
            where = f"{key}[{i}].{leaf}" if leaf else f"{key}[{i}]"
            raise ConfigError(file, where, f"{name!r} appears twice", "give each its own")
        seen.add(name)
