# Everything a developer, an operator's laptop and CI run. `make` alone explains it.

PYTHON ?= python3
JOBS ?= 2
PYTEST_ARGS ?=
COVERAGE_LEAST := 85

VENV := .venv
BIN := $(VENV)/bin
SERVICE := services/database-service
PACKAGES := $(SERVICE) clients/python services/instance-service examples/todo
SOURCES := services clients examples bench
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input install

BASE_PYTHON ?= python:3.11-slim-bookworm
BASE_POSTGRES ?= postgres:18-bookworm
DATABASE_SERVICE_IMAGE ?= database-service
INSTANCE_SERVICE_IMAGE ?= instance-service
TODO_IMAGE ?= todo
TAG ?= latest
POSTGRES_IMAGE ?= dbs-postgres:18
STACK ?= dev
ENV ?= .env.swarm

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test check lint types imports bench-allocate bench-scale bench-ready bench-pool bench-swarm bench-move bench-neighbours bench-overload bench-ui chaos chaos-bites docs screenshots reference lock audit schema openapi \
	wheels images stack-secrets stack-deploy stack-status stack-rm clean

help:
	@echo "PostgreSQL databases on demand. No Docker, no root: Python 3.11 and make are enough."
	@echo
	@echo "  make run             the whole system on this machine, until Ctrl-C (PORT=8005 POOLS=1 DATA_DIR=.data)"
	@echo "                       WITH_INSTANCES=1: with instance-service and an example to run (INSTANCES_PORT=8006)"
	@echo "  make test            the tests, on a real PostgreSQL (JOBS=2 PYTEST_ARGS='-k spare')"
	@echo "  make check           what CI runs: ruff, mypy, import contracts, tests, coverage (.venv/bin/coverage report: what is not covered)"
	@echo
	@echo "  make bench-allocate  how fast a database is handed out; also bench-scale, -ready, -pool, -swarm, -move, -neighbours, -overload, -ui"
	@echo "  make chaos           the promises, tried by force (SEED=… MINUTES=3 REPORT=file KEEP=folder); make chaos-bites: whether it would find bugs"
	@echo "  make docs            the manual, as HTML in docs/_build"
	@echo "  make screenshots     rewrite docs/images/hub: each page of the hub, light and dark (needs chromium)"
	@echo "  make reference       rewrite what is generated: docs/reference, .env.swarm"
	@echo "  make schema          rewrite shared/configs/postgres from the migrations"
	@echo "  make openapi         rewrite docs/reference/*openapi.json"
	@echo "  make lock            lock requirements/*.in again"
	@echo "  make audit           pins, hashes and known weaknesses of what is locked (AUDIT_MUST_ASK=1: an error where nobody can be asked)"
	@echo
	@echo "  make images          the images of the services, of servers and of the example (TAG=latest BASE_PYTHON=… BASE_POSTGRES=…)"
	@echo "  make wheels          what the services' images are made of, so that they build without a network"
	@echo "  make stack-deploy    the stack on this Docker Swarm (STACK=dev|ceph ENV=.env.swarm)"
	@echo "  make stack-secrets   only its secrets; stack-status: how it is; stack-rm: stop it, data stays"
	@echo
	@echo "  make clean           remove what was built and installed here; data stays"

run: $(VENV)/.installed-run
	@exec $(BIN)/dbs up $(if $(PORT),--port '$(PORT)') $(if $(POOLS),--pools '$(POOLS)') $(if $(DATA_DIR),--data-dir '$(DATA_DIR)') \
		$(if $(filter-out 0,$(WITH_INSTANCES)),--with-instances $(if $(INSTANCES_PORT),--instances-port '$(INSTANCES_PORT)'))

test: $(VENV)/.installed-dev
	$(BIN)/pytest -n $(JOBS) --dist loadgroup $(PYTEST_ARGS)

check: lint types imports
	$(MAKE) --no-print-directory test PYTEST_ARGS='--tb=short --cov --cov-branch --cov-report= --cov-fail-under=$(COVERAGE_LEAST)'

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

types: $(VENV)/.installed-dev
	$(BIN)/mypy

imports: $(VENV)/.installed-dev
	$(BIN)/lint-imports

bench-allocate bench-scale bench-ready bench-pool bench-move bench-neighbours bench-overload bench-ui: bench-%: $(VENV)/.installed-dev
	$(BIN)/python -m bench.$*

chaos: $(VENV)/.installed-dev
	cd $(SERVICE)/tests && exec $(abspath $(BIN))/python -m chaos --minutes $(or $(MINUTES),3) \
		$(if $(SEED),--seed $(SEED)) $(if $(REPORT),--report $(abspath $(REPORT))) $(if $(BUG),--bug $(BUG)) \
		$(if $(KEEP),--keep $(abspath $(KEEP)))

chaos-bites: $(VENV)/.installed-dev
	cd $(SERVICE)/tests && exec $(abspath $(BIN))/python -m chaos --minutes $(or $(MINUTES),10) --bites $(or $(BUG),all)

bench-swarm: $(VENV)/.installed-dev
	PYTHONPATH=$(SERVICE)/tests $(BIN)/python -m bench.swarm

docs: $(VENV)/.installed-dev
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build

screenshots: $(VENV)/.installed-dev
	rm -rf docs/images/hub
	mkdir -p docs/images/hub
	HUB_PICTURES='$(abspath docs/images/hub)' $(BIN)/pytest -q $(SERVICE)/tests/browser/test_pages.py -k pictured

reference: $(VENV)/.installed-dev
	$(BIN)/python -m database_service.cli.reference .
	$(BIN)/python -m instance_service.cli.reference .
	$(BIN)/python clients/python/reference.py docs/reference/python-client.md

schema: $(VENV)/.installed-dev
	$(BIN)/python -m database_service.cli.schema shared/configs/postgres

openapi: $(VENV)/.installed-dev
	$(BIN)/python -m database_service.api > docs/reference/.openapi.json && mv docs/reference/.openapi.json docs/reference/openapi.json
	$(BIN)/python -m instance_service.api > docs/reference/.openapi.json && mv docs/reference/.openapi.json docs/reference/instance-service-openapi.json

lock:
	requirements/compile

audit:
	@PYTHON='$(PYTHON)' requirements/audit

wheels: $(VENV)/.installed-dev
	requirements/wheels

# The legacy builder does, and is there also where buildx is not.
images:
	docker build --build-arg BASE='$(BASE_PYTHON)' -t '$(DATABASE_SERVICE_IMAGE):$(TAG)' -f infrastructure/images/database-service/Dockerfile .
	docker build --build-arg BASE='$(BASE_PYTHON)' -t '$(INSTANCE_SERVICE_IMAGE):$(TAG)' -f infrastructure/images/instance-service/Dockerfile .
	docker build --build-arg BASE='$(BASE_PYTHON)' -t '$(TODO_IMAGE):$(TAG)' -f infrastructure/images/todo/Dockerfile .
	docker build --build-arg BASE='$(BASE_POSTGRES)' -t '$(POSTGRES_IMAGE)' infrastructure/images/postgres

stack-secrets stack-deploy stack-status stack-rm: stack-%:
	@infrastructure/compose/stack '$*' '$(STACK)' '$(ENV)'

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.* docs/_build
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

# Installed once, and again only when what is asked for has changed.
$(VENV)/.installed-run: requirements/run.txt $(PACKAGES:%=%/pyproject.toml)
	@$(ensure_venv)
	@echo "Installing what it needs to run (once) …"
	@$(PIP) --require-hashes -r requirements/run.txt
	@$(PIP) --no-deps --no-build-isolation $(PACKAGES:%=-e %)
	@touch $@

$(VENV)/.installed-dev: requirements/dev.txt $(PACKAGES:%=%/pyproject.toml)
	@$(ensure_venv)
	@echo "Installing what development needs (once) …"
	@$(PIP) --require-hashes -r requirements/dev.txt
	@$(PIP) --no-deps --no-build-isolation $(PACKAGES:%=-e %)
	@touch $(VENV)/.installed-run $@

define ensure_venv
if ! command -v "$(PYTHON)" >/dev/null 2>&1; then \
	echo "There is no $(PYTHON) here: install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.11" >&2; exit 1; \
elif ! "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
	echo "Python 3.11 or newer is needed, and $(PYTHON) is $$("$(PYTHON)" --version 2>&1): name another: make PYTHON=/path/to/python3.11" >&2; exit 1; \
elif ! "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null; then \
	echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian, Ubuntu: apt-get install python3-venv)." >&2; exit 1; \
elif ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	"$(PYTHON)" -m venv --clear $(VENV); \
fi
endef
