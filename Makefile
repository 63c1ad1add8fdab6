# Two commands for a newcomer: `make demo` and `make test`. Everything is set up on the way, in .venv.

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
UV := VIRTUAL_ENV=$(CURDIR)/$(VENV) UV_PYTHON_DOWNLOADS=never $(BIN)/uv

.DEFAULT_GOAL := help
.PHONY: help setup demo test unit e2e check format bench clean

help: ## what can be made
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-8s %s\n", $$1, $$2}'

$(BIN)/uv: tools/bootstrap.py
	$(PYTHON) tools/bootstrap.py $(VENV)

$(VENV)/.ready: $(BIN)/uv pyproject.toml uv.lock
	$(UV) sync --locked --quiet
	@touch $@

setup: $(VENV)/.ready ## make the environment

demo: setup ## run the whole thing on an embedded registry (ARGS=--once ends by itself)
	$(BIN)/sealgate demo $(ARGS)

test: unit e2e ## all tests

unit: setup ## the tests that need nothing but Python
	$(BIN)/pytest --cov --cov-report=term -m "not e2e" $(ARGS)
	$(BIN)/coverage report --include='proxy/oci/*,proxy/verdict.py,proxy/crypto/*,proxy/formats/*,proxy/policy/*' --fail-under=100
	$(BIN)/coverage report --fail-under=95 > /dev/null

e2e: setup ## real clients and a real registry, isolated, on loopback
	$(BIN)/python -m pytest -m e2e tests/e2e $(ARGS)

check: setup ## format, lint, types, walls between the rooms
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## put the code in its form
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: setup ## measure, side by side with its peers
	$(BIN)/python bench/run.py $(ARGS)

clean: ## remove what was made
	rm -rf $(VENV) .cache .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis
