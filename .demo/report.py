"""What the demo says of a day: which run exports it, and whether the run did. Standard library only, so it is quick."""

import http.client
import json
import re
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

FIRST_DAY = date(2025, 12, 31)  # the DAG starts on 2026-01-01, and that run exports the day before
ONE_DAY = timedelta(days=1)


def logical_date(day: str) -> date:
    """Return the logical date of the @daily run that exports a day.

    With Airflow 3's default settings a daily run has an interval of no length; the operator exports the day before.
    """
    remedy = "give one as YYYY-MM-DD, for example: make demo DAY=2026-01-02"
    try:
        asked = date.fromisoformat(day) if re.fullmatch(r"\d{4}-\d\d-\d\d", day, re.ASCII) else None
    except ValueError:
        asked = None
    if asked is None:
        sys.exit(f"DAY={day} is not a day of the calendar; {remedy}")
    if asked < FIRST_DAY:
        sys.exit(f"DAY={day} is before {FIRST_DAY}, the first day that the example DAG exports; {remedy}")
    if asked == date.max:
        sys.exit(f"DAY={day} has no next day, on which it would be exported; {remedy}")
    return asked + ONE_DAY


def report(day: str, database: str, url: str) -> None:
    """Print what the run handed on and what the sandbox received; exit with an error if it is not the asked day."""
    uuid = _handed_on(database)
    requests = _received(url)
    _say(f"4. Done. The uuid of the export, from the XCom of task announce:\n   {uuid}\n")
    _say("What the sandbox received:")
    _say(json.dumps(requests, indent=2))
    start = datetime.combine(date.fromisoformat(day), time(), UTC)
    if len(requests) != 1:
        sys.exit(f"The sandbox received {len(requests)} requests, not one")
    body = requests[0]["body"] or {}
    asked = tuple(datetime.fromisoformat(body[name]) for name in ("start_date", "end_date") if name in body)
    if asked != (start, start + ONE_DAY):
        sys.exit(f"The request's start_date and end_date are not those of {day}")
    _say(f"\nThe request covers {day}: from its first instant to the next day's, in UTC.")


def _handed_on(database: str) -> UUID:
    query = "SELECT value FROM xcom WHERE task_id = 'announce' AND key = 'return_value'"
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(query).fetchall()
    if len(rows) != 1:
        sys.exit(f"The task announce has {len(rows)} results in XCom, not one")
    return UUID(json.loads(rows[0][0]))


def _received(url: str) -> list[dict[str, Any]]:
    # http.client knows no proxies
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)) as connection:
        connection.request("GET", "/sandbox/requests")
        received: list[dict[str, Any]] = json.loads(connection.getresponse().read())
    return received


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    if sys.argv[1] == "logical-date":
        _say(str(logical_date(sys.argv[2])))
    else:
        report(*sys.argv[2:])
