#!/usr/bin/env bash
# Installs Azurite, Microsoft's emulator of Azure's storage, into .venv/azurite if it is missing, and Node.js, which runs it,
# from Debian's packages. make stores needs both.
set -euo pipefail
cd "$(dirname "$0")/.."
version=3.37.0
[[ -e .venv/azurite/$version ]] && exit

if ! command -v npm >/dev/null; then
  [[ $EUID == 0 ]] && command -v apt-get >/dev/null \
    || { echo "npm is missing: install Node.js, or run make stores as root on Debian or Ubuntu." >&2; exit 1; }
  echo "Installing Node.js"
  apt-get update --quiet --quiet
  DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --yes --no-install-recommends nodejs npm
fi
echo "Installing Azurite $version"
mkdir -p .venv/azurite
npm install --prefix .venv/azurite --no-save --no-fund --no-audit --no-package-lock --loglevel=error "azurite@$version"
touch ".venv/azurite/$version"
