"""The calls that meet a fault, made as an operator, a trigger and the transfer make them, and what the caller gets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_crux.api.responses import Export
from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.exceptions import CruxError
from airflow_provider_crux.hooks.crux import CruxHook
from airflow_provider_crux.hooks.crux_async import shared_hook
from airflow_provider_crux.transfers.atomic_write import store
from tests.faults.server import EXPORT, FILE, LOGIN, LOOK, TOKEN, UUID

PASSWORD: Final = "pass word of ada"
BEFORE: Final = b"what was there before"

DAY = OrdersExportRequest(start_date=datetime(2026, 1, 1, tzinfo=UTC), end_date=datetime(2026, 1, 2, tzinfo=UTC))
BY_TOKEN: Final = {"password": TOKEN}
BY_LOGIN: Final = {"login": "ada", "password": PASSWORD}


def _ask(_: str, __: Path) -> object:
    return CruxHook().export_orders(DAY)


def _look(_: str, __: Path) -> object:
    return CruxHook().get_export(UUID).status


def _look_in_trigger(_: str, __: Path) -> object:
    async def look() -> str:
        async with shared_hook("crux_default") as hook:
            return (await hook.get_export(UUID)).status

    return asyncio.run(look())


def _store(url: str, folder: Path) -> object:
    target = folder / "orders.csv"
    target.write_bytes(BEFORE)
    with CruxHook().open_file(Export(uuid=UUID, status="completed", url=url)) as chunks:
        return Path(store(chunks, ObjectStoragePath(f"file://{target}")).path.removeprefix("file://")).name


@dataclass(frozen=True)
class Way:
    """
    One way to meet a fault.

    :param call: which call meets it, as the table says it.
    :param by: which transport.
    :param doing: how its messages call it.
    :param path: how the path of that call begins.
    :param make: makes it, given the URL of the file and a folder to store it in.
    :param good: what it returns where nothing is wrong.
    :param credentials: the connection's.
    """

    call: str
    by: str
    doing: str
    path: str
    make: Callable[[str, Path], object]
    good: object
    credentials: dict[str, str]

    def __str__(self) -> str:
        return f"{self.call}, triggerer" if self.by == "aiohttp" else self.call


WAYS: Final = (
    Way("export", "requests", "request an export of orders", EXPORT, _ask, UUID, BY_TOKEN),
    Way("look", "requests", "get the status of the export", LOOK, _look, "completed", BY_TOKEN),
    Way("look", "aiohttp", "get the status of the export", LOOK, _look_in_trigger, "completed", BY_TOKEN),
    Way("login", "requests", "log in", LOGIN, _ask, UUID, BY_LOGIN),
    Way("login", "aiohttp", "log in", LOGIN, _look_in_trigger, "completed", BY_LOGIN),
    Way("file", "requests", "download the export's file", FILE, _store, "orders.csv", BY_TOKEN),
)


def outcome(way: Way, url: str, folder: Path) -> object:
    """Make the call, and return what it returns or raises. Anything but an error of ours goes through."""
    try:
        return way.make(url, folder)
    except CruxError as error:
        return error
