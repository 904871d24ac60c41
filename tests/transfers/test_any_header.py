"""Any header: what is stored of files with each published list of columns, with unknown columns, and of other files."""

from __future__ import annotations

import csv
import io
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_crux.sandbox.csv_file import COLUMNS
from tests.transfers.transfer import csv_file, parse

if TYPE_CHECKING:
    from tests.transfers.transfer import Transfer

CASES = {path.stem: path.read_bytes() for path in (Path(__file__).parents[1] / "files/cases").glob("*.csv")}
ADDED = ["crux_export_uuid", "crux_interval_start", "crux_interval_end", "crux_requested_at"]
CONVERSIONS: dict[str, dict[str, Any]] = {
    "added": {"add_export_columns": True},
    "dropped": {"personal_data": "drop"},
    "parquet": {"file_format": "parquet"},
}
conversions = pytest.mark.parametrize("arguments", CONVERSIONS.values(), ids=CONVERSIONS)

# rows and orders
USABLE = {
    "retailer-2017": (3, 2),
    "supplier-2017": (3, 2),
    "page-2019-retailer_po": (2, 2),
    "quote-within-a-field": (2, 2),
    "one-more-column": (2, 2),
    "trailing-comma": (2, 2),
    "the-same-row-twice": (3, 2),
    "no-line-item-uuid-values": (2, 2),
    "whole-numbers-with-decimals": (2, 2),
}
# the row that is wrong
WRONG = {
    "stray-quotes": 1,
    "text-after-a-closing-quote": 1,
    "cut-within-quotes": 2,
    "total-line": 2,
    "two-files-glued": 2,
}


def header_of(content: bytes) -> list[str]:
    return next(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def manifest_of(transfer: Transfer) -> dict[str, Any]:
    return json.loads(transfer.target.with_name("_orders.csv.manifest.json").read_bytes())


def test_every_case_is_tested() -> None:
    assert {*USABLE, *WRONG} == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_the_file_is_stored_as_it_is_and_its_columns_are_recorded(transfer: Transfer, case: str, caplog) -> None:
    body = CASES[case]
    assert transfer.content(body, manifest=True) == body
    manifest = manifest_of(transfer)
    assert manifest["columns"] == transfer.pushed["export_file"]["columns"] == header_of(body)
    assert (manifest["rows"], manifest["orders"]) == USABLE.get(case, (None, None))
    assert ("The rows of the file cannot be counted: " in caplog.text) is (case in WRONG)


@conversions
@pytest.mark.parametrize("case", USABLE)
def test_the_file_is_converted(transfer: Transfer, case: str, arguments: dict[str, Any]) -> None:
    body = CASES[case]
    content = transfer.content(body, manifest=True, **arguments)
    names, manifest = header_of(body), manifest_of(transfer)
    assert (manifest["rows"], manifest["orders"]) == USABLE[case]
    if arguments == CONVERSIONS["dropped"]:
        kept = header_of(content)
        assert set(names) - set(kept) >= {"name", "address1", "postal_code"}
        assert {"order_uuid", "quantity", "city"} <= set(kept)
        assert manifest["columns"] == kept
    else:
        assert manifest["columns"] == [*names, *ADDED]
    if arguments == CONVERSIONS["added"]:
        assert [list(row.values())[:-4] for row in parse(content)] == [list(row.values()) for row in parse(body)]
    if arguments == CONVERSIONS["parquet"]:
        assert pq.read_schema(transfer.target).names == manifest["columns"]
        assert pq.read_table(transfer.target)["order_uuid"].to_pylist() == [row["order_uuid"] for row in parse(body)]


@conversions
@pytest.mark.parametrize("case", WRONG)
def test_the_wrong_row_is_named(transfer: Transfer, case: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(AirflowFailException, match=rf"The file of the export cannot be used: .*row {WRONG[case]}\b"):
        transfer.run(CASES[case], **arguments)
    assert transfer.names == []


def test_packages_of_the_vendors_list_have_types(transfer: Transfer) -> None:
    table = pq.read_table(io.BytesIO(transfer.content(CASES["supplier-2017"], file_format="parquet")))
    assert table.select(["price", "quantity_backordered", "shipping_cost", "weight", "backorder_date"]).to_pylist()[
        0
    ] == {
        "price": Decimal("14.65"),
        "quantity_backordered": 1,
        "shipping_cost": Decimal("3.10"),
        "weight": "1.5 lb",
        "backorder_date": "2018-02-01",
    }
    assert table["tracking_number"].to_pylist() == ["T1", "T2", ""]


def test_a_tracking_number_leads_to_a_person(transfer: Transfer) -> None:
    rows = parse(transfer.content(CASES["retailer-2017"], personal_data="drop"))
    assert "tracking_number" not in rows[0]
    assert rows[0]["shipping_carrier"] == "UPS"


# Unknown columns.


ODD_NAMES = ["cost (USD)", "Größe", "sku#", "_id", "", 'say "a, b"', "two\r\nlines", "x" * 300]
ODD = csv_file({name: f"value {index}" for index, name in enumerate(ODD_NAMES)}, columns=[*ODD_NAMES, *COLUMNS])


def test_odd_names_are_stored_as_they_are_and_warned_of(transfer: Transfer, caplog) -> None:
    assert transfer.content(ODD) == ODD
    assert "unknown" not in caplog.text
    assert transfer.pushed["export_file"]["columns"][: len(ODD_NAMES)] == ODD_NAMES
    values = [f"value {index}" for index in range(len(ODD_NAMES))]
    (row,) = parse(transfer.content(ODD, add_export_columns=True))
    assert (list(row)[: len(ODD_NAMES)], list(row.values())[: len(ODD_NAMES)]) == (ODD_NAMES, values)
    assert "Column 'cost (USD)' is unknown: it is stored as text" in caplog.text
    assert "A column without a name is unknown: it is stored as text" in caplog.text
    transfer.content(ODD, file_format="parquet")
    table = pq.read_table(transfer.target)
    assert table.column_names[: len(ODD_NAMES)] == ODD_NAMES
    assert list(table.to_pylist()[0].values())[: len(ODD_NAMES)] == values
    # DuckDB gives a column without a name another one
    rows = duckdb.sql(f"SELECT * FROM read_parquet('{transfer.target}')").fetchall()
    assert rows[0][: len(ODD_NAMES)] == tuple(values)
    assert next(iter(parse(transfer.content(ODD, personal_data="drop"))[0])) == COLUMNS[0]


@conversions
def test_a_name_that_no_file_can_have_loses_its_column_with_a_warning(
    transfer: Transfer, arguments: dict[str, Any], caplog
) -> None:
    header, row, _ = csv_file({}).split(b"\r\n")
    body = b"gift," + header.removeprefix(b"\xef\xbb\xbf") + b",gift,gr\xf6\xdfe,crux_requested_at\r\n"
    transfer.content(body + b"canary," + row + b",canary,canary,canary\r\n", **arguments)
    columns = transfer.pushed["export_file"]["columns"]
    assert set(columns) <= {*COLUMNS, *ADDED}
    assert len(columns) == len(set(columns))
    assert b"canary" not in transfer.target.read_bytes()
    assert caplog.text.count("it is not stored, because") == 3


@conversions
def test_a_known_column_that_occurs_twice_is_an_error(transfer: Transfer, arguments: dict[str, Any]) -> None:
    with pytest.raises(AirflowFailException, match="column 'city' occurs 2 times"):
        transfer.run(csv_file({}, columns=[*COLUMNS, "city"]), **arguments)
    assert transfer.names == []


@pytest.mark.parametrize("arguments", [CONVERSIONS["added"], CONVERSIONS["parquet"]], ids=["added", "parquet"])
def test_names_that_differ_in_case_are_stored_with_a_warning(transfer: Transfer, arguments: Any, caplog) -> None:
    transfer.run(csv_file({"City": "b"}, columns=[*COLUMNS, "City"]), **arguments)
    assert "Columns 'city' and 'City' differ only in upper and lower case" in caplog.text
    assert transfer.pushed["export_file"]["columns"][-5] == "City"


@conversions
def test_nothing_is_required(transfer: Transfer, arguments: dict[str, Any], caplog) -> None:
    transfer.run(b"sku,quantity\r\nA,2\r\nB,3\r\n", manifest=True, **arguments)
    manifest = manifest_of(transfer)
    assert (manifest["rows"], manifest["orders"]) == (2, None)
    assert "The orders of the file cannot be counted: it has no column order_uuid" in caplog.text


# Other files.


OTHER = b"invoice,amount,customer\r\n17,2.50,Ada Okafor\r\n"
WITHOUT_HEADER = CASES["retailer-2017"].split(b"\r\n", 1)[-1].split(b"\n", 1)[-1]


def test_another_csv_file_is_only_stored_as_it_is(transfer: Transfer, caplog) -> None:
    assert transfer.content(OTHER, manifest=True) == OTHER
    manifest = manifest_of(transfer)
    assert (manifest["rows"], manifest["orders"], manifest["columns"]) == (1, None, None)
    assert (
        "The file is stored as it is, although it is a CSV file with other columns: invoice, amount, customer"
        in caplog.text
    )


@pytest.mark.parametrize("arguments", [*CONVERSIONS.values(), {"on_unknown_column": "fail"}], ids=str)
def test_another_csv_file_is_not_converted(transfer: Transfer, arguments: dict[str, Any]) -> None:
    with pytest.raises(AirflowFailException, match="it is a CSV file with other columns: invoice, amount, customer"):
        transfer.run(OTHER, **arguments)
    assert transfer.names == []


def test_values_of_a_file_without_a_header_are_shown_nowhere(transfer: Transfer, caplog, logged) -> None:
    transfer.content(WITHOUT_HEADER, manifest=True)
    assert transfer.pushed["export_file"]["columns"] is None
    with pytest.raises(AirflowFailException, match="28 columns, none of which an export of orders has") as error:
        transfer.run(WITHOUT_HEADER, path=f"{transfer.target.as_uri()}.2", personal_data="drop")
    texts = [caplog.text, logged(), str(error.value), json.dumps([transfer.pushed, manifest_of(transfer)])]
    for value in ("Person 1", "Example St.", "Lehi", "01234", "T1", "14.65"):
        # whole words: a time such as 2026-01-02T10:00 and a digest contain some of them
        assert not [text for text in texts if re.search(rf"\b{re.escape(value)}(?!\w)", text)]
