#!/usr/bin/env bash
# PostgreSQL and Redis from Debian's packages, where they are missing. The tests start servers of their own, on
# loopback and on free ports; the packages' own services are not started.
set -euo pipefail

missing=()
command -v redis-server >/dev/null || missing+=(redis-server)
{ command -v initdb || ls /usr/lib/postgresql/*/bin/initdb; } >/dev/null 2>&1 || missing+=(postgresql)
[ ${#missing[@]} -eq 0 ] && exit

[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null \
  || { echo "Missing: ${missing[*]}. Install it, or run this as root on Debian or Ubuntu."; exit 1; }
apt-get update --quiet --quiet
RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --yes --no-install-recommends "${missing[@]}"
