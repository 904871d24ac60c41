"""Print what the demo's runs did, after checking it. Only the report of the backfill imports heavy packages."""

import csv
import hashlib
import hmac
import http.client
import io
import json
import os
import re
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from textwrap import fill
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

FIRST_DAY = date(2025, 12, 31)  # the DAG starts on 2026-01-01, and that run exports the day before
ONE_DAY = timedelta(days=1)
REPOSITORY = Path(__file__).parent.parent
PREVIEW_RECORDS, PREVIEW_WIDTH = 3, 110
# with their widths: two texts, a number and three hashes
PREVIEW_COLUMNS = {"order_uuid": 36, "city": 14, "retailer_provided_sku_cost": 26, "name": 8, "phone": 8, "address1": 8}
STORAGE, BACKFILL = "crux_orders_to_storage", "crux_orders_backfill"


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
    if export_day >= datetime.now(UTC).date():
        sys.exit(f"DAY={day} is not over in UTC, so not all of its orders exist; {remedy}")
    return export_day + ONE_DAY


def two_days(day: str) -> dict[str, str]:
    """Return the parameters with which the backfill exports a day and the day before."""
    export_day = date.fromisoformat(day)
    return {"since": str(export_day - ONE_DAY), "until": str(export_day + ONE_DAY)}


def report_one_day(day: str, database: str, url: str, folder: str) -> None:
    """Print the XComs of the run, the stored file and the sandbox's request log; exit with an error if one is wrong."""
    uuid = str(UUID(_xcom(database, STORAGE, "export_orders", "return_value")))
    stored_file = _xcom(database, STORAGE, "store_orders", "export_file")
    print(f"   Done. The task export_orders returned the UUID of the export (XCom return_value):\n   {uuid}\n")
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
    start = datetime.combine(date.fromisoformat(day), time(), UTC)
    _check_intervals(posts, [(start, start + ONE_DAY)])
    print(f"\nThe run requested one export. It covers {day} in UTC, from midnight to midnight.\n")


def _check_intervals(posts: list[dict[str, Any]], expected: list[tuple[datetime, datetime]]) -> None:
    bodies = [post["body"] or {} for post in posts]
    intervals = [
        tuple(datetime.fromisoformat(body[name]) for name in ("start_date", "end_date") if name in body)
        for body in bodies
    ]
    if intervals != expected:
        sys.exit(f"The sandbox received requests for exports of {intervals}; expected {expected}")


def _report_file(stored_file: dict[str, Any], path: Path) -> None:
    lines = list(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=""))
    reader = csv.reader(lines)
    # The line at which each record starts, and the end of the last one. A quoted line break does not start a record.
    starts = [0, *(reader.line_num for _ in reader)]
    actual = _check_file(stored_file, path, "csv", rows=len(starts) - 2)
    print("The task store_orders stored the file. Its XCom export_file, checked against the file:")
    print(f"   path    {path.relative_to(REPOSITORY)}")
    for name, value in actual.items():
        print(f"   {name:<7} {value}")
    print(f"\nThe header and the first rows, cut to {PREVIEW_WIDTH} characters:")
    for start in starts[:-1][:PREVIEW_RECORDS]:
        line = lines[start].rstrip("\r\n")
        print(line if len(line) <= PREVIEW_WIDTH else f"{line[: PREVIEW_WIDTH - 3]}...")
    print("\nAll people in this file are fictional. In production it holds personal data: names, phones and addresses.")


def _check_file(stored_file: dict[str, Any], path: Path, file_format: str, rows: int) -> dict[str, Any]:
    """Return what a file contains, after comparing it with the XCom ``export_file``."""
    content = path.read_bytes()
    actual = {"rows": rows, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    for name, value in {"path": f"file://{path}", "format": file_format, **actual}.items():
        if stored_file[name] != value:
            sys.exit(f"XCom export_file of task store_orders has {name} {stored_file[name]}; expected {value}")
    return actual


def report_backfill(day: str, database: str, url: str, folder: str) -> None:
    """Print the Parquet file and the coverage of two days; exit with an error if one is wrong."""
    import pyarrow.parquet

    since, until = (datetime.combine(date.fromisoformat(value), time(), UTC) for value in two_days(day).values())
    (gap,) = _xcom(database, BACKFILL, "find_gaps", "return_value")
    if gap != {"interval_start": since.isoformat(), "interval_end": until.isoformat()}:
        sys.exit(f"The task find_gaps returned the gap {gap}; expected {since} to {until}")
    posts = [request for request in _sandbox_requests(url) if request["path"] == "/api/orders/export/"]
    _check_intervals(posts[1:], [(since, until)])
    print(
        f"   Done. The task find_gaps found one gap, from {since.date()} to {until.date()}, and one export fills it.\n"
    )

    path = Path(folder, "history", f"dt={since.date()}", "000000.parquet")
    table = pyarrow.parquet.read_table(path)
    _check_file(_xcom(database, BACKFILL, "store_orders", "export_file"), path, "parquet", table.num_rows)
    personal = _check_values(Path(folder, f"{day}.csv"), table.to_pylist())
    print(
        f"The task store_orders stored {path.relative_to(REPOSITORY)}. Its columns by type, personal data with a star:"
    )
    for kind in dict.fromkeys(map(str, table.schema.types)):
        names = (
            f"{field.name}{'*' if field.name in personal else ''}" for field in table.schema if str(field.type) == kind
        )
        print(fill(f"{kind}: {', '.join(names)}", PREVIEW_WIDTH, subsequent_indent="   "))
    print("\nSome columns of the first rows; names, phones and addresses are hashes, cut to 8 characters:")
    header = {name: name for name in PREVIEW_COLUMNS}
    for row in [header, *table.slice(0, PREVIEW_RECORDS).to_pylist()]:
        print("  ".join(f"{str(row[name])[:width]:<{width}}" for name, width in PREVIEW_COLUMNS.items()).rstrip())
    print(f"\nEach of the rows of {day} in the CSV file is there, with the same values or with their hashes.")
    _report_coverage(database, path, since, until, table)


def _check_values(csv_file: Path, rows: list[dict[str, Any]]) -> set[str]:
    """Compare the rows of a CSV file with those of the Parquet file, and return the names of the hashed columns."""
    from airflow_provider_crux.files.columns import COLUMNS

    key = json.loads(os.environ["AIRFLOW_CONN_CRUX_DEFAULT"])["extra"]["hash_key"].encode()
    personal = {column.name for column in COLUMNS if column.personal}
    stored = {row["line_item_uuid"]: row for row in rows}
    for number, row in enumerate(csv.DictReader(io.StringIO(csv_file.read_bytes().decode("utf-8-sig"), newline="")), 1):
        converted = stored.get(row["line_item_uuid"]) or sys.exit(
            f"Row {number} of {csv_file} is not in the Parquet file"
        )
        for name, value in row.items():
            expected: str | Decimal = value
            if name in personal:
                expected = hmac.new(key, value.encode(), "sha256").hexdigest() if value else ""
            elif not isinstance(converted[name], str):
                expected = Decimal(value)
            if converted[name] != expected:
                sys.exit(f"Column {name} of row {number} of {csv_file} differs in the Parquet file")
    return personal


def _report_coverage(database: str, path: Path, since: datetime, until: datetime, table: Any) -> None:
    manifest = json.loads(path.with_name(f"_{path.name}.manifest.json").read_text())
    expected = {
        "since": since.isoformat(),
        "until": until.isoformat(),
        "covered_seconds": int((until - since).total_seconds()),
        "gaps": 0,
        "short_gaps": 0,
        "empty_intervals": 0,
        "empty_seconds": 0,
        "overlaps": 0,
        "files": 1,
        "rows": table.num_rows,
        "orders": len(table["order_uuid"].unique()),
    }
    coverage = _xcom(database, BACKFILL, "check", "coverage")
    if coverage != expected or any(manifest[name] != expected[name] for name in ("rows", "orders")):
        sys.exit(f"XCom coverage of task check is {coverage}, and the manifest {manifest}; expected {expected}")
    print("\nThe coverage of the two days, XCom coverage of task check, checked against the file and its manifest:")
    print(json.dumps(coverage))


def _xcom(database: str, dag_id: str, task_id: str, key: str) -> Any:
    query = "SELECT value FROM xcom WHERE dag_id = ? AND task_id = ? AND key = ?"
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(query, (dag_id, task_id, key)).fetchall()
    if len(rows) != 1:
        sys.exit(f"The task {task_id} of {dag_id} pushed {len(rows)} XComs with key {key}; expected 1")
    return json.loads(rows[0][0])


def _sandbox_requests(url: str) -> list[dict[str, Any]]:
    # http.client does not use proxies.
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)) as connection:
        connection.request("GET", "/sandbox/requests")
        requests: list[dict[str, Any]] = json.loads(connection.getresponse().read())
    return requests


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "logical-date":
        print(logical_date(*arguments))
    elif command == "two-days":
        print(json.dumps(two_days(*arguments)))
    elif command == "one-day":
        report_one_day(*arguments)
    else:
        report_backfill(*arguments)
