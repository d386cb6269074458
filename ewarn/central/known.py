"""What central remembers of stations over a restart, and how many names it takes from one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ewarn import wire
from ewarn.central import files
from ewarn.parameters import CHANNEL_ID, PARAMETERS

MAX_NAMES = 1000
"""Channels, alarms or detectors of one station. Each makes a series of its own in the database."""
MAX_TEXT = 200
"""Characters of a station's name."""


class Known:
    """What stations told of themselves in `meta`; kept in a file.

    The parameter of a channel is a tag, hence part of a point's identity, and the name and the time zone stand in the
    texts of alerts: after a restart of central the rows that a station sends again have to give the same points,
    although its `meta` may come after them.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stations: dict[str, dict[str, Any]] = {}

    def load(self) -> None:
        """Read the file; what cannot be read is learned anew."""
        for station, meta in files.load(self._path).items():
            if isinstance(meta, dict):
                self._stations[station] = _checked(meta)

    def parameters(self, station: str) -> Mapping[str, str]:
        """Parameter ids by channel."""
        parameters: Mapping[str, str] = self._stations.get(station, {}).get("channels", {})
        return parameters

    def name(self, station: str) -> str:
        """For people; "" while it is not known."""
        return str(self._stations.get(station, {}).get("name", ""))

    def time_zone(self, station: str) -> str:
        """IANA name; UTC where the station gave none, or one that is not known here."""
        return str(self._stations.get(station, {}).get("time_zone", "UTC"))

    def learn(self, station: str, meta: Mapping[str, Any]) -> None:
        """Take it from a `meta` document."""
        channels = meta.get("channels")
        channels = channels if isinstance(channels, dict) else {}
        parameters = {c: spec.get("parameter") for c, spec in channels.items() if isinstance(spec, dict)}
        known = _checked({**meta, "channels": parameters})
        if known != self._stations.get(station):
            self._stations[station] = known
            files.save(self._path, self._stations)


def _checked(meta: Mapping[str, Any]) -> dict[str, Any]:
    channels, zone = meta.get("channels"), meta.get("time_zone")
    pairs = channels.items() if isinstance(channels, dict) else ()
    good = [(c, p) for c, p in pairs if CHANNEL_ID.fullmatch(c) and isinstance(p, str) and p in PARAMETERS]
    return {
        "name": " ".join(str(meta.get("name", ""))[:MAX_TEXT].split()),
        "time_zone": zone if isinstance(zone, str) and _is_zone(zone) else "UTC",
        "channels": dict(good[:MAX_NAMES]),
    }


def _is_zone(zone: str) -> bool:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


class Names:
    """Counts the names that stations use, so that one gone wild cannot fill memory and database with them.

    Args:
        limit: names of one kind from one station.
    """

    def __init__(self, limit: int = MAX_NAMES) -> None:
        self._limit = limit
        self._known: dict[tuple[str, str], set[str]] = {}

    def admit(self, station: str, kind: str, names: Iterable[str]) -> None:
        """Take note of the names. Raises WireError, and takes none of them, where they are too many."""
        known = self._known.setdefault((station, kind), set())
        new = set(names) - known
        if new and len(known) + len(new) > self._limit:
            raise wire.WireError(f"{station} names more than {self._limit} of {kind}")
        known |= new
