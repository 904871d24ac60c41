"""
Measures what ``order_details`` costs: time and memory of a transfer that lists the orders, and the same without.

A new process measures each value: ``python -m benchmarks.order_details ORDERS KIND``. The list comes from a server on
loopback, ``python -m benchmarks.order_details serve ORDERS``; the chunks of the file are in memory.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks.results import Goal, Row
from benchmarks.subprocesses import run_python, running_server

COLUMNS = ("order_uuid", "line_item_uuid", "sku_id", "quantity", "name", "address1", "retailer_provided_notes")
ITEM = (
    '{"uuid": "%s", "status": "has_tracking", "sku_id": "SKU-%d", "cost": 14.65, "supplier_uuid": "%s", '
    '"tracking_numbers": ["1Z999AA10123456784"], "allocation": {"quantity_ordered": 2, "quantity_allocated": 2, '
    '"quantity_backordered": 0, "quantity_rejected": 0, "backorder_date": null}}'
)
ORDER = (
    '{"uuid": "%s", "status": "New", "is_allocated": true, "purchase_order_id": "PO-%d", '
    '"created_date": "2026-01-02T10:00:00.123456Z", "notes": "", "fees": {}, "retailer": {}, "address": '
    '{"name": "Ada", "city": "Springfield"}, "requested_shipping": {}, "line_items": [%s, %s]}'
)


def uuid(number: int, kind: int) -> str:
    """Return an identifier; those of numbers in sequence are not."""
    return f"{(number * 2_654_435_761) & 0xFFFFFFFF:08x}-{kind:04d}-4000-8000-{number:012d}"


def page(first: int, last: int) -> bytes:
    """Return a page of the list."""
    orders = [
        ORDER % (uuid(n, 0), n, *(ITEM % (uuid(n, kind), kind, uuid(kind, 9)) for kind in (1, 2)))
        for n in range(first, last + 1)
    ]
    return f'{{"total_results": 0, "orders": [{", ".join(orders)}]}}'.encode()


def serve(count: int) -> None:
    """Serve the list until the process is killed."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = page(request["start"], min(request["limit"], count - 1))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


def chunks(count: int) -> Iterator[bytes]:
    """Yield a file with two line items for each order."""
    yield ",".join(COLUMNS).encode() + b"\r\n"
    for first in range(0, count, 1000):
        rows = (
            f"{uuid(n, 0)},{uuid(n, kind)},SKU-{kind},2,Ada,1 Elm Street,{'x' * 40}\r\n"
            for n in range(first, min(first + 1000, count))
            for kind in (1, 2)
        )
        yield "".join(rows).encode()


def transfer(count: int, kind: str) -> None:
    """Store a file, and print seconds and memory. A small file first loads what any size needs."""
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from airflow_provider_crux.api.exports import SubmittedExport
    from airflow_provider_crux.api.orders import OrdersExportRequest
    from airflow_provider_crux.files.store import FileOptions, store
    from airflow_provider_crux.hooks.crux import CruxHook
    from airflow_provider_crux.task.order_details import OrderDetailsSource

    def peak_memory() -> float:
        return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024

    day = datetime(2026, 1, 2, tzinfo=UTC)
    request = OrdersExportRequest(start_date=day, end_date=day.replace(day=3))
    submitted = SubmittedExport(uuid(0, 0), request, day.replace(month=2))
    details = kind != "without"
    options = FileOptions(file_format="parquet", order_details=details)

    def save(orders: int, folder: str) -> dict[str, int | None]:
        with running_server("-m", "benchmarks.order_details", "serve", str(orders)) as port:
            os.environ["AIRFLOW_CONN_CRUX_DEFAULT"] = json.dumps(
                {"conn_type": "crux", "host": f"http://127.0.0.1:{port}", "password": "of-this-benchmark"}
            )
            source = OrderDetailsSource(details, CruxHook(), submitted, logging.getLogger(), "stored", lambda: None)
            target = ObjectStoragePath(f"file://{folder}/orders")
            with source.read() as listed:
                listed_at = time.monotonic()
                store(chunks(orders), target, options=options, submitted=submitted, listed=listed)
                print(json.dumps({"store": time.monotonic() - listed_at}))
                return source.compare(listed)

    with tempfile.TemporaryDirectory() as folder:
        save(10, folder)
        memory_before, start = peak_memory(), time.monotonic()
        counts = save(count, folder)
        seconds = time.monotonic() - start
        assert not details or counts == {"matched_orders": count, "missing_orders": 0}, counts
        print(json.dumps({"s": seconds, "MiB": peak_memory() - memory_before}))


def measure(count: int, kind: str) -> dict[str, float]:
    """Store a file in a process of its own, with or without details."""
    return run_python("-m", "benchmarks.order_details", str(count), kind)  # type: ignore[no-any-return]


def rows() -> list[Row]:
    """Measure and return the rows."""
    results = {kind: [measure(1_000_000, kind)] for kind in ("with", "without")}
    what = "store 1,000,000 orders as Parquet with order_details"
    return [
        Row(
            what,
            "s",
            [result["s"] for result in results["with"]],
            "without",
            [result["s"] for result in results["without"]],
        ),
        Row(
            f"{what}: memory above the idle process",
            "MiB",
            [result["MiB"] for result in results["with"]],
            goal=Goal(256),
        ),
    ]


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        transfer(int(sys.argv[1]), sys.argv[2])
