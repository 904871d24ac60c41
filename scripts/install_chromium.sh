#!/usr/bin/env bash
# Installs Debian's Chromium if it is missing. make e2e needs it.
set -euo pipefail

fail() {
  echo "Chromium is missing: $1, then run make e2e again." >&2
  exit 1
}

! command -v chromium >/dev/null || exit 0
command -v apt-get >/dev/null || fail "install it so that the command chromium exists"
[[ $EUID == 0 ]] || fail "run apt-get install chromium fonts-liberation as root"
echo "Installing Chromium"
export DEBIAN_FRONTEND=noninteractive
# Without these fonts, a page in a bare container shows only boxes.
{
  apt-get --quiet update && apt-get --quiet install --yes --no-install-recommends chromium fonts-liberation
} >/dev/null || fail "apt-get could not install it (see the error above); fix that"
# On some systems the package only points to a snap.
chromium --version >/dev/null 2>&1 || fail "the system's chromium package does not run; install one that does"
