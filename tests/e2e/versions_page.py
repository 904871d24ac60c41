"""
The page docs/versions.md: written by hand, but for one table for each version of Airflow.

`test_scheduler.py` makes a version's table of what it saw, and fails where the page says something else; with RECORD in
its environment it writes the table instead (`make versions`).
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

from tests.e2e.connected import PROJECT
from tests.e2e.instance import DagRun

PAGE: Final = PROJECT / "docs" / "versions.md"
RECORD: Final = "RECORD_VERSIONS" in os.environ

HEAD: Final = """\
| DAG | schedule | the run | logical date | Airflow's data interval | exported |
|---|---|---|---|---|---|
"""
HOW: Final = {
    "scheduled": "scheduled",
    "manual": "by hand",
    "backfill": "backfill",
    "asset_triggered": "by an asset",
    "dataset_triggered": "by a dataset",
}

Interval = tuple[datetime | None, datetime | None]


@dataclass(frozen=True)
class Row:
    """
    One run and what became of it.

    :param how: what the test did beyond what Airflow calls the run, such as ``", with an interval"``.
    :param exported: the ends of the interval that was sent.
    """

    schedule: str
    run: DagRun
    exported: Interval
    how: str = ""

    def text(self) -> str:
        """Return the table's row."""
        run = self.run
        cells = (
            f"`{run.dag_id}`",
            f"`{self.schedule}`",
            HOW[run.run_type] + self.how,
            self._moment(run.logical_date),
            self._interval((run.data_interval_start, run.data_interval_end)),
            self._interval(self.exported),
        )
        return f"| {' | '.join(cells)} |\n"

    def _interval(self, interval: Interval) -> str:
        start, end = map(self._moment, interval)
        return start if start == end else f"{start} to {end}"

    def _moment(self, moment: datetime | None) -> str:
        """Name a moment, that of a run which was due only now by how far it is from then: the same text every day."""
        if moment is None:
            return "none"
        if moment < datetime.now(UTC) - timedelta(days=2):
            return f"{moment:%Y-%m-%d %H:%M}"
        if self.run.run_type == "dataset_triggered" and moment == self.run.logical_date:
            return "its start"  # Airflow 2 gives such a run the interval of the run that updated the dataset
        # Airflow 2 has no run_after
        by_hand = self.run.run_type == "manual"
        due = self.run.run_after or (self.run.logical_date if by_hand else self.run.data_interval_end) or moment
        days, rest = divmod(due.replace(hour=0, minute=0, second=0, microsecond=0) - moment, timedelta(days=1))
        if not rest:
            return f"D{_less(days, 'd')} 00:00"
        hours, rest = divmod(due.replace(microsecond=0) - moment.replace(microsecond=0), timedelta(hours=1))
        return str(moment) if rest else f"T{_less(hours, 'h')}"


def _less(count: int, unit: str) -> str:
    return f" - {count} {unit}" if count else ""


def table(rows: Iterable[Row]) -> str:
    """Return a version's table."""
    return HEAD + "".join(row.text() for row in rows)


def on_page() -> str:
    """Return the table that the page has for this version of Airflow; LookupError if it has none."""
    return _place(PAGE.read_text())[0]


def record(seen: str) -> None:
    """Write a table in this version's place. Two versions may do so at a time."""
    with PAGE.open("r+") as page:
        fcntl.flock(page, fcntl.LOCK_EX)
        text = page.read()
        start, end = _place(text).span()
        page.seek(0)
        page.write(text[:start] + seen + text[end:])
        page.truncate()


def _place(text: str) -> re.Match[str]:
    airflow = version("apache-airflow")
    place = re.search(rf"(?<=^## Airflow {re.escape(airflow)}\n\n)(\|.*\n)*", text, re.MULTILINE)
    if place is None:
        raise LookupError(f"{PAGE.relative_to(PROJECT)} has no section of Airflow {airflow}")
    return place
