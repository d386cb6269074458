"""The fault matrix: a test a row, named by it. At the end the outcomes are printed as one table."""

import re

import pytest
from matrix import Matrix, tries
from whole import Whole

MATRIX = pytest.StashKey[Matrix]()
_ROW = re.compile(r"test_([a-z]\d)_")


def pytest_configure(config):
    config.stash[MATRIX] = Matrix()


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("faults"):
            item.add_marker(pytest.mark.timeout(tries(420, 36_000)))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if row := _ROW.match(item.name):
        id_ = row[1].upper()
        if report.skipped:
            item.config.stash[MATRIX].reasons[id_] = f"not run: {report.longrepr[2].removeprefix('Skipped: ')}"
        elif report.failed:
            item.config.stash[MATRIX].reasons[id_] = "FAILED"


def pytest_terminal_summary(terminalreporter, config):
    matrix = config.stash[MATRIX]
    if matrix.outcomes or matrix.reasons:
        terminalreporter.section("fault matrix")
        for line in matrix.lines():
            terminalreporter.write_line(line)


@pytest.fixture
def record(request):
    """`record(whole, "what struck")` judges a system by the oracle and puts the outcome into the table.

    `record.left(...)` says how many tries of those wanted are left to do.
    """
    matrix, row = request.config.stash[MATRIX], _ROW.match(request.node.name)[1].upper()

    def judge(whole, fault, **more):
        outcome, details = whole.judge(row, fault, **more)
        matrix.add(outcome)
        assert outcome.readings > 0
        assert outcome.good, details

    judge.left = lambda fault, wanted: wanted - matrix.done(row, fault)
    return judge


@pytest.fixture
def make_whole(tmp_path):
    """Makes whole systems, which end with the test."""
    made = []

    def make(**settings):
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Whole(folder, **settings))
        return made[-1]

    yield make
    for whole in made:
        whole.close()
