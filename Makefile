# Targets of this project; `make help` lists them. Everything runs in .venv, which the first target creates.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SANDBOX := $(VENV)/.ready-sandbox
DEV := $(VENV)/.ready-dev
# uv installs in a tenth of pip's time from the same lock. It is 38 MB that the pipeline does not need: without the
# extra `dev`, make deletes it after the last target.
UV := $(or $(wildcard $(BIN)/uv),$(VENV)/uv)
EXTRAS := dev
INSTALL = VIRTUAL_ENV=$(VENV) $(UV) pip install --constraint constraints.txt
.INTERMEDIATE: $(VENV)/uv
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# trust the certificates of the system, such as that of a company's proxy
export UV_SYSTEM_CERTS ?= 1
# without cached bytecode, each process compiles all modules that it imports
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
PROMISES := $(shell grep -o 'tests/[a-z_/0-9]*\.py::[a-z_0-9]*' docs/explanation/reliability.md | grep -v tests/faults | sort -u)

S3_TESTS := tests/resources/storage/test_s3.py tests/resources/storage/test_s3_files.py \
  tests/resources/lake/test_lake_s3.py tests/resources/test_diagnostics.py \
  tests/faults/test_kills_at_each_step.py::test_in_s3_nothing_is_lost \
  tests/faults/test_forgetting.py::test_a_kill_at_every_write_in_s3 \
  tests/faults/test_forgetting.py::test_any_sequence_leaves_the_executions_of_the_sources_that_are_not_forgotten \
  tests/faults/test_lake_model.py::test_any_sequence_of_operations_in_s3_gives_the_rows_of_the_model

# the API of PyPI with the vulnerabilities of a release
ADVISORIES := https://pypi.org/pypi/pip/24.0/json

.PHONY: help setup sandbox demo dev test faults seaweedfs handlers bench check audit docs clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(READY) ## install what the pipeline needs into .venv, if something changed

$(VENV)/uv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11) and "Python 3.11 or newer is required. Select one: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv --without-pip $(VENV)
	$(PYTHON) -m venv $(VENV)/bootstrap
	$(VENV)/bootstrap/bin/python -m pip install --quiet --constraint constraints.txt uv && cp $(VENV)/bootstrap/bin/uv $@ || \
	  { echo "uv is not available; installing with pip"; $(BIN)/python -m ensurepip && printf '#!/bin/sh\nexec $(BIN)/python -m "$$@"\n' >$@ && chmod +x $@; }
	rm -rf $(VENV)/bootstrap

$(READY): pyproject.toml constraints.txt | $(UV)
	$(INSTALL) --editable .
	$(BIN)/python -m pipelines.runs.instance
	touch $@

$(SANDBOX): $(READY) | $(UV)
	$(INSTALL) --editable '.[sandbox]'
	touch $@

$(DEV): $(READY) | $(UV)
	$(INSTALL) --editable '.[$(EXTRAS)]'
	touch $(SANDBOX) $@

sandbox: $(SANDBOX) ## install what the pipeline and the simulated service need, without a demo

demo: $(SANDBOX) ## run the pipeline on generated data
	@$(BIN)/ledger demo

dev: $(SANDBOX) ## start the Dagster UI on http://localhost:3000 (with ledger.toml, or with the sandbox)
	@exec $(BIN)/ledger dev

test: $(DEV) ## run the tests
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

faults: $(DEV) ## run the tests of crashes, concurrent writers and readers, also the slow ones; ROUNDS=1000 samples more, SEED=N others
	FAULT_ROUNDS=$(ROUNDS) FAULT_SEED=$(SEED) $(BIN)/python -m pytest --numprocesses auto --dist worksteal --durations=15 \
	  -m "not docs and not spark $(if $(ROUNDS),,and not long)" tests/faults $(PROMISES)

handlers: $(DEV) ## list each `except` of the product that no test enters; runs the default and the slow tests
	rm -f $(VENV)/.handlers
	ENTERED_HANDLERS=$(CURDIR)/$(VENV)/.handlers $(BIN)/python -m pytest -p tests.support.handlers --numprocesses auto \
	  --dist worksteal -m "not docs and not long and not spark and not browser and not deploy"
	$(BIN)/python -m tests.support.handlers $(VENV)/.handlers

seaweedfs: $(DEV) ## run the tests of S3 with SeaweedFS, a real S3 server; ROUNDS=1000 samples more, SEED=N others
	$(INSTALL) --editable '.[s3-server]'
	FAULT_ROUNDS=$(ROUNDS) FAULT_SEED=$(SEED) $(BIN)/python -m tests.support.seaweedfs $(BIN)/python -m pytest --numprocesses auto \
	  --dist worksteal -m "not docs and not long" -k "not disk" $(S3_TESTS)

bench: $(DEV) ## measure the cost of the pipeline and of other tools; write the table and the chart to docs/benchmarks
	$(BIN)/python -m benchmarks --write

check: $(DEV) ## lint, types, import contracts, generated docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m assets.tables.docs --check
	$(BIN)/python -m pipelines.cli.reference_pages --check
	$(BIN)/python -m assets.tables.history --check

audit: $(DEV) ## look for known vulnerabilities of the locked dependencies; needs a network
	@$(BIN)/python -c 'import urllib.request as r; r.urlopen("$(ADVISORIES)", timeout=30)' 2>/dev/null || \
	  { echo "Cannot audit: $(ADVISORIES) cannot be read. A mirror of PyPI often has no vulnerability data; run it where pypi.org is reachable."; exit 1; }
	$(BIN)/uv tool run pip-audit --strict --no-deps --disable-pip -r constraints.txt

docs: $(DEV) ## generate the reference docs
	$(BIN)/python -m assets.tables.history
	$(BIN)/python -m assets.tables.docs
	$(BIN)/python -m pipelines.cli.reference_pages

clean: ## remove the demo, the local Dagster instance and .venv; keep ledger.toml and your lake
	rm -rf data/demo .dagster .env $(VENV)
