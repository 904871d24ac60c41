"""CSV that is compressed, or gets other columns: what stays is unchanged."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_crux.sandbox.csv_file import write_csv
from airflow_provider_crux.sandbox.orders import make_order
from airflow_provider_crux.transfers.csv_file import MAX_RECORD_BYTES
from tests.transfers.transfer import INTERVAL, csv_file, parse

if TYPE_CHECKING:
    from tests.transfers.transfer import Transfer

BODY = write_csv(make_order(number) for number in range(1000))


def test_gzip_holds_the_bytes_as_served_and_is_the_same_every_time(transfer: Transfer) -> None:
    first = transfer.content(BODY, compression="gzip")
    assert gzip.decompress(first) == BODY
    assert transfer.content(BODY, compression="gzip") == first
    assert transfer.pushed["export_file"]["bytes"] == len(first)


def test_export_columns_are_added_and_all_values_stay(transfer: Transfer) -> None:
    content = transfer.content(BODY, add_export_columns=True)
    added = {
        "crux_export_uuid": transfer.export_uuid,
        "crux_interval_start": INTERVAL["interval_start"],
        "crux_interval_end": INTERVAL["interval_end"],
    }
    assert content.startswith(b"\xef\xbb\xbfretailer_po_number,")
    assert parse(content) == [row | added for row in parse(BODY)]
    assert transfer.pushed["export_file"]["rows"] == len(parse(BODY))


def test_values_that_are_not_personal_stay(transfer: Transfer) -> None:
    rows = parse(transfer.content(BODY, personal_data="drop"))
    assert rows == [{name: row[name] for name in rows[0]} for row in parse(BODY)]


def test_invalid_utf_8_stays(transfer: Transfer) -> None:
    body = csv_file({"city": "Montr\udce9al"})
    assert b"Montr\xe9al" in transfer.content(body, add_export_columns=True)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (csv_file({}) + b"1,2\r\n", "row 2 has 2 values instead of 27"),
        (csv_file({}, {"name": "x" * (MAX_RECORD_BYTES + 1)}), "row 2 is longer than"),
    ],
)
def test_a_row_that_cannot_be_read_fails_the_task(transfer: Transfer, body: bytes, problem: str) -> None:
    with pytest.raises(AirflowFailException, match=problem):
        transfer.run(body, add_export_columns=True)
    assert transfer.names == []


def test_rows_that_a_second_count_does_not_confirm_are_not_stored(
    transfer: Transfer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_crux.transfers.csv_file.RecordCounter.rows", 7)
    with pytest.raises(AirflowFailException, match="it has 7 rows, but 1 were read"):
        transfer.run(csv_file({}), add_export_columns=True)
    assert transfer.names == []
