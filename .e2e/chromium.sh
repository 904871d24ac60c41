#!/usr/bin/env bash
# Installs Debian's Chromium, which make e2e drives, where there is none.
set -euo pipefail

fail() {
  echo "Chromium is missing: $1, then run make e2e again." >&2
  exit 1
}

! command -v chromium >/dev/null || exit 0
command -v apt-get >/dev/null || fail "install it, so that there is a command chromium"
[[ $EUID == 0 ]] || fail "as root, run apt-get install chromium fonts-liberation"
echo "Installing Chromium"
export DEBIAN_FRONTEND=noninteractive
# Without the fonts a page in a bare container is all little boxes.
{
  apt-get --quiet update && apt-get --quiet install --yes --no-install-recommends chromium fonts-liberation
} >/dev/null || fail "apt-get could not install it, see above"
# where the package is but a pointer to a snap
chromium --version >/dev/null 2>&1 || fail "the package chromium of this system does not run; install one that does"
