"""
How much memory a fresh process needs for responses that are too long: ``python -m tests.faults.memory FILE_URL``.

Every operation runs twice. The first response is a normal one, so that the second adds nothing but what its length
costs. Prints, as JSON by operation, how much the peak grew (in MiB) and what the outcome was.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from tests.faults.operations import OPERATIONS


def peak() -> float:
    # not ru_maxrss, which begins with the memory of the parent process
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


def main(file_url: str) -> None:
    """Run each operation twice: the server's first response is a normal one, and the second is too long."""
    growth = {}
    with tempfile.TemporaryDirectory() as folder:
        for operation in OPERATIONS:
            if operation.request == "login":
                continue
            operation.outcome(file_url, Path(folder))
            before = peak()
            outcome = operation.outcome(file_url, Path(folder))
            growth[str(operation)] = [round(peak() - before, 1), type(outcome).__name__]
    sys.stdout.write(json.dumps(growth))


if __name__ == "__main__":
    main(*sys.argv[1:])
