"""A file that is not as published: a task advises only what it can do, and names only its own arguments."""

from __future__ import annotations

import ast
import inspect
import re
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_crux.sandbox.csv_file import COLUMNS
from airflow_provider_crux.transfers.crux_to_sql import CruxExportToSqlOperator
from tests.transfers.table import Loading
from tests.transfers.transfer import csv_file

if TYPE_CHECKING:
    from tests.transfers.transfer import Transfer

TWICE = csv_file({}, columns=[*COLUMNS, "city"])
ADVICE = re.compile(r"(\w+)=('\w+'|\w+)")


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        ({"file_format": "parquet"}, "file_format='csv'"),
        ({"personal_data": "drop"}, "personal_data='keep'"),
        ({"add_export_columns": True, "manifest": True}, "add_export_columns=False"),
        ({"on_unknown_column": "fail"}, "on_unknown_column='keep'"),
        ({"file_format": "parquet", "personal_data": "drop"}, "file_format='csv' and personal_data='keep'"),
    ],
    ids=["parquet", "drop", "add", "fail", "two"],
)
def test_the_advice_of_a_task_that_converts_leads_to_the_file_as_it_is(
    transfer: Transfer, arguments: dict[str, Any], advice: str
) -> None:
    with pytest.raises(AirflowFailException, match="column 'city' occurs 2 times") as error:
        transfer.run(TWICE, **arguments)
    message = str(error.value)
    assert message.startswith("The file of the export cannot be used: ")
    assert message.endswith(f". Nothing was stored. To store the file as it is, use {advice}")
    assert transfer.names == []
    changes = {name: ast.literal_eval(value) for name, value in ADVICE.findall(advice)}
    assert transfer.content(TWICE, **(arguments | changes)) == TWICE


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (TWICE, "column 'city' occurs 2 times"),
        (csv_file({"quantity": "many"}), "the value of column 'quantity' in row 1 is not a whole number"),
        (csv_file({}) + b"1,2\r\n", "row 2 has 2 values instead of 27"),
    ],
    ids=["column", "value", "row"],
)
def test_a_task_that_loads_a_table_advises_another_task(loading: Loading, body: bytes, problem: str) -> None:
    with pytest.raises(AirflowFailException, match=f"The file of the export cannot be used: {problem}") as error:
        loading.run(body)
    message = str(error.value)
    assert message.endswith(". Nothing was loaded. To store the file as it is, use CruxExportToObjectStorageOperator")
    own = inspect.signature(CruxExportToSqlOperator.__init__).parameters
    assert set(re.findall(r"(\w+)=", message)) <= own.keys()


@pytest.mark.parametrize(
    ("personal_data", "effect"), [("keep", "keep unknown columns as text"), ("drop", "leave unknown columns out")]
)
def test_an_unknown_column_that_fails_the_task_is_accepted_by_one_argument(
    transfer: Transfer, loading: Loading, personal_data: str, effect: str
) -> None:
    body = csv_file({}, columns=[*COLUMNS, "gift_wrap"])
    options = {"on_unknown_column": "fail", "personal_data": personal_data}
    advice = f"To {effect}, use on_unknown_column='keep'"
    with pytest.raises(AirflowFailException, match=rf"'gift_wrap' is unknown.*\. Nothing was stored\. {advice}$"):
        transfer.run(body, file_format="parquet", **options)
    with pytest.raises(AirflowFailException, match=rf"'gift_wrap' is unknown.*\. Nothing was loaded\. {advice}$"):
        loading.run(body, **options)
