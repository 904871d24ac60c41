# make demo | test | matrix | e2e | lint | constraints ... Everything goes into .venv/<Airflow version>, from pinned constraints.
AIRFLOW ?= 3.3.2
PYTHON ?= python3
DAY ?= 2026-01-02
INTERVALS ?= 200

# every version that is tested; first the one that takes longest
VERSIONS := 3.3.2 2.11.2 3.2.2 3.1.8 3.0.6

# Lines and branches of the package, where the whole suite runs. All of them are expected on the newest version; what
# fails is a little less, since some depend on the moment at which a timeout strikes.
COVERAGE := $(if $(ARGS),,--cov --cov-report=term $(if $(filter 3.3.2,$(AIRFLOW)),--cov-fail-under=99.5))

VENV := .venv/$(AIRFLOW)
BIN := $(VENV)/bin
CONSTRAINTS := constraints/airflow-$(AIRFLOW).txt
READY := $(VENV)/.installed

.PHONY: demo test matrix $(VERSIONS:%=matrix-%) versions e2e ui celery bench lint reliability constraints clean

demo: $(READY)
	@.demo/run.sh "$(BIN)" "$(DAY)"

test: $(READY)
	COVERAGE_FILE=.coverage.$(AIRFLOW) EXPECTED_AIRFLOW_VERSION=$(AIRFLOW) $(BIN)/python -m pytest $(COVERAGE) $(ARGS)

# The suite on every version, two at a time: more than two cores can do would only make the tests wait for each other.
# Each writes to a log of its own, and shows its end when it is through; at last, how each one ended.
matrix:
	@rm -rf .matrix && mkdir .matrix
	@$(MAKE) --no-print-directory --keep-going --jobs=2 --output-sync $(VERSIONS:%=matrix-%); status=$$?; \
	  for airflow in $(VERSIONS); do echo "Airflow $$airflow: $$(grep -E '^=+ .* in [0-9.]+s' .matrix/$$airflow.log \
	    | tail -n 1)"; done; exit $$status

$(VERSIONS:%=matrix-%): matrix-%:
	@echo "== Airflow $*: .matrix/$*.log"
	@$(MAKE) --no-print-directory test AIRFLOW=$* >.matrix/$*.log 2>&1 && tail -n 15 .matrix/$*.log \
	  || { tail -n 400 .matrix/$*.log; false; }

# The tables of docs/versions.md, from what each version's scheduler is seen to do; a test fails where the two differ.
versions:
	RECORD_VERSIONS=1 $(MAKE) --no-print-directory matrix ARGS="tests/e2e/test_scheduler.py"

# Airflow's UI in a real browser, in both versions; takes the screenshots in docs/images. Installs Chromium (root, apt).
e2e:
	@.e2e/chromium.sh
	@$(MAKE) --no-print-directory ui AIRFLOW=3.3.2
	@$(MAKE) --no-print-directory ui AIRFLOW=2.11.2

# TERM is Ctrl-C to the tests: they end all that they started. In the foreground, so that Ctrl-C itself reaches them.
ui: $(VENV)/.installed-ui
	timeout --foreground --kill-after=60 600 \
	  $(BIN)/python -m pytest tests/ui/test_airflow_$(firstword $(subst ., ,$(AIRFLOW))).py $(ARGS)

# A further group of pyproject.toml, for whoever names its mark.
$(VENV)/.installed-%: $(READY)
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --group $*
	@touch $@

# A backfill on PostgreSQL, Redis, CeleryExecutor and two workers, some of it killed. Installs both (root, apt).
celery: $(VENV)/.installed-celery
	@.celery/services.sh
	INTERVALS=$(INTERVALS) timeout --foreground --kill-after=60 3600 \
	  $(BIN)/python -m pytest -s tests/celery/test_backfill.py $(ARGS)

# The table of docs/performance.md: ours against what a user would take instead (20 minutes on an idle machine).
bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks

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
