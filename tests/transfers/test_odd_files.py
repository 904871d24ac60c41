"""Odd files on every path: each reads what Python's parser reads in strict mode, or refuses the file with its row."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.transfers.odd_paths import KEY, LOADED, STORED, outcomes, run_loaded, run_stored

if TYPE_CHECKING:
    from tests.transfers.table import Loading
    from tests.transfers.transfer import Transfer


@pytest.mark.parametrize("path", STORED)
def test_every_file_is_stored_as_csv_reads_it_or_refused(transfer: Transfer, connect, monkeypatch, path: str) -> None:
    connect(
        host=transfer.sandbox.url, password=transfer.sandbox.settings.token, extra={"hash_key": KEY, "max_retries": 0}
    )
    assert outcomes(partial(run_stored, transfer), STORED[path], monkeypatch) == {}


@pytest.mark.parametrize("path", LOADED)
def test_every_file_is_loaded_as_csv_reads_it_or_refused(loading: Loading, connect, monkeypatch, path: str) -> None:
    connect(
        host=loading.sandbox.url, password=loading.sandbox.settings.token, extra={"hash_key": KEY, "max_retries": 0}
    )
    assert outcomes(partial(run_loaded, loading), LOADED[path], monkeypatch) == {}
