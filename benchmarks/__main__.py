"""``make bench``: measure everything, and write the table into ``docs/performance.md``, below its first comment."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
from pathlib import Path

from benchmarks import execution, parsing, storing, waiting
from benchmarks.figures import HEAD

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- written by make bench -->\n", "<!-- end -->"

where = f"Python {platform.python_version()}, {os.cpu_count()} cores, {dt.datetime.now(dt.UTC):%Y-%m-%d}"
found = [f"Airflow {importlib.metadata.version('apache-airflow')}, {where}.\n", HEAD]
print(HEAD)
for measured in (parsing, execution, storing, waiting):
    for row in measured.rows():
        print(row, flush=True)
        found.append(str(row))

before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
after = rest.partition(END)[2]
PAGE.write_text(f"{before}{BEGIN}{chr(10).join(found)}\n{END}{after}", encoding="utf-8")
