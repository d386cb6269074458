"""What several verbs share: the clock, signals, logging."""

from __future__ import annotations

import asyncio
import logging
import signal

from ewarn.contracts import Clock
from ewarn.errors import ConfigError
from ewarn.times import ScaledClock, SystemClock

CLOCK_HELP = "Simulated time as INSTANT@ANCHORxSPEED, as `ewarn simulate` prints it; the machine's clock where absent."


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
