"""What every detector asks of a channel before it knows anything of it."""

from __future__ import annotations

from collections.abc import Mapping


def judged(name: str, roles: Mapping[str, str] | None) -> bool:
    """Whether the channel speaks of the water: those named "operation" do not."""
    return (roles or {}).get(name) != "operation"


def finest(name: str, value: float, resolution: Mapping[str, float] | None) -> float:
    """The instrument's smallest step, in the channel's unit; where it is not known, 1e-3 of its first value."""
    return (resolution or {}).get(name) or max(abs(value) * 1e-3, 1e-9)
