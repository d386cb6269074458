"""Feeds the parsers with as many inputs as are wanted, in pieces that can be resumed.

    python tests/fuzz/run.py 10000000 build/fuzz.json

Stopped and started again it goes on where it was. Ends with 1 at the first input that brings something else than a
sound value or an error of ours, and shows it.
"""

import json
import sys
import time
from functools import partial
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "support"), str(Path(__file__).parent)]

from mutate import mutated  # noqa: E402
from parsers import TARGETS, digest  # noqa: E402

PIECE = 2000
DEADLINE_S = 1.0
say = partial(print, flush=True)


def feed(name, first, count):
    """How many of these inputs were taken."""
    _, seeds = TARGETS[name]
    accepted = 0
    for number in range(first, first + count):
        data, began = mutated(seeds, number), time.thread_time()
        try:
            accepted += digest(name, data)
        except Exception as error:
            error.add_note(f"{name}, input {number}: {data[:1000]!r}")
            raise
        if time.thread_time() - began > DEADLINE_S:
            raise TimeoutError(f"{name}, input {number} takes {time.thread_time() - began:.1f} s: {data[:1000]!r}")
    return accepted


def main(wanted, path):
    state = json.loads(path.read_text()) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    while sum(done for done, _ in state.values()) < wanted:
        for name in TARGETS:
            done, accepted = state.get(name, (0, 0))
            state[name] = done + PIECE, accepted + feed(name, done, PIECE)
        path.write_text(json.dumps(state))
        say(f"{sum(done for done, _ in state.values())} inputs")
    for name, (done, accepted) in sorted(state.items()):
        say(f"{name:12} {done:>10} inputs, {accepted:>10} taken, nothing unsound")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
