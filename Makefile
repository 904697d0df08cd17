# Each target does all the set-up that it needs. `check` writes nothing, `fix` may.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
NODE_CLIENT := tests/conformance/node/node_modules/.installed
SOURCES := raft cluster etcdpy bench tests examples
SEEDS ?= 20
REQUESTS ?= 2000
PIP_COMPILE := $(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-header \
	--no-emit-index-url --no-emit-find-links

.PHONY: run test install check fix clean lock conformance conformance-record bench bench-quick

run: install
	@mkdir -p data
	@exec $(BIN)/honcho start

test: install $(NODE_CLIENT)
	$(BIN)/python -m pytest

install: $(INSTALLED)

# The packages, pinned with their hashes; then this one, editable. setuptools first: python-etcd is built with it.
$(INSTALLED): requirements-dev.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

# node-etcd, a client that tests use; only where npm is.
$(NODE_CLIENT): tests/conformance/node/package-lock.json
	if command -v npm > /dev/null; then cd tests/conformance/node && npm ci --silent --no-audit --no-fund; fi
	mkdir -p $(@D) && touch $@

check: install
	$(BIN)/ruff format --check --quiet --no-cache $(SOURCES)
	$(BIN)/ruff check --quiet --no-cache $(SOURCES)
	$(BIN)/mypy --cache-dir=/dev/null
	$(BIN)/lint-imports --no-cache

fix: install
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf tests/conformance/node/node_modules
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

lock: install
	$(PIP_COMPILE) --upgrade --output-file requirements.txt pyproject.toml
	$(PIP_COMPILE) --upgrade --extra dev --constraint requirements.txt --output-file requirements-dev.txt pyproject.toml

# Random requests to a live etcd and a live etcdpy; their answers must be equal.
conformance: install
	$(BIN)/python -m tests.conformance.differential --seeds $(SEEDS) --requests $(REQUESTS)

# Asks the real etcd for the answers that the scenarios expect.
conformance-record: install
	$(BIN)/python -m tests.conformance.record

bench: install
	$(BIN)/python -m bench

bench-quick: install
	$(BIN)/python -m bench --quick
