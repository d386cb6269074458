"""The language of composites: one expression over channels, read once into a function.

    cl2_total - cl2_free                        numbers, channel ids, + - * / **, brackets
    1 if flow > 5 and not valve == 0 else 0     < <= > >= == !=, and, or, not, if-else; what holds is 1, else 0
    log10(max(uv254, 0.001))                    abs min max sqrt ln log10 exp
    spcond - before(spcond, "10m")              the value that long ago, in whole steps of detection (rounded up)
    rate(turbidity, "30m")                      change a minute since then, in the channel's unit

Python's own parser reads it, and everything that is not listed here is refused: no attributes, no other calls, no more
than some hundred characters. What rests on numbers alone is computed at once, so that `9 ** 9 ** 9` is an error of the
file. All numbers are floats: none can grow without bound. A value that the result needs and that is missing gives no
value, and so do a division by zero, a root or logarithm of what has none, and a result without end.
"""

from __future__ import annotations

import ast
import difflib
import math
import operator
import re
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

from ewarn.errors import ConfigError
from ewarn.toml import parse_seconds

_MOST_CHARACTERS = 500
_MOST_NESTED = 30
_LONGEST_LAG_S = 86_400.0


class NoValue(Exception):  # noqa: N818  (an answer, as None is)
    """A formula gives no value; the argument is the reason as a code."""


class View(Protocol):
    """What a formula sees of the water. Both raise NoValue where nothing is known."""

    def value(self, channel: str) -> float:
        """Its value now."""

    def past(self, channel: str, lag: float) -> tuple[float, float]:
        """Its value at least `lag` seconds ago, and how many seconds ago that was."""


Function = Callable[[View], float]


@dataclass(frozen=True, slots=True)
class Formula:
    """A checked formula.

    Attributes:
        text: as written.
        value: what it gives, always finite; raises NoValue with the reason.
        places: channels that it names, with the character of the first mention, from 1.
        lags: channels whose past it asks for, with the longest lag, seconds.
    """

    text: str
    value: Function = field(compare=False)
    places: Mapping[str, int]
    lags: Mapping[str, float]


def formula_of(text: str, file: str, key: str) -> Formula:
    """Read a formula. Raises ConfigError naming file, key, text, place and what would be right."""
    return _Reader(text, file, key).formula()


def misplaced(formula: Formula, channel: str, known: Collection[str], file: str, key: str) -> ConfigError:
    """The error of a formula that names a channel which is not there."""
    close = difflib.get_close_matches(channel, known, n=1)
    remedy = f"did you mean {close[0]!r}?" if close else f"channels are: {', '.join(sorted(known))}"
    return ConfigError(file, key, _located(formula.text, formula.places[channel], f"no channel {channel!r}"), remedy)


def _located(text: str, place: int, problem: str) -> str:
    return f"{text[:_MOST_CHARACTERS]!r}, character {place}: {problem}"


def _quotient(a: float, b: float) -> float:
    if b == 0:
        raise NoValue("division_by_zero")
    return a / b


_ARITHMETIC: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: _quotient, ast.Pow: math.pow,
}  # fmt: skip
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}  # fmt: skip
_SIGNS: Mapping[type[ast.unaryop], Callable[[float], float]] = {
    ast.UAdd: operator.pos, ast.USub: operator.neg, ast.Not: lambda a: float(not a),
}  # fmt: skip
_OF_ONE: Mapping[str, Callable[[float], float]] = {
    "abs": abs, "sqrt": math.sqrt, "ln": math.log, "log10": math.log10, "exp": math.exp,
}  # fmt: skip
_OF_SEVERAL: Mapping[str, Callable[..., float]] = {"min": min, "max": max}
_OF_THE_PAST = ("before", "rate")
_FUNCTIONS = (*_OF_ONE, *_OF_SEVERAL, *_OF_THE_PAST)
_OPERATORS = "operators are + - * / ** < <= > >= == != and or not"


def _finite(work: Callable[..., float], *arguments: float) -> float:
    """What it gives; raises NoValue where that is no number."""
    try:
        result = float(work(*arguments))
    except ValueError:
        raise NoValue("out_of_domain") from None
    except OverflowError:
        raise NoValue("too_large") from None
    if not math.isfinite(result):
        raise NoValue("too_large")
    return result


class _Nothing:
    """The view of what rests on numbers alone."""

    def value(self, channel: str) -> float:
        raise NoValue(channel)

    def past(self, channel: str, lag: float) -> tuple[float, float]:
        raise NoValue(f"{channel} {lag}")


@dataclass(slots=True)
class _Reader:
    """Reads one formula; the functions that it makes call each other."""

    text: str
    file: str
    key: str
    places: dict[str, int] = field(default_factory=dict)
    lags: dict[str, float] = field(default_factory=dict)
    mentions: int = 0

    def formula(self) -> Formula:
        value = self.read(self._tree(), 0)
        if not self.places:
            self._refuse(1, "names no channel", "name what it is computed from, as cl2_total - cl2_free")
        return Formula(self.text, value, self.places, self.lags)

    def read(self, node: ast.expr, depth: int) -> Function:
        """The function of a node."""
        if depth > _MOST_NESTED:
            self._refuse(self._place(node), f"nests deeper than {_MOST_NESTED}", "make a composite of a part of it")
        before = self.mentions
        function = self._read(node, depth + 1)
        if self.mentions > before:
            return function
        try:
            number = function(_Nothing())
        except NoValue as error:
            self._refuse(self._place(node), f"never has a value: {error}", "correct these numbers")
        return lambda _view: number

    def _read(self, node: ast.expr, depth: int) -> Function:
        match node:
            case ast.Constant():
                return self._number(node)
            case ast.Name(id=name):
                self._mention(name, node)
                return lambda view: view.value(name)
            case ast.UnaryOp() if type(node.op) in _SIGNS:
                sign, operand = _SIGNS[type(node.op)], self.read(node.operand, depth)
                return lambda view: sign(operand(view))
            case ast.BinOp() if type(node.op) in _ARITHMETIC:
                work = _ARITHMETIC[type(node.op)]
                left, right = self.read(node.left, depth), self.read(node.right, depth)
                return lambda view: _finite(work, left(view), right(view))
            case ast.BoolOp():
                return self._junction(node, depth)
            case ast.Compare() if all(type(op) in _COMPARISONS for op in node.ops):
                return self._comparison(node, depth)
            case ast.IfExp():
                test, then, other = (self.read(part, depth) for part in (node.test, node.body, node.orelse))
                return lambda view: then(view) if test(view) else other(view)
            case ast.Call():
                return self._call(node, depth)
        return self._refuse(self._place(node), f"{self._source(node)!r} is not of the language", _OPERATORS)

    def _number(self, node: ast.Constant) -> Function:
        if isinstance(node.value, str):
            self._refuse(self._place(node), f"{node.value!r} is a text", 'texts are spans, as in before(ph, "10m")')
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            self._refuse(self._place(node), f"{node.value!r} is no number", "write 1 for true and 0 for false")
        whole = node.value
        return lambda _view: _finite(float, whole)

    def _junction(self, node: ast.BoolOp, depth: int) -> Function:
        parts = [self.read(part, depth) for part in node.values]
        if isinstance(node.op, ast.And):
            return lambda view: float(all(part(view) for part in parts))
        return lambda view: float(any(part(view) for part in parts))

    def _comparison(self, node: ast.Compare, depth: int) -> Function:
        operands = [self.read(part, depth) for part in (node.left, *node.comparators)]
        tests = [_COMPARISONS[type(op)] for op in node.ops]
        steps = list(zip(tests, operands, operands[1:], strict=False))
        return lambda view: float(all(test(left(view), right(view)) for test, left, right in steps))

    def _call(self, node: ast.Call, depth: int) -> Function:
        name = node.func.id if isinstance(node.func, ast.Name) else self._source(node.func)
        if name not in _FUNCTIONS:
            close = difflib.get_close_matches(name, _FUNCTIONS, n=1)
            remedy = f"did you mean {close[0]!r}?" if close else f"functions are: {', '.join(_FUNCTIONS)}"
            self._refuse(self._place(node), f"unknown function {name!r}", remedy)
        if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
            self._refuse(self._place(node), f"{name} takes plain values", "leave out names and stars")
        if name in _OF_THE_PAST:
            return self._past(name, node)
        if len(node.args) != 1 if name in _OF_ONE else len(node.args) < 2:
            count = "one value" if name in _OF_ONE else "two values or more"
            self._refuse(self._place(node), f"{name} has {len(node.args)}", f"it takes {count}")
        work, arguments = _OF_ONE.get(name) or _OF_SEVERAL[name], [self.read(part, depth) for part in node.args]
        return lambda view: _finite(work, *(argument(view) for argument in arguments))

    def _past(self, name: str, node: ast.Call) -> Function:
        match node.args:
            case [ast.Name(id=channel), ast.Constant(value=str(span))]:
                self._mention(channel, node.args[0])
                lag = self._lag(span, node.args[1])
                self.lags[channel] = max(lag, self.lags.get(channel, 0.0))
            case _:
                self._refuse(self._place(node), f"{name} takes a channel and a span", f'as {name}(spcond, "10m")')
        if name == "before":
            return lambda view: view.past(channel, lag)[0]

        def rate(view: View) -> float:
            value, seconds = view.past(channel, lag)
            return _finite(_quotient, 60 * (view.value(channel) - value), seconds)

        return rate

    def _lag(self, span: str, node: ast.expr) -> float:
        try:
            lag = float(parse_seconds(span))
        except ValueError as error:
            self._refuse(self._place(node), str(error), 'as "10m"')
        if not 0 < lag <= _LONGEST_LAG_S:
            self._refuse(self._place(node), f"{span!r} is nothing, or more than a day", 'as "10m"')
        return lag

    def _mention(self, channel: str, node: ast.expr) -> None:
        self.mentions += 1
        self.places.setdefault(channel, self._place(node))

    def _tree(self) -> ast.expr:
        if len(self.text) > _MOST_CHARACTERS:
            self._refuse(_MOST_CHARACTERS, "is too long", f"{_MOST_CHARACTERS} characters at most; make two of it")
        if not self.text.strip():
            self._refuse(1, "is empty", "as cl2_total - cl2_free")
        for sign in "#\0":
            if sign in self.text:
                self._refuse(self.text.index(sign) + 1, f"{sign!r} is not of the language", "one expression alone")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ast.parse(self._line(), mode="eval").body
        except SyntaxError as error:
            self._refuse(self._from_start(error.offset or 1), error.msg, f"one expression; {_OPERATORS}")
        except (RecursionError, MemoryError, ValueError):
            self._refuse(1, "nests too deeply", "make a composite of a part of it")

    def _place(self, node: ast.expr) -> int:
        """Character of the node, from 1; Python counts bytes."""
        return self._from_start(len(self._line().encode()[: node.col_offset].decode()) + 1)

    def _source(self, node: ast.expr) -> str:
        return (ast.get_source_segment(self._line(), node) or "")[:40]

    def _line(self) -> str:
        """The text as one line, which may begin at once."""
        return re.sub(r"\s", " ", self.text).lstrip()

    def _from_start(self, place: int) -> int:
        return place + len(self.text) - len(self._line())

    def _refuse(self, place: int, problem: str, remedy: str) -> NoReturn:
        raise ConfigError(self.file, self.key, _located(self.text, place, problem), remedy)
