"""Personal data: no value of a personal column is in anything that is written, unless the DAG keeps it."""

from __future__ import annotations

import csv
import gzip
import hmac
import io
import traceback
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_crux.columns import COLUMNS
from tests.transfers.transfer import ROW, STATUS_PATH, csv_file, parse, statuses

if TYPE_CHECKING:
    from tests.transfers.transfer import Transfer

HASH_KEY = "a key of the tests, 32 characters"
# of the test's own: what the issue lists as personal
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
CANARY = "canary"
ROWS = 10_000
FORMATS: list[dict[str, Any]] = [{}, {"compression": "gzip"}, {"file_format": "parquet"}]


@pytest.fixture
def transfer(transfer: Transfer, connect) -> Transfer:
    """Return a transfer whose connection has a hash key."""
    settings = transfer.sandbox.settings
    connect(host=transfer.sandbox.url, password=settings.token, extra={"hash_key": HASH_KEY, "max_retries": 0})
    return transfer


@cache
def canaries() -> bytes:
    """Return 10,000 rows with a canary in every personal column and in one that is not published."""
    names = [*ROW, "nickname"]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows(
        [f"{CANARY} {number} {name}" if name in {*PERSONAL, "nickname"} else ROW[name] for name in names]
        for number in range(ROWS)
    )
    return text.getvalue().encode("utf-8-sig")


def rows_of(content: bytes, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a stored file."""
    if arguments.get("file_format") == "parquet":
        return pq.read_table(io.BytesIO(content)).to_pylist()
    return parse(gzip.decompress(content) if "compression" in arguments else content)


def test_the_schema_knows_what_is_personal() -> None:
    assert {column.name for column in COLUMNS if column.personal} == PERSONAL


@pytest.mark.parametrize("personal_data", ["drop", "hash"])
@pytest.mark.parametrize("arguments", FORMATS, ids=str)
def test_no_personal_value_is_written(
    transfer: Transfer, logged, caplog: pytest.LogCaptureFixture, arguments: dict[str, Any], personal_data: str
) -> None:
    content = transfer.content(canaries(), personal_data=personal_data, manifest=True, **arguments)
    rows = rows_of(content, arguments)
    manifest = transfer.target.with_name("orders.csv.manifest.json").read_text()
    everything = "".join([str(rows), manifest, logged(), caplog.text, repr(transfer.pushed)])
    if "compression" not in arguments:
        everything += content.decode("latin-1")
    assert len(rows) == ROWS
    assert CANARY not in everything
    assert HASH_KEY not in everything
    assert "Column 'nickname' of the file is not published: it is not stored" in caplog.text
    kept = set(ROW) - (PERSONAL if personal_data == "drop" else set())
    assert {name for name in rows[0] if not name.startswith("crux_")} == kept
    assert rows[0]["city"] == ROW["city"]


def test_the_search_finds_what_is_kept(transfer: Transfer) -> None:
    content = transfer.content(canaries())
    assert content == canaries()
    assert content.count(CANARY.encode()) == ROWS * (len(PERSONAL) + 1)


@pytest.mark.parametrize("arguments", FORMATS, ids=str)
def test_a_hash_is_the_hmac_of_the_value(transfer: Transfer, arguments: dict[str, Any]) -> None:
    body = csv_file({"name": "Zoë Faber"}, {"name": ""}, {"name": "Zoë Faber"})
    names = [row["name"] for row in rows_of(transfer.content(body, personal_data="hash", **arguments), arguments)]
    digest = hmac.new(HASH_KEY.encode(), "Zoë Faber".encode(), "sha256").hexdigest()
    assert names == [digest, "", digest]


def test_without_a_key_the_task_fails_before_anything_is_sent(transfer: Transfer, connect) -> None:
    connect(host=transfer.sandbox.url, password=transfer.sandbox.settings.token)
    with pytest.raises(AirflowFailException, match="connection 'crux_default': extra hash_key: it is empty"):
        transfer.run(personal_data="hash")
    assert statuses(transfer.sandbox, STATUS_PATH) == []


def test_a_short_key_is_rejected_and_not_shown(transfer: Transfer, connect) -> None:
    connect(host=transfer.sandbox.url, password=transfer.sandbox.settings.token, extra={"hash_key": "short-key"})
    with pytest.raises(AirflowFailException, match="extra hash_key: the value is not a text of 16") as raised:
        transfer.run(personal_data="hash")
    assert "short-key" not in "".join(traceback.format_exception(raised.value))


def test_the_key_is_in_no_repr(transfer: Transfer) -> None:
    from airflow_provider_crux.hooks.crux import CruxHook

    settings = CruxHook().settings
    assert settings.hash_key == HASH_KEY
    assert HASH_KEY not in repr(settings)
    assert HASH_KEY in settings.secrets
