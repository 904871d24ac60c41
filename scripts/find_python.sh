#!/usr/bin/env bash
# Prints the path of the first Python version that this machine has: find_python.sh VERSION...
# It looks on the PATH, and among the versions that pyenv has installed. It prints nothing and fails if there is none.
set -euo pipefail
for version in "$@"; do
  for python in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python"$version"; do
    # a command that exists may still not run: pyenv's own stand-in only says which versions have it
    if "$python" -c 'import ensurepip, sqlite3, ssl, venv' >/dev/null 2>&1; then
      command -v "$python"
      exit 0
    fi
  done
done
exit 1
