"""Odd files on every path: each reads what Python's parser reads in strict mode, or refuses the file with its row."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.odd_files import ODD_FILES, ONE_OF_EACH, OTHERS, PARSERS
from tests.transfers.odd_paths import COPIES, KEY, LOADED, STORED, outcomes, run_loaded, run_stored

if TYPE_CHECKING:
    from tests.odd_files import OddFile
    from tests.transfers.table import Loading
    from tests.transfers.transfer import Transfer

every_file = pytest.mark.parametrize(
    "files", [pytest.param(ONE_OF_EACH, id="one of each"), pytest.param(OTHERS, id="others", marks=pytest.mark.slow)]
)


@every_file
@pytest.mark.parametrize("path", STORED)
def test_every_file_is_stored_as_csv_reads_it_or_refused(
    transfer: Transfer, connect, monkeypatch, path: str, files: dict[str, OddFile]
) -> None:
    connect(
        host=transfer.sandbox.url, password=transfer.sandbox.settings.token, extra={"hash_key": KEY, "max_retries": 0}
    )
    assert outcomes(partial(run_stored, transfer), STORED[path], monkeypatch, files) == {}


@every_file
@pytest.mark.parametrize("path", LOADED)
def test_every_file_is_loaded_as_csv_reads_it_or_refused(
    loading: Loading, connect, monkeypatch, path: str, files: dict[str, OddFile]
) -> None:
    connect(
        host=loading.sandbox.url, password=loading.sandbox.settings.token, extra={"hash_key": KEY, "max_retries": 0}
    )
    assert outcomes(partial(run_loaded, loading), LOADED[path], monkeypatch, files) == {}


@pytest.mark.parametrize("path", COPIES)
@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("quotes: two stray ones in two rows", "rows"),
        ("quotes: one opens the last value", "rows"),
        ("glued: two files with marks", "rows"),
        ("totals: a total with a label", "rows"),
        ("width: too few", "orders"),
        ("length: a byte more, unquoted, first", "orders"),
        ("header: no order", "orders"),
    ],
)
def test_a_copy_that_cannot_be_counted_warns_with_the_row(
    transfer: Transfer, caplog, path: str, name: str, what: str
) -> None:
    file, arguments = ODD_FILES[name], STORED[path].arguments
    transfer.run(file.content, **arguments)
    problem = file.problem if file.refused_by == PARSERS else "it has no column order_uuid"
    warning = f"The {what} of the file cannot be counted: {problem}"
    # without a manifest nobody needs the orders, and only quotation marks hide how many rows there are
    warns = path == "manifest" or name.startswith("quotes")
    messages = [record.getMessage() for record in caplog.records]
    assert [message for message in messages if "counted" in message] == [warning] * warns
