# One command each, and each does its own set-up in .venv. `make check` writes nothing outside .venv, `make fix` may.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

export PYTHONDONTWRITEBYTECODE := 1
export RUFF_CACHE_DIR := .venv/cache/ruff
export MYPY_CACHE_DIR := .venv/cache/mypy

.PHONY: help run test install check fix clean lock conformance bench bench-quick

help:
	@echo 'make run          start three members (client ports 2379, 22379, 32379), data in ./data'
	@echo 'make test         run the tests'
	@echo 'make check        format, lint, types, import contracts: only looks'
	@echo 'make fix          format and repair what can be repaired'
	@echo 'make conformance  live comparison with etcd: make conformance SEEDS=20 STEPS=2000'
	@echo 'make bench        measure against etcd; make bench-quick takes under two minutes'
	@echo 'make install      set everything up in .venv'
	@echo 'make lock         choose and lock the newest versions of what we depend on'
	@echo 'make clean        remove .venv and caches; ./data stays'

run: .venv/ready
	@$(BIN)/honcho start || test $$? -eq 130  # 130: stopped by Ctrl-C

test: .venv/ready-dev
	$(BIN)/python -m pytest

install: .venv/ready-dev

check: .venv/ready-dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

fix: .venv/ready-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

conformance: .venv/ready-dev
	$(BIN)/python -m tests.conformance.differential

bench: .venv/ready-dev
	$(BIN)/python -m bench

bench-quick: .venv/ready-dev
	$(BIN)/python -m bench --quick

clean:
	rm -rf .venv build *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What `make run` needs, with setuptools, which installs the checkout itself.
.venv/ready: requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(PIP) --require-hashes -r requirements.txt
	$(PIP) --no-build-isolation --no-deps -e .
	@touch $@

.venv/ready-dev: .venv/ready requirements-dev.txt
	$(PIP) --require-hashes --no-build-isolation -r requirements-dev.txt
	@touch $@

LOCK := .venv/lock/bin/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras --no-header \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options --annotation-style=line \
	--build-deps-for editable --extra run

lock: .venv/ready
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/python -m pip install --quiet --disable-pip-version-check pip-tools
	$(LOCK) -o requirements.txt pyproject.toml
	$(LOCK) --extra dev -c requirements.txt -o requirements-dev.txt pyproject.toml
