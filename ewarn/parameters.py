"""The vocabulary of water: what is measured, in which unit, and within which physical bounds.

Units are UCUM (case-sensitive); NTU, FNU and RFU exist there only as annotations, so the parameter id, not the unit,
keeps them apart. Codes: USGS parameter codes. Bounds are gross-range spans of usual instruments; a station file
narrows them per channel. The resolutions are what usual instruments report; noise below them is not seen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Parameter:
    """One measurable property of water.

    Attributes:
        id: as in channels, the wire and the database.
        en, es: names for people.
        unit: UCUM.
        display: the unit as people write it.
        low, high: gross-range bounds, in `unit`.
        resolution: smallest step that usual instruments report, in `unit`.
        usgs: USGS parameter code, "" where there is none.
        operation: whether it describes the plant (flow, pressure, level) rather than the water.
    """

    id: str
    en: str
    es: str
    unit: str
    display: str
    low: float
    high: float
    resolution: float
    usgs: str = ""
    operation: bool = False


PARAMETERS: dict[str, Parameter] = {
    p.id: p
    for p in (
        Parameter("water_temp", "Water temperature", "Temperatura del agua", "Cel", "°C", -2, 50, 0.01, "00010"),
        Parameter("ph", "pH", "pH", "[pH]", "", 0, 14, 0.01, "00400"),
        Parameter("spcond", "Specific conductance", "Conductividad específica", "uS/cm", "µS/cm", 0, 1e5, 0.1, "00095"),
        Parameter("conductivity", "Conductivity", "Conductividad", "uS/cm", "µS/cm", 0, 1e5, 0.1, "00094"),
        Parameter("do", "Dissolved oxygen", "Oxígeno disuelto", "mg/L", "mg/L", 0, 25, 0.01, "00300"),
        Parameter("do_sat", "Oxygen saturation", "Saturación de oxígeno", "%", "%", 0, 250, 0.1, "00301"),
        Parameter("turbidity", "Turbidity", "Turbiedad", "{FNU}", "FNU", 0, 4000, 0.01, "63680"),
        Parameter(
            "turbidity_ntu",
            "Turbidity (white light)",
            "Turbiedad (luz blanca)",
            "{NTU}",
            "NTU",
            0,
            4000,
            0.001,
            "63675",
        ),
        Parameter("orp", "Redox potential", "Potencial redox", "mV", "mV", -1000, 1000, 0.1, "63002"),
        Parameter("cl2_free", "Free chlorine", "Cloro residual libre", "mg/L", "mg/L", 0, 20, 0.01, "50064"),
        Parameter("cl2_total", "Total chlorine", "Cloro total", "mg/L", "mg/L", 0, 20, 0.01, "50060"),
        Parameter("clo2", "Chlorine dioxide", "Dióxido de cloro", "mg/L", "mg/L", 0, 10, 0.001),
        Parameter("nitrate_n", "Nitrate as N", "Nitratos (N)", "mg{N}/L", "mg N/L", 0, 100, 0.01, "99137"),
        Parameter("ammonium_n", "Ammonium as N", "Nitrógeno amoniacal", "mg{N}/L", "mg N/L", 0, 100, 0.01, "00608"),
        Parameter("chloride", "Chloride", "Cloruros", "mg/L", "mg/L", 0, 20000, 0.1, "00940"),
        Parameter("uv254", "UV absorbance at 254 nm", "Absorbancia UV254", "/cm", "1/cm", 0, 10, 0.001, "32327"),
        Parameter("toc", "Total organic carbon", "Carbono orgánico total", "mg/L", "mg/L", 0, 100, 0.01, "99135"),
        Parameter(
            "fdom",
            "Fluorescent organic matter",
            "Materia orgánica fluorescente",
            "ug/L{QSE}",
            "µg/L QSE",
            0,
            300,
            0.01,
            "32295",
        ),
        Parameter("chl_a", "Chlorophyll a", "Clorofila a", "ug/L", "µg/L", 0, 400, 0.01, "32316"),
        Parameter("phycocyanin", "Phycocyanin", "Ficocianina", "ug/L", "µg/L", 0, 100, 0.01, "32319"),
        Parameter(
            "oil_fluor", "Oil fluorescence", "Fluorescencia de hidrocarburos", "{RFU}", "RFU", 0, 1000, 0.1, "32324"
        ),
        Parameter("tds", "Total dissolved solids", "Sólidos disueltos totales", "mg/L", "mg/L", 0, 60000, 0.1, "99401"),
        Parameter("salinity", "Salinity", "Salinidad", "[ppth]", "‰", 0, 70, 0.01, "00480"),
        Parameter("water_level", "Water level", "Nivel del agua", "m", "m", -5, 1000, 0.001, "30207", operation=True),
        Parameter(
            "discharge", "Discharge", "Caudal del río", "m3/s", "m³/s", -1000, 20000, 0.1, "30208", operation=True
        ),
        Parameter("flow", "Flow", "Caudal", "m3/h", "m³/h", 0, 1e5, 1, operation=True),
        Parameter("pressure", "Line pressure", "Presión", "kPa", "kPa", 0, 5000, 1, operation=True),
        Parameter(
            "batt_v", "Supply voltage", "Tensión de alimentación", "V", "V", 0, 36, 0.01, "70969", operation=True
        ),
        Parameter("index", "Index", "Índice", "1", "", -1e6, 1e6, 0.001),
    )
}

INDEX = "index"
"""What a composite is of that is no property of water by itself, as a ratio; its unit is free."""

ALTERNATIVE_UNITS: dict[str, tuple[str, ...]] = {
    "pressure": ("[psi]", "bar"),
    "water_temp": ("[degF]",),
    "water_level": ("[ft_i]", "cm"),
    "flow": ("L/s", "[MGD]"),
    "discharge": ("[cft_i]/s",),
}
"""Units that a record may come in besides the parameter's own."""

PREFIXES = ("upstream_", "plant_")
RESERVED_CHANNELS = frozenset({"t", "q", "why", "boot", "seq", "backfill"})
"""What no channel can be called: such keys of a row on the wire say something else."""
CHANNEL_ID = re.compile(r"[a-z][a-z0-9_]{0,39}")


def parameter_of(channel: str) -> str | None:
    """Parameter id that a channel id speaks of, None where it speaks of none.

    >>> parameter_of("clo2_2"), parameter_of("plant_ph"), parameter_of("do_sat"), parameter_of("wind")
    ('clo2', 'ph', 'do_sat', None)
    """
    for prefix in PREFIXES:
        channel = channel.removeprefix(prefix)
    if channel in PARAMETERS:
        return channel
    head, _, tail = channel.rpartition("_")
    return head if tail.isdigit() and head in PARAMETERS else None
