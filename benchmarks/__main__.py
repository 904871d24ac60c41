"""Print what was measured: ``.venv/3.3.2/bin/python -m benchmarks``, after ``pip install --group bench``."""

from __future__ import annotations

from benchmarks import execution, parsing, waiting
from benchmarks.figures import HEAD

print(HEAD)
for measured in (parsing, execution):
    for row in measured.rows():
        print(row, flush=True)
for whose in waiting.TRIGGERS:
    print(f"{waiting.WAITS} waits, {whose}: {waiting.run(whose)}", flush=True)
