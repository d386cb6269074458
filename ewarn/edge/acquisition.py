"""Reading the probes: one supervised task a line, so that no line waits for another.

Probes of one line are read in turn, each at its own steady cadence. A probe that fails three times in a row is left
alone for a while, so that it costs its neighbours little; a line that is lost is closed and opened again with a pause
that grows to ten seconds. Whatever happens, every cycle gives one reading a channel: with a value, or missing with the
reason. Pauses and limits are of the machine's time; cadence and stamps are of the station's clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from ewarn.config import ProbeSpec
from ewarn.contracts import Clock, Line, Millis, Quality, Reading
from ewarn.errors import (
    LineLost,
    NoReply,
    PermanentError,
    ProbeBusy,
    ProbeRefused,
    ProfileMismatch,
    TransientError,
    WrongReply,
)
from ewarn.registry import BoundProbe

log = logging.getLogger(__name__)

FAILURES_TO_REST = 3
REST_S = 20.0
BACKOFF_FIRST_S, BACKOFF_MOST_S = 0.5, 10.0
_PATIENCE = 30.0
_REASONS: dict[type[Exception], str] = {
    LineLost: "line_lost", NoReply: "no_reply", WrongReply: "wrong_reply", ProbeBusy: "busy",
    ProbeRefused: "refused", ProfileMismatch: "profile_mismatch",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Batch:
    """What one read of one probe gave."""

    probe: str
    time: Millis
    readings: list[Reading]


OnBatch = Callable[[Batch], Awaitable[None]]


@dataclass(slots=True)
class ProbeState:
    """How a probe fares.

    Attributes:
        last_good: time of the last read that gave a value, None before the first.
        failures: reads in a row that gave nothing.
        reason: of the last failure, "" while it is well.
        detail: the same in words.
    """

    last_good: Millis | None = None
    failures: int = 0
    reason: str = ""
    detail: str = ""


@dataclass(slots=True)
class _Turn:
    """When a probe is read next, in seconds of the station's clock, and until when it rests, in real ones."""

    bound: BoundProbe
    due: float
    rests_until: float = 0.0
    state: ProbeState = field(default_factory=ProbeState)

    @property
    def spec(self) -> ProbeSpec:
        return self.bound.spec


class Acquisition:
    """Reads all probes of a station for ever.

    Args:
        probes: with their drivers.
        clock: of the station.
        on_batch: takes what each read gives; it may wait, which slows only that line.
    """

    def __init__(self, probes: Sequence[BoundProbe], clock: Clock, on_batch: OnBatch) -> None:
        self._clock, self._on_batch = clock, on_batch
        self._lines: dict[str, list[_Turn]] = {}
        now = clock.monotonic()
        for bound in probes:
            self._lines.setdefault(bound.spec.line.id, []).append(_Turn(bound, now))

    @property
    def states(self) -> dict[str, ProbeState]:
        """How each probe fares, by id."""
        return {turn.spec.id: turn.state for turns in self._lines.values() for turn in turns}

    async def run(self) -> None:
        """Read until cancelled."""
        async with asyncio.TaskGroup() as group:
            for turns in self._lines.values():
                group.create_task(self._serve(turns))

    async def _serve(self, turns: list[_Turn]) -> None:
        line = turns[0].bound.driver.make_line()
        backoff = BACKOFF_FIRST_S
        try:
            while True:
                turn = min(turns, key=lambda t: t.due)
                await self._clock.sleep(turn.due - self._clock.monotonic())
                lost = await self._take(turn, line)
                self._schedule(turn)
                if lost:
                    await line.close()
                    await asyncio.sleep(backoff * random.uniform(0.5, 1.0))
                    backoff = min(2 * backoff, BACKOFF_MOST_S)
                else:
                    backoff = BACKOFF_FIRST_S
        finally:
            await line.close()

    def _schedule(self, turn: _Turn) -> None:
        """A steady cadence without drift; what was missed is not made up for."""
        late = self._clock.monotonic() - turn.due
        turn.due += turn.spec.every * (1 + max(0, late // turn.spec.every))

    async def _take(self, turn: _Turn, line: Line) -> bool:
        """Read one probe once and hand the batch on. Returns whether the line is lost."""
        loop = asyncio.get_running_loop()
        if loop.time() < turn.rests_until:
            await self._hand_on(turn, self._missing(turn, turn.state.reason))
            return False
        try:
            readings = await self._read(turn, line)
        except (TransientError, PermanentError) as error:
            self._failed(turn, _reason(error), str(error))
            await self._hand_on(turn, self._missing(turn, turn.state.reason))
            if isinstance(error, PermanentError) or turn.state.failures >= FAILURES_TO_REST:
                turn.rests_until = loop.time() + (0 if isinstance(error, LineLost) else REST_S)
            return isinstance(error, LineLost)
        except Exception as error:
            if turn.state.reason != "driver_error":
                log.exception("probe %s: its driver failed", turn.spec.id)
            self._failed(turn, "driver_error", repr(error))
            await self._hand_on(turn, self._missing(turn, "driver_error"))
            with contextlib.suppress(Exception):
                await line.close()
            if turn.state.failures >= FAILURES_TO_REST:
                turn.rests_until = loop.time() + REST_S
            return False
        self._succeeded(turn, readings)
        await self._hand_on(turn, readings)
        return False

    async def _read(self, turn: _Turn, line: Line) -> list[Reading]:
        try:
            async with asyncio.timeout(_PATIENCE * turn.spec.timeout):
                await line.open()
                return list(await turn.bound.driver.read(line))
        except TimeoutError as error:
            raise NoReply(f"the driver did not come back within {_PATIENCE * turn.spec.timeout:g} s") from error

    async def _hand_on(self, turn: _Turn, readings: list[Reading]) -> None:
        await self._on_batch(Batch(turn.spec.id, self._clock.now(), readings))

    def _missing(self, turn: _Turn, reason: str) -> list[Reading]:
        now = self._clock.now()
        return [Reading(channel, now, None, Quality.MISSING, reason) for channel in turn.spec.channels]

    def _failed(self, turn: _Turn, reason: str, detail: str) -> None:
        state = turn.state
        if state.reason != reason:
            log.warning("probe %s: %s", turn.spec.id, detail)
        state.failures, state.reason, state.detail = state.failures + 1, reason, detail

    def _succeeded(self, turn: _Turn, readings: Sequence[Reading]) -> None:
        state = turn.state
        if state.reason:
            log.info("probe %s: delivers again after %d failures", turn.spec.id, state.failures)
        if any(r.value is not None for r in readings):
            state.last_good = self._clock.now()
        state.failures, state.reason, state.detail = 0, "", ""


def _reason(error: Exception) -> str:
    return next((code for kind, code in _REASONS.items() if isinstance(error, kind)), "driver_error")
