import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers._frames import Request
from drivers.planner import Span, challenges, plan
from ewarn.profiles import Limits


def blocks(spans, **limits):
    return [(r.register[0], r.address, r.count) for r in plan(1, [Span(*s) for s in spans], Limits(**limits))]


H, I = "holding", "input"  # noqa: E741


@pytest.mark.parametrize(("spans", "limits", "expected"), [
    ([], {}, []),
    ([(H, 0, 2), (H, 2, 2), (H, 4, 1)], {}, [("h", 0, 5)]),
    ([(H, 4, 1), (H, 0, 2), (H, 2, 2)], {}, [("h", 0, 5)]),
    ([(H, 0, 2), (H, 3, 2)], {}, [("h", 0, 2), ("h", 3, 2)]),
    ([(H, 0, 2), (H, 3, 2)], {"max_gap": 1}, [("h", 0, 5)]),
    ([(H, 0, 2), (H, 4, 2)], {"max_gap": 1}, [("h", 0, 2), ("h", 4, 3)]),
    ([(H, 0, 2), (H, 9, 2), (H, 18, 2)], {"max_gap": 2}, [("h", 0, 2), ("h", 9, 3), ("h", 18, 4)]),
    ([(H, 0, 2), (I, 2, 2)], {"max_gap": 9}, [("h", 0, 2), ("i", 2, 2)]),
    ([(H, 0, 2), (H, 2, 2), (H, 4, 2)], {"max_registers": 4}, [("h", 0, 4), ("h", 4, 2)]),
    ([(H, 0, 2), (H, 0, 2), (H, 1, 1)], {}, [("h", 0, 2)]),
    ([(H, 0, 4), (H, 2, 4)], {"max_registers": 4}, [("h", 0, 4), ("h", 2, 4)]),
    ([(H, 65532, 2), (H, 65535, 1)], {"max_gap": 0}, [("h", 65532, 2), ("h", 65535, 1)]),
    ([(H, 0, 1), (H, 65535, 1)], {"max_gap": 5}, [("h", 0, 1), ("h", 65535, 1)]),
])  # fmt: skip
def test_plan(spans, limits, expected):
    assert blocks(spans, **limits) == expected


def test_span_longer_than_a_request():
    with pytest.raises(ValueError, match="belong together"):
        plan(1, [Span(H, 0, 4)], Limits(max_registers=2))


SPANS = st.lists(st.builds(Span, st.sampled_from([H, I]), st.integers(0, 400), st.integers(1, 4)), max_size=25)


@given(SPANS, st.integers(4, 125), st.integers(0, 20))
def test_every_span_whole_in_one_request_and_limits_kept(spans, max_registers, max_gap):
    requests = plan(7, spans, Limits(max_registers=max_registers, max_gap=max_gap))
    needed = {(s.register, a) for s in spans for a in range(s.address, s.end)}
    for s in spans:
        assert any(r.register == s.register and r.address <= s.address and s.end <= r.address + r.count
                   for r in requests)  # fmt: skip
    for r in requests:
        assert r.unit == 7
        assert 1 <= r.count <= max_registers
        assert r.address + r.count <= 65536
        used = [(r.register, a) in needed for a in range(r.address, r.address + r.count)]
        assert used[0]
        gaps = "".join(" x"[u] for u in used).rstrip() if max_gap == 0 else "x"
        assert " " not in gaps
        longest = max(map(len, "".join(" x"[u] for u in used).split("x")))
        assert longest <= max_gap
    if spans and max_gap == 0:
        assert sum(r.count for r in requests) >= len(needed)


@given(SPANS.filter(bool), st.integers(4, 125), st.integers(0, 20))
def test_challenges_differ_from_all_requests(spans, max_registers, max_gap):
    requests = plan(7, spans, Limits(max_registers=max_registers, max_gap=max_gap))
    found = challenges(requests, {(s.register, s.end) for s in spans})
    assert 1 <= len(found) <= 4
    assert not {c.shape for c in found} & {r.shape for r in requests}
    assert len({c.shape for c in found}) == len(found)
    for c in found:
        assert 1 <= c.count <= 125
        assert c.address + c.count <= 65536


def test_challenges_prefer_whole_values():
    (first, *_, last) = challenges([Request(1, H, 10, 6)], {(H, 12), (H, 16)})
    assert first == Request(1, H, 10, 2)
    assert last == Request(1, I, 10, 1)
