"""Where the collector puts points: an embedded SQLite file or an InfluxDB."""

from __future__ import annotations

from pathlib import Path

from ewarn.config import InfluxTable, SqliteTable
from ewarn.contracts import Store


def open_store(table: SqliteTable | InfluxTable) -> Store:
    """The store that a central file names. Nothing is connected before its `open()`."""
    if isinstance(table, InfluxTable):
        from ewarn.central.stores.influx import InfluxStore  # noqa: PLC0415  (influxdb-client is an extra)

        return InfluxStore(table)
    from ewarn.central.stores.sqlite import SqliteStore  # noqa: PLC0415

    return SqliteStore(Path(table.path))
