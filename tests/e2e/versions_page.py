"""
Reads and writes the table of docs/evidence/versions.md for this version of Airflow.

The rest of the page is written by hand.

`test_scheduler.py` builds the table of its version from the runs it observes and fails if the page differs. With
RECORD_VERSIONS in its environment it writes the table instead (`make versions`). The page has at most one pre-release.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Final

from tests.real_airflow.instance import DagRun
from tests.real_airflow.sandbox_airflow import REPOSITORY

PAGE: Final = REPOSITORY / "docs" / "evidence" / "versions.md"
RECORD: Final = "RECORD_VERSIONS" in os.environ
AIRFLOW: Final = version("apache-airflow")

HEADER: Final = """\
| DAG | schedule | run | logical date | data interval | exported interval | with `lookback` of 3 days |
|---|---|---|---|---|---|---|
"""
RUN_TYPES: Final = {
    "scheduled": "scheduled",
    "manual": "manual",
    "backfill": "backfill",
    "asset_triggered": "asset-triggered",
    "dataset_triggered": "dataset-triggered",
}
NOT_RUN: Final = "-"
_PRE_RELEASE: Final = r"[\d.]+(?:a|b|rc)\d+"

Interval = tuple[datetime | None, datetime | None]


@dataclass(frozen=True)
class Row:
    """
    One run and what it exported.

    :param exported: start and end of the requested interval; None if the run has no such task.
    :param with_lookback: likewise, of the task with `lookback`.
    :param detail: what the run type does not tell, such as ``", with an interval"``.
    """

    schedule: str
    run: DagRun
    exported: Interval | None
    with_lookback: Interval | None
    detail: str = ""

    def text(self) -> str:
        """Return the row in Markdown."""
        run = self.run
        cells = (
            f"`{run.dag_id}`",
            f"`{self.schedule}`",
            RUN_TYPES[run.run_type] + self.detail,
            self._time(run.logical_date),
            self._interval((run.data_interval_start, run.data_interval_end)),
            self._interval(self.exported),
            self._interval(self.with_lookback),
        )
        return f"| {' | '.join(cells)} |\n"

    def _interval(self, interval: Interval | None) -> str:
        if interval is None:
            return NOT_RUN
        start, end = map(self._time, interval)
        return start if start == end else f"{start} to {end}"

    def _time(self, value: datetime | None) -> str:
        """Format a time. If the run was due only now, the text is relative to that time, and so the same every day."""
        if value is None:
            return "none"
        if value < datetime.now(UTC) - timedelta(days=5):
            return f"{value:%Y-%m-%d %H:%M}"
        if self.run.run_type == "dataset_triggered" and value == self.run.logical_date:
            return "its start"  # Airflow 2 gives such a run the interval of the run that updated the dataset
        # Airflow 2 has no run_after.
        manual = self.run.run_type == "manual"
        due = self.run.run_after or (self.run.logical_date if manual else self.run.data_interval_end) or value
        days, rest = divmod(due.replace(hour=0, minute=0, second=0, microsecond=0) - value, timedelta(days=1))
        if not rest:
            return f"D{_minus(days, 'd')} 00:00"
        hours, rest = divmod(due.replace(microsecond=0) - value.replace(microsecond=0), timedelta(hours=1))
        return str(value) if rest else f"T{_minus(hours, 'h')}"


def _minus(count: int, unit: str) -> str:
    return f" - {count} {unit}" if count else ""


def format_table(rows: Iterable[Row]) -> str:
    """Return the table of a version in Markdown."""
    return HEADER + "".join(row.text() for row in rows)


def read_table() -> str:
    """Return the table that the page has for this version of Airflow; LookupError if it has no section for it."""
    return _match_table(PAGE.read_text())[0]


def lookback_by_run(airflow: str) -> dict[tuple[str, str, str], str]:
    """
    Return what the page says about `lookback` in a version of Airflow.

    :return: the last column by DAG, run type and exported interval. A run has different logical dates in Airflow 2 and
        3, so the interval it exports without `lookback` identifies it.
    """
    rows = [line.strip("| ").split(" | ") for line in _match_table(PAGE.read_text(), airflow)[0].splitlines()[2:]]
    return {
        (row[0].strip("`"), row[2].replace("dataset", "asset"), row[-2]): row[-1] for row in rows if row[-1] != NOT_RUN
    }


def versions() -> list[str]:
    """Return the versions of Airflow that the page has a table for."""
    return re.findall(r"^## Airflow (.*)\n", PAGE.read_text(), re.MULTILINE)


def write_table(table: str, airflow: str = AIRFLOW) -> None:
    """
    Replace the table of a version. A pre-release takes the place of the one before it.

    Test runs of two versions may do so at the same time.
    """
    with PAGE.open("r+") as page:
        fcntl.flock(page, fcntl.LOCK_EX)
        text = page.read()
        if re.fullmatch(_PRE_RELEASE, airflow):
            text = re.sub(rf"^## Airflow {_PRE_RELEASE}$", f"## Airflow {airflow}", text, flags=re.MULTILINE)
        start, end = _match_table(text, airflow).span()
        page.seek(0)
        page.write(text[:start] + table + text[end:])
        page.truncate()


def _match_table(text: str, airflow: str = AIRFLOW) -> re.Match[str]:
    match = re.search(rf"(?<=^## Airflow {re.escape(airflow)}\n\n)(\|.*\n)*", text, re.MULTILINE)
    if match is None:
        raise LookupError(f"{PAGE.relative_to(REPOSITORY)} has no section for Airflow {airflow}")
    return match
