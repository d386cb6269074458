"""Central files: TOML to a checked `Central`, before any I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ewarn.config.common import STATION_ID, checked_broker, unique
from ewarn.config.tables import BrokerTable, CentralFile, InfluxTable, SqliteTable
from ewarn.errors import ConfigError
from ewarn.toml import convert, read_toml


@dataclass(frozen=True, slots=True)
class Central:
    """A checked central file."""

    file: str
    name: str
    collector: str
    data: Path
    stations: tuple[str, ...]
    broker: BrokerTable
    store: SqliteTable | InfluxTable


def load_central(path: Path) -> Central:
    """Read and check a central file. Raises ConfigError."""
    return central_from(read_toml(path), path)


def central_from(data: dict[str, Any], path: Path) -> Central:
    """Check a central given as plain data. Raises ConfigError."""
    file = str(path)
    raw = convert(data, CentralFile, file)
    broker = checked_broker(raw.broker, path)
    if not STATION_ID.fullmatch(raw.central.name):
        raise ConfigError(file, "central.name", f"{raw.central.name!r} cannot be a topic level", "use a-z, 0-9 and -")
    if raw.central.collector and not STATION_ID.fullmatch(raw.central.collector):
        problem = f"{raw.central.collector!r} cannot be a topic level"
        raise ConfigError(file, "central.collector", problem, "use a-z, 0-9 and -, as main-2")
    _check_stations(raw.central.stations, file)
    store = raw.store
    if isinstance(store, InfluxTable):
        if not re.fullmatch(r"https?://[^/\s]+(/.*)?", store.url):
            raise ConfigError(file, "store.url", f"{store.url!r} is not an http address", "as http://127.0.0.1:8086")
        if not store.timeout > 0:
            raise ConfigError(file, "store.timeout", "is not more than 0", 'write a duration, as "10s"')
        if store.token_file:
            store = msgspec.structs.replace(store, token_file=str(path.parent / store.token_file))
    else:
        store = msgspec.structs.replace(store, path=str(path.parent / raw.central.data / store.path))
    return Central(
        file=file,
        name=raw.central.name,
        collector=raw.central.collector or raw.central.name,
        data=path.parent / raw.central.data,
        stations=raw.central.stations,
        broker=broker,
        store=store,
    )


def _check_stations(stations: tuple[str, ...], file: str) -> None:
    if not stations:
        raise ConfigError(file, "central.stations", "is empty", 'name stations, or "+" for all')
    unique(list(stations), file, "central.stations", "")
    if "+" in stations and len(stations) > 1:
        raise ConfigError(
            file,
            "central.stations",
            '"+" overlaps every other topic: messages would come twice',
            'give either "+" alone or the stations one by one',
        )
    for i, name in enumerate(stations):
        if name != "+" and not STATION_ID.fullmatch(name):
            raise ConfigError(
                file, f"central.stations[{i}]", f"{name!r} is not a station id", 'use a-z, 0-9 and -, or "+"'
            )
