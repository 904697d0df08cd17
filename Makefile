# One command each, and each does its own set-up in .venv. `make check` writes nothing outside .venv; `make fix` may.

PYTHON ?= python3
SEEDS ?= 20
REQUESTS ?= 2000
STEPS ?= 5000
SECONDS ?= 60
SINGLE ?= 300
CLUSTER ?= 100
BIN := .venv/bin
MEMBERS := infra1 infra2 infra3
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

export RUFF_CACHE_DIR := .venv/cache/ruff
export MYPY_CACHE_DIR := .venv/cache/mypy

.PHONY: help run test test-compiled test-faults install compiled sim sim-mutants check fix clean lock conformance conformance-record bench bench-quick chaos powercuts fuzz

help:
	@echo 'make run                 start three members (https ports 2379, 22379, 32379); data in ./data, certificates in ./pki'
	@echo 'make test                run the tests'
	@echo 'make test-compiled       run tests against the compiled modules'
	@echo 'make test-faults         power cuts, bad disks and clocks, attacks on the ports'
	@echo 'make sim                 simulate whole clusters; SEEDS=500 STEPS=5000, or one: SEED=7'
	@echo 'make sim-mutants         put bugs back, one at a time; each must be caught; writes docs/simulation.md; RESUME=1 goes on'
	@echo 'make check               format, lint, types, import contracts: only looks'
	@echo 'make fix                 repair what of that can be repaired'
	@echo 'make install             set everything up in .venv'
	@echo 'make compiled            compile the hot modules into build/; make run, bench and chaos do so themselves'
	@echo 'make clean               remove .venv and caches; ./data and ./pki stay'
	@echo 'make lock                choose and lock the newest versions of what we depend on'
	@echo 'make conformance         random requests to a live etcd and a live etcdpy; SEEDS=20 REQUESTS=2000'
	@echo 'make conformance-record  ask a live etcd again for the answers that the scenarios expect'
	@echo 'make chaos               kill -9 a random member every 2 s under load; SECONDS=60'
	@echo 'make fuzz                odd bytes for every parser and decoder; SECONDS=60'
	@echo 'make powercuts           cut the power under load, as root; SINGLE=300 CLUSTER=100'
	@echo 'make bench               measure against etcd; make bench-quick ends in under two minutes'

# A honcho for each member, because one stops all that it runs as soon as a part of it ends. Each in a session of its own,
# because it must get one signal only, whoever else got it.
run: compiled pki/issued
	@trap 'trap "" INT TERM; kill $$honchos 2>/dev/null' INT TERM; \
	for member in $$(sed -n 's/:.*//p' Procfile); do setsid $(BIN)/honcho start $$member & honchos="$$honchos $$!"; done; \
	wait || wait

test: .venv/ready-dev
	$(BIN)/python -m pytest --ignore=tests/faults --ignore=tests/security

# Those that run in pytest's own process. Members in processes of their own run compiled in all tests, where they can.
test-compiled: .venv/ready-dev compiled
	$(BIN)/python -m pytest -p tests.compiled tests/raft tests/cluster tests/etcdpy tests/integration tests/fuzz

test-faults: .venv/ready-dev
	$(BIN)/python -m pytest tests/faults tests/security

sim: SEEDS = 500
sim: .venv/ready-dev
	$(BIN)/python -m tests.sim --steps $(STEPS) $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

sim-mutants: .venv/ready-dev
	$(BIN)/python -m tests.sim.proving $(if $(RESUME),--resume) $(if $(ONLY),--only $(ONLY))

install: .venv/ready-dev compiled

# Compiles what is not compiled yet, or says why that is not possible here: then the plain sources run.
compiled: .venv/ready
	@$(BIN)/python -m etcdpy.compiled

check: .venv/ready-dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	PYTHONDONTWRITEBYTECODE=1 $(BIN)/lint-imports --no-cache

fix: .venv/ready-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

conformance: .venv/ready-dev
	$(BIN)/python -m tests.conformance.differential --seeds $(SEEDS) --requests $(REQUESTS)

conformance-record: .venv/ready-dev
	$(BIN)/python -m tests.conformance.record

fuzz: .venv/ready-dev
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS)
	EXAMPLES=$$(($(SECONDS) * 50)) $(BIN)/python -m pytest --timeout=0 tests/etcdpy/test_http_properties.py

chaos: .venv/ready-dev compiled
	$(BIN)/python tests/e2e/chaos.py --seconds $(SECONDS)

powercuts: .venv/ready-dev
	$(BIN)/python tests/faults/powercut.py --single $(SINGLE) --cluster $(CLUSTER)

bench: .venv/ready-dev compiled
	$(BIN)/python -m bench

bench-quick: .venv/ready-dev compiled
	$(BIN)/python -m bench --quick

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf tests/conformance/node/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Certificates for members on this machine. Whoever has pki/ca.pem believes what pki/ca-key.pem signs.
pki/ca.pem: | .venv/ready
	$(BIN)/etcdpyctl pki init --force

pki/issued: pki/ca.pem
	$(BIN)/etcdpyctl pki issue server $(MEMBERS) --host 127.0.0.1 --host localhost --host ::1 --force
	$(BIN)/etcdpyctl pki issue peer $(MEMBERS) --host 127.0.0.1 --force
	@touch $@

# What `make run` needs, with the setuptools that installs the checkout itself.
.venv/ready: requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP_INSTALL) --require-hashes -r requirements.txt
	$(PIP_INSTALL) --no-build-isolation --no-deps -e .
	@touch $@

# No build isolation: python-etcd comes as source, and is built with that setuptools.
.venv/ready-dev: .venv/ready requirements-dev.txt
	$(PIP_INSTALL) --require-hashes --use-pep517 --no-build-isolation -r requirements-dev.txt
	@touch $@

PIP_COMPILE := .venv/lock/bin/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras \
	--no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options \
	--annotation-style line --build-deps-for editable --extra run

# Chosen from PyPI alone, whatever this machine's pip is told.
lock: export PIP_CONFIG_FILE := /dev/null
lock: export PIP_FIND_LINKS :=
lock: export PIP_EXTRA_INDEX_URL :=
lock: .venv/ready
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/python -m pip install --quiet --disable-pip-version-check pip-tools
	$(PIP_COMPILE) --output-file requirements.txt pyproject.toml
	$(PIP_COMPILE) --extra dev --constraint requirements.txt --output-file requirements-dev.txt pyproject.toml
