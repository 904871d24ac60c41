"""The columns as data: those of the published lists, each with its type, and personal or not."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crux.exceptions import CruxInvalidResponseError
from airflow_provider_crux.files import columns
from airflow_provider_crux.files.column_plan import plan_columns
from airflow_provider_crux.files.columns import COLUMNS, EXPORT_COLUMNS, ColumnType, Hashes

NAMES = [column.name for column in COLUMNS]
# names, phone, both lines of the address, postal code, tracking number, and the texts in which people write names
PERSONAL = {
    "line_item_special_instructions",
    "business_name",
    "name",
    "phone",
    "address1",
    "address2",
    "postal_code",
    "tracking_number",
    "retailer_provided_order_attributes",
    "retailer_provided_notes",
    "retailer_provided_line_item_attributes",
}
MONEY = {
    "retailer_provided_sku_cost",
    "price",
    "estimated_shipping_cost",
    "dropship_fee",
    "per_order_fee",
    "estimated_tax",
    "shipping_cost",
}
INTEGERS = {"quantity", "quantity_accepted", "quantity_rejected", "quantity_backordered"}
CASES = Path(__file__).parent / "cases"
LISTS = {
    "2019": "the-same-row-twice.csv",
    "2019-page": "page-2019-retailer_po.csv",
    "2017-retailer": "retailer-2017.csv",
    "2017-supplier": "supplier-2017.csv",
}


@pytest.mark.parametrize(("name", "file"), LISTS.items(), ids=LISTS)
def test_the_dictionary_has_the_columns_of_each_published_list(name: str, file: str) -> None:
    published = (CASES / file).read_text(encoding="utf-8-sig").splitlines()[0].split(",")
    assert {column.name for column in COLUMNS if name in column.lists} == set(published)


def test_the_types_and_the_personal_columns_are_these() -> None:
    assert len(NAMES) == len(set(NAMES)) == 43
    assert {list_ for column in COLUMNS for list_ in column.lists} == set(LISTS)
    assert {column.name for column in COLUMNS if column.personal} == PERSONAL
    assert {column.name for column in COLUMNS if column.type is ColumnType.MONEY} == MONEY
    assert {column.name for column in COLUMNS if column.type is ColumnType.INTEGER} == INTEGERS


def test_every_column_says_what_it_means_in_one_line() -> None:
    meanings = [column.meaning for column in (*COLUMNS, *EXPORT_COLUMNS)]
    assert all(meaning[0].isupper() and "\n" not in meaning and not meaning.endswith(".") for meaning in meanings)
    # only the purchase order number has two names
    assert len(set(meanings)) == len(meanings) - 1


@given(st.text(), st.text(min_size=16))
def test_a_hash_is_the_hmac_sha256_of_the_value_and_nothing_stays_nothing(value: str, key: str) -> None:
    assert Hashes(key)[value] == (value and hmac.new(key.encode(), value.encode(), hashlib.sha256).hexdigest())


@pytest.mark.parametrize("personal_data", columns.PERSONAL_DATA)
def test_a_plan_names_each_column_by_its_place_in_the_file(personal_data: str) -> None:
    header = ["unknown 1", *reversed(NAMES), "unknown 2"]
    plan = plan_columns(header, personal_data=personal_data)
    assert [header[planned.index] for planned in plan.columns] == [planned.column.name for planned in plan.columns]
    stored = {planned.column.name for planned in plan.columns}
    missing = {"keep": set(), "drop": {*PERSONAL, "unknown 1", "unknown 2"}, "hash": {"unknown 1", "unknown 2"}}
    assert set(header) - stored == missing[personal_data]
    assert {planned.column.name for planned in plan.columns if planned.hashed} == (
        PERSONAL if personal_data == "hash" else set()
    )
    assert len(plan.warnings) == 2


def test_every_fault_of_a_header_is_named_at_once() -> None:
    header = [*NAMES[2:], NAMES[5], "new", "crux_export_uuid", ""]
    with pytest.raises(CruxInvalidResponseError) as error:
        plan_columns(header, on_unknown_column="fail")
    assert str(error.value) == (
        f"column {NAMES[5]!r} occurs 2 times; column 'new' is unknown, and on_unknown_column is 'fail'; "
        "column 'crux_export_uuid' is unknown, and on_unknown_column is 'fail'; "
        "column '' is unknown, and on_unknown_column is 'fail'"
    )


@pytest.mark.parametrize(
    ("names", "stored", "warning"),
    [
        (["cost (USD)"], ["cost (USD)"], "Column 'cost (USD)' is unknown: it is stored as text"),
        (["Größe", "_id"], ["Größe", "_id"], "Column '_id' is unknown: it is stored as text"),
        ([""], [""], "A column without a name is unknown: it is stored as text"),
        (["", ""], [], "A column without a name is unknown: it is not stored, because several columns have this name"),
        (["a", "b", "a"], ["b"], "Column 'a' is unknown: it is not stored, because several columns have this name"),
        (["crux_requested_at"], [], "not stored, because this provider adds a column of this name"),
        (["gr\udcf6\udcdfe"], [], "not stored, because its name is not valid text"),
        (["a\0"], [], "not stored, because its name is not valid text"),
    ],
    ids=ascii,
)
def test_an_unknown_column_is_stored_if_a_file_can_have_it(names: list[str], stored: list[str], warning: str) -> None:
    plan = plan_columns(["order_uuid", *names])
    assert [planned.column.name for planned in plan.columns] == ["order_uuid", *stored]
    assert all(planned.column.personal for planned in plan.columns[1:])
    assert len(plan.warnings) == len(set(names))
    assert warning in plan.warnings[-1] or warning in plan.warnings[0]


def test_a_file_of_which_nothing_may_be_stored_is_rejected() -> None:
    with pytest.raises(CruxInvalidResponseError, match="no column that is stored with personal_data='drop'"):
        plan_columns(["name", "gift"], personal_data="drop")


def test_a_long_name_of_a_column_is_shortened_in_messages() -> None:
    plan = plan_columns([*NAMES, "x" * 10_000])
    assert len(plan.warnings[0]) < 250


def test_few_hashes_are_kept_and_no_long_text() -> None:
    hashes = Hashes("a key of this test")
    values = [*map(str, range(21_000)), *(f"{number} {'x' * 200}" for number in range(100)), "", "7"]
    for value in values:
        assert hashes[value] == (value and hmac.new(b"a key of this test", value.encode(), hashlib.sha256).hexdigest())
    assert len(hashes) < 1_100
    assert max(map(len, hashes)) < 100
