#!/usr/bin/env bash
# Installs PostgreSQL and Redis from Debian's packages if they are missing. make celery needs both, make postgres and make bench only PostgreSQL.
# The tests start their own servers on free loopback ports; the services of the packages are not started.
set -euo pipefail

missing=()
command -v redis-server >/dev/null || missing+=(redis-server)
{ command -v initdb || ls /usr/lib/postgresql/*/bin/initdb; } >/dev/null 2>&1 || missing+=(postgresql)
[ ${#missing[@]} -eq 0 ] && exit

[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null \
  || { echo "Missing: ${missing[*]}. Install it, or run this as root on Debian or Ubuntu." >&2; exit 1; }
echo "Installing ${missing[*]}"
apt-get update --quiet --quiet
RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --yes --no-install-recommends "${missing[@]}"
