"""
How much memory a fresh process needs to meet answers that are too long: ``python -m tests.faults.memory URL FILE_URL``.

The first of each call is a good one, so that what does not depend on the answer is there before. Prints, in MiB, what
came on top, by call.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from tests.faults.calls import WAYS, outcome


def peak() -> float:
    # not ru_maxrss, which begins with what this process's parent had
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


def main(url: str, file_url: str) -> None:
    """Make each call twice: the server answers the first one well, and the second one at length."""
    grown = {}
    with tempfile.TemporaryDirectory() as folder:
        for way in WAYS:
            if way.call == "login":
                continue
            outcome(way, file_url, Path(folder))
            before = peak()
            got = outcome(way, file_url, Path(folder))
            grown[str(way)] = [round(peak() - before, 1), type(got).__name__]
    sys.stdout.write(json.dumps(grown))


if __name__ == "__main__":
    main(*sys.argv[1:])
