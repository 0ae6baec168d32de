# Every target sets up what it needs; nothing but Python 3.11 to 3.14, make and git has to be there.
.DEFAULT_GOAL := help
.PHONY: help demo demo-flask test test-all test-django lint bench stress docs format clean

VENV := .venv
RUN := $(VENV)/bin
DEV := $(VENV)/.installed-dev
DEMO := $(VENV)/.installed-demo
DOCS := $(VENV)/.installed-docs
SETUP := pyproject.toml scripts/find-python scripts/make-venv scripts/install.py
# make PYTHON=/path/to/python3.12 ... chooses the interpreter of a new venv.
export PYTHON
# Two processes share the tests; with PROCESSES=0 one runs them all, in the order of the files.
PROCESSES ?= 2

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(DEMO) ## see the main job in this terminal, in under a minute
	@$(RUN)/autocelery demo

demo-flask: $(DEV) ## a Flask page, its queues and workers, in a browser: what goes wrong and what mends it
	@$(RUN)/python scripts/demo_flask.py

test: lint ## check the style and run every test but the storms; what CI runs
	@$(RUN)/python -m pytest -n $(PROCESSES) $(PYTEST_ARGS)

test-all: ## run the tests on each Python found, with the oldest and newest Celery
	@scripts/test-all

lint: $(DEV) ## check style, types and the direction of imports
	@$(RUN)/ruff check
	@$(RUN)/ruff format --check
	@$(RUN)/mypy
	@$(RUN)/lint-imports

test-django: ## run the tests of Django's preset with the oldest and the newest Django
	@scripts/test-django

bench: $(DEV) ## measure the figures of benchmarks/
	@$(RUN)/python -m benchmarks $(BENCH_ARGS)

stress: $(DEV) ## run the storms: kills, thousands of rounds, long; and all of the real projects
	@REAL_PROJECTS=all $(RUN)/python -m pytest tests/stress tests/acceptance/test_real_projects.py --timeout 1800 $(PYTEST_ARGS)

docs: $(DOCS) ## build the documentation into docs/_build
	@$(RUN)/python -m sphinx -W -q -b html docs docs/_build
	@echo "Open docs/_build/index.html"

format: $(DEV) ## put the code into shape
	@$(RUN)/ruff check --fix
	@$(RUN)/ruff format

clean: ## remove venvs, caches and builds
	rm -rf .venv .venv-* dist build docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests benchmarks docs examples -name __pycache__ -type d -prune -exec rm -rf {} +

$(DEV): $(SETUP)
	@python=$$(scripts/find-python) && scripts/make-venv $(VENV) "$$python" -e . --group dev
	@touch $(DEV) $(DEMO)

$(DEMO): $(SETUP)
	@python=$$(scripts/find-python) && scripts/make-venv $(VENV) "$$python" -e '.[demo]'
	@touch $(DEMO)

$(DOCS): $(SETUP)
	@python=$$(scripts/find-python) && scripts/make-venv $(VENV) "$$python" -e . --group docs
	@touch $(DOCS)
