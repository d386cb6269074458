"""Who may import whom."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("ewarn", "drivers", "detectors", "simulators")
PURE = {"ewarn.contracts", "ewarn.errors", "ewarn.parameters"}
SHARED = PURE | {"ewarn.profiles", "ewarn.toml", "ewarn.times"}
ONE_MODULE = {
    "pymodbus": "drivers._modbus_link",
    "serial": "drivers._serial_port",
    "paho": "ewarn.mqtt",
    "influxdb_client": "ewarn.central.stores.influx",
}
NO_IO = {"time", "asyncio", "socket", "sqlite3", "threading", "subprocess", "os", "pathlib", "logging", "io"}


def modules():
    for package in OURS:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            yield name, path


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def within(name: str, packages: set[str]) -> bool:
    return any(name == p or name.startswith(p + ".") for p in packages)


MODULES = dict(modules())


def ours(names: set[str]) -> set[str]:
    return {n for n in names if n.split(".")[0] in OURS and n != "ewarn"}


@pytest.mark.parametrize("name", sorted(PURE))
def test_vocabulary_imports_nothing_of_ours(name):
    assert ours(imported(MODULES[name])) == set()


@pytest.mark.parametrize("name", [n for n in MODULES if n.startswith("ewarn.core.")])
def test_core_is_pure(name):
    names = imported(MODULES[name])
    stray = {n for n in ours(names) if not within(n, PURE | {"ewarn.config", "ewarn.core"})}
    assert stray == set()
    assert {n for n in names if n.split(".")[0] in NO_IO} == set()
    assert "datetime.now" not in MODULES[name].read_text()


@pytest.mark.parametrize("name", [n for n in MODULES if n.split(".")[0] in ("drivers", "detectors", "simulators")])
def test_plugins_know_the_vocabulary_alone(name):
    package = name.split(".")[0]
    stray = {n for n in ours(imported(MODULES[name])) if not within(n, SHARED | {package})}
    assert stray == set()


@pytest.mark.parametrize("name", [n for n in MODULES if n.split(".")[0] == "ewarn"])
def test_product_reaches_plugins_by_entry_point(name):
    assert {n for n in ours(imported(MODULES[name])) if n.split(".")[0] in ("drivers", "detectors")} == set()


def test_edge_and_central_are_strangers():
    for name, path in MODULES.items():
        for one, other in (("ewarn.edge", "ewarn.central"), ("ewarn.central", "ewarn.edge")):
            if within(name, {one}):
                assert not {n for n in imported(path) if within(n, {other})}, name


@pytest.mark.parametrize(("library", "home"), sorted(ONE_MODULE.items()))
def test_one_module_touches_each_library(library, home):
    touching = {name for name, path in MODULES.items() if any(n.split(".")[0] == library for n in imported(path))}
    assert touching == {home}


def test_river_occurs_in_detectors_alone():
    touching = {name for name, path in MODULES.items() if any(n.split(".")[0] == "river" for n in imported(path))}
    assert touching
    assert {n.split(".")[0] for n in touching} == {"detectors"}
