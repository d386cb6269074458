"""What the station says of itself: link, queue, disk, clock, probes, detectors."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

from ewarn.contracts import Clock
from ewarn.edge.acquisition import ProbeState
from ewarn.edge.journal import JournalCounts
from ewarn.times import SteadyClock, SystemClock, to_text

_STA_UNSYNC = 0x0040
_TIMEX_BYTES = 512
_STATUS_WORD = 5


def time_quality(clock: Clock) -> str:
    """How good the station's clock is.

    "ntp": the kernel holds it synchronised; "unsync": it has no reference; "jump": it stepped by more than two seconds
    within the last minute, or runs on after a step back; "simulated": it is none of this world.
    """
    inner = clock
    if isinstance(clock, SteadyClock):
        if not clock.steady:
            return "jump"
        inner = clock.inner
    if not isinstance(inner, SystemClock):
        return "simulated"
    return "unsync" if _kernel_unsynchronised() else "ntp"


def _kernel_unsynchronised() -> bool:
    """STA_UNSYNC of adjtimex(2); struct timex begins with modes, offset, freq, maxerror, esterror (long), status."""
    libc = ctypes.CDLL(None)  # asked every second; to look for the library by name costs fifty times as much
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)
    if not hasattr(libc, "adjtimex") or libc.adjtimex(timex) < 0:
        return True
    at = _STATUS_WORD * ctypes.sizeof(ctypes.c_long)
    status = int.from_bytes(timex.raw[at : at + 4], "little")
    return bool(status & _STA_UNSYNC)


def health_document(
    *,
    counts: JournalCounts,
    probes: Mapping[str, ProbeState],
    detectors: Mapping[str, str],
    warming: bool,
    level: float,
    detectable: Mapping[str, float],
    disk: str,
    unsaved: int,
    unjudged: int,
    lines: Mapping[str, str],
    dropped: int,
    quarantined: str,
    link: str,
    insecure: bool,
) -> dict[str, Any]:
    """The `health` document.

    Args:
        counts: of the journal and outbox, as they were last known.
        probes: state by id.
        detectors: those switched off, and why.
        warming: whether detection is still learning from the journal.
        level: what the threshold is multiplied by, so that the false-alarm budget is kept.
        detectable: by channel, the smallest sudden change in its unit that is found if two channels change so much.
        disk: why the last commit failed, "" where it did not.
        unsaved: steps that wait in memory for the disk.
        unjudged: reads that were stored without detection, as it hung.
        lines: those that are not read by a mistake of the program, and how it showed.
        dropped: steps whose readings found no room there.
        quarantined: name of a damaged file that was set aside at the start, or "".
        link: what is wrong with the MQTT link, or was last, "" where nothing.
        insecure: whether MQTT runs without TLS.
    """
    return {
        "accepted": counts.accepted,
        "repeats": counts.repeats,
        "outbox": {"rows": counts.outbox_rows, "bytes": counts.outbox_bytes, "parked": counts.parked},
        "stored": {central: to_text(time) for central, time in counts.stored.items()},
        "asking": list(counts.asking),
        "probes": {
            name: {
                "last_good": to_text(state.last_good) if state.last_good is not None else None,
                "failures": state.failures,
                "reason": state.reason,
            }
            for name, state in probes.items()
        },
        "detectors_off": dict(detectors),
        "warming": warming,
        "level": round(level, 3),
        "detectable": {channel: float(f"{size:.3g}") for channel, size in detectable.items()},
        "disk": disk,
        "unsaved": unsaved,
        "unjudged": unjudged,
        "lines": dict(lines),
        "dropped": dropped,
        "quarantined": quarantined,
        "link": link,
        "insecure": insecure,
    }
