"""The transfer as a task runs it, and what the sandbox serves to it."""

from __future__ import annotations

import contextlib
import csv
import io
import traceback
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.hooks.crux import CruxHook
from airflow_provider_crux.sandbox.csv_file import COLUMNS
from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.state import SandboxSettings
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator
from tests.order_details import DAY, HASH_KEY, NOW
from tests.secrets_masker import clear_masker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from airflow.providers.common.compat.sdk import Asset

    from airflow_provider_crux.sandbox.state import Sandbox

FILE_PATH = "/sandbox-files/"
STATUS_PATH = "/api/data/export/"

INTERVAL = {
    "interval_start": "2026-01-04T00:00:00.000Z",
    "interval_end": "2026-01-05T00:00:00.000Z",
    "requested_at": "2026-01-05T00:10:00+00:00",
    "request": {"start_date": "2026-01-04T00:00:00.000Z", "end_date": "2026-01-05T00:00:00.000Z"},
}
"""What the task that requested an export of one day pushed about it, without the export's UUID."""

ROW = {name: f"{name} 1" for name in COLUMNS} | {
    "quantity": "2",
    "retailer_provided_sku_cost": "14.65",
    "estimated_shipping_cost": "",
    "dropship_fee": "1.50",
    "per_order_fee": "0",
    "estimated_tax": "US$0.00",
}
"""A row with the values of the published sample."""


def make_operator(export_uuid: str, target: Path | str, **arguments: Any) -> CruxExportToObjectStorageOperator:
    arguments = {"poll_interval": 0.01} | arguments
    path = f"file://{target}" if isinstance(target, Path) else target
    return CruxExportToObjectStorageOperator(task_id="store", export_uuid=export_uuid, path=path, **arguments)


def resume(operator: CruxExportToObjectStorageOperator, context: dict[str, Any], **event: Any) -> Any:
    """Resume a deferred operator with a trigger's event."""
    return operator.resume_execution("execute_complete", {"event": event, "accepted_at": 0.0}, context)


def file_content(export_uuid: str) -> bytes:
    """Return what the sandbox serves, downloaded without the code under test."""
    url = CruxHook().get_export(export_uuid).url
    assert url is not None
    return requests.get(url, timeout=10).content


def statuses(sandbox: Sandbox, path: str) -> list[int]:
    """Return the statuses of the responses to requests for a path."""
    return [entry["status"] for entry in sandbox.requests if entry["path"].startswith(path)]


def csv_file(*rows: Mapping[str, str], columns: Iterable[str] = COLUMNS) -> bytes:
    """
    Return a file as Crux Connect writes it.

    :param rows: the values that differ from those of :data:`ROW`, by column.
    :param columns: the columns.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(columns), restval="", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(ROW | row for row in rows)
    return text.getvalue().encode("utf-8-sig", errors="surrogateescape")


def parse(content: bytes) -> list[dict[str, str]]:
    """Return the rows of a CSV file as Python's parser reads them."""
    text = io.StringIO(content.decode("utf-8-sig", errors="surrogateescape"), newline="")
    return list(csv.DictReader(text, strict=False))


@dataclass
class Transfer:
    """
    One task that stores an export of 2026-01-04, downstream of the task that requested it.

    :param sandbox: where the export is.
    :param export_uuid: the export, which is done.
    :param target: where the file is stored, unless a run says otherwise.
    :param context_with: makes a context from what the upstream task pushed.
    """

    sandbox: Sandbox
    export_uuid: str
    target: Path
    context_with: Callable[..., dict[str, Any]]
    pushed: dict[str, Any] = field(default_factory=dict)

    @property
    def interval(self) -> dict[str, Any]:
        """What the upstream task pushed."""
        return {"export_uuid": self.export_uuid, **INTERVAL}

    def run(
        self,
        body: bytes | None = None,
        *,
        path: str | None = None,
        upstream: Sequence[Any] | None = None,
        **arguments: Any,
    ) -> str:
        """
        Run the task; what it pushed is in :attr:`pushed`.

        :param body: what the sandbox serves; ``None`` for the file of the export.
        :param path: the argument of the operator.
        :param upstream: what the tasks upstream pushed; by default the interval.
        """
        clear_masker()  # a property test gets hundreds of presigned URLs
        if body is not None:
            self.sandbox.respond_next(FILE_PATH, 200, {"Content-Length": str(len(body))}, body)
        context = self.context_with(*([self.interval] if upstream is None else upstream))
        self.pushed = context["ti"].pushed
        operator = make_operator(self.export_uuid, path or self.target, **arguments)
        operator.upstream_task_ids.add("export")
        return operator.execute(context)

    def content(self, body: bytes | None = None, **arguments: Any) -> bytes:
        """Run the task, replace the file, and return what was stored."""
        self.run(body, overwrite=True, **arguments)
        return self.target.read_bytes()

    @property
    def names(self) -> list[str]:
        """The names of the stored files."""
        return sorted(path.name for path in self.target.parent.iterdir()) if self.target.parent.exists() else []


class OutletEvents:
    """Airflow's accessor of asset events by asset. It uses URIs, because below 3.2 an asset has no hash."""

    def __init__(self) -> None:
        self.by_uri: dict[str, Any] = {}

    def __getitem__(self, asset: Asset) -> Any:
        return self.by_uri.setdefault(asset.uri, SimpleNamespace(extra={"mine": 1}))


@pytest.fixture
def done_uuid(held_sandbox: Sandbox) -> str:
    """Request the orders of one day, finish the export, and return its UUID."""
    day = OrdersExportRequest(start_date=datetime(2026, 1, 4, tzinfo=UTC), end_date=datetime(2026, 1, 5, tzinfo=UTC))
    uuid = CruxHook().export_orders(day)
    held_sandbox.finish_export(uuid)
    return uuid


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "lake" / "orders.csv"


@pytest.fixture
def context_with(make_context) -> Callable[..., dict[str, Any]]:
    """Return a function that makes a context; its arguments are what upstream tasks pushed."""
    return lambda *upstream: make_context(upstream=upstream, outlet_events=OutletEvents())


@pytest.fixture
def context(context_with) -> dict[str, Any]:
    return context_with()


@pytest.fixture
def transfer(held_sandbox: Sandbox, done_uuid: str, target: Path, context_with) -> Transfer:
    return Transfer(held_sandbox, done_uuid, target, context_with)


@pytest.fixture
def start(connect, target: Path, context_with) -> Iterator[Callable[..., Transfer]]:
    """Return a function that starts a sandbox at :data:`NOW` with an export, and returns the task that stores it."""
    with contextlib.ExitStack() as stack:

        def transfer(**settings: Any) -> Transfer:
            sandbox = stack.enter_context(running_sandbox(SandboxSettings(**settings), clock=lambda: NOW))
            extra = {"max_retries": 0, "api_version": sandbox.settings.api_version, "hash_key": HASH_KEY}
            connect(host=sandbox.url, password=sandbox.settings.token, extra=extra)
            return Transfer(sandbox, sandbox.add_export(DAY), target, context_with)

        yield transfer


def texts_of(error: BaseException) -> str:
    """Return all that an error contains, and those behind it, also what a traceback leaves out."""
    errors, pending = dict[int, BaseException](), [error]
    while pending:
        if (one := pending.pop()) is not None and id(one) not in errors:
            errors[id(one)] = one
            pending += [one.__cause__, one.__context__]
    texts = [repr((one, one.args, getattr(one, "object", None), vars(one))) for one in errors.values()]
    return "\n".join([*traceback.format_exception(error), *texts])
