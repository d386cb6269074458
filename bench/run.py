"""Cost and memory as ratios to a named reference, both measured in this run.

    python bench/run.py [--samples N]

Time: a sample through the whole pipeline against river's HalfSpaceTrees(n_trees=25, height=8), score_one and learn_one,
on the same data: of nine channels a minute with the default detectors, of config/river.toml, and of nine channels with
its detectors and step. State: all that the detectors of such a station hold, against a megabyte.

Memory: the edge daemon polling 3 probes with 12 channels against an interpreter that has imported river.anomaly and
pymodbus.client; and the growth of a process over `--samples` samples.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType

import numpy as np
import tomli_w
from river import anomaly

from ewarn.config import Station, station_from
from ewarn.contracts import Reading
from ewarn.core.pipeline import Pipeline
from ewarn.lab.broker import EmbeddedBroker
from ewarn.lab.demo import DemoOptions, scenario_of, station_document
from ewarn.registry import load_detectors
from ewarn.toml import read_toml
from simulators.water import Water

NINE = {"water_temp": (20, 0.02), "ph": (8, 0.02), "spcond": (950, 3), "do": (8, 0.05), "turbidity": (20, 0.8),
        "orp": (300, 2), "uv254": (0.12, 0.001), "ammonium_n": (0.1, 0.01), "nitrate_n": (2, 0.02)}  # fmt: skip
START = 1_780_000_000_000
WARM, TIMED = 2000, 3000
RIVER = Path(__file__).parent.parent / "config" / "river.toml"
CODE = (type, ModuleType, FunctionType, BuiltinFunctionType)
REFERENCE = """
import river.anomaly, pymodbus.client
print([line for line in open("/proc/self/status") if line.startswith("VmRSS")][0].split()[1])
"""


def station() -> Station:
    """Nine channels at one a minute, with the default detectors."""
    return station_from({"station": {"id": "bench"}, "channels": {name: {} for name in NINE}}, Path("bench.toml"))


def rows(count: int, seed: int = 1) -> list[dict[str, float]]:
    """Quiet water with a slow wander."""
    rng, level, out = random.Random(seed), dict.fromkeys(NINE, 0.0), []
    for _ in range(count):
        for name in NINE:
            level[name] = 0.999 * level[name] + 0.05 * rng.gauss(0, 1)
        out.append({name: mean + noise * (level[name] + rng.gauss(0, 1)) for name, (mean, noise) in NINE.items()})
    return out


def river_station(channels: Iterable[str] = ()) -> Station:
    """The river of the example, or one with other channels."""
    document = read_toml(RIVER)
    if channels:
        document["channels"] = {name: {} for name in channels}
    return station_from(document, RIVER)


def river_rows(station: Station, count: int, seed: int = 1) -> list[dict[str, float]]:
    """A river with its days and storms, and the noise of instruments, rounded as they do."""
    rng, water = np.random.default_rng(seed), Water(seed)
    times = START / 1000 + station.detection.step * np.arange(count)
    columns = {}
    for spec in station.channels.values():
        noisy = water.values(spec.parameter, times) + spec.resolution * rng.normal(size=count)
        columns[spec.id] = (np.round(noisy / spec.resolution) * spec.resolution).tolist()
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def readings(samples: list[dict[str, float]], first: int = 0, step: float = 60.0) -> list[list[Reading]]:
    """The samples as readings, a step apart, in seconds."""
    times = (START + round((first + i) * step * 1000) for i in range(len(samples)))
    return [[Reading(k, time, v) for k, v in x.items()] for time, x in zip(times, samples, strict=True)]


def state_kb(*things: object) -> float:
    """All that can be reached from them, each once, but code; kilobytes."""
    seen: set[int] = set()
    total, waiting = 0, list(things)
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, CODE):
            continue
        seen.add(id(thing))
        total += sys.getsizeof(thing)
        waiting += gc.get_referents(thing)
    return round(total / 1000, 1)


def best_of(work: Callable[[], None], repeats: int = 3) -> float:
    """Least processor seconds of several runs: other work on the machine only ever adds."""
    times = []
    for _ in range(repeats):
        gc.collect()
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def bench_time(station: Station, samples: list[dict[str, float]], warm: int = WARM) -> dict[str, float]:
    """Microseconds per sample of the pipeline and of the reference, their ratio, and the detectors' state.

    Args:
        station: with its detectors.
        samples: what they see.
        warm: how many of them they see before the clock runs.
    """
    step, count = station.detection.step, len(samples) - warm
    detectors = load_detectors(station)
    pipeline = Pipeline(station, detectors)
    for batch in readings(samples[:warm], 0, step):
        pipeline.accept(batch[0].time, batch)
    turn = iter(range(10))

    def ours() -> None:
        first = warm + next(turn) * count
        for batch in readings(samples[warm:], first, step):
            pipeline.accept(batch[0].time, batch)

    def build() -> None:
        readings(samples[warm:], 0, step)

    scaled = min_max(samples)
    trees = anomaly.HalfSpaceTrees(n_trees=25, height=8, seed=1)
    for x in scaled[:warm]:
        trees.learn_one(x)

    def reference() -> None:
        for x in scaled[warm:]:
            trees.score_one(x)
            trees.learn_one(x)

    mine = (best_of(ours) - best_of(build)) / count * 1e6
    theirs = best_of(reference) / count * 1e6
    state = state_kb(*detectors.values())
    return {"channels": len(station.channels), "pipeline_us": round(mine, 1), "half_space_trees_us": round(theirs, 1),
            "ratio": round(mine / theirs, 2), "state_kb": state, "half_space_trees_kb": state_kb(trees),
            "of_a_megabyte": round(state / 1000, 3)}  # fmt: skip


def min_max(samples: list[dict[str, float]]) -> list[dict[str, float]]:
    """Each channel from 0 to 1, as half-space trees ask for."""
    low = {name: min(x[name] for x in samples) for name in samples[0]}
    span = {name: max(x[name] for x in samples) - low[name] for name in samples[0]}
    return [{name: (value - low[name]) / span[name] for name, value in x.items()} for x in samples]


def rss_kb(pid: int | str = "self") -> int:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise RuntimeError("no VmRSS")


def bench_growth(count: int) -> dict[str, float]:
    """Resident memory of a pipeline after a tenth of the samples and after all of them."""
    pipeline, step, early = Pipeline(station(), load_detectors(station())), 2000, 0
    for first in range(0, count, step):
        for batch in readings(rows(step, first), first):
            pipeline.accept(batch[0].time, batch)
        if not early and first >= count // 10:
            gc.collect()
            early = rss_kb()
    gc.collect()
    return {"samples": count, "early_kb": early, "late_kb": rss_kb(), "ratio": round(rss_kb() / early, 3)}


def reference_kb() -> int:
    """Resident memory of the bare interpreter."""
    return int(subprocess.run([sys.executable, "-c", REFERENCE], capture_output=True, text=True, check=True).stdout)


async def bench_daemon(seconds: float) -> dict[str, float]:
    """Resident memory of `ewarn run` with 3 probes and 12 channels, early and late, against the bare interpreter."""
    reference = await asyncio.to_thread(reference_kb)
    options = DemoOptions(contamination=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scenario = folder / "scenario.toml"
        scenario.write_text(tomli_w.dumps(scenario_of(options)), encoding="utf-8")
        async with EmbeddedBroker(folder) as broker:
            probes = await child("simulate", str(scenario), "--speed", "60")
            assert probes.stdout
            ready = json.loads(await probes.stdout.readline())
            file = folder / "station.toml"
            document = station_document(options, ready["endpoints"], broker.port)
            file.write_text(tomli_w.dumps(document), encoding="utf-8")
            edge = await child("run", str(file), "--clock", ready["clock"])
            try:
                await asyncio.sleep(seconds / 2)
                early = rss_kb(edge.pid)
                await asyncio.sleep(seconds / 2)
                late = rss_kb(edge.pid)
            finally:
                for process in (edge, probes):
                    process.terminate()
                    await process.wait()
    return {"daemon_kb": late, "early_kb": early, "interpreter_kb": reference, "ratio": round(late / reference, 2)}


async def child(*args: str) -> asyncio.subprocess.Process:
    """An ewarn command as a process of its own."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ewarn", *args, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )


def main() -> None:
    """Run all and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=40.0, help="how long the daemon runs")
    args = parser.parse_args()
    river, nine = river_station(), river_station(NINE)
    print("pipeline / HalfSpaceTrees")
    print("  nine channels a minute: ", json.dumps(bench_time(station(), rows(WARM + TIMED))))
    print("  config/river.toml:      ", json.dumps(bench_time(river, river_rows(river, WARM + TIMED))))
    print("  the same, nine channels:", json.dumps(bench_time(nine, river_rows(nine, WARM + TIMED))))
    print("daemon / interpreter:     ", json.dumps(asyncio.run(bench_daemon(args.seconds))))
    print("growth over samples:      ", json.dumps(bench_growth(args.samples)))


if __name__ == "__main__":
    main()
