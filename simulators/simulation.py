"""A scenario, served: every probe on its line, ready for any client."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from ewarn.contracts import Clock
from ewarn.errors import ConfigError
from simulators.ascii_server import AsciiServer
from simulators.faults import LineFaults
from simulators.lines import Pty
from simulators.modbus_server import Device, RtuServer, TcpServer
from simulators.scenario import Scenario, SimulatedProbe
from simulators.truth import Truth


class Simulation:
    """Serves a scenario for as long as the context lasts.

    Args:
        scenario: it starts now where it has no start of its own.
        clock: of the scenario; it may run faster than the machine's. Faults' delays are of the machine's time.

    Attributes:
        endpoints: by probe: {"host", "port"} of a TCP one, {"device"} of a serial one.
        truth: what each probe shows at each instant.
        faults: what befell each probe's line so far.
    """

    def __init__(self, scenario: Scenario, clock: Clock) -> None:
        self.scenario = scenario if scenario.start is not None else scenario.with_start(clock.now())
        assert self.scenario.start is not None
        self.truth = Truth(self.scenario)
        self.endpoints: dict[str, dict[str, Any]] = {}
        self._clock = clock
        self._start = self.scenario.start
        self._stack = AsyncExitStack()
        self._speakers: dict[str, Device | AsciiServer] = {}
        self.faults = {
            probe.id: LineFaults(
                [f for f in scenario.line_faults if f.probe == probe.id], self._start, scenario.seed + i
            )
            for i, probe in enumerate(scenario.probes)
        }

    @property
    def served(self) -> dict[str, int]:
        """Replies, or lines, that each probe gave."""
        return {name: speaker.served for name, speaker in self._speakers.items()}

    async def __aenter__(self) -> Self:
        lines: dict[str, list[SimulatedProbe]] = {}
        for probe in self.scenario.probes:
            if probe.transport == "tcp":
                await self._serve_tcp(probe)
            elif probe.transport == "ascii":
                self._serve_ascii(probe)
            else:
                lines.setdefault(probe.line or f"/{probe.id}", []).append(probe)
        for probes in lines.values():
            self._serve_rtu(probes)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def _device(self, probe: SimulatedProbe) -> Device:
        device = Device(probe, self.truth, self._clock, self.faults[probe.id])
        self._speakers[probe.id] = device
        return device

    async def _serve_tcp(self, probe: SimulatedProbe) -> None:
        server = TcpServer(self._device(probe), probe.port)
        self.endpoints[probe.id] = {"host": "127.0.0.1", "port": await server.start()}
        self._stack.push_async_callback(server.close)

    def _serve_ascii(self, probe: SimulatedProbe) -> None:
        server = AsciiServer(probe, self.truth, self._clock, self.faults[probe.id], Pty(probe.link))
        self._speakers[probe.id] = server
        self.endpoints[probe.id] = {"device": server.pty.device}
        server.start()
        self._stack.push_async_callback(server.close)

    def _serve_rtu(self, probes: list[SimulatedProbe]) -> None:
        devices = {probe.unit: self._device(probe) for probe in probes}
        if len(devices) < len(probes):
            raise ConfigError(
                self.scenario.file,
                "probes",
                f"two probes of line {probes[0].line!r} have the same unit",
                "give each its own",
            )
        server = RtuServer(devices, Pty(next((p.link for p in probes if p.link), "")))
        for probe in probes:
            self.endpoints[probe.id] = {"device": server.pty.device}
        server.start()
        self._stack.push_async_callback(server.close)
