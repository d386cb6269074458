"""The examples in docstrings are true."""

import doctest
import importlib
import pkgutil

import pytest

PACKAGES = ("ewarn", "drivers", "detectors", "simulators")
MODULES = [
    info.name
    for package in PACKAGES
    for info in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}.")
    if info.name != "ewarn.__main__"
]
FINDER = doctest.DocTestFinder(exclude_empty=True)


def with_examples():
    for name in MODULES:
        module = importlib.import_module(name)
        if any(test.examples for test in FINDER.find(module)):
            yield name


@pytest.mark.parametrize("name", list(with_examples()))
def test_examples(name):
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried
    assert not failed
