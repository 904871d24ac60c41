#!/usr/bin/env bash
# Updates the pins of one environment: compile_constraints.sh AIRFLOW
# AIRFLOW is a version; or "lowest": Airflow 2.11.0 with the lowest versions of our own dependencies that pyproject.toml
# allows, and the newest of everything else that fits them; or "next": the newest pre-release of Airflow, on which only
# the test suite runs; or a version followed by "-stores" or "-warehouses": with that group, but without the others, beside
# which its packages do not fit. Needs uv (pip install uv); writes no URLs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
airflow=${1:?"the Airflow version is missing: run make constraints, which passes it"}
options=(--python-version 3.11 --no-annotate --no-header --no-emit-index-url --no-emit-find-links
  --no-emit-package airflow-provider-crux --upgrade --quiet)
groups=(--group pyproject.toml:test --group pyproject.toml:lint)
requirements=constraints/$airflow.in

if [[ $airflow == lowest ]]; then
  floors=$(mktemp)
  requirements=$(mktemp --suffix=.in)
  trap 'rm -f "$floors" "$requirements"' EXIT
  uv pip compile pyproject.toml constraints/lowest.in --all-extras --resolution lowest-direct "${options[@]}" \
    --output-file "$floors"
  # only our own: the floors of the others are their projects' to test
  { cat constraints/lowest.in && python3 - "$floors" <<'PYTHON'; } >"$requirements"
import re, sys, tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
requirements = [*project["dependencies"], *sum(project["optional-dependencies"].values(), [])]
own = {re.match(r"[\w.-]+", requirement)[0].lower() for requirement in requirements}
for pin in open(sys.argv[1]):
    if pin.split("==")[0].lower() in own:
        print(pin, end="")
PYTHON
elif [[ $airflow == *-* ]]; then
  groups+=(--group "pyproject.toml:${airflow#*-}")
elif [[ $airflow != next ]]; then
  groups+=(--group pyproject.toml:ui --group pyproject.toml:celery --group pyproject.toml:bench
    --group pyproject.toml:readers --group pyproject.toml:lake --group pyproject.toml:release --group pyproject.toml:docs)
fi
uv pip compile pyproject.toml "$requirements" --all-extras "${groups[@]}" "${options[@]}" \
  --output-file "constraints/airflow-$airflow.txt"
