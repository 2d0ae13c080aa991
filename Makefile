# One command each, on a fresh machine with Python 3.11+ and make: `make demo`, `make test`.

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH_READY := $(VENV)/.bench-ready
SERVERS_READY := $(VENV)/.servers-ready
AZURITE := $(CURDIR)/$(VENV)/azurite
PYTEST := $(BIN)/python -m pytest
IN_WORKERS = --numprocesses $(WORKERS) --dist worksteal

.PHONY: test test-root test-servers mutants fuzz nightly bench bench-full bench-compare bench-servers check format demo clean help

help:
	@echo "make test       run the tests that need no server and no special rights, in WORKERS=2 processes"
	@echo "make test-root  run those that need root, strace, mounts and redis-server (Linux)"
	@echo "make test-servers  run those over PostgreSQL, Redis and object stores; installs and starts these itself (Debian)"
	@echo "make check      ruff and mypy"
	@echo "make demo       survey the standard library through kills, and compare"
	@echo "make mutants    plant bugs into a copy of the package, each of which the tests must notice"
	@echo "make fuzz       100,000,000 wrong inputs for all decoders, every bit of a run flipped"
	@echo "make nightly    the long forms of all attacks, about three hours on two cores"
	@echo "make bench      measure beside peers and limits, small sizes; bench-full: the sizes of the targets"
	@echo "make bench-servers  measure every storage beside peers on the same servers"
	@echo "make format     format the code"
	@echo "make clean      remove the environment and caches"

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "kernelckpt needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	touch $(READY)

$(BENCH_READY): $(READY)
	$(BIN)/python -m pip install --quiet --group bench
	touch $(BENCH_READY)

$(SERVERS_READY): $(READY)
	$(BIN)/python -m pip install --quiet --group servers
	touch $(SERVERS_READY)

test: $(READY)
	$(PYTEST) $(IN_WORKERS)

test-root: $(READY)
	$(PYTEST) -m root

# A third of the time these wait until somebody who was killed counts as dead.
test-servers: WORKERS = 3
test-servers: $(SERVERS_READY)
	tests/servers/install.sh $(AZURITE)
	AZURITE=$(AZURITE) $(PYTEST) $(IN_WORKERS) -m servers

mutants: $(READY)
	$(BIN)/python tests/mutation/run.py --jobs 2

fuzz: $(READY)
	$(BIN)/python tests/hostile/fuzz.py --inputs 100000000 --processes 2
	$(BIN)/python tests/hostile/flip.py

nightly: $(READY)
	.ci/nightly

bench: $(BENCH_READY)
	$(BIN)/python -m benchmarks --short
	$(BIN)/python -m benchmarks page

bench-full: $(BENCH_READY)
	$(BIN)/python -m benchmarks --full
	$(BIN)/python -m benchmarks page

bench-servers: $(BENCH_READY) $(SERVERS_READY)
	tests/servers/install.sh $(AZURITE)
	$(BIN)/python tests/servers/with_servers.py $(BIN)/python -m benchmarks stores --full
	$(BIN)/python -m benchmarks page

# For CI: small sizes into a folder of their own, and only ratios of figures of the same run are looked at.
bench-compare: $(BENCH_READY)
	$(BIN)/python -m benchmarks --short --results $(VENV)/bench
	$(BIN)/python -m benchmarks compare --results $(VENV)/bench

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
