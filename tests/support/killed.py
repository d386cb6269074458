"""Forks a process that commits steps in a loop, kills it at a random instant, looks at the file; again and again.

Prints how many steps were committed in all. Fails where a step that was reported is lost, or one is there by half.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

from steps import T0, commit, steps_in

from ewarn.edge.journal import Journal


def work(path, boot, out):
    journal = Journal.open(path, boot=boot, now=T0)
    i = journal.alarms()["contamination"].number if journal.alarms() else 0
    while True:
        i += 1
        commit(journal, i)
        os.write(out, f"{i}\n".encode())


def kill_one(path, boot, seconds):
    """The last step that was reported."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            work(path, boot, writer)
        finally:
            os._exit(1)
    os.close(writer)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reader) as reported:
        lines = reported.read().splitlines()
    return int(lines[-1]) if lines else 0


def main(path, rounds, seed):
    rng = random.Random(seed)
    found = 0
    for n in range(rounds):
        reported = kill_one(path, f"b{n}", rng.uniform(0, 0.06))
        with Journal.open(path, boot="look", now=T0) as journal:
            # Killed while it was begun, it is empty, and set aside as one that may have lost what it held.
            assert journal.quarantined is None or found == reported == 0
            before, found = found, steps_in(journal)
        assert found >= max(reported, before), f"round {n}: {reported} reported, {found} there"
        assert found <= max(reported, before) + 1
    sys.stdout.write(f"{found}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
