"""The options of a stored file: rejected at parse, or whatever they are, a failed download stores nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.sandbox.csv_file import write_csv
from airflow_provider_crux.sandbox.orders import make_order
from tests.transfers.transfer import FILE_PATH, make_operator

if TYPE_CHECKING:
    from tests.transfers.transfer import Transfer


@pytest.mark.parametrize(
    "arguments",
    [{"file_format": "parquet"}, {"compression": "gzip"}, {"add_export_columns": True}, {"manifest": True}],
    ids=str,
)
def test_an_interrupted_download_keeps_what_was_at_the_path(transfer: Transfer, arguments: dict[str, Any]) -> None:
    transfer.target.parent.mkdir()
    transfer.target.write_bytes(b"before")
    body = write_csv(make_order(number) for number in range(5_000))
    transfer.sandbox.respond_next(FILE_PATH, 200, {"Content-Length": str(len(body) + 1)}, body)
    with pytest.raises(Exception, match="incomplete"):
        transfer.run(overwrite=True, **arguments)
    assert transfer.names == ["orders.csv"]
    assert transfer.target.read_bytes() == b"before"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"file_format": "json"}, "file_format: str 'json' is unknown; use 'csv' or 'parquet'"),
        ({"compression": "zip"}, "compression: str 'zip' is unknown; use None or 'gzip'"),
        ({"file_format": "parquet", "compression": "gzip"}, "compression: 'gzip' is for CSV"),
        ({"personal_data": "mask"}, "personal_data: str 'mask' is unknown; use 'keep' or 'drop' or 'hash'"),
        ({"on_unknown_column": "drop"}, "on_unknown_column: str 'drop' is unknown; use 'keep' or 'fail'"),
        ({"add_export_columns": "yes"}, "add_export_columns: str 'yes' is unknown"),
        ({"manifest": True, "skip_if_empty": True}, "skip_if_empty: with manifest=True"),
    ],
)
def test_an_invalid_option_fails_when_the_dag_is_parsed(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(CruxInvalidRequestError) as raised:
        make_operator("{{ export }}", "file:///lake/a.csv", **arguments)
    assert problem in str(raised.value)
