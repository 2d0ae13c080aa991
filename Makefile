# One command each, on a fresh machine with Python 3.11+ and make: `make demo`, `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: test test-long fuzz check format demo clean help

help:
	@echo "make test       run the tests that need no server"
	@echo "make check      ruff and mypy"
	@echo "make demo       survey the standard library through kills, and compare"
	@echo "make test-long  the long forms: 200 kill -9 against 200 agents"
	@echo "make fuzz       millions of wrong inputs for every decoder, every bit of a run flipped"
	@echo "make format     format the code"
	@echo "make clean      remove the environment and caches"

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "kernelckpt needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	touch $(READY)

test: $(READY)
	$(BIN)/python -m pytest

test-long: $(READY)
	$(BIN)/python tests/faults/kill9.py --kills 200 --agents 200

fuzz: $(READY)
	$(BIN)/python tests/hostile/fuzz.py --inputs 5000000
	$(BIN)/python tests/hostile/flip.py --every 1

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

demo: $(READY)
	$(BIN)/kernelckpt demo

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
