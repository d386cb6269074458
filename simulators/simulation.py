"""A scenario, served: every probe on its line, ready for any client."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from ewarn.contracts import Clock
from ewarn.errors import ConfigError
from simulators.ascii_server import AsciiServer
from simulators.chance import key
from simulators.faults import LineFaults
from simulators.lines import Pty
from simulators.modbus_server import Device, RtuServer, TcpServer
from simulators.scenario import Scenario
from simulators.scenario_checks import line_of
from simulators.tables import SimulatedProbe
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
        start: of the scenario.
    """

    def __init__(self, scenario: Scenario, clock: Clock) -> None:
        self.scenario = scenario if scenario.start is not None else scenario.with_start(clock.now())
        assert self.scenario.start is not None
        self.truth = Truth(self.scenario)
        self.endpoints: dict[str, dict[str, Any]] = {}
        self._clock = clock
        self.start = self.scenario.start
        self._stack = AsyncExitStack()
        self._speakers: dict[str, Device | AsciiServer] = {}
        self.faults = {
            probe.id: LineFaults(
                [f for f in scenario.line_faults if f.probe == probe.id],
                self.start,
                int(key(scenario.seed, "line", probe.id)),
            )
            for probe in scenario.probes
        }

    @property
    def served(self) -> dict[str, int]:
        """Replies, or lines, that each probe gave."""
        return {name: speaker.served for name, speaker in self._speakers.items()}

    async def __aenter__(self) -> Self:
        """Serve. Raises ConfigError where a port or a link cannot be had; nothing stays open then."""
        try:
            await self._serve()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def _serve(self) -> None:
        lines: dict[str, list[SimulatedProbe]] = {}
        for probe in self.scenario.probes:
            if probe.transport == "tcp":
                await self._serve_tcp(probe)
            elif probe.transport == "ascii":
                self._serve_ascii(probe)
            else:
                lines.setdefault(line_of(probe), []).append(probe)
        for probes in lines.values():
            self._serve_rtu(probes)

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
        try:
            port = await server.start()
        except OSError as error:
            raise self._refusal(probe, "port", error, "stop what uses it, or give 0 for any free one") from error
        self._stack.push_async_callback(server.close)
        self.endpoints[probe.id] = {"host": "127.0.0.1", "port": port}

    def _serve_ascii(self, probe: SimulatedProbe) -> None:
        server = AsciiServer(probe, self.truth, self._clock, self.faults[probe.id], self._pty([probe]))
        self._speakers[probe.id] = server
        self.endpoints[probe.id] = {"device": server.pty.device}
        server.start()
        self._stack.push_async_callback(server.close)

    def _serve_rtu(self, probes: list[SimulatedProbe]) -> None:
        server = RtuServer({probe.unit: self._device(probe) for probe in probes}, self._pty(probes))
        for probe in probes:
            self.endpoints[probe.id] = {"device": server.pty.device}
        server.start()
        self._stack.push_async_callback(server.close)

    def _pty(self, probes: list[SimulatedProbe]) -> Pty:
        named = next((p for p in probes if p.link), probes[0])
        try:
            return Pty(named.link)
        except OSError as error:
            raise self._refusal(named, "link", error, "name a path in a folder where a link can be made") from error

    def _refusal(self, probe: SimulatedProbe, name: str, error: OSError, remedy: str) -> ConfigError:
        where = f"probes[{self.scenario.probes.index(probe)}].{name}"
        reason = os.strerror(error.errno) if error.errno else str(error)
        return ConfigError(self.scenario.file, where, f"{getattr(probe, name)!r}: {reason}", remedy)
