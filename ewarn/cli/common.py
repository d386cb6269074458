"""What several verbs share: the clock, signals, logging."""

from __future__ import annotations

import asyncio
import logging
import re
import signal

from ewarn.contracts import Clock
from ewarn.errors import ConfigError
from ewarn.times import ScaledClock, SystemClock

CLOCK_HELP = "Simulated time as INSTANT@ANCHORxSPEED, as `ewarn simulate` prints it; the machine's clock where absent."
_RANGE = re.compile(r"[0-9]+(-[0-9]+)?")


def clock_of(text: str) -> Clock:
    """The clock that an option names. Raises ConfigError."""
    if not text:
        return SystemClock()
    try:
        return ScaledClock.parse(text)
    except ValueError as error:
        raise ConfigError(
            "", "--clock", f"{text!r} is not a clock: {error}", "take it from `ewarn simulate`"
        ) from error


def numbers_of(text: str, option: str) -> tuple[int, ...]:
    """Whole numbers that an option names: "1-3,7" is 1, 2, 3 and 7; "" is none. Raises ConfigError.

    >>> numbers_of("1-3,7", "--seeds")
    (1, 2, 3, 7)
    """
    numbers: list[int] = []
    for part in text.split(",") if text else ():
        if not _RANGE.fullmatch(part):
            raise ConfigError("", option, f"{text!r} are no whole numbers", "write them as 1-5 or 1,3")
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return tuple(numbers)


def stop_on_signals() -> asyncio.Event:
    """An event that SIGINT and SIGTERM set. Call it inside a running loop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


def log_to_stderr() -> None:
    """One line an event; systemd adds the time."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
