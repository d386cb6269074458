PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
# Files of the system that tests read; a machine without them skips those tests.
PEERS := mosquitto influxd:influxdb nginx:nginx-light mbpoll

.PHONY: demo test test-long faults faults-long lint bench figures clean fuzz wrong-long

demo: $(VENV)/.demo
	$(BIN)/ewarn demo $(ARGS)

test: $(VENV)/.dev lint
	$(BIN)/pytest -n 2 --dist loadfile -m "not long and not faults" $(ARGS)

test-long: $(VENV)/.dev
	$(BIN)/pytest -m "long and not faults" $(ARGS)

# The fault matrix, printed as a table. Each fault strikes FAULT_TRIES times as often.
faults: export FAULT_TRIES ?= 4
faults: $(VENV)/.dev
	$(BIN)/pytest -m faults tests/faults $(ARGS)

# 500 kills of the station, 100 each of broker and collector, 200 damaged files. Stopped, it goes on where it was.
faults-long: export FAULT_TRIES ?= 42
faults-long: export FAULT_LOG ?= build/faults.jsonl
faults-long: $(VENV)/.dev
	$(BIN)/pytest -m faults tests/faults $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy

# The pictures of docs/detection.md.
figures: $(VENV)/.dev
	$(BIN)/ewarn figures docs/figures --station config/river.toml --station config/plant.toml --challenge $(ARGS)

bench: $(VENV)/.dev
	$(BIN)/python bench/run.py $(ARGS)
	$(BIN)/python bench/drain.py

# Both go on where they were when they are stopped and started again; `make clean` begins anew.
N ?=
fuzz: $(VENV)/.dev
	$(BIN)/python tests/fuzz/run.py $(or $(N),10000000) build/fuzz.json

wrong-long: $(VENV)/.dev
	$(BIN)/python tests/drivers/wrong_long.py $(or $(N),1000000) build/wrong.json

$(VENV)/bin/python:
	.ci/needs venv
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[central,demo]'
	touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	.ci/needs $(PEERS)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
