"""Simulated probes, served on a thread of their own; a test switches the faults of their lines while they run."""

import asyncio
import threading

from servers import free_port

from ewarn.lab.demo import PROBES
from simulators.scenario import Scenario
from simulators.simulation import Simulation
from simulators.tables import LineFaultTable
from simulators.truth import Truth

SAMPLE_MS = 200


def scenario_document(folder, start):
    """The demonstration's three probes, which take samples faster; ports and links stay over restarts."""
    probes = [
        {
            "id": name, "profile": profile, "transport": transport, "channels": sorted(set(channels.values())),
            "sample_period": f"{SAMPLE_MS / 1000}s",
            **({"port": free_port()} if transport == "tcp" else {"link": str(folder / f"tty-{name}")}),
        }
        for name, (profile, transport, _, channels) in PROBES.items()
    ]  # fmt: skip
    return {"scenario": {"seed": 7, "water": "river", "start": start}, "probes": probes}


class SimulatedProbes:
    """Serves a scenario; may be stopped and started again."""

    def __init__(self, document, path, clock):
        self.scenario, self._clock = Scenario.from_dict(document, path), clock
        self.truth = Truth(self.scenario)
        self._thread = None

    def start(self):
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)))
        self._thread.start()
        assert ready.wait(30)

    def stop(self):
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(30)
            self._thread = None

    async def _serve(self, ready):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with Simulation(self.scenario, self._clock) as self._simulation:
            ready.set()
            await self._stop.wait()

    @property
    def endpoints(self):
        return self._simulation.endpoints

    def served(self, probe):
        return self._simulation.served[probe]

    def struck(self, probe):
        """How many faults befell its line so far."""
        return sum(self._simulation.faults[probe].counts.values())

    def strike(self, probe, probability=1.0, size=0.0, *kinds):
        """From now on each reply of the probe suffers each of these faults with this probability."""
        self._simulation.faults[probe]._faults = tuple(
            LineFaultTable(probe=probe, kind=kind, probability=probability, size=size) for kind in kinds
        )

    def calm(self):
        for faults in self._simulation.faults.values():
            faults._faults = ()
