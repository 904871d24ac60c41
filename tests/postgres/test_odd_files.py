"""The same odd files as on the other paths, loaded into PostgreSQL by both drivers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from airflow.providers.postgres.hooks.postgres import PostgresHook

from tests.transfers.odd_paths import LOADED, outcomes, run_loaded

if TYPE_CHECKING:
    from tests.transfers.table import Loading


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg"])
def test_every_file_is_loaded_as_csv_reads_it_or_refused(
    loading: Loading, address: str, monkeypatch, driver: str
) -> None:
    module = pytest.importorskip(driver)
    monkeypatch.setattr(PostgresHook, "get_conn", lambda hook: module.connect(address))
    assert outcomes(partial(run_loaded, loading), LOADED["table"], monkeypatch) == {}
