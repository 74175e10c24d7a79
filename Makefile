# Everything a person or CI does here is one of these targets. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
PACKAGES := dyff/accounts dyff/adapters dyff/admission dyff/api dyff/bus dyff/cluster dyff/consumers dyff/entities dyff/kernel dyff/objects dyff/operator dyff/query dyff/sdk dyff/serve dyff/workflows

.PHONY: help setup demo demo-small test test-fast acceptance check lint fmt types contracts bench lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

setup: .venv/.ready ## make .venv with the dyff command in it

.venv/.ready: requirements/uv.txt requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Dyff needs Python 3.11 or later; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt requirements/uv.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

lock: setup ## pin requirements again from pyproject.toml
	@$(BIN)/uv pip compile -q --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements/runtime.txt
	@$(BIN)/uv pip compile -q --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -c requirements/runtime.txt pyproject.toml --group dev -o requirements/dev.txt

clean: ## remove what make setup and the tests made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
