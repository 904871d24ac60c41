"""
``make bench``: run all benchmarks and write the tables.

The results go to ``docs/performance.md``, between the markers. The goals go to ``benchmarks/README.md``.
"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
import re
from pathlib import Path

from benchmarks import (
    converting,
    covering,
    execution,
    listing,
    loading,
    order_details,
    parsing,
    state_store,
    storing,
    waiting,
)
from benchmarks.results import GOALS_HEADER, HEADER, Row

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- written by make bench -->\n", "<!-- end -->"
GOALS_PAGE = Path(__file__).with_name("README.md")


def measure() -> list[Row]:
    """Run all benchmarks, and print each row as soon as it is measured."""
    rows = []
    print(HEADER)
    for benchmark in (
        parsing,
        execution,
        listing,
        state_store,
        storing,
        covering,
        converting,
        order_details,
        loading,
        waiting,
    ):
        for row in benchmark.rows():
            print(row, flush=True)
            rows.append(row)
    return rows


def write_results(rows: list[Row]) -> None:
    """Replace the table of results."""
    airflow = importlib.metadata.version("apache-airflow")
    python, cores = platform.python_version(), os.cpu_count()
    environment = f"Airflow {airflow}, Python {python}, {cores} cores, {dt.datetime.now(dt.UTC):%Y-%m-%d}.\n"
    table = "\n".join([environment, HEADER, *map(str, rows)])
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}{table}\n{END}{after}", encoding="utf-8")


def write_goals(rows: list[Row]) -> None:
    """Replace the table of goals, which is found by its header."""
    table = "\n".join([GOALS_HEADER, *(row.goal_row(row.goal) for row in rows if row.goal), ""])
    text = GOALS_PAGE.read_text(encoding="utf-8")
    pattern = re.compile(rf"^{re.escape(GOALS_HEADER)}\n(?:\|.*\n)*", re.MULTILINE)
    GOALS_PAGE.write_text(pattern.sub(lambda _: table, text, count=1), encoding="utf-8")


all_rows = measure()
write_results(all_rows)
write_goals(all_rows)
