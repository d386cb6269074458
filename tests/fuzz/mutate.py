"""Random and mutated inputs, the same for the same seed."""

import random
import re

_TOKENS = [
    b"", b"0", b"-1", b"1e999", b"NaN", b"-Infinity", b'"x"', b"9", b"4", b"3", b"2", b"1", b"0.5", b'"ph"', b'"t"', b'"q"', b'"2026-05-28T20:26:40Z"', b"9" * 400, b"null", b"true", b"[]", b"{}", b'""', b"\xff\xfe",
    b"\x00", b"\r\n", b"2026-13-01T00:00:00Z", b"0001-01-01T00:00:00+23:59", b"9999-12-31T23:59:59Z", b"\x78\x9c",
    b"18446744073709551616", b"1.7976931348623157e308", b"0x10", b"inf", b",", b":", b'"', b"[" * 2000, b"+", b"#",
]  # fmt: skip


def mutated(seeds, number):
    """The input of this number: every twentieth is mere noise, the others are seeds that were bent some times."""
    rng = random.Random(number)
    if number % 20 == 0:
        return rng.randbytes(rng.randrange(200))
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        rng.choice((_flip, _set, _insert, _cut, _copy, _splice, _token, _word, _word, _word))(data, rng, seeds)
    return bytes(data)


def _at(data, rng):
    return rng.randrange(len(data) + 1)


def _flip(data, rng, _seeds):
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set(data, rng, _seeds):
    if data:
        data[rng.randrange(len(data))] = rng.choice((0, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _insert(data, rng, _seeds):
    at = _at(data, rng)
    data[at:at] = rng.randbytes(rng.randrange(1, 5))


def _cut(data, rng, _seeds):
    at = _at(data, rng)
    del data[at : at + rng.choice((1, 2, 4, 16, len(data)))]


def _copy(data, rng, _seeds):
    at, start = _at(data, rng), _at(data, rng)
    data[at:at] = data[start : start + rng.randrange(1, 40)]


def _splice(data, rng, seeds):
    other = rng.choice(seeds)
    data[_at(data, rng) :] = other[rng.randrange(len(other) + 1) :][:5000]


_WORD = re.compile(rb'"[^"]{0,40}"|[-+.:\w]+')


def _word(data, rng, _seeds):
    """Another word in the place of a word, so that what stands around it still holds."""
    words = list(_WORD.finditer(data))[:500]
    if words:
        start, end = rng.choice(words).span()
        data[start:end] = rng.choice(_TOKENS) if rng.random() < 0.7 else rng.choice(words)[0]


def _token(data, rng, _seeds):
    at = _at(data, rng)
    data[at : at + rng.choice((0, 1, 4, 10))] = rng.choice(_TOKENS)
