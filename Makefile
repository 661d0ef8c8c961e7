# Every target does its own set-up: Python 3.11 or newer, git and make are enough. `make help` lists them.
# VENV names another environment (as .ci/run does), LOADER_PYTHON another interpreter.

VENV ?= .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core.stamp
DEV := $(VENV)/.dev.stamp
MAINTAIN := $(VENV)/.maintain.stamp
PLOTS := $(VENV)/.plots.stamp
PEERS := $(VENV)/.peers.stamp
SCHEMA := $(VENV)/.schema.stamp
DATABASES := $(VENV)/.databases.stamp

.DEFAULT_GOAL := help
.PHONY: help demo test quick check bench peers tables contract schema databases simulate soak mutants audit lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

demo: $(CORE) ## load real sample data into both APIs, interrupt it, resume it, compare
	@$(BIN)/loader demo

# Two processes: the suite is made for two cores, and a test that waits for the emulator leaves its core to another.
test: $(DEV) ## run the tests (under six minutes on two cores)
	@$(BIN)/python -m pytest -n 2 --dist worksteal

quick: $(DEV) ## run the unit and meta tests alone, with few made-up cases (under a minute on two idle cores)
	@LOADER_FUZZ_CASES=1000 $(BIN)/python -m pytest -q -n 2 --dist worksteal --hypothesis-profile quick \
		--deselect tests/unit/rate/test_grid.py::test_sample tests/unit tests/meta

check: $(DEV) ## lint, format, types, layers, dependencies
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/deptry loader

BENCHMARKS := startup stages pipeline floors chunks memory resume begin rates
RESULTS := LOADER_BENCH_RESULTS=benchmarks/results

bench: $(DEV) ## measure the loader beside floors: start-up, stages, requests, chunks, memory, resume (some minutes)
	@status=0; for name in $(BENCHMARKS); do $(RESULTS) $(BIN)/python -m benchmarks.$$name || status=1; done; \
	$(BIN)/python -m benchmarks.tables --without-plots; exit $$status

peers: $(DEV) $(PEERS) ## run the loader beside its peers: speed, cost, what is lost and doubled (an hour)
	@$(RESULTS) $(BIN)/python -m benchmarks.peers
	@$(BIN)/python -m benchmarks.tables --without-plots

tables: $(PLOTS) ## make tables, summary and pictures from the results of `make bench` and `make peers`
	@$(BIN)/python -m benchmarks.tables

contract: ## what aiohttp's exceptions mean, on every Python from 3.11 on that is installed here
	@.ci/contract $(VENV)

schema: $(SCHEMA) ## hold the emulator against loader/emulator/openapi.json with made-up requests (EXAMPLES=N, SEED=N)
	@SEED=$(SEED) .ci/schema $(VENV) $(EXAMPLES)

databases: $(DEV) $(DATABASES) ## load into real databases behind the emulator, MariaDB and PostgreSQL (ONLY='EXPRESSION' for some)
	@.ci/databases
	@$(BIN)/python -m pytest tests/databases -o addopts= -p no:benchmark --import-mode=importlib -q --timeout 300 \
		--tb line $(if $(ONLY),-k "$(ONLY)")

SEEDS ?= 20000
simulate: $(DEV) ## run simulated loads, on Python 3.12 or newer if it is installed (SEEDS=20000)
	@nice -n 10 .ci/simulate $(VENV) $(SEEDS)

soak: $(DEV) contract simulate ## every test at its largest size, and those too long for `make test`
	@LOADER_FUZZ_CASES=200000 LOADER_MACHINES=300 LOADER_RATE_GRID=all \
		$(BIN)/python -m pytest -m "soak or not soak" --timeout 0

mutants: $(DEV) ## plant bugs in a copy, one by one, and see the tests catch each (ONLY='NAME' for one)
	@nice -n 10 $(BIN)/python -m tests.mutants.run $(if $(ONLY),"$(ONLY)")

audit: $(MAINTAIN) ## ask for known vulnerabilities in what is locked (needs the network)
	@$(BIN)/pip-audit --strict --requirement .ci/core.txt --require-hashes --disable-pip || { echo \
	"audit: not passed: a vulnerability is known, or a package could not be asked about (see above; it needs the package" \
	"index itself, not a mirror of it)" >&2; exit 1; }

# uv does not read pip's configuration, so what a mirror on this machine calls itself cannot reach a lock file.
UV := env -u UV_INDEX -u UV_DEFAULT_INDEX -u UV_INDEX_URL -u UV_EXTRA_INDEX_URL -u UV_FIND_LINKS $(BIN)/uv
LOCK := $(UV) pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --group build --quiet \
	--no-config --no-emit-index-url --no-emit-find-links --no-annotate --no-header

lock: $(MAINTAIN) ## renew the lock files in .ci (UPGRADE=--upgrade takes new versions)
	$(LOCK) $(UPGRADE) --output-file .ci/core.txt
	$(LOCK) $(UPGRADE) --constraint .ci/core.txt --extra dev --output-file .ci/dev.txt
	$(LOCK) $(UPGRADE) --constraint .ci/core.txt --group maintain --output-file .ci/maintain.txt
	$(LOCK) $(UPGRADE) --constraint .ci/core.txt --group plots --output-file .ci/plots.txt
	$(filter-out pyproject.toml build --group,$(LOCK)) $(UPGRADE) --group peers --output-file .ci/peers.txt
	$(LOCK) $(UPGRADE) --constraint .ci/dev.txt --group schema --output-file .ci/schema.txt
	$(LOCK) $(UPGRADE) --constraint .ci/core.txt --extra databases --output-file .ci/databases.txt

clean: ## remove the environments, caches and build products (never a run directory)
	rm -rf .venv .ci/venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The peers have an environment of their own: their versions are theirs.
$(PEERS): .ci/peers.txt .ci/setup
	@.ci/setup $(VENV)/peers $< alone
	@touch $@

# One stamp for each lock; the second run of any target costs nothing.
$(VENV)/.%.stamp: .ci/%.txt .ci/setup pyproject.toml
	@.ci/setup $(VENV) $<
	@touch $@
