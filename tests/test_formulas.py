"""The language of composites: what it gives, and what it refuses, by place."""

import contextlib
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ewarn.config import station_from
from ewarn.config.formula import NoValue, formula_of
from ewarn.errors import ConfigError


class Now:
    """Water as it is: channels that are not named have no value."""

    def __init__(self, **values):
        self.values = values

    def value(self, channel):
        if channel not in self.values:
            raise NoValue("no_input")
        return self.values[channel]

    def past(self, channel, lag):
        return self.value(channel) - 6.0, lag


def result(text, **values):
    return formula_of(text, "s.toml", "channels.x.formula").value(Now(**values))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a - b", 7.0),
        ("-a + 2 * (b + 1) ** 2 / 4", -4.5),
        ("a > 5", 1.0),
        ("0 < b <= 2 and not a == 10", 1.0),
        ("0 < b < 1.5", 0.0),
        ("a < 0 or b", 1.0),
        ("1 if a > 5 else 0", 1.0),
        ("a if b != 2 else b", 2.0),
        ("abs(b - a) + min(a, b, 1) + max(a, b)", 17.0),
        ("sqrt(a) + ln(exp(b)) + log10(10 ** b)", 7.0),
        ('before(a, "10m")', 3.0),
        ('rate(a, "10m")', 0.6),
        ("a\n  - b", 7.0),
    ],
)
def test_it_computes_as_it_is_written(text, expected):
    assert result(text, a=9.0, b=2.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a / (a - 9)", "division_by_zero"),
        ("sqrt(a - 10)", "out_of_domain"),
        ("(a - 10) ** 0.5", "out_of_domain"),
        ("ln(a - 9)", "out_of_domain"),
        ("exp(a * 1000)", "too_large"),
        ("a * 1e308", "too_large"),
        ("a + c", "no_input"),
        ("c * 0", "no_input"),
        ("max(a, c)", "no_input"),
        ("not c", "no_input"),
    ],
)
def test_what_has_no_result_gives_no_value_and_says_why(text, reason):
    with pytest.raises(NoValue, match=reason):
        result(text, a=9.0)


def test_what_the_result_does_not_need_may_be_missing():
    assert result("a if a > 5 else c", a=9.0) == 9.0
    assert result("a > 5 or c > 5", a=9.0) == 1.0


WRONG = {
    "": (1, "is empty", "as cl2_total"),
    "1 + 1": (1, "names no channel", "computed from"),
    "a +": (4, "", "one expression"),
    "a = 1": (3, "", "one expression"),
    "a; b": (2, "", "one expression"),
    "  a.real": (3, "'a.real'", "operators are"),
    "a[0]": (1, "'a[0]'", "operators are"),
    "a % 2": (1, "'a % 2'", "operators are"),
    "a in (1, 2)": (1, "'a in (1, 2)'", "operators are"),
    "[a for a in b]": (1, "not of the language", "operators are"),
    "lambda: a": (1, "not of the language", "operators are"),
    "(a := 1)": (2, "not of the language", "operators are"),
    "a # b": (3, "'#'", "alone"),
    "a + 'x'": (5, "is a text", "before"),
    'a > "10m"': (5, "is a text", "before"),
    "a + True": (5, "no number", "write 1"),
    "a + 1j": (5, "no number", "write 1"),
    "a + mean(b, c)": (5, "unknown function 'mean'", "functions are"),
    "a + sqr(b)": (5, "unknown function 'sqr'", "'sqrt'"),
    "__import__('os')": (1, "unknown function", "functions are"),
    "a.__class__()": (1, "unknown function", "functions are"),
    "sqrt(a, b)": (1, "sqrt has 2", "one value"),
    "max(a)": (1, "max has 1", "two values"),
    "max(*a)": (1, "plain values", "stars"),
    "max(a, key=b)": (1, "plain values", "names"),
    "before(a)": (1, "a channel and a span", '"10m"'),
    'before(a + b, "10m")': (1, "a channel and a span", '"10m"'),
    'rate(a, "10")': (9, "not a duration", '"10m"'),
    'rate(a, "0s")': (9, "nothing", '"10m"'),
    'rate(a, "25h")': (9, "more than a day", '"10m"'),
    "a + 9 ** 9 ** 9": (5, "too_large", "correct"),
    "a + 1 / (2 - 2)": (5, "division_by_zero", "correct"),
    "a + sqrt(-1)": (5, "out_of_domain", "correct"),
    f"a + {10**400}": (5, "too_large", "correct"),
    "a + 1e999": (5, "too_large", "correct"),
    "a" + "+a" * 250: (500, "too long", "two of it"),
    "+".join(["a"] * 100): (1, "nests deeper", "part of it"),
    "(" * 220 + "a" + ")" * 220: (1, "", ""),
    "-" * 400 + "a": (1, "", "part of it"),
    "~" * 480 + "a": (1, "not of the language", "operators"),
}


@pytest.mark.parametrize("text", WRONG, ids=lambda t: t[:20])
def test_what_is_wrong_is_named_by_file_key_text_and_place(text):
    place, problem, remedy = WRONG[text]
    with pytest.raises(ConfigError) as caught:
        formula_of(text, "s.toml", "channels.x.formula")
    error = caught.value
    assert (error.file, error.key) == ("s.toml", "channels.x.formula")
    assert repr(text[:500]) in error.problem
    assert problem in error.problem
    assert remedy in error.remedy
    if problem and "nests" not in problem:
        assert f"character {place}:" in error.problem


def test_places_count_characters_not_bytes():
    with pytest.raises(ConfigError, match="character 5: unknown function 'raíz'"):
        formula_of("ñu +raíz(a)", "s.toml", "k")


_NAMES = st.sampled_from(["a", "b", "c"])
_EXPRESSIONS = st.recursive(
    st.one_of(_NAMES, st.floats(-1e6, 1e6).map(repr), st.sampled_from(["0", "1e308", "9"])),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "/", "**", "<", "==", "and", "or"]), inner),
        st.builds("{}({})".format, st.sampled_from(["sqrt", "ln", "exp", "abs", "-", "not "]), inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(text=_EXPRESSIONS, a=st.floats(allow_nan=False, allow_infinity=False), b=st.floats(-10, 10))
def test_a_result_is_finite_or_there_is_none(text, a, b):
    try:
        formula = formula_of(text, "s.toml", "k")
    except ConfigError:
        return
    value = 0.0
    with contextlib.suppress(NoValue):
        value = formula.value(Now(a=a, b=b))
    assert math.isfinite(value)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(text=st.text(max_size=60))
def test_any_text_is_read_or_refused_with_its_place(text):
    problem = "character"
    try:
        formula_of(text, "s.toml", "k")
    except ConfigError as error:
        problem = error.problem
    assert "character" in problem


def station(**composites):
    channels = {"cl2_free": {}, "cl2_total": {}, **composites}
    return station_from({"station": {"id": "s"}, "channels": channels}, Path("s.toml"))


def test_a_composite_is_a_channel_like_others():
    made = station(index={"formula": "cl2_free / cl2_total", "unit": "%", "resolution": 0.5, "role": "operation"})
    spec = made.channels["index"]
    assert (spec.parameter, spec.unit, spec.role, spec.resolution, spec.fail_span) == ("index", "%", "operation", 0.5, None)
    assert spec.formula.text == "cl2_free / cl2_total"
    assert station(demand={"formula": "cl2_total - cl2_free", "parameter": "cl2_total"}).channels["demand"].unit == "mg/L"


REFUSED = {
    "unknown channel": ({"index": {"formula": "1 + cl2_fre"}}, "index.formula", "character 5: no channel 'cl2_fre'", "'cl2_free'"),
    "nothing near": ({"index": {"formula": "wind"}}, "index.formula", "no channel 'wind'", "channels are: cl2_free"),
    "itself": ({"index": {"formula": "index + cl2_free"}}, "index.formula", "needs itself: index from index", "not in a circle"),
    "circle": (
        {"index": {"formula": 'before(index_2, "5m")'}, "index_2": {"formula": "index"}},
        "formula", "needs itself: index", "not in a circle",
    ),
    "test of a probe": ({"index": {"formula": "cl2_free", "spike": 1.0}}, "index.spike", "not for a composite", "takes: "),
    "no parameter": ({"demand": {"formula": "cl2_free"}}, "demand.parameter", "unknown parameter 'demand'", '"index"'),
    "another unit": ({"cl2_free_2": {"formula": "cl2_free", "unit": "ug/L"}}, "cl2_free_2.unit", "'ug/L'", "mg/L"),
    "number": ({"index": {"formula": 3}}, "index.formula", "", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_composite_that_cannot_be_is_named(case):
    composites, key, problem, remedy = REFUSED[case]
    with pytest.raises(ConfigError) as caught:
        station(**composites)
    assert caught.value.key.startswith("channels.")
    assert caught.value.key.endswith(key)
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


def test_a_lag_of_too_many_steps_is_refused():
    data = {
        "station": {"id": "s"},
        "channels": {"ph": {"every": "1s"}, "index": {"formula": 'rate(ph, "2h")'}},
        "detection": {"step": "1s"},
    }
    with pytest.raises(ConfigError, match="7200 s ago is more than 3600 steps"):
        station_from(data, Path("s.toml"))


def test_a_composite_stands_beside_probes_but_not_in_their_place():
    data = {
        "station": {"id": "s"},
        "lines": {"x": {"kind": "tcp", "host": "h", "port": 1}},
        "probes": [{"id": "sonde", "driver": "modbus", "line": "x", "channels": ["ph", "do"]}],
        "channels": {"index": {"formula": "ph * do"}},
    }
    assert list(station_from(data, Path("s.toml")).channels) == ["ph", "do", "index"]
    data["channels"] = {"do": {"formula": "ph"}}
    with pytest.raises(ConfigError, match="probe 'sonde' has this channel already"):
        station_from(data, Path("s.toml"))
