"""Prints what an environment must contain: dependencies.py pyproject.toml. The Makefile compares the output."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

content = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
project = content["project"]
wanted = {name: project.get(name) for name in ("dependencies", "optional-dependencies", "entry-points", "scripts")}
print(json.dumps({**wanted, "dependency-groups": content["dependency-groups"]}, indent=1))
