import contextlib

import pytest
from fake_modbus import RtuPort, TcpPort, profile_text

from drivers.modbus import ModbusDriver, ModbusOptions
from ewarn.contracts import ProbeSettings
from ewarn.times import SystemClock

TIMEOUT, SETTLE = 0.04, 0.04


@pytest.fixture
def make_driver(tmp_path):
    """A driver of a fake device: `make_driver(line, addresses, ...)`."""

    def make(line, addresses, *, timeout=TIMEOUT, settle=SETTLE, unit=1, echo=False, **profile):
        path = tmp_path / "fake.toml"
        path.write_text(profile_text(addresses, **profile))
        options = ModbusOptions(str(path), unit=unit, settle=settle, echo=echo)
        return ModbusDriver(ProbeSettings("probe", line, {f"a{n}": f"a{n}" for n in addresses}, timeout, options),
                            SystemClock())

    return make


@pytest.fixture
async def port(request):
    """Opens far ends: `await port("rtu" | "tcp" | "rtu-tcp", device)`."""
    stack = contextlib.AsyncExitStack()

    async def make(kind, device):
        if kind == "rtu":
            far = RtuPort(device)
            stack.callback(far.close)
        else:
            far = await TcpPort(device, rtu=kind == "rtu-tcp").start()
            stack.push_async_callback(far.stop)
        return far

    async with stack:
        yield make
