"""The values of a Parquet file: what is read, and an error that never shows what cannot be read."""

from __future__ import annotations

import io
import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from airflow_provider_crux.files.columns import COLUMNS, ColumnType
from tests.examples import examples
from tests.transfers.transfer import csv_file, texts_of

if TYPE_CHECKING:
    from tests.transfers.transfer import Transfer

PARQUET = {"file_format": "parquet"}
CONVERTED = {"personal_data": "drop"}
MONEY = [column.name for column in COLUMNS if column.type is ColumnType.MONEY]
CANARY = "canary-4711"


def column(transfer: Transfer, name: str, *values: str) -> list[Any]:
    """Store a file with these values in a column, and return what is read back."""
    body = csv_file(*({name: value} for value in values), columns=["order_uuid", name])
    content = transfer.content(body, **PARQUET)
    return pq.read_table(io.BytesIO(content))[name].to_pylist()


@pytest.mark.parametrize("name", MONEY)
def test_money_is_read_as_the_vendor_writes_it(transfer: Transfer, name: str) -> None:
    money = {
        "14.65": "14.65",
        "": None,
        "  ": None,
        "US$0.00": "0",
        "$12": "12",
        "1,234.50": "1234.5",
        "US$1,234,567.89": "1234567.89",
        "-14.65": "-14.65",
        "-US$2.00": "-2",
        "US$-2.00": "-2",
        "-$.50": "-0.5",
        ".5": "0.5",
        "007.10": "7.1",
        "3.1000": "3.1",
        " 3 ": "3",
        "9999999999999999.99": "9999999999999999.99",
        "-9,999,999,999,999.99": "-9999999999999.99",
    }
    expected = [None if value is None else Decimal(value) for value in money.values()]
    assert column(transfer, name, *money) == expected


def test_a_quantity_is_a_whole_number_of_64_bits(transfer: Transfer) -> None:
    numbers = {
        "": None,
        " 3 ": 3,
        "0": 0,
        "-0": 0,
        "-12": -12,
        "007": 7,
        "999999999999999999": 999999999999999999,
        "+2": 2,
        "2.0": 2,
        "-2.0000": -2,
        "1,000": 1000,
        "-999,999,999,999,999,999.00": -999999999999999999,
    }
    assert column(transfer, "quantity", *numbers) == list(numbers.values())


def test_texts_are_what_they_were(transfer: Transfer) -> None:
    texts = [
        "",
        " ",
        "null",
        "NA",
        "NaN",
        "true",
        "007",
        "1.0",
        "2026-01-01",
        "{}",
        "{'a': 1}",
        "\N{SNOWMAN}\ufeff",
        "\0",
    ]
    assert column(transfer, "sku_title_variants", *texts) == texts


UNREADABLE = {
    "estimated_tax": ["1.234", "1,23", "12,34.00", "€1.00", "EUR 1", "(1.00)", "1e3", "--1", "US$", "-", "NaN", "1 000",
                      "12345678901234567", "٣"],
    "quantity": ["1.5", "1.", ".0", "1,00", "1,0000", "10,00.0", "+-1", "$1", "0x1", "1e3", "1234567890123456789",
                 "1,234,567,890,123,456,789", "9223372036854775808", "1\0"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in UNREADABLE.items() for value in [*values, CANARY]]
)
def test_a_value_that_cannot_be_read_is_named_and_not_shown(transfer: Transfer, name: str, value: str, logged) -> None:
    kind = "a whole number" if name == "quantity" else "an amount of money in US dollars"
    # blank lines and line breaks within a value do not count
    rows = csv_file({}, {"city": "a\r\nb\n\nc"}, {}) + b"\r\n\r\n" + csv_file({name: value}, {}).split(b"\r\n", 1)[1]
    with pytest.raises(AirflowFailException, match=f"the value of column '{name}' in row 4 is not {kind}") as error:
        transfer.run(rows, **PARQUET)
    assert transfer.names == []
    assert transfer.pushed == {}
    assert CANARY not in texts_of(error.value) + logged()


@pytest.mark.slow
def test_a_row_in_a_later_row_group_has_its_number(transfer: Transfer) -> None:
    row = {"city": "x" * 10_000}
    with pytest.raises(AirflowFailException, match="column 'quantity' in row 4001 is not a whole number"):
        transfer.run(csv_file(*[row] * 4000, {"quantity": "two"}, row), **PARQUET)
    assert transfer.names == []


SHORT, LONG = CANARY.encode() + b",1\r\n", b",".join([CANARY.encode()] * 28) + b"\r\n"
NEW_LINE = csv_file({}).split(b"\r\n", 1)[1]


@pytest.mark.parametrize("arguments", [PARQUET, CONVERTED], ids=["parquet", "converted csv"])
@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (SHORT, "row 1 has 2 values instead of 27"),
        (NEW_LINE + b"\r\n\n" + SHORT + NEW_LINE, "row 2 has 2 values instead of 27"),
        (NEW_LINE * 20_000 + LONG + NEW_LINE, "row 20001 has 28 values instead of 27"),
        (NEW_LINE + b'"' + CANARY.encode() + b"\r\nx", "row 2 has a quotation mark that is not closed"),
        (NEW_LINE + b'"' + CANARY.encode() + b'"x\r\n', "row 2 has text after a closing quotation mark"),
        (NEW_LINE + CANARY.encode(), "row 2 has 1 values instead of 27"),
    ],
    ids=["too short", "after blank lines", "too long", "a quote that is never closed", "text after a quote", "cut"],
)
def test_a_row_that_is_not_well_formed_is_numbered_and_not_shown(
    transfer: Transfer, arguments: dict[str, Any], rows: bytes, problem: str, logged
) -> None:
    with pytest.raises(AirflowFailException, match=problem) as error:
        transfer.run(csv_file() + rows, **arguments)
    assert transfer.names == []
    assert CANARY not in texts_of(error.value) + logged()


def test_a_text_that_is_not_utf_8_is_named_and_not_shown(transfer: Transfer, logged) -> None:
    with pytest.raises(AirflowFailException, match="the value of column 'city' in row 2 is not valid UTF-8") as error:
        transfer.run(csv_file({}, {"city": f"{CANARY}\udcff"}), **PARQUET)
    assert transfer.names == []
    assert CANARY not in texts_of(error.value) + logged()


@pytest.mark.parametrize("arguments", [PARQUET, CONVERTED], ids=["parquet", "converted csv"])
@pytest.mark.parametrize("quote", [b'"', b""], ids=["an open quote", "no line end"])
def test_a_record_without_an_end_is_an_error_that_does_not_show_it(
    transfer: Transfer, arguments: dict[str, Any], quote: bytes, logged
) -> None:
    record = quote + CANARY.encode() * (3 * 1024 * 1024 // len(CANARY))
    with pytest.raises(AirflowFailException, match=r"row 2 is longer than 1048576 bytes") as error:
        transfer.run(csv_file({}) + record, **arguments)
    assert transfer.names == []
    assert CANARY not in texts_of(error.value) + logged()


def test_a_record_just_below_the_limit_is_stored(transfer: Transfer) -> None:
    text = "x" * (1024 * 1024 - 1000)
    assert column(transfer, "sku_title_variants", "a", text, text, "b") == ["a", text, text, "b"]


PREFIXES = ("", "-", "$", "US$", "-$", "-US$", "$-", "US$-")


def amount(text: str) -> Decimal | None:
    """Read an amount as the documentation says; a simple second implementation."""
    text = text.strip()
    if not text:
        return None
    prefix = max((prefix for prefix in PREFIXES if text.startswith(prefix)), key=len)
    number = text.removeprefix(prefix)
    first, *groups = number.partition(".")[0].split(",")
    if groups and not (len(first) in (1, 2, 3) and all(len(group) == 3 for group in groups)):
        raise ValueError("thousands")
    digits = number.replace(",", "")
    if not re.fullmatch(r"[0-9]{0,16}(\.[0-9]+)?", digits) or "," in number.partition(".")[2]:
        raise ValueError("digits")
    value = Decimal(digits)
    if value != round(value, 2):
        raise ValueError("cents")
    return -value if "-" in prefix else value


AMOUNTS = st.one_of(
    st.text("0123456789.,-$US ", max_size=8),
    st.builds(
        "{}{}{}".format,
        st.sampled_from(PREFIXES),
        st.one_of(st.integers(0, 10**18).map(str), st.integers(0, 10**12).map("{:,}".format)),
        st.sampled_from(["", ".", ".5", ".50", ".500", ".501", ",5"]),
    ),
)


@pytest.mark.slow
@examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(AMOUNTS, min_size=1, max_size=4))
def test_an_amount_is_read_or_rejected_as_by_a_simple_reference(transfer: Transfer, values: list[str]) -> None:
    expected: list[Decimal | None] = []
    for row, value in enumerate(values, 1):
        try:
            expected.append(amount(value))
        except (ValueError, InvalidOperation):
            with pytest.raises(AirflowFailException, match=f"'dropship_fee' in row {row} is not an amount"):
                column(transfer, "dropship_fee", *values)
            return
    assert column(transfer, "dropship_fee", *values) == expected


@pytest.mark.slow
@examples(30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(-(10**18) + 1, 10**18 - 1), min_size=1))
def test_every_whole_number_of_18_digits_is_read(transfer: Transfer, values: list[int]) -> None:
    assert column(transfer, "quantity", *map(str, values)) == values
