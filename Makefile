# make demo | test | e2e | lint | constraints. Everything goes into .venv/<Airflow version>, from pinned constraints.
AIRFLOW ?= 3.3.2
PYTHON ?= python3
DAY ?= 2026-01-02

VENV := .venv/$(AIRFLOW)
BIN := $(VENV)/bin
CONSTRAINTS := constraints/airflow-$(AIRFLOW).txt
READY := $(VENV)/.installed

.PHONY: demo test e2e ui lint reliability constraints clean

demo: $(READY)
	@.demo/run.sh "$(BIN)" "$(DAY)"

test: $(READY)
	EXPECTED_AIRFLOW_VERSION=$(AIRFLOW) $(BIN)/python -m pytest $(ARGS)

# Airflow's UI in a real browser, in both versions; takes the screenshots in docs/images. Installs Chromium (root, apt).
e2e:
	@.e2e/chromium.sh
	@$(MAKE) --no-print-directory ui AIRFLOW=3.3.2
	@$(MAKE) --no-print-directory ui AIRFLOW=2.11.2

# TERM is Ctrl-C to the tests: they end all that they started. In the foreground, so that Ctrl-C itself reaches them.
ui: $(VENV)/.installed-ui
	timeout --foreground --kill-after=60 600 \
	  $(BIN)/python -m pytest tests/ui/test_airflow_$(firstword $(subst ., ,$(AIRFLOW))).py $(ARGS)

$(VENV)/.installed-ui: $(READY)
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --group ui
	@touch $@

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# docs/reliability.md from the cases of tests/faults; a test fails where the two differ.
reliability: $(READY)
	$(BIN)/python -m tests.faults.table

# The pins of one Airflow version; commit the result. Needs uv (pip install uv); emits names and versions, no URLs.
constraints:
	uv pip compile pyproject.toml constraints/$(AIRFLOW).in --all-extras --group pyproject.toml:test \
	  --group pyproject.toml:lint --group pyproject.toml:ui --group pyproject.toml:celery --group pyproject.toml:bench \
	  --python-version 3.11 --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
	  --no-emit-package airflow-provider-crux --upgrade --output-file $(CONSTRAINTS)

$(READY): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "Python 3.11 or newer is missing: install it, or name one with make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	  || { echo "Python's venv module is missing: on Debian and Ubuntu, apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[sandbox]' --group test --group lint
	@touch $@

clean:
	rm -rf .venv .demo/orders
