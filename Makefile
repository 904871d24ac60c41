# make demo | unit | test | matrix | e2e | lint | constraints ... Installs pinned packages into .venv/<Airflow version>.
AIRFLOW ?= 3.3.2
PYTHON ?= python3
DAY ?= 2026-01-02
INTERVALS ?= 200

# All tested versions; the slowest comes first.
VERSIONS := 3.3.2 2.11.2 3.2.2 3.1.8 3.0.6

# What make matrix runs: each version on the Python of this machine, and the newest pre-release of the next one; the newest
# Airflow on the newest Python that the machine has; the unit tests on the lowest versions of our dependencies that
# pyproject.toml allows; and every kind of store and of warehouse.
MATRIX := $(VERSIONS) next newer-python lowest 3.3.2-stores 2.11.2-stores 3.3.2-warehouses

# Which tests run: LANE=unit those that need neither a process nor time, LANE=slow those that do, LANE=e2e those that run
# DAGs on a real Airflow, and LANE=no-e2e the first two.
LANE ?=
LANE_unit := not slow and not e2e
LANE_slow := slow and not e2e
LANE_no-e2e := not e2e
LANE_e2e := e2e
SELECTION := $(if $(LANE),-m '$(LANE_$(LANE))')

# Measures line and branch coverage on 3.3.2 of the tests that run in this process; they cover all that the others do. The
# goal is 100 %; the gate is a little lower because some lines depend on the version, or on when a timeout occurs. make test
# without LANE does not measure it, because the tests then take a quarter longer.
COVERAGE := $(if $(filter 3.3.2-no-e2e,$(AIRFLOW)-$(LANE)),$(if $(ARGS),,--cov --cov-report=term --cov-fail-under=99.5))

# the versions that AIRFLOW=lowest and AIRFLOW=next stand for, see constraints/*.in
VERSION_lowest := 2.11.0
VERSION_next := $(shell sed -n 's/^apache-airflow==//p' constraints/airflow-next.txt)
EXPECTED_AIRFLOW_VERSION := $(or $(VERSION_$(AIRFLOW)),$(firstword $(subst -, ,$(AIRFLOW))))

PYTEST = COVERAGE_FILE=.coverage.$(AIRFLOW) EXPECTED_AIRFLOW_VERSION=$(EXPECTED_AIRFLOW_VERSION) $(BIN)/python -m pytest

# An environment such as 3.3.2-stores has one group of its own, whose packages do not fit beside those of the other groups.
ENVIRONMENT_GROUP := $(word 2,$(subst -, ,$(AIRFLOW)))

VENV := .venv/$(AIRFLOW)
BIN := $(VENV)/bin
CONSTRAINTS := constraints/airflow-$(AIRFLOW).txt
READY := $(VENV)/.installed

# Python keeps the bytecode that it compiles, whatever the machine says: otherwise every process of every test compiles
# Airflow again, which takes longer than the test.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo install unit test matrix versions readers e2e ui postgres stores warehouses celery disruptions bench lint reliability reference docs release-check constraints clean

demo: $(READY)
	@scripts/demo.sh "$(BIN)" "$(DAY)"

# GROUPS_TOO="ui docs" also installs these dependency groups of pyproject.toml.
GROUPS_TOO ?=
install: $(READY) $(GROUPS_TOO:%=$(VENV)/.installed-%)
	@:

# The tests to run while you work: a minute or two. Hypothesis tries a tenth of the examples that make test tries.
unit:
	@$(MAKE) --no-print-directory test LANE=unit WORKERS="--numprocesses=auto --dist=worksteal --hypothesis-profile=quick"

# The whole suite: both lanes side by side; LANE or ARGS choose tests.
test: $(READY)
	@$(if $(LANE)$(ARGS),$(PYTEST) $(COVERAGE) $(SELECTION) $(WORKERS) $(ARGS),scripts/matrix.sh $(AIRFLOW))

# Runs the suite in every environment; scripts/matrix.sh tells in which order.
matrix:
	@scripts/matrix.sh $(MATRIX)

# Writes the tables of docs/evidence/versions.md from what each version's scheduler does; a test fails if the two differ.
versions:
	RECORD_VERSIONS=1 $(MAKE) --no-print-directory matrix MATRIX="$(VERSIONS) next" LANES=e2e ARGS="tests/e2e/test_scheduler.py"

# Writes docs/evidence/readers.md from what readers make of stored files; a test fails if the two differ.
readers: $(VENV)/.installed-readers
	RECORD_READERS=1 $(PYTEST) tests/readers

# Tests the documentation site and the UI of Airflow 3 and 2 in a real browser, and takes the screenshots of docs/images.
# Installs Chromium (as root).
e2e: docs
	@scripts/install_chromium.sh
	@$(MAKE) --no-print-directory ui UI=docs_site
	@$(MAKE) --no-print-directory ui AIRFLOW=3.3.2
	@$(MAKE) --no-print-directory ui AIRFLOW=2.11.2

# The tests treat TERM as Ctrl-C and end every process they started. --foreground lets Ctrl-C itself reach them.
UI ?= airflow_$(firstword $(subst ., ,$(AIRFLOW)))
ui: $(VENV)/.installed-ui
	timeout --foreground --kill-after=60 600 $(BIN)/python -m pytest tests/ui/test_$(UI).py $(ARGS)

# Installs one more dependency group of pyproject.toml.
$(VENV)/.installed-%: $(READY)
	$(BIN)/python -m pip install --quiet --no-compile --constraint $(CONSTRAINTS) --group $*
	@touch $@

# Tests the transfer to SQL with a real PostgreSQL. Installs PostgreSQL and Redis (as root).
postgres: $(VENV)/.installed-postgres
	@scripts/install_services.sh
	timeout --foreground --kill-after=60 1200 $(BIN)/python -m pytest tests/postgres $(ARGS)

# Tests every kind of store with a real server: Azure, Google Cloud Storage, S3 and a disk. In an environment of its own,
# AIRFLOW-stores, because the providers of all stores do not fit beside what the other tests need. Installs Azurite, and
# Node.js if it is missing (as root).
stores:
	@scripts/install_azurite.sh
	@$(MAKE) --no-print-directory test AIRFLOW=$(firstword $(subst -, ,$(AIRFLOW)))-stores ARGS="tests/stores $(ARGS)"

# Tests the statements and the examples for warehouses with the warehouses' own providers, whose requests are intercepted.
warehouses:
	@$(MAKE) --no-print-directory test AIRFLOW=$(firstword $(subst -, ,$(AIRFLOW)))-warehouses ARGS="tests/warehouses $(ARGS)"

# Runs a backfill on PostgreSQL, Redis, CeleryExecutor and two workers, and kills a worker and the triggerer. Installs
# PostgreSQL and Redis (as root).
celery: $(VENV)/.installed-celery
	@scripts/install_services.sh
	INTERVALS=$(INTERVALS) timeout --foreground --kill-after=60 3600 \
	  $(BIN)/python -m pytest -s tests/celery/test_backfill.py $(ARGS)

# Kills, stops, suspends or times out the tries of exports at random moments on a real scheduler: no run may request a
# second export. Prints what each failure costs. SEED=n repeats the plans of an earlier run.
TRIES ?= 150
SEED ?=
disruptions: $(READY)
	CRUX_DISRUPTED_TRIES=$(TRIES) $(SEED:%=CRUX_DISRUPTED_SEED=%) $(PYTEST) -s tests/e2e/test_disrupted_tries.py $(ARGS)

# Writes the table of docs/performance.md: this provider against its alternatives (20 minutes on an idle machine).
bench: $(VENV)/.installed-bench
	@scripts/install_services.sh
	$(BIN)/python -m benchmarks

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Writes docs/evidence/faults.md from the cases of tests/faults; a test fails if the two differ.
reliability: $(READY)
	$(BIN)/python -m tests.faults.table

# Writes docs/reference.md from the docstrings; a test fails if the two differ.
reference: $(READY)
	$(BIN)/python -m tests.reference_page

# Builds the documentation site into site/: every warning, also a link that leads nowhere, is an error.
docs: $(VENV)/.installed-docs
	rm -rf site
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -c docs . site

# Builds what is published into release/, and checks it: make release-check TAG=v1.2.3 also compares the tag.
release-check: $(VENV)/.installed-release
	scripts/release_check.sh "$(BIN)" $(TAG)

# Updates the pins of one environment; commit the result. Needs uv (pip install uv); writes no URLs.
constraints:
	scripts/compile_constraints.sh $(AIRFLOW)

# The environment is made once. If dependencies change, they are installed into it; other lines of pyproject.toml change
# nothing.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "Python 3.11 or newer is missing: install it, or set its path: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	  || { echo "Python's venv module is missing: on Debian and Ubuntu, run apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)

$(VENV)/.dependencies: pyproject.toml | $(BIN)/python
	@new=$@.$$$$; $(BIN)/python scripts/dependencies.py pyproject.toml >$$new && { cmp --silent $$new $@ && rm $$new || mv $$new $@; }

$(READY): $(VENV)/.dependencies $(CONSTRAINTS)
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile --constraint $(CONSTRAINTS) --editable '.[parquet,sandbox,sql]' --group test --group lint $(ENVIRONMENT_GROUP:%=--group %)
	@touch $@

clean:
	rm -rf .venv demo_output release site
