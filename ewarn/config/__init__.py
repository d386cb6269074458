"""Station and central files: TOML to typed, checked settings, before any I/O.

Every error is a ConfigError that names the file, the key, the value found and what would be right.
"""

from ewarn.config.central import Central, central_from, load_central
from ewarn.config.channels import ChannelSpec
from ewarn.config.station import DetectorSpec, ProbeSpec, Station, load_station, station_from
from ewarn.config.tables import BrokerTable, DetectionTable, InfluxTable, SqliteTable

__all__ = [
    "BrokerTable",
    "Central",
    "ChannelSpec",
    "DetectionTable",
    "DetectorSpec",
    "InfluxTable",
    "ProbeSpec",
    "SqliteTable",
    "Station",
    "central_from",
    "load_central",
    "load_station",
    "station_from",
]
