"""The operations that meet a fault, run as an operator, a trigger and the transfer run them, and their outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_crux.api.exports import SubmittedExport
from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.api.responses import Export
from airflow_provider_crux.exceptions import CruxError
from airflow_provider_crux.files.store import FileOptions, store
from airflow_provider_crux.hooks.crux import CruxHook
from airflow_provider_crux.hooks.crux_async import CruxAsyncHook
from tests.raw_server import EXPORT_PATH, FILE_PATH, LOGIN_PATH, POLL_PATH, TOKEN, UUID

PASSWORD: Final = "pass word of ada"
PREVIOUS_CONTENT: Final = b"what the file contained before"

DAY = OrdersExportRequest(start_date=datetime(2026, 1, 1, tzinfo=UTC), end_date=datetime(2026, 1, 2, tzinfo=UTC))
TOKEN_CREDENTIALS: Final = {"password": TOKEN}
LOGIN_CREDENTIALS: Final = {"login": "ada", "password": PASSWORD}


def _export(_: str, __: Path) -> object:
    return CruxHook().export_orders(DAY)


def _poll(_: str, __: Path) -> object:
    return CruxHook().get_export(UUID).status


def _poll_in_triggerer(_: str, __: Path) -> object:
    async def poll() -> str:
        async with CruxAsyncHook("crux_default") as hook:
            return (await hook.get_export(UUID)).status

    return asyncio.run(poll())


def _download(url: str, folder: Path) -> object:
    target = folder / "orders.csv"
    target.write_bytes(PREVIOUS_CONTENT)
    with CruxHook().open_file(Export(uuid=UUID, status="completed", url=url)) as chunks:
        submitted = SubmittedExport(UUID, None, None)
        stored = store(chunks, ObjectStoragePath(f"file://{target}"), options=FileOptions(), submitted=submitted)
    return Path(stored.path.removeprefix("file://")).name


@dataclass(frozen=True)
class Operation:
    """
    One operation over one transport.

    :param request: which request meets the fault, as the table names it.
    :param transport: the library that sends it.
    :param action: how error messages name it.
    :param path: how its path begins.
    :param run: runs it, with the URL of the file and a folder to store the file in.
    :param result: what it returns if nothing is wrong.
    :param credentials: fields of the connection.
    """

    request: str
    transport: str
    action: str
    path: str
    run: Callable[[str, Path], object]
    result: object
    credentials: dict[str, str]

    def __str__(self) -> str:
        return f"{self.request} (triggerer)" if self.transport == "aiohttp" else self.request

    def outcome(self, url: str, folder: Path) -> object:
        """Run it, and return what it returns or which :class:`CruxError` it raises. Other errors are raised."""
        try:
            return self.run(url, folder)
        except CruxError as error:
            return error


OPERATIONS: Final = (
    Operation("export", "requests", "request an export of orders", EXPORT_PATH, _export, UUID, TOKEN_CREDENTIALS),
    Operation("poll", "requests", f"get the status of export {UUID}", POLL_PATH, _poll, "completed", TOKEN_CREDENTIALS),
    Operation(
        "poll",
        "aiohttp",
        f"get the status of export {UUID}",
        POLL_PATH,
        _poll_in_triggerer,
        "completed",
        TOKEN_CREDENTIALS,
    ),
    Operation("login", "requests", "log in", LOGIN_PATH, _export, UUID, LOGIN_CREDENTIALS),
    Operation("login", "aiohttp", "log in", LOGIN_PATH, _poll_in_triggerer, "completed", LOGIN_CREDENTIALS),
    Operation(
        "download", "requests", "download the export's file", FILE_PATH, _download, "orders.csv", TOKEN_CREDENTIALS
    ),
)
