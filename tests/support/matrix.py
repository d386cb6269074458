"""The fault matrix as a table: one line a row and fault, sums over all tries, over restarts where a log is kept."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

ROWS = {
    "M1": "no reply; replies later than the time-out",
    "M2": "late replies without transaction ids",
    "M3": "noise, cut, damaged and split frames, echo",
    "M4": "wrong unit, function and count",
    "M5": "exceptions of the device",
    "M6": "half-open, reset and refused connections",
    "M7": "serial port unplugged, path renumbered, second opener",
    "M8": "one of eight units dead",
    "M9": "frozen value, sentinels, numbers that are none",
    "N1": "broker down at the start, down, flapping",
    "N2": "broker frozen",
    "N3": "broker killed after its acknowledgement",
    "N4": "refused by rights; wrong password",
    "N5": "a message larger than the broker takes",
    "N6": "slow and stalling radio link",
    "N7": "a second client under the station's id",
    "N8": "nonsense from the broker into every callback",
    "C1": "database refuses, hangs, resets; wiped; collector killed",
    "S1": "kill -9 at random instants",
    "S2": "power-cut images of the station's file",
    "S3": "disk full",
    "S4": "outbox full",
    "T1": "clock jumps, steps, boots in 1970",
    "D1": "what detection learned is damaged",
    "D2": "a detector raises, or does not come back",
    "G1": "plug-ins that cannot be loaded",
    "O1": "SIGTERM at any instant; SIGHUP with a bad file",
    "O2": "event loop blocked",
    "O3": "soak: memory, descriptors, threads",
    "L1": "everything off at once, then on",
}
"""What each row does, by its id."""

RECOVERY_S = 30.0
"""Seconds within which data flows again after a fault has cleared."""


@dataclass
class Outcome:
    """What came of one or several tries of a row.

    Attributes:
        row, fault: which.
        tries: how often it struck.
        readings, alerts: accepted at the edge, and raised there.
        lost: of both, what is not in the database.
        wrong: values that are not the simulator's at their time, or not the same in the database.
        doubled: points and transitions that are there and should not be, or twice.
        recovery: seconds from the fault's end until every probe's data flowed, at most; None where nothing stopped.
    """

    row: str
    fault: str
    tries: int = 1
    readings: int = 0
    alerts: int = 0
    lost: int = 0
    wrong: int = 0
    doubled: int = 0
    recovery: float | None = None

    @property
    def good(self):
        return not (self.lost or self.wrong or self.doubled)

    def __add__(self, other):
        times = [t for t in (self.recovery, other.recovery) if t is not None]
        numbers = {
            name: getattr(self, name) + getattr(other, name)
            for name in ("tries", "readings", "alerts", "lost", "wrong", "doubled")
        }
        return Outcome(self.row, self.fault, **numbers, recovery=max(times, default=None))


class Matrix:
    """Outcomes of this run, and of those before it where `FAULT_LOG` names a file of JSON lines."""

    def __init__(self):
        self.log = Path(os.environ["FAULT_LOG"]) if os.environ.get("FAULT_LOG") else None
        lines = self.log.read_text().splitlines() if self.log and self.log.exists() else []
        self.outcomes = [Outcome(**json.loads(line)) for line in lines]
        self.reasons = {}

    def add(self, outcome):
        self.outcomes.append(outcome)
        if self.log:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("a") as f:
                f.write(json.dumps(asdict(outcome)) + "\n")

    def done(self, row, fault):
        """Tries of this fault so far that came out well."""
        return sum(o.tries for o in self.outcomes if (o.row, o.fault) == (row, fault) and o.good)

    def lines(self):
        """The table in Markdown; rows that did not run say so."""
        yield "| row | fault | tries | readings | alerts | lost | wrong | doubled | recovery, s |"
        yield "|---|---|--:|--:|--:|--:|--:|--:|--:|"
        for row, words in ROWS.items():
            sums = {}
            for outcome in self.outcomes:
                if outcome.row == row:
                    sums[outcome.fault] = sums[outcome.fault] + outcome if outcome.fault in sums else outcome
            yield from map(_line, sums.values())
            if row in self.reasons or not sums:
                yield f"| {row} | {words} | {self.reasons.get(row, 'not run')} | | | | | | |"


def _line(o):
    recovery = "" if o.recovery is None else f"{o.recovery:.1f}" + (" LATE" if o.recovery > RECOVERY_S else "")
    return (
        f"| {o.row} | {o.fault} | {o.tries} | {o.readings} | {o.alerts} | {o.lost} | {o.wrong} | {o.doubled} "
        f"| {recovery} |"
    )


def tries(per, most):
    """How many tries of a fault: `per` in CI, more by `FAULT_TRIES`, `most` at most."""
    return min(most, per * int(os.environ.get("FAULT_TRIES", "1")))
