"""The columns as data: those of the published sample, each with its type, and personal or not."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crux.exceptions import CruxInvalidResponseError
from airflow_provider_crux.files import columns
from airflow_provider_crux.files.columns import COLUMNS, EXPORT_COLUMNS, ColumnType, hash_value, plan_columns
from airflow_provider_crux.sandbox.csv_file import COLUMNS as PUBLISHED

NAMES = [column.name for column in COLUMNS]
# names, phone, both lines of the address, postal code, and the texts in which people write names
PERSONAL = {
    "line_item_special_instructions",
    "business_name",
    "name",
    "phone",
    "address1",
    "address2",
    "postal_code",
    "retailer_provided_order_attributes",
    "retailer_provided_notes",
    "retailer_provided_line_item_attributes",
}
MONEY = {
    "retailer_provided_sku_cost",
    "estimated_shipping_cost",
    "dropship_fee",
    "per_order_fee",
    "estimated_tax",
}


def test_the_columns_are_those_of_the_published_sample() -> None:
    assert tuple(NAMES) == PUBLISHED
    assert len(NAMES) == 27
    assert {column.name for column in COLUMNS if column.personal} == PERSONAL
    assert {column.name for column in COLUMNS if column.type is ColumnType.MONEY} == MONEY
    assert {column.name for column in COLUMNS if column.type is ColumnType.INTEGER} == {"quantity"}


def test_every_column_says_what_it_means_in_one_line() -> None:
    meanings = [column.meaning for column in (*COLUMNS, *EXPORT_COLUMNS)]
    assert all(meaning[0].isupper() and "\n" not in meaning and not meaning.endswith(".") for meaning in meanings)
    assert len(set(meanings)) == len(meanings)


@given(st.text(), st.text(min_size=16))
def test_a_hash_is_the_hmac_sha256_of_the_value_and_nothing_stays_nothing(value: str, key: str) -> None:
    assert hash_value(value, key) == (value and hmac.new(key.encode(), value.encode(), hashlib.sha256).hexdigest())


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
    header = [*NAMES[2:], NAMES[5], "crux_export_uuid", "new"]
    with pytest.raises(CruxInvalidResponseError) as error:
        plan_columns(header, on_unknown_column="fail")
    for problem in (
        "column 'retailer_po_number' is missing; column 'order_uuid' is missing",
        "column 'sku_id' occurs twice",
        "column 'crux_export_uuid' is one that this provider adds",
        "column 'new' is not published, and on_unknown_column is 'fail'",
    ):
        assert problem in str(error.value)


def test_a_long_name_of_a_column_is_shortened_in_messages() -> None:
    plan = plan_columns([*NAMES, "x" * 10_000])
    assert len(plan.warnings[0]) < 250
