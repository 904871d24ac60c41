#!/usr/bin/env bash
# Checks what a release needs, and leaves it in release/: release_check.sh BIN [TAG]
#
# BIN is the folder with the programs of the environment. With a TAG, the tag, the version and the changelog must agree.
# release/dist/ has what is published, and release/sbom.cdx.json lists what it was tested with. make release-check calls
# this.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$(realpath "$1") tag=${2:-}

fail() { echo "$*" >&2; exit 1; }

version=$("$bin/python" -c "import airflow_provider_crux; print(airflow_provider_crux.__version__)")
echo "== version $version"
if [[ -n $tag ]]; then
  [[ $tag == "v$version" ]] || fail "The tag is $tag, but the version is $version: set __version__, or use the tag v$version"
  grep -q "^## \[$version\]" CHANGELOG.md || fail "CHANGELOG.md has no section [$version]: rename [Unreleased]"
else
  grep -qE "^## \[(Unreleased|$version)\]" CHANGELOG.md || fail "CHANGELOG.md has no section [Unreleased] or [$version]"
fi
[[ -z $(git status --porcelain) ]] || fail "There are changes that are not committed: git status shows them"

echo "== built twice from the commit, in different folders"
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for copy in first second/copy; do
  mkdir -p "$work/$copy"
  git archive HEAD | tar -x -C "$work/$copy"
  "$bin/python" -m build --outdir "$work/$copy/dist" "$work/$copy" >/dev/null
done
sums() { (cd "$work/$1/dist" && sha256sum -- *); }
[[ $(sums first) == "$(sums second/copy)" ]] || fail "The files differ: $(sums first; sums second/copy)"
sums first
rm -rf release
mkdir release
mv "$work/first/dist" release/dist
"$bin/twine" check --strict release/dist/*

echo "== contents"
"$bin/python" -m pytest -q tests/test_distribution.py

wheel=(release/dist/*.whl)
# Installs the wheel for a supported pair: install PYTHON CONSTRAINTS
install() {
  local environment=$work/environment
  "$1" -m venv --clear "$environment"
  "$environment/bin/python" -m pip install --quiet --constraint "$2" "${wheel[0]}"
  (
    cd "$work"
    AIRFLOW_HOME=$work/home environment/bin/python -W error::ImportWarning - <<'PYTHON'
import sys
from importlib.metadata import version
from airflow.providers_manager import ProvidersManager
provider = ProvidersManager().providers["airflow-provider-crux"]
from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator
print(f"Airflow {version('apache-airflow')}, Python {sys.version.split()[0]}: provider {provider.version}")
PYTHON
  )
}
echo "== installed for the oldest and for the newest supported pair"
install "$bin/python" constraints/airflow-lowest.txt
install "$(scripts/find_python.sh 3.13 3.12 3.11)" constraints/airflow-3.3.2.txt

"$bin/cyclonedx-py" environment --pyproject pyproject.toml --output-reproducible --output-file release/sbom.cdx.json \
  "$work/environment/bin/python"
echo "== release/ is complete"
ls -l release release/dist
