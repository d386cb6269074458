"""Every error that ewarn raises on purpose.

EwarnError
├── TransientError              may pass by itself: try again, with back-off
│   ├── LineLost                the port or socket is gone: reopen it
│   ├── NoReply                 the probe said nothing in time
│   ├── WrongReply              bytes came that do not answer the request
│   ├── ProbeBusy               the probe or its gateway asks to try later
│   ├── LinkDown                the MQTT link is not there, or broke before the broker answered
│   └── StoreUnavailable        the database cannot take anything now
└── PermanentError              trying again cannot help: a person has to change something
    ├── ConfigError             a setting is wrong: names file, key, value and remedy
    ├── RecordError             a recorded file cannot be read
    ├── PluginError             a driver or detector cannot be loaded
    ├── ProbeRefused            the probe says that what is asked does not exist (Modbus exceptions 1, 2, 3)
    ├── ProfileMismatch         the device is not the one that its profile describes
    ├── PublishRefused          the broker refuses this message (rights, size)
    └── StoreRefused            the database refuses these points
"""

from __future__ import annotations


class EwarnError(Exception):
    """Base of all errors raised by ewarn."""


class TransientError(EwarnError):
    """May pass by itself: try again, with back-off."""


class LineLost(TransientError):  # noqa: N818  (a state of the line, as the field says it)
    """The serial port or socket is gone; it has to be opened again."""


class NoReply(TransientError):  # noqa: N818
    """The probe said nothing within its time-out."""


class WrongReply(TransientError):  # noqa: N818
    """Bytes came that do not provably answer the request."""


class ProbeBusy(TransientError):  # noqa: N818
    """The probe or its gateway answered that it cannot serve now (Modbus exceptions 4 to 8, 10, 11)."""


class LinkDown(TransientError):  # noqa: N818
    """There is no MQTT connection, or it broke before the broker answered."""


class StoreUnavailable(TransientError):  # noqa: N818
    """The database cannot take anything now.

    Args:
        message: what happened.
        retry_after: seconds that the database asks to wait, if it says so.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PermanentError(EwarnError):
    """Trying again cannot help: a person has to change something."""


class ConfigError(PermanentError):
    """A setting is wrong.

    Args:
        file: the file that holds it ("" where there is none).
        key: dotted path of the key, as `probes[0].every`.
        problem: what is wrong, with the value found.
        remedy: what would be right.
    """

    def __init__(self, file: str, key: str, problem: str, remedy: str = "") -> None:
        self.file, self.key, self.problem, self.remedy = file, key, problem, remedy
        super().__init__(": ".join(filter(None, (file, key, problem))) + (f"; {remedy}" if remedy else ""))


class RecordError(PermanentError):
    """A recorded file cannot be read, or one of its rows cannot."""


class PluginError(PermanentError):
    """A driver or detector cannot be found or loaded; the message names its distribution."""


class ProbeRefused(PermanentError):  # noqa: N818
    """The probe answers that what is asked does not exist (Modbus exceptions 1, 2, 3)."""


class ProfileMismatch(PermanentError):  # noqa: N818
    """The device is not the one that its profile describes."""


class PublishRefused(PermanentError):  # noqa: N818
    """The broker refuses this message and would refuse it again (rights, size, topic)."""


class StoreRefused(PermanentError):  # noqa: N818
    """The database refuses these points and would refuse them again."""
