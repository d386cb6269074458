import contextlib

import pytest
from fake_modbus import RtuPort, TcpPort

from drivers.modbus import ModbusDriver, ModbusOptions
from ewarn.contracts import ProbeSettings
from ewarn.times import SystemClock

TIMEOUT, SETTLE = 0.04, 0.04


def profile_text(addresses, *, limits="", extra="", kind="uint16"):
    """A profile whose channel `a<n>` is the register n."""
    text = (
        'schema = 1\nid = "fake"\nname = "fake"\nsource = "test"\ngrade = "I"\nprotocol = "modbus"\n'
        f"{extra}\n[limits]\n{limits}\n"
    )
    for address in addresses:
        text += (
            f'[[channels]]\nid = "a{address}"\nparameter = "pressure"\nunit = "kPa"\n'
            f'address = {address}\ntype = "{kind}"\n'
        )
    return text


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
