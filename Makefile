# Two commands for a newcomer: `make demo` and `make test`. Everything is set up on the way, in .venv.

PYTHON ?= python3
ARGS ?=
BUILDER ?= docker build
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help runtime setup demo test unit e2e fuzz soak cross-check check format bench wheels image image-proof clean

help: ## what can be made
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-11s %s\n", $$1, $$2}'

# What runs Sealgate, and with it the tools of the tests and checks: the demo needs only the first.
$(VENV)/.ready: tools/bootstrap.py pyproject.toml uv.lock
	@$(PYTHON) tools/bootstrap.py $(VENV)
	@touch $@

$(VENV)/.ready-dev: tools/bootstrap.py pyproject.toml uv.lock
	@$(PYTHON) tools/bootstrap.py $(VENV) --dev
	@touch $(VENV)/.ready $@

runtime: $(VENV)/.ready
setup: $(VENV)/.ready-dev ## make the environment, with all tools

demo: runtime ## run the whole thing on an embedded registry (ARGS=--once ends by itself)
	$(BIN)/sealgate demo $(ARGS)

test: unit e2e ## all tests

unit: setup ## the tests that need nothing but Python
	$(BIN)/pytest --cov --cov-report=term -m "not e2e" $(ARGS)
	$(BIN)/coverage report --include='proxy/oci/*,proxy/verdict.py,proxy/crypto/*,proxy/formats/*,proxy/policy/*' --fail-under=100
	$(BIN)/coverage report --fail-under=95 > /dev/null

e2e: setup ## real clients and a real registry, isolated, on loopback
	$(BIN)/python -m pytest -m e2e tests/e2e $(ARGS)

fuzz: setup ## mutated signatures for as long as asked (SECONDS=600)
	PYTHONPATH=tests:tests/formats/cosign $(BIN)/python -W error tools/fuzz.py $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

soak: setup ## ten minutes of mixed traffic, every answer checked (SECONDS=60, ARGS=--load for a crowd)
	PYTHONPATH=tests $(BIN)/python tools/soak.py $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

cross-check: setup ## manifests read as Go reads them, the same verdicts as real cosign (Go, or COSIGN=program)
	PYTHONPATH=tests $(BIN)/python tools/cross_manifests.py
	PYTHONPATH=tests $(BIN)/python tools/cross_check.py $(ARGS)

check: setup ## format, lint, types, walls between the rooms
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## put the code in its form
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: setup ## measure, side by side with its peers
	PYTHONPATH=tests $(BIN)/python bench/run.py $(ARGS)

wheels: setup ## what the container image is made of, checked by hash
	$(BIN)/python tools/wheels.py wheels

image: wheels ## build the container image (BUILDER="podman build")
	$(BUILDER) --tag sealgate $(ARGS) .

image-proof: wheels ## build the image on a base made here, run it, ask for its health (root, buildah, mmdebstrap)
	PYTHONPATH=tests $(BIN)/python tools/prove_image.py

clean: ## remove what was made
	rm -rf $(VENV) .cache .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis wheels
