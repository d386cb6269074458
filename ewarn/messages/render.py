"""Alerts as text: what, where, since when, which channels moved from what to what, and what to do first."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from ewarn.contracts import AlarmState, Alert, Cause, Evidence, Millis
from ewarn.messages.catalog import CATALOGS, Texts
from ewarn.parameters import PARAMETERS, parameter_of

LANGUAGES = tuple(CATALOGS)
_SHOWN = 5


def render(alert: Alert, language: str, *, station_name: str = "", time_zone: str = "UTC") -> str:
    """The alert as a few lines of text.

    Args:
        alert: what happened.
        language: "en" or "es".
        station_name: for people; the station's id where absent.
        time_zone: IANA name of the zone in which times are shown, with their offset.
    """
    texts, zone = CATALOGS[language], ZoneInfo(time_zone)
    lines = [_headline(alert, texts, language, station_name or alert.station)]
    lines.append(_priority(alert, texts, zone))
    lines += [f"- {_evidence(e, texts, language, zone)}" for e in alert.evidence[:_SHOWN]]
    if alert.causes and alert.state is AlarmState.UNACKNOWLEDGED:
        lines += _causes(alert, texts)
    if "limits" in alert.detail and alert.active:
        lines.append(texts["limits"].format(value=alert.detail.get("value", "?"), limits=alert.detail["limits"]))
    if "channel" in alert.detail and alert.active:
        lines.append(texts["channel"].format(channel=_name(alert.detail["channel"], language)))
    if "reason" in alert.detail and alert.active:
        lines.append(texts["reason"].format(reason=_reason(texts, alert.detail["reason"], language)))
    if alert.cause is Cause.CONTAMINATION and alert.active:
        if "hint" in alert.detail:
            lines.append(texts["hint"].format(hint=_code(texts, "hint", alert.detail["hint"])))
        if alert.state is AlarmState.UNACKNOWLEDGED:
            lines.append(texts["steps"])
    return "\n".join(lines)


def _headline(alert: Alert, texts: Texts, language: str, station: str) -> str:
    kind = alert.alarm.partition("-")[0]
    key = f"{kind}.{alert.state}"
    template = texts.get(key) or texts[f"other.{alert.state}"]
    probe = alert.detail.get("probe", alert.alarm.partition("-")[2])
    channel = _name(alert.detail.get("channel", alert.alarm.partition("-")[2]), language)
    return template.format(station=station, by=alert.by or "?", probe=probe, alarm=alert.alarm, channel=channel)


def _causes(alert: Alert, texts: Texts) -> list[str]:
    """The likeliest cause, the others in order, and why."""
    ranked = sorted(alert.causes.items(), key=lambda pair: -pair[1])
    (first, share), others = ranked[0], ranked[1:]
    told = ", ".join(f"{_code(texts, 'cause', cause)} {100 * p:.0f} %" for cause, p in others)
    lines = [texts["cause"].format(cause=_code(texts, "cause", first), share=f"{100 * share:.0f}", others=told)]
    if alert.findings:
        words = "; ".join(_code(texts, "finding", code) for code in alert.findings)
        lines.append(texts["because"].format(findings=words))
    return lines


def _priority(alert: Alert, texts: Texts, zone: ZoneInfo) -> str:
    onset = _moment(alert.onset, zone)
    priority = texts[f"priority.{int(alert.priority)}"]
    if alert.probability is None:
        return texts["priority"].format(priority=priority, onset=onset)
    chance = f"{100 * alert.probability:.0f}"
    return texts["priority.probability"].format(priority=priority, probability=chance, onset=onset)


def _evidence(e: Evidence, texts: Texts, language: str, zone: ZoneInfo) -> str:
    return texts["evidence"].format(
        name=_name(e.channel, language),
        moved=texts["rose" if e.value >= e.expected else "fell"],
        value=_quantity(e.value, e.channel),
        expected=_quantity(e.expected, e.channel),
        since=_moment(e.since, zone),
    )


def _name(channel: str, language: str) -> str:
    parameter = PARAMETERS.get(parameter_of(channel) or "")
    if parameter is None:
        return channel
    name = parameter.es if language == "es" else parameter.en
    return name if channel == parameter.id else f"{name} ({channel})"


def _quantity(value: float, channel: str) -> str:
    parameter = PARAMETERS.get(parameter_of(channel) or "")
    if parameter is None:
        return f"{value:g}"
    decimals = max(0, -math.floor(math.log10(parameter.resolution)))
    return f"{value:.{decimals}f} {parameter.display}".rstrip()


def _moment(instant: Millis, zone: ZoneInfo) -> str:
    local = datetime.fromtimestamp(instant / 1000, UTC).astimezone(zone)
    return local.strftime("%Y-%m-%d %H:%M %Z")


def _reason(texts: Texts, reason: str, language: str) -> str:
    """A reason in words; one that speaks of another channel names it after a colon."""
    code, _, other = reason.partition(":")
    text = texts.get(f"reason.{code}")
    return reason if text is None else text.replace("{other}", _name(other, language))


def _code(texts: Texts, group: str, code: str) -> str:
    return texts.get(f"{group}.{code}", code)
