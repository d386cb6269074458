"""Everything that a line does to a reply, each fault by chance and any number of them at once."""

from __future__ import annotations

import random
from collections.abc import Callable

from fake_modbus import Device, checksum

Sent = list[tuple[float, bytes]]
"""What a device sends for one request: delays in seconds, and bytes."""


def refit(reply, change):
    """RTU reply with changed body and a right check sum."""
    body = change(bytearray(reply[:-2]))
    return bytes(body) + checksum(bytes(body))


def wrong_function(body):
    body[1] ^= 7
    return body


def wrong_unit(body):
    body[0] = 9
    return body


def fewer(body):
    body[2] -= 2
    return body[:-2]


def more(body):
    body[2] += 2
    return body + b"\x12\x34"


def exception(code):
    return lambda body: bytearray([body[0], body[1] | 0x80, code])


def of_bytes(change: Callable[[bytes, random.Random], bytes]):
    """A fault that changes the last of the replies."""
    return lambda sent, rng: [*sent[:-1], (sent[-1][0], change(sent[-1][1], rng))] if sent else []


def whole(reply):
    return len(reply) >= 7 and checksum(reply[:-2]) == reply[-2:]


def of_time(least, most):
    return lambda sent, rng: [(delay + rng.uniform(least, most), data) for delay, data in sent]


def split(sent, rng):
    if not sent:
        return []
    *before, (delay, data) = sent
    cut = rng.randrange(1, len(data)) if len(data) > 1 else 0
    return [*before, (delay, data[:cut]), (rng.uniform(0, 0.01), data[cut:])]


BODIES: dict[str, Callable] = {
    "other unit": wrong_unit, "other function": wrong_function, "fewer registers": fewer, "more registers": more,
    "busy": exception(6), "refused": exception(2),
}  # fmt: skip
"""What a device may get wrong in a reply that is whole. One of them at a time: fewer and then more would be a lie."""


def of_any_line(timeout: float):
    """What may befall the replies of a device that tells the truth; times in terms of the driver's time-out, seconds."""
    return {
        "late": of_time(timeout, 2 * timeout),
        "very late": of_time(2 * timeout, 8 * timeout),
        "slow": of_time(0, timeout),
        "no reply": lambda _sent, _rng: [],
        "twice at once": lambda sent, _rng: [*sent, *sent[-1:]],
        "twice": lambda sent, rng: [*sent, *((rng.uniform(0, timeout), data) for _, data in sent[-1:])],
        "split": split,
    }


def flip(reply, rng):
    data = bytearray(reply)
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


OF_RTU = {
    "cut short": of_bytes(lambda reply, rng: reply[: rng.randrange(len(reply) + 1)]),
    "flipped bit": of_bytes(flip),
    "other unit first": lambda sent, _rng: [*((0, refit(d, wrong_unit)) for _, d in sent[-1:] if whole(d)), *sent],
    "noise before": of_bytes(lambda reply, rng: rng.randbytes(rng.randrange(1, 4)) + reply),
    "noise after": of_bytes(lambda reply, rng: reply + rng.randbytes(rng.randrange(1, 4))),
}
"""What noise does; MBAP runs over TCP, which lets none through."""


def disturb(device: Device, share: float, timeout: float, rng: random.Random, *, rtu: bool) -> None:
    """Give a device a line where each fault strikes this share of the replies, independently.

    A reply that lies is in time and comes once: whoever lies and is late as well cannot be told from one who is not.
    """
    times, noise = list(of_any_line(timeout).values()), list(OF_RTU.values()) if rtu else []

    def fault(_n, reply):
        lies = rtu and not device.pending and whole(reply) and rng.random() < share * len(BODIES)
        sent: Sent = [(0, refit(reply, rng.choice(list(BODIES.values()))) if lies else reply)]
        for kind in noise if lies else [*times, *noise]:
            if rng.random() < share:
                sent = kind(sent, rng)
        return [(delay, data) for delay, data in sent if data]

    device.fault = fault
