"""How a file is stored is checked when the DAG is parsed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator

INVALID: dict[str, list[Any]] = {
    "file_format": ["avro", None, "", "CSV", ["csv"]],
    "compression": ["zstd", "snappy", True, ""],
    "personal_data": ["mask", None, True, {}],
    "on_unknown_column": ["drop", "warn", None],
    "add_export_columns": ["yes", None, 2],
    "manifest": ["yes", None, 2],
}
REMEDIES = {
    "file_format": "use 'csv' or 'parquet'",
    "compression": "use None or 'gzip'",
    "personal_data": "use 'keep' or 'drop' or 'hash'",
    "on_unknown_column": "use 'keep' or 'fail'",
    "add_export_columns": "use False or True",
    "manifest": "use False or True",
}


def parse(**arguments: Any) -> CruxExportToObjectStorageOperator:
    with DAG("lake", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        return CruxExportToObjectStorageOperator(task_id="store", export_uuid="uuid", path="s3://b/a", **arguments)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in INVALID.items() for value in values])
def test_a_value_that_is_unknown_is_named_with_a_remedy(name: str, value: Any) -> None:
    with pytest.raises(CruxInvalidRequestError) as error:
        parse(**{name: value})
    type_name = type(value).__name__
    assert f"Task 'store': {name}: {type_name} {value!r} is invalid; {REMEDIES[name]}" in str(error.value)


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(CruxInvalidRequestError) as error:
        parse(**dict.fromkeys(INVALID, "?"), timeout=-1)
    for name in (*INVALID, "timeout"):
        assert f"{name}: " in str(error.value)


def test_gzip_for_parquet_fails_when_the_dag_is_parsed() -> None:
    with pytest.raises(CruxInvalidRequestError, match="compression: 'gzip' is for CSV; leave it out"):
        parse(file_format="parquet", compression="gzip")
