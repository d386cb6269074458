"""Strict TOML: every error names the file, the key, the value and what would be right."""

from __future__ import annotations

import difflib
import re
import stat
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ewarn.errors import ConfigError

T = TypeVar("T")

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(kB|MB|GB)\s*")
_BYTES = {"kB": 1e3, "MB": 1e6, "GB": 1e9}

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)\s*")


_LONGEST_S = 100 * 365 * 86400.0
_LONGEST_TEXT = 20


class Seconds(float):
    """A duration, never less than 0; in TOML a text with its unit, as "15s", "1m", "2h", "7d"."""

    __slots__ = ()


class Size(int):
    """A number of bytes; in TOML a text with its unit, as "512MB"."""

    __slots__ = ()


def parse_size(text: str) -> Size:
    """Bytes of a size with its unit.

    >>> parse_size("1.5MB")
    1500000
    """
    match = _SIZE.fullmatch(text)
    if match is None or len(text) > _LONGEST_TEXT:
        raise ValueError(f"{text[:80]!r} is not a size; write a number with its unit, as 512MB, 2GB")
    return Size(float(match[1]) * _BYTES[match[2]])


def parse_seconds(text: str) -> Seconds:
    """Seconds of a duration with its unit.

    >>> parse_seconds("1.5m")
    90.0
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write a number with its unit, as 15s, 1m, 2h, 7d")
    seconds = float(match[1]) * _UNITS[match[2]]
    if seconds > _LONGEST_S:
        raise ValueError(f"{text!r} is not a duration of less than 100 years")
    return Seconds(seconds)


def _dec_hook(kind: type, value: object) -> object:
    if kind is Seconds:
        if not isinstance(value, str):
            raise ValueError(f'{value!r} is not a duration; write a text with its unit, as "15s", "1m", "2h"')
        return parse_seconds(value)
    if kind is Size:
        if not isinstance(value, str):
            raise ValueError(f'{value!r} is not a size; write a text with its unit, as "512MB", "2GB"')
        return parse_size(value)
    raise NotImplementedError(kind)


def read_toml(path: Path) -> dict[str, Any]:
    """The document as plain data. Raises ConfigError naming file and line."""
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise ConfigError(
            str(path), "", f"cannot be read: {error.strerror}", "check the path and its rights"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), "", f"is not TOML: {error}", "texts need quotes; tables need brackets") from error
    except RecursionError:
        raise ConfigError(str(path), "", "cannot be read: its brackets nest too deeply", "close them") from None


def file_problem(path: Path) -> str:
    """Why there is no file at this path, "" where there is one."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return str(error.strerror)
    except ValueError as error:
        return str(error)
    return "Is a directory" if stat.S_ISDIR(mode) else ""


def decode_toml(path: Path, kind: type[T]) -> T:
    """The document as `kind`. Raises ConfigError."""
    return convert(read_toml(path), kind, str(path))


def convert(data: Any, kind: type[T], file: str, prefix: str = "", *, also: Collection[str] = ()) -> T:
    """Plain data as `kind`. Raises ConfigError.

    Args:
        data: of the document.
        kind: what it has to be.
        file: that it comes from.
        prefix: the key that `data` stands under.
        also: keys that may stand beside it and have been taken already, to be named with the known ones.
    """
    try:
        return msgspec.convert(data, kind, dec_hook=_dec_hook)
    except msgspec.ValidationError as error:
        raise _explain(str(error), data, kind, file, prefix, also=also) from error


def _explain(text: str, data: Any, kind: type, file: str, prefix: str, *, also: Collection[str]) -> ConfigError:
    message, _, where = text.partition(" - at `$")
    path = where.rstrip("`").lstrip(".")
    key = ".".join(part for part in (prefix, path) if part).replace(".[", "[")
    unknown = re.fullmatch(r"Object contains unknown field `(.+)`", message)
    if unknown:
        name = unknown[1]
        known = [*_fields(kind, path, _lookup(data, path)), *(() if path else also)]
        close = difflib.get_close_matches(name, known, n=1)
        remedy = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(sorted(known))}"
        return ConfigError(file, f"{key}.{name}" if key else name, "unknown key", remedy)
    missing = re.fullmatch(r"Object missing required field `(.+)`", message)
    if missing:
        leaf = f"{path}.{missing[1]}"
        remedy = _choices(kind, leaf) if _tags(kind, leaf) else "this key is required"
        return ConfigError(file, f"{key}.{missing[1]}" if key else missing[1], "missing", remedy)
    found = _lookup(data, path)
    expected = re.fullmatch(r"Expected (.+), got `(.+)`", message)
    if expected:
        return ConfigError(file, key, f"{found!r} is of type {expected[2]}", f"expected {expected[1].replace('`', '')}")
    if message.startswith("Invalid enum value") or (message.startswith("Invalid value") and _tags(kind, path)):
        return ConfigError(file, key, f"{found!r} is not allowed", _choices(kind, path))
    return ConfigError(file, key, f"{found!r}: {message}" if "is not a " not in message else message)


def _steps(path: str) -> list[str]:
    return re.findall(r"[^.\[\]]+", path)


def _lookup(data: Any, path: str) -> Any:
    for step in _steps(path):
        try:
            data = data[int(step)] if isinstance(data, list) else data[step]
        except (KeyError, IndexError, ValueError, TypeError):
            return None
    return data


def _type_at(kind: Any, path: str) -> Any:
    info = msgspec.inspect.type_info(kind)
    for step in _steps(path):
        info = _inner(info, step)
    return info


def _inner(info: Any, step: str) -> Any:
    inspect = msgspec.inspect
    if isinstance(info, inspect.UnionType):
        structured = [t for t in info.types if isinstance(t, inspect.StructType | inspect.DictType | inspect.ListType)]
        info = structured[0] if structured else info.types[0]
    if isinstance(info, inspect.StructType):
        for f in info.fields:
            if f.encode_name == step:
                return f.type
    if isinstance(info, inspect.DictType):
        return info.value_type
    if isinstance(info, inspect.ListType | inspect.VarTupleType):
        return info.item_type
    return info


def _fields(kind: Any, path: str, data: Any) -> list[str]:
    """Keys of the table at `path`; where it may be one of several kinds, of the one whose tag `data` has."""
    info = _type_at(kind, path)
    structs = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    for struct in structs:
        if isinstance(struct, msgspec.inspect.StructType) and (
            len(structs) == 1 or (isinstance(data, dict) and data.get(struct.tag_field) == struct.tag)
        ):
            return [f.encode_name for f in struct.fields]
    return []


def _tags(kind: Any, path: str) -> tuple[Any, ...]:
    """Where `path` leads to the key that tells several kinds of tables apart: its values."""
    parent, _, leaf = path.rpartition(".")
    info = _type_at(kind, parent)
    types = info.types if isinstance(info, msgspec.inspect.UnionType) else ()
    return tuple(t.tag for t in types if isinstance(t, msgspec.inspect.StructType) and t.tag_field == leaf)


def _choices(kind: Any, path: str) -> str:
    info = _type_at(kind, path)
    values = info.values if isinstance(info, msgspec.inspect.LiteralType) else _tags(kind, path)
    return "one of: " + ", ".join(repr(v) for v in values) if values else "see the documentation of this key"
