"""P1 in numbers: simulated requests with every line fault switched on, in pieces that can be resumed.

    python tests/drivers/wrong_long.py 1000000 build/wrong.json

Prints requests, values, missing by reason, and wrong ones; ends with 1 where there is one. Stopped and started again
it goes on after the last whole piece.
"""

import asyncio
import json
import random
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from fake_modbus import Device, RtuPort, TcpPort, profile_text
from line_faults import disturb

from drivers.modbus import ModbusDriver, ModbusOptions
from ewarn.contracts import ProbeSettings, Quality
from ewarn.errors import EwarnError
from ewarn.times import SystemClock

SHARE = 0.05
TIMEOUT = 0.04
KINDS = ("rtu", "rtu", "tcp", "rtu-tcp")
LINES = 32
PIECE = 20_000
say = partial(print, flush=True)
ADDRESSES = ([0, 1, 2, 3, 40, 41, 80, 81, 82, 83, 120, 121], [0, 1, 2], [5])


async def poll(line_number, seed, requests, tally):
    """One device on a line of its own, until it has been asked so often."""
    rng = random.Random(f"{seed} {line_number}")
    kind, addresses = KINDS[line_number % len(KINDS)], ADDRESSES[line_number % len(ADDRESSES)]
    device = Device()
    disturb(device, SHARE, TIMEOUT, rng, rtu=kind != "tcp")
    far = RtuPort(device) if kind == "rtu" else await TcpPort(device, rtu=kind == "rtu-tcp").start()
    driver = make_driver(far.line, addresses)
    line = driver.make_line()
    while len(device.requests) < requests:
        device.poll = (device.poll + 1) % 64
        try:
            readings = await driver.read(line)
        except EwarnError as error:
            tally[f"missing: {type(error).__name__}"] += len(addresses)
            continue
        judge(readings, device, tally)
    await line.close()
    tally["requests"] += len(device.requests)
    if kind == "rtu":
        far.close()
    else:
        await far.stop()


def make_driver(line, addresses):
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as profile:
        profile.write(profile_text(addresses))
        profile.flush()
        options = ModbusOptions(profile.name, unit=1, settle=TIMEOUT)
        channels = {f"a{n}": f"a{n}" for n in addresses}
        return ModbusDriver(ProbeSettings("probe", line, channels, TIMEOUT, options), SystemClock())


def judge(readings, device, tally):
    for r in readings:
        if r.quality is Quality.MISSING:
            tally[f"missing: {r.reason}"] += 1
        else:
            right = r.value == device.value(int(r.channel[1:]), device.poll)
            tally["values" if right else "wrong"] += 1


async def piece(seed, requests=PIECE):
    """Every line side by side: the time goes into waiting."""
    tally = Counter()
    async with asyncio.timeout(600):
        await asyncio.gather(*(poll(i, seed, requests // LINES, tally) for i in range(LINES)))
    return tally


def main(wanted, path):
    total = Counter(json.loads(path.read_text()) if path.exists() else {})
    while total["requests"] < wanted:
        total += asyncio.run(piece(total["pieces"]))
        total["pieces"] += 1
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(total))
        say(f"{total['requests']} requests, {total['values']} values, {total['wrong']} wrong")
    for name in sorted(total):
        say(f"{name:28} {total[name]:>10}")
    say(f"{'wrong':28} {total['wrong']:>10}")
    return int(total["wrong"] > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2])))
