"""Topics of a central."""

from __future__ import annotations

from ewarn import wire
from ewarn.config import Central
from ewarn.config.common import STATION_ID


def subscriptions(central: Central) -> list[str]:
    """Topic filters of a central: the streams shared in its own group, the documents for each collector itself."""
    out = []
    for station in central.stations:
        out += [f"$share/ewarn-{central.name}/{wire.topic(station, leaf)}" for leaf in wire.STREAMS]
        out += [wire.topic(station, leaf) for leaf in wire.DOCUMENTS]
        out.append(wire.topic(station, "alarm", "+"))
    return out


def status_topic(central: Central) -> str:
    """Where a collector says whether it is there; one of several has a topic of its own."""
    own = () if central.collector == central.name else (central.collector,)
    return wire.topic(wire.COLLECTOR, central.name, "status", *own)


def addressed(topic: str) -> tuple[str, str, str]:
    """Station, class and the rest of a station's topic. Raises WireError."""
    station, leaf, name = wire.split_topic(topic)
    if not STATION_ID.fullmatch(station):
        raise wire.WireError(f"{station!r} is not a station id")
    return station, leaf, name
