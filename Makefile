# PrismQ's commands. `make` alone lists them. GNU make and a POSIX shell.

PYTHON ?= python3
# Workers of the default pytest run, and extra arguments for it: make test ARGS="-k backoff"
JOBS ?= 2
ARGS ?=
# The folder whose files the demo indexes, if not this one: make demo DIR=/some/folder
DIR ?=
# What the demo runs on: empty for a SQLite file, postgres for a private PostgreSQL server.
DB ?=
# Not empty: the demo ends by itself, in a terminal, too: make demo ONCE=1
ONCE ?=
# Which other Pythons `make test` uses: empty for all that are installed, "3.10 3.13" for some, none for none.
MATRIX ?=

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
LOCKED := $(VENV)/.stamp-lock
READY := $(VENV)/.stamp
PEERS := .venv-peers
PEERS_READY := $(PEERS)/.stamp
# Oban wants a newer Python than the one we measure with: it gets one where one is installed, and is left out else.
NEWER_PEERS := .venv-peers-newer
NEWER_PYTHON = $(shell $(BIN)/python scripts/matrix.py --find 3.13 3.12)
LOCKER := .venv-lock
# -qq: pip is silent unless it fails. --no-input: it never asks.
PIP := -m pip --no-input --disable-pip-version-check -qq
# What ruff and mypy look at: those of these folders that exist.
SOURCES := $(wildcard src tests benchmarks scripts docs)
TYPED := $(wildcard src tests/typing scripts)
UV_LOCK = $(LOCKER)/bin/uv pip compile --universal --python-version 3.10 --generate-hashes --upgrade \
	--no-config --no-header --no-emit-index-url --no-emit-find-links --quiet

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo check test matrix lint format bench lock clean

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(READY) ## Create .venv with everything in requirements.lock and prismq itself

# The stamps are written last, so a set-up that was cut short is done again. A new lock builds the
# environment from nothing: what the old lock installed and the new one dropped must not linger.
$(LOCKED): requirements.lock
	@command -v "$(PYTHON)" >/dev/null 2>&1 || { \
		echo "PrismQ needs Python 3.10 or later, and '$(PYTHON)' was not found. Try: make setup PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "PrismQ needs Python 3.10 or later; '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1). Try: make setup PYTHON=python3.12" >&2; exit 1; }
	@echo "setup: $(VENV) with $$("$(PYTHON)" --version 2>&1)"
	@"$(PYTHON)" -m venv --clear $(VENV)
	@$(BIN)/python $(PIP) install --require-hashes -r requirements.lock
	@touch $@

$(READY): $(LOCKED) pyproject.toml
	@$(BIN)/python $(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## Run the demonstration on real files: those of this folder, or of DIR=...; DB=postgres for a server, ONCE=1 to end by itself
	@case "$(DB)" in ""|postgres) ;; *) echo "DB=$(DB) is not known: leave it out, or say DB=postgres" >&2; exit 2;; esac
	@$(BIN)/python -m prismq.cli.main demo $(if $(DIR),"$(DIR)") $(if $(DB),--$(DB)) $(if $(ONCE),--once)

check: lint ## Before every commit: lint and the tests, on one Python
	@$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

# The default Python comes last: the closing line of its pytest run is the verdict people and CI read.
test: lint matrix ## Lint, the fast tests on every other supported Python, then all tests on the default one
	@$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

matrix: setup ## The fast tests on every other supported Python that is installed
	@$(BIN)/python scripts/matrix.py --jobs $(JOBS) --only "$(MATRIX)"

lint: setup ## ruff, mypy and the import contracts
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/mypy $(TYPED)
	@$(BIN)/lint-imports --no-logo

format: setup ## Format the code and apply the safe fixes
	@$(BIN)/ruff check --fix-only $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

bench: setup $(PEERS_READY) ## Benchmarks against raw SQLite, raw PostgreSQL and the peers; ARGS=... is passed on
	@$(BIN)/python -m benchmarks $(ARGS)

# The peers live apart, so that their needs never meet ours.
$(PEERS_READY): benchmarks/peers.lock $(LOCKED)
	@echo "setup: $(PEERS) with the queues we compare with"
	@$(BIN)/python -m venv --clear $(PEERS)
	@$(PEERS)/bin/python $(PIP) install --require-hashes -r benchmarks/peers.lock
	@newer="$(NEWER_PYTHON)"; if [ -n "$$newer" ]; then \
		"$$newer" -m venv --clear $(NEWER_PEERS) && \
		$(NEWER_PEERS)/bin/python $(PIP) install --require-hashes -r benchmarks/peers.lock; \
	else echo "setup: no Python 3.12 or 3.13: Oban is not measured"; fi
	@touch $@

lock: setup ## Bring both lock files up to date with pyproject.toml and benchmarks/peers.in
	@$(BIN)/python -m venv --clear $(LOCKER)
	@$(LOCKER)/bin/python $(PIP) install uv
	@$(UV_LOCK) --all-extras --group dev pyproject.toml -o requirements.lock >/dev/null
	@$(UV_LOCK) benchmarks/peers.in -o benchmarks/peers.lock >/dev/null
	@rm -rf $(LOCKER)

clean: ## Remove environments, caches and what was built; your data is not touched
	rm -rf .venv .venv-* build dist .coverage htmlcov .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
