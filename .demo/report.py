"""What the demo says of a day: which run exports it, and whether the run did. Standard library only, so it is quick."""

import csv
import hashlib
import http.client
import io
import json
import re
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

FIRST_DAY = date(2025, 12, 31)  # the DAG starts on 2026-01-01, and that run exports the day before
ONE_DAY = timedelta(days=1)
CHECKOUT = Path(__file__).parent.parent
LINES, WIDTH = 3, 110  # what is shown of the file


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


def report(day: str, database: str, url: str, folder: str) -> None:
    """Print what the run handed on, stored, and asked of the sandbox; exit with an error where that is not right."""
    uuid = str(UUID(_handed_on(database, "export_orders", "return_value")))
    stored = _handed_on(database, "store_orders", "export_file")
    _say(f"4. Done. The uuid of the export, from the XCom of task export_orders:\n   {uuid}\n")
    _report_requests(day, _received(url))
    if stored["export_uuid"] != uuid:
        sys.exit(f"The stored file is that of another export, {stored['export_uuid']}")
    _report_file(stored, Path(folder, f"{day}.csv"))


def _report_requests(day: str, requests: list[dict[str, Any]]) -> None:
    _say("What the sandbox received:")
    posts = [request for request in requests if request["method"] == "POST"]
    for request in requests:
        token = request["authorization"] or "without a token"
        brief = f"{request['method']} {request['path']}: {request['status']}, {token}"
        _say(json.dumps(request, indent=2) if request in posts else brief)
    if len(posts) != 1:
        sys.exit(f"The sandbox was asked for {len(posts)} exports, not for one")
    body = posts[0]["body"] or {}
    start = datetime.combine(date.fromisoformat(day), time(), UTC)
    asked = tuple(datetime.fromisoformat(body[name]) for name in ("start_date", "end_date") if name in body)
    if asked != (start, start + ONE_DAY):
        sys.exit(f"The request's start_date and end_date are not those of {day}")
    _say(f"\nOne export was asked for. It covers {day}: from its first instant to the next day's, in UTC.\n")


def _report_file(stored: dict[str, Any], path: Path) -> None:
    if stored["path"] != f"file://{path}":
        sys.exit(f"The file was stored at {stored['path']}, not at {path}")
    content = path.read_bytes()
    lines = list(io.StringIO(content.decode("utf-8-sig"), newline=""))
    reader = csv.reader(lines)
    # where each record begins, and the last one ends: a line break within quotes begins none
    starts = [0, *(reader.line_num for _ in reader)]
    found = {"rows": len(starts) - 2, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    for name, value in found.items():
        if stored[name] != value:
            sys.exit(f"The XCom export_file of task store_orders says {name}: {stored[name]}, but {path} has {value}")
    _say("The stored file, as the XCom export_file of task store_orders describes it; checked against the file itself:")
    _say(f"   path    {path.relative_to(CHECKOUT)}")
    for name, value in found.items():
        _say(f"   {name:<7} {value}")
    _say(f"\nIts header and first rows, cut to {WIDTH} characters:")
    for start in starts[:-1][:LINES]:
        line = lines[start].rstrip("\r\n")
        _say(line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}...")
    _say("\nThe people in it are made up. In production this is personal data: names, phone numbers and addresses.")


def _handed_on(database: str, task: str, key: str) -> Any:
    query = "SELECT value FROM xcom WHERE task_id = ? AND key = ?"
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(query, (task, key)).fetchall()
    if len(rows) != 1:
        sys.exit(f"The task {task} has {len(rows)} values of {key} in XCom, not one")
    return json.loads(rows[0][0])


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
