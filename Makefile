# Everything runs in .venv, which is built from pyproject.toml and constraints.txt when either changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: help install retrain up serve ablation bench test promises test-production test-ray lint clean
help:           ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

install: $(VENV)/.installed  ## build the environment

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

retrain: install  ## ingest, features, train, evaluate, promote (ARGS="--data DIR ...")
	$(BIN)/widedeep retrain $(ARGS)

up: install  ## Prefect, MLflow and the deployments, until Ctrl-C (ARGS="--data DIR --cron ...")
	$(BIN)/widedeep up $(ARGS)

serve: install  ## answer requests by the champion, over HTTP (ARGS="--port 8000 ...")
	$(BIN)/widedeep serve $(ARGS)

ablation: install  ## what each part of the model is worth (ARGS as for retrain, "--seeds N")
	$(BIN)/widedeep ablation $(ARGS)

bench: install  ## speed against the limit and others, alone on the machine (JSON=1: and an object)
	$(BIN)/python -m tests.benchmarks.bench $(ARGS)

test:           ## what users are promised, checked, and the code itself beside it
	$(MAKE) --no-print-directory --jobs 2 lint promises

# On one core each; a third process works while others wait.
promises: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

test-production: install  ## the same on PostgreSQL and a tracking server (installs them, as root)
	test -d /usr/lib/postgresql || (apt-get update -qq && apt-get install -qq -y postgresql)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[postgres]'
	WIDEDEEP_TEST_PRODUCTION=1 $(BIN)/pytest tests/flows/test_production.py

test-ray: install  ## the same on a local Ray of two workers (installs the extra)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[ray]'
	WIDEDEEP_TEST_RAY=1 $(BIN)/pytest tests/on_ray

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:  ## remove the environment and caches (never the state under mlruns/)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
