"""What is wrong with the station itself, as codes for its alarms `health-…`."""

from __future__ import annotations

from collections.abc import Mapping

from ewarn.edge.acquisition import FAILURES_TO_REST, ProbeState

_CLOCK = {"unsync": "clock_unsync", "jump": "clock_jump"}


def ills(
    *,
    disk: str,
    quarantined: bool,
    refused: str,
    time_quality: str,
    detectors: Mapping[str, str],
    stuck: str,
    lines: Mapping[str, str],
    stalled: tuple[str, ...],
    probes: Mapping[str, ProbeState],
) -> dict[str, str]:
    """By kind (see `ewarn.core.health_alarms.KINDS`), the code of what is wrong; what is well is absent.

    Args:
        disk: why it does not take data, "" where it does.
        quarantined: whether a damaged file was set aside in this run.
        refused: what the broker refuses, "" where nothing.
        time_quality: of the station's clock.
        detectors: those switched off, and why.
        stuck: the detector that detection does not come back from, "" where there is none.
        lines: those whose task failed, and how.
        stalled: lines that do not come back.
        probes: how each fares.
    """
    failing = [name for name, state in probes.items() if _driver_fails(state)]
    found = {
        "disk": "disk_refuses" if disk else "",
        "file": "file_set_aside" if quarantined else "",
        "link": "broker_refuses" if refused else "",
        "clock": _CLOCK.get(time_quality, ""),
        "detection": _named("detection_stuck", [stuck] if stuck else []) or _named("detector_off", detectors),
        "lines": _named("line_failed", lines) or _named("line_stalled", stalled) or _named("driver_fails", failing),
    }
    return {kind: reason for kind, reason in found.items() if reason}


def _driver_fails(state: ProbeState) -> bool:
    return state.reason == "driver_error" and state.failures >= FAILURES_TO_REST


def _named(code: str, names: Mapping[str, str] | list[str] | tuple[str, ...]) -> str:
    """The code with all names, "" where there is none."""
    return f"{code}:{', '.join(names)}" if names else ""
