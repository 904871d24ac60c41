"""Print what the demo's run did, after checking it. Uses the standard library only, so that it starts quickly."""

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
REPOSITORY = Path(__file__).parent.parent
PREVIEW_RECORDS, PREVIEW_WIDTH = 3, 110


def logical_date(day: str) -> date:
    """Return the logical date of the @daily run that exports a day.

    With Airflow 3's default settings, a daily run's data interval is empty and the operator exports the day before.
    """
    remedy = "set a day as YYYY-MM-DD, for example: make demo DAY=2026-01-02"
    try:
        export_day = date.fromisoformat(day) if re.fullmatch(r"\d{4}-\d\d-\d\d", day, re.ASCII) else None
    except ValueError:
        export_day = None
    if export_day is None:
        sys.exit(f"DAY={day} is not a valid date; {remedy}")
    if export_day < FIRST_DAY:
        sys.exit(f"DAY={day} is before {FIRST_DAY}, the first day that the example DAG exports; {remedy}")
    if export_day == date.max:
        sys.exit(f"DAY={day} has no next day on which its run could start; {remedy}")
    return export_day + ONE_DAY


def report(day: str, database: str, url: str, folder: str) -> None:
    """Print the XComs of the run, the stored file and the sandbox's request log; exit with an error if one is wrong."""
    uuid = str(UUID(_xcom(database, "export_orders", "return_value")))
    stored_file = _xcom(database, "store_orders", "export_file")
    print(f"4. Done. The task export_orders returned the UUID of the export (XCom return_value):\n   {uuid}\n")
    _report_requests(day, _sandbox_requests(url))
    if stored_file["export_uuid"] != uuid:
        sys.exit(f"The stored file belongs to another export, {stored_file['export_uuid']}")
    _report_file(stored_file, Path(folder, f"{day}.csv"))


def _report_requests(day: str, requests: list[dict[str, Any]]) -> None:
    print("The sandbox received these requests:")
    posts = [request for request in requests if request["method"] == "POST"]
    for request in requests:
        token = request["authorization"] or "no token"
        summary = f"{request['method']} {request['path']}: HTTP {request['status']}, {token}"
        print(json.dumps(request, indent=2) if request in posts else summary)
    if len(posts) != 1:
        sys.exit(f"The sandbox received {len(posts)} requests for an export; expected 1")
    body = posts[0]["body"] or {}
    start = datetime.combine(date.fromisoformat(day), time(), UTC)
    interval = tuple(datetime.fromisoformat(body[name]) for name in ("start_date", "end_date") if name in body)
    if interval != (start, start + ONE_DAY):
        sys.exit(f"The request's start_date and end_date do not match {day}")
    print(f"\nThe run requested one export. It covers {day} in UTC, from midnight to midnight.\n")


def _report_file(stored_file: dict[str, Any], path: Path) -> None:
    if stored_file["path"] != f"file://{path}":
        sys.exit(f"The file was stored at {stored_file['path']}; expected {path}")
    content = path.read_bytes()
    lines = list(io.StringIO(content.decode("utf-8-sig"), newline=""))
    reader = csv.reader(lines)
    # The line at which each record starts, and the end of the last one. A quoted line break does not start a record.
    starts = [0, *(reader.line_num for _ in reader)]
    actual = {"rows": len(starts) - 2, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    for name, value in actual.items():
        if stored_file[name] != value:
            sys.exit(f"XCom export_file of task store_orders has {name} {stored_file[name]}, but {path} has {value}")
    print("The task store_orders stored the file. Its XCom export_file, checked against the file:")
    print(f"   path    {path.relative_to(REPOSITORY)}")
    for name, value in actual.items():
        print(f"   {name:<7} {value}")
    print(f"\nThe header and the first rows, cut to {PREVIEW_WIDTH} characters:")
    for start in starts[:-1][:PREVIEW_RECORDS]:
        line = lines[start].rstrip("\r\n")
        print(line if len(line) <= PREVIEW_WIDTH else f"{line[: PREVIEW_WIDTH - 3]}...")
    print("\nAll people in this file are fictional. In production it holds personal data: names, phones and addresses.")


def _xcom(database: str, task_id: str, key: str) -> Any:
    query = "SELECT value FROM xcom WHERE task_id = ? AND key = ?"
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(query, (task_id, key)).fetchall()
    if len(rows) != 1:
        sys.exit(f"The task {task_id} pushed {len(rows)} XComs with key {key}; expected 1")
    return json.loads(rows[0][0])


def _sandbox_requests(url: str) -> list[dict[str, Any]]:
    # http.client does not use proxies.
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)) as connection:
        connection.request("GET", "/sandbox/requests")
        requests: list[dict[str, Any]] = json.loads(connection.getresponse().read())
    return requests


if __name__ == "__main__":
    if sys.argv[1] == "logical-date":
        print(logical_date(sys.argv[2]))
    else:
        report(*sys.argv[2:])
