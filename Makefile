# Last Seat. Two commands are enough: `make demo` and `make test`.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
READY := $(VENV)/.ready
# Tests wait more than they compute: one process more than there are cores. Files stay whole, for what they share.
TESTERS := $(shell echo $$(( $$(nproc 2>/dev/null || echo 2) + 1 )))
SIDE_BY_SIDE := -n $(TESTERS) --dist loadfile
BIN := $(VENV)/bin
# Tests start thousands of processes that import the project: it is compiled once, and not by each of them.
COMPILED := $(BIN)/python -m compileall -q service workers loadtests
test quick soak: export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo test quick soak bench bench-check overload power lint lock clean

help: ## what there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(READY) ## prepare .venv; afterwards .venv/bin/lastseat is the command

$(READY): requirements.txt pyproject.toml scripts/setup
	@scripts/setup $(VENV)

demo: $(READY) ## the proof: the lock off and on, under each worker class
	@$(BIN)/lastseat demo $(ARGS)

test: $(READY) ## everything that is checked: style, types, behaviour, the page in a browser
	@scripts/test-needs
	@$(MAKE) --no-print-directory lint
	@$(COMPILED)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

quick: $(READY) ## the fast part of the tests
	@$(COMPILED)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not servers and not browser and not slow and not soak" $(ARGS)

soak: $(READY) ## the long runs: hundreds of thousands of random histories against the oracle
	@$(COMPILED)
	$(BIN)/python -m pytest -m soak --timeout 3600 $(ARGS)

bench: $(READY) ## how fast one event sells, three minutes; ARGS=--help for the long run
	@$(BIN)/lastseat bench $(or $(ARGS),--quick)

bench-check: $(READY) ## how fast the verdict is, for 10^4 to 10^7 operations
	@$(BIN)/python -m loadtests.lab.studies.checker_speed --max 10000000 $(ARGS)

overload: $(READY) ## goodput against offered load, with bounds at the door and without; some three minutes
	@$(BIN)/python -m loadtests.lab.studies.overload $(ARGS)

power: $(READY) ## how seldom a guard may fail before the verdict misses it; some fifteen minutes
	@$(BIN)/python -m loadtests.lab.studies.power $(ARGS)

lint: $(READY) ## ruff, mypy, and which package may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

audit: $(READY) ## known vulnerabilities of the pinned packages; needs a package index once, and https://api.osv.dev
	@scripts/audit $(ARGS)

lock: ## compile requirements.txt anew from pyproject.toml (needs uv)
	uv pip compile --universal --generate-hashes --python-version 3.11 --extra dev --no-header --upgrade pyproject.toml -o requirements.txt

clean: ## remove .venv, caches and results
	rm -rf $(VENV) build results data *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find service workers loadtests tests -name __pycache__ -type d -prune -exec rm -rf {} +
