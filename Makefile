# The one front door. `make` alone lists the targets.
#   PYTHON=python3.12   the Python that builds .venv (3.11 or newer)
#   TORCH=...           which torch: a requirement, a wheel's path, or pip arguments; give it to every make command or export
#                       it, and `make clean` first where another one is installed
#   JOBS=2              processes of the test suite (0: none beside pytest itself)
#   ARGS=...            further arguments of demo, test, quick, bench and calibrate

PYTHON ?= python3
JOBS ?= 2
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
INPUTS := pyproject.toml constraints.txt tools/bootstrap.py
PYTEST := OMP_NUM_THREADS=1 MPLBACKEND=Agg $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help venv demo test quick lint types bench calibrate docs docs-check notebook clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

# Two stamps: the demo needs no test tools. The dev installation holds the run-time one, so it sets both.
$(VENV)/.runtime: $(INPUTS)
	@$(PYTHON) tools/bootstrap.py
	@touch $@

$(VENV)/.dev: $(INPUTS)
	@$(PYTHON) tools/bootstrap.py --extra dev
	@touch $(VENV)/.runtime $@

venv: $(VENV)/.dev ## build .venv with all that work on initscope needs

demo: $(VENV)/.runtime ## run the founding study on the embedded digits, into runs/surprising-demo
	$(BIN)/initscope run surprising-demo $(ARGS)

test: $(VENV)/.dev ## run the whole test suite
	$(PYTEST) $(ARGS)

quick: $(VENV)/.dev ## run the tests that are not marked slow
	$(PYTEST) -m "not slow" $(ARGS)

lint: $(VENV)/.dev ## check style (ruff) and types (mypy)
	$(BIN)/ruff check .
	$(BIN)/mypy

types: $(VENV)/.dev ## check types alone
	$(BIN)/mypy

bench: $(VENV)/.dev ## time the ensemble, initialising and checking, each against the plain way
	$(BIN)/python -m bench $(ARGS)
	$(BIN)/python -m bench.initialisation
	$(BIN)/python -m bench.checking

calibrate: $(VENV)/.dev ## check every network of calibration/: hits, misses, false alarms (ARGS="--prove --write": train them too)
	$(BIN)/python -m calibration $(ARGS)

docs: $(VENV)/.runtime ## write docs/cli.md from the commands' help, docs/initializers/ and docs/rules/ from the docstrings
	$(BIN)/python tools/docs.py
	$(BIN)/python -m tools.rule_pages
	$(BIN)/python -m tools.method_pages $(ARGS)

docs-check: $(VENV)/.runtime ## check that the written pages are fresh and that every README command exists
	$(BIN)/python tools/docs.py --check
	$(BIN)/python -m tools.rule_pages --check
	$(BIN)/python -m tools.method_pages --check

notebook: $(VENV)/.dev ## execute the lessons in notebooks/ in place
	$(BIN)/jupyter execute --inplace notebooks/*.ipynb

clean: ## remove .venv and caches; results in runs/ stay
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
	@echo "runs/ is left alone: it holds results. Remove it yourself where you no longer need them."
