"""Reading the probes: one supervised task a line, so that no line waits for another.

Probes of one line are read in turn, each at its own steady cadence. A probe that fails three times in a row, or says
that it will fail for ever, is asked every 20 s only, so that it costs its neighbours little; a line that is lost is
closed and opened again with a pause that grows to ten seconds. Both happen out of turn where the cadence is slower.
Whatever happens, every cycle gives one reading a channel: with a value, or missing with the reason. Pauses and limits
are of the machine's time; cadence and stamps are of the station's clock.

A read that does not come back is cancelled; one that does not let itself be cancelled is left behind, and its line is
made anew. A mistake of ours on one line costs that line a moment, and is named.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ewarn.config import ProbeSpec
from ewarn.contracts import Clock, Line, Millis, Quality, Reading
from ewarn.errors import (
    LineLost,
    NoReply,
    PermanentError,
    PluginError,
    ProbeBusy,
    ProbeRefused,
    ProfileMismatch,
    TransientError,
    WrongReply,
)
from ewarn.registry import BoundProbe

log = logging.getLogger(__name__)
_T = TypeVar("_T")

FAILURES_TO_REST = 3
REST_S = 20.0
BACKOFF_FIRST_S, BACKOFF_MOST_S = 0.5, 10.0
_PATIENCE = 30.0
_CLOSE_S = 2.0
_LET_GO_S = 1.0
_MOST_LEFT = 5
"""Reads of one probe that hang for good, before no further one is begun until one of them ends."""
_RESTART_S = 1.0
_GRACE_S = 15.0
"""Seconds that a line may be late with what it is about, before it counts as stalled."""
_SHARE = 9.0
_AHEAD_MS: Millis = 60_000
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
    """One probe's place on its line.

    Attributes:
        bound: the probe.
        due: when a cycle ends and it has to be heard, in seconds of the station's clock.
        again: while it fails, when it is asked out of turn, in seconds of the machine's.
        rests: whether it is not asked before.
        since, asked: when it began to fail and was asked last, in seconds of the machine's clock.
        left: reads that hang, though they were cancelled.
    """

    bound: BoundProbe
    due: float
    again: float = math.inf
    rests: bool = False
    since: float = 0.0
    asked: float = -math.inf
    state: ProbeState = field(default_factory=ProbeState)
    left: set[asyncio.Task[list[Reading]]] = field(default_factory=set)

    @property
    def spec(self) -> ProbeSpec:
        return self.bound.spec


@dataclass(slots=True)
class _Wire:
    """A line and the probes on it.

    Attributes:
        turns: one a probe.
        line: once it is made.
        backoff: seconds of the last pause after it was lost, 0 while it is well.
        lost_until: when it is opened again, in seconds of the machine's clock.
        heard: when a probe answered last, in the same.
        back_by: when it has to be done with what it is about, in the same.
        fault: the mistake that ended its task last, "" since a probe was served again.
    """

    turns: list[_Turn]
    line: Line | None = None
    backoff: float = 0.0
    lost_until: float = 0.0
    heard: float = -math.inf
    back_by: float = math.inf
    fault: str = ""


class Acquisition:
    """Reads all probes of a station for ever.

    Args:
        probes: with their drivers.
        clock: of the station.
        on_batch: takes what each read gives; it may wait, which slows only that line.
    """

    def __init__(self, probes: Sequence[BoundProbe], clock: Clock, on_batch: OnBatch) -> None:
        self._clock, self._on_batch = clock, on_batch
        self._wires: dict[str, _Wire] = {}
        now = clock.monotonic()
        for bound in probes:
            self._wires.setdefault(bound.spec.line.id, _Wire([])).turns.append(_Turn(bound, now))

    @property
    def states(self) -> dict[str, ProbeState]:
        """How each probe fares, by id."""
        return {turn.spec.id: turn.state for wire in self._wires.values() for turn in wire.turns}

    @property
    def faults(self) -> dict[str, str]:
        """Lines whose task failed by a mistake and has not served a probe since, and the mistake."""
        return {line: wire.fault for line, wire in self._wires.items() if wire.fault}

    @property
    def stalled(self) -> tuple[str, ...]:
        """Lines that have not come back from what they are about, long after they should have."""
        now = _now()
        return tuple(line for line, wire in self._wires.items() if now > wire.back_by + _GRACE_S)

    async def run(self) -> None:
        """Read until cancelled."""
        async with asyncio.TaskGroup() as group:
            for line, wire in self._wires.items():
                group.create_task(self._supervise(line, wire))

    async def _supervise(self, line: str, wire: _Wire) -> None:
        """Serve a line for ever, whatever happens on it."""
        while not _cancelled():  # a driver may swallow the cancellation
            try:
                await self._serve(wire)
            except (Exception, asyncio.CancelledError) as error:
                if _cancelled():
                    raise
                if repr(error) != wire.fault:
                    log.exception("line %s: its task failed and is begun anew", line)
                wire.fault = repr(error)
                wire.back_by = _now() + _RESTART_S
                await asyncio.sleep(_RESTART_S)

    async def _serve(self, wire: _Wire) -> None:
        try:
            while not _cancelled():
                turn = min(wire.turns, key=lambda t: t.due)
                # Who was asked longest ago comes first: one that breaks the line must not be always the first on it.
                early = min(wire.turns, key=lambda t: (t.again, t.asked))
                wire.back_by = _now() + max(0.0, turn.due - self._clock.monotonic())
                if await self._sleep(turn, early):
                    try:
                        await self._take(turn, wire)
                    finally:
                        self._schedule(turn)
                    wire.fault = ""
                else:
                    await self._try_again(early, wire)
        finally:
            await _close(wire)

    async def _sleep(self, turn: _Turn, early: _Turn) -> bool:
        """Wait until `turn` is due; False where the time to ask `early` again comes before."""
        wait = turn.due - self._clock.monotonic()
        if wait <= 0:
            await asyncio.sleep(0)
            return True
        try:
            async with asyncio.timeout_at(None if early.again == math.inf else early.again):
                await self._clock.sleep(wait)
        except TimeoutError:
            return False
        return True

    def _schedule(self, turn: _Turn) -> None:
        """A steady cadence without drift; what was missed is not made up for."""
        late = self._clock.monotonic() - turn.due
        turn.due += turn.spec.every * (1 + max(0, late // turn.spec.every))

    async def _take(self, turn: _Turn, wire: _Wire) -> None:
        """A cycle: read the probe if that may help, and hand on what there is."""
        now = _now()
        if now < wire.lost_until:
            if not turn.state.reason:
                self._failed(turn, "line_lost", "its line is lost")
            turn.again = max(turn.again, wire.lost_until) if turn.rests else wire.lost_until
            readings = None
        elif turn.rests and now < turn.again:
            readings = None
        else:
            readings = await self._ask(turn, wire)
        await self._hand_on(turn, self._missing(turn) if readings is None else readings)

    async def _try_again(self, turn: _Turn, wire: _Wire) -> None:
        """Between two cycles: only what is there is handed on."""
        if _now() < wire.lost_until:
            turn.again = wire.lost_until
            return
        readings = await self._ask(turn, wire)
        if readings is not None:
            await self._hand_on(turn, readings)

    async def _ask(self, turn: _Turn, wire: _Wire) -> list[Reading] | None:
        """Read a probe once; None where that gives nothing."""
        began = turn.asked = _now()
        try:
            readings = await self._read(turn, wire)
        except (TransientError, PermanentError) as error:
            self._failed(turn, _reason(error), str(error))
            await self._pause(turn, wire, began, error)
            return None
        except Exception as error:
            if turn.state.reason != "driver_error":
                log.exception("probe %s: its driver failed", turn.spec.id)
            self._failed(turn, "driver_error", repr(error))
            await _close(wire)
            await self._pause(turn, wire, began, error)
            return None
        wire.backoff, wire.lost_until, wire.heard = 0.0, 0.0, _now()
        turn.again, turn.rests = math.inf, False
        self._succeeded(turn, readings)
        return readings

    async def _pause(self, turn: _Turn, wire: _Wire, began: float, error: Exception) -> None:
        """Say when a probe that failed is asked again, and when its line is opened."""
        now = _now()
        often = turn.state.failures >= FAILURES_TO_REST
        if isinstance(error, LineLost):
            await _close(wire)
            wire.backoff = min(2 * wire.backoff or BACKOFF_FIRST_S, BACKOFF_MOST_S)
            wire.lost_until = now + wire.backoff * random.uniform(0.5, 1.0)
            # Others are heard on this line: it is this probe that breaks it.
            turn.rests = often and wire.heard > turn.since
            turn.again = now + REST_S if turn.rests else wire.lost_until
            return
        wire.backoff = wire.lost_until = 0.0
        turn.rests = often or isinstance(error, PermanentError)
        # With neighbours, one that takes long to fail takes at most a tenth of the line.
        shared = len(wire.turns) > 1
        turn.again = now + max(REST_S, _SHARE * (now - began) if shared and turn.rests else 0.0)

    async def _read(self, turn: _Turn, wire: _Wire) -> list[Reading]:
        limit = _PATIENCE * turn.spec.timeout
        wire.back_by = _now() + limit + _LET_GO_S + _CLOSE_S
        if len(turn.left) >= _MOST_LEFT:
            raise PluginError(f"{len(turn.left)} reads of its driver hang; no further one is begun")
        reading, in_time = await _within(limit, self._open_and_read(turn, wire))
        if not in_time:
            await _close(wire)
            if not reading.done():
                log.error("probe %s: its driver does not let go of its line and is left behind", turn.spec.id)
                turn.left.add(reading)
                reading.add_done_callback(turn.left.discard)
                wire.line = None
            raise NoReply(f"the driver did not come back within {limit:g} s")
        if reading.cancelled():
            raise RuntimeError("the driver was cancelled within itself")
        try:
            return reading.result()
        except TimeoutError as error:
            raise NoReply(str(error) or "time-out") from error

    async def _open_and_read(self, turn: _Turn, wire: _Wire) -> list[Reading]:
        if wire.line is None:
            wire.line = turn.bound.driver.make_line()
        line = wire.line
        await line.open()
        return _checked(turn.spec, list(await turn.bound.driver.read(line)), self._clock.now())

    async def _hand_on(self, turn: _Turn, readings: list[Reading]) -> None:
        await self._on_batch(Batch(turn.spec.id, self._clock.now(), readings))

    def _missing(self, turn: _Turn) -> list[Reading]:
        now = self._clock.now()
        return [Reading(channel, now, None, Quality.MISSING, turn.state.reason) for channel in turn.spec.channels]

    def _failed(self, turn: _Turn, reason: str, detail: str) -> None:
        state = turn.state
        if not state.failures:
            turn.since = _now()
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


def _now() -> float:
    return asyncio.get_running_loop().time()


def _cancelled() -> bool:
    """Whether it is us who shall end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _within(limit: float, work: Coroutine[Any, Any, _T]) -> tuple[asyncio.Task[_T], bool]:
    """Do it for `limit` seconds at most, then cancel it; a task that does not let itself be cancelled goes on.

    Returns:
        The task, and whether it was done in time.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task}, timeout=limit)
    finally:
        if not (in_time := task.done()):
            task.add_done_callback(lambda late: late.cancelled() or late.exception())
            task.cancel()
            await asyncio.wait({task}, timeout=_LET_GO_S)
    return task, in_time


async def _close(wire: _Wire) -> None:
    """Close a line, whatever its driver does meanwhile; one that does not close is never used again."""
    line, wire.line = wire.line, None
    if line is None:
        return

    async def close() -> None:
        await line.close()

    closing, in_time = await _within(_CLOSE_S, close())
    error = closing.exception() if in_time and not closing.cancelled() else TimeoutError()
    if error is None:
        wire.line = line
    else:
        log.error("a line does not close; another is made", exc_info=error)


def _checked(spec: ProbeSpec, readings: list[Reading], now: Millis) -> list[Reading]:
    """The same readings. Raises ValueError where they are not one a channel, each a number or missing, of the past."""
    if sorted(r.channel for r in readings) != sorted(spec.channels):
        raise ValueError(f"the driver gave {[r.channel for r in readings]}, not one reading of each channel")
    for r in readings:
        if (r.value is None) is not (r.quality is Quality.MISSING) or not math.isfinite(r.value or 0.0):
            raise ValueError(f"{r.channel}: {r.value} with flag {r.quality!r}")
        if not 0 <= r.time <= now + _AHEAD_MS:
            raise ValueError(f"{r.channel}: its time is {r.time}, now is {now}")
    return readings


def _reason(error: Exception) -> str:
    return next((code for kind, code in _REASONS.items() if isinstance(error, kind)), "driver_error")
