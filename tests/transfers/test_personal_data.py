"""Personal data: nothing of it is stored where it is dropped or hashed, nor written anywhere else."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import io
import json
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_crux.files.columns import EXPORT_COLUMNS
from airflow_provider_crux.hooks import crux
from airflow_provider_crux.hooks.crux import CruxHook
from airflow_provider_crux.sandbox.csv_file import COLUMNS
from tests.transfers.transfer import csv_file, make_operator, parse, resume, texts_of

if TYPE_CHECKING:
    from tests.transfers.transfer import Transfer

KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
NAMES = list(COLUMNS)
PERSONAL = [
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
]
OTHERS = [name for name in NAMES if name not in PERSONAL]
FORMATS = {
    "csv": {},
    "gzip": {"compression": "gzip"},
    "csv with export columns": {"add_export_columns": True},
    "parquet": {"file_format": "parquet"},
}
formats = pytest.mark.parametrize("arguments", FORMATS.values(), ids=FORMATS)


@pytest.fixture(autouse=True)
def hash_key(transfer: Transfer, connect) -> None:
    """Add the key to the connection."""
    settings = transfer.sandbox.settings
    connect(host=transfer.sandbox.url, password=settings.token, extra={"max_retries": 0, "hash_key": KEY})


def with_canaries(rows: int, **others: str) -> bytes:
    """Return a file with a canary in every personal value, and in a column that is unknown."""
    columns = [*NAMES[:14], "email", *NAMES[14:]]
    values = ({name: f"canary {row} of {name}\n" for name in (*PERSONAL, "email")} | others for row in range(rows))
    return csv_file(*values, columns=columns)


def hash_of(value: str, key: str = KEY) -> str:
    return hmac.new(key.encode(), value.encode(), hashlib.sha256).hexdigest()


def everything_in(content: bytes) -> str:
    """Return the bytes of a file and all that readers make of them."""
    texts = [content.decode("latin-1")]
    if content.startswith(b"\x1f\x8b"):
        texts.append(gzip.decompress(content).decode())
    elif content.startswith(b"PAR1"):
        file = pq.ParquetFile(io.BytesIO(content))
        statistics = [file.metadata.row_group(group).to_dict() for group in range(file.metadata.num_row_groups)]
        texts += [str(file.read().to_pylist()), str(file.metadata.metadata), str(statistics)]
    return "\n".join(texts)


def rows_of(content: bytes) -> list[dict[str, Any]]:
    if content.startswith(b"PAR1"):
        return pq.read_table(io.BytesIO(content)).to_pylist()
    return parse(gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content)


@pytest.mark.slow
@formats
@pytest.mark.parametrize("personal_data", ["drop", "hash"])
def test_no_personal_value_is_in_the_stored_bytes_or_written_elsewhere(
    transfer: Transfer, arguments: dict[str, Any], personal_data: str, logged, caplog
) -> None:
    content = transfer.content(with_canaries(10_000), personal_data=personal_data, manifest=True, **arguments)
    assert len(rows_of(content)) == 10_000
    manifest = transfer.target.with_name("_orders.csv.manifest.json").read_text()
    other_texts = [manifest, json.dumps(transfer.pushed), logged(), caplog.text]
    reason = f"it may contain personal data (personal_data={personal_data!r})"
    assert f"Column 'email' is unknown: it is not stored, because {reason}" in caplog.text
    assert json.loads(manifest)["personal_data"] == personal_data
    for text in (everything_in(content), *other_texts):
        assert "canary" not in text
    for broken in (b"canary 1,canary 2\r\n", b'"canary'):
        with pytest.raises(AirflowFailException, match="row 3 has") as error:
            transfer.content(with_canaries(2) + broken, personal_data=personal_data, **arguments)
        assert "canary" not in texts_of(error.value) + logged() + caplog.text
    assert transfer.target.read_bytes() == content
    assert transfer.names == ["_orders.csv.manifest.json", "orders.csv"]


@formats
def test_the_search_finds_what_is_kept(transfer: Transfer, arguments: dict[str, Any]) -> None:
    assert "canary 6 of postal_code" in everything_in(transfer.content(with_canaries(7), **arguments))


@formats
def test_dropped_columns_are_missing_and_the_others_unchanged(transfer: Transfer, arguments: dict[str, Any]) -> None:
    rows = rows_of(transfer.content(with_canaries(3, city="Zürich"), personal_data="drop", **arguments))
    added = [column.name for column in EXPORT_COLUMNS]
    is_added = "file_format" in arguments or "add_export_columns" in arguments
    assert list(rows[0]) == OTHERS + (added if is_added else [])
    assert [(row["city"], row["sku_id"]) for row in rows] == [("Zürich", "sku_id 1")] * 3


@formats
def test_hashes_are_those_of_the_standard_library(transfer: Transfer, arguments: dict[str, Any]) -> None:
    """So equal values are equal in every file and format, and whoever has the key can find a person."""
    people = ["Zoë Faber", "山田 花子", 'Ann "Nan" O\'Dell', "", " ", "Zoë Faber", "two\r\nlines", "NULL"]
    values = [dict.fromkeys(PERSONAL, person) for person in people]
    rows = rows_of(transfer.content(csv_file(*values), personal_data="hash", **arguments))
    assert list(rows[0])[:27] == NAMES
    for name in PERSONAL:
        assert [row[name] for row in rows] == [hash_of(person) if person else "" for person in people]
    assert {row["city"] for row in rows} == {"city 1"}


def test_another_key_gives_other_hashes(transfer: Transfer, connect) -> None:
    other = "key that differs from the first"
    connect(host=transfer.sandbox.url, password=transfer.sandbox.settings.token, extra={"hash_key": other})
    (row,) = rows_of(transfer.content(csv_file({"name": "Zoë Faber"}), personal_data="hash"))
    assert row["name"] == hash_of("Zoë Faber", other) != hash_of("Zoë Faber")


def test_a_value_that_is_not_utf_8_is_hashed_as_its_bytes_in_csv(transfer: Transfer) -> None:
    (row,) = rows_of(transfer.content(csv_file({"name": "Z\udcfc"}), personal_data="hash"))
    assert row["name"] == hmac.new(KEY.encode(), b"Z\xfc", hashlib.sha256).hexdigest()


@pytest.mark.parametrize("extra", [{}, {"hash_key": ""}, {"hash_key": None}])
def test_without_a_key_the_task_fails_before_anything_is_sent(transfer: Transfer, connect, extra: Any) -> None:
    connect(host=transfer.sandbox.url, password=transfer.sandbox.settings.token, extra=extra)
    before = transfer.sandbox.requests
    operator = make_operator(transfer.export_uuid, transfer.target, personal_data="hash")
    for run in (
        lambda: operator.execute(transfer.context_with()),
        lambda: resume(operator, transfer.context_with(), export_uuid=transfer.export_uuid, state="done"),
    ):
        with pytest.raises(AirflowFailException, match=r"'crux_default': extra hash_key: it is empty.*set it"):
            run()
    assert transfer.sandbox.requests == before
    assert transfer.names == []


@pytest.mark.parametrize("key", ["canary 4711", ["canary 4711 canary"], 4711_4711_4711_4711_4711])
def test_a_key_that_is_too_weak_is_rejected_and_not_shown(transfer: Transfer, connect, key: object, logged) -> None:
    connect(host=transfer.sandbox.url, password=transfer.sandbox.settings.token, extra={"hash_key": key})
    for personal_data in ("hash", "keep"):
        with pytest.raises(AirflowFailException, match="extra hash_key: the value is not a text of 16 char") as error:
            transfer.content(personal_data=personal_data)
        assert "4711" not in texts_of(error.value) + logged()


@formats
def test_the_key_is_shown_nowhere(transfer: Transfer, arguments: dict[str, Any], logged, caplog, monkeypatch) -> None:
    masked: list[object] = []
    monkeypatch.setattr(crux, "mask_secret", masked.append)
    content = transfer.content(csv_file({}, {}), personal_data="hash", manifest=True, **arguments)
    texts = [everything_in(content), transfer.target.with_name("_orders.csv.manifest.json").read_text()]
    texts += [json.dumps(transfer.pushed), repr(CruxHook().settings), str(CruxHook().settings)]
    with pytest.raises(AirflowFailException) as error:
        transfer.content(csv_file({}, columns=[*NAMES, "name"]), personal_data="hash", **arguments)
    texts.append(texts_of(error.value))
    transfer.sandbox.respond_next("/api/data/export/", 400, body=f"<p>{KEY}</p>".encode())
    with pytest.raises(AirflowFailException, match="HTTP 400") as error:
        transfer.content(personal_data="hash", **arguments)
    texts += [texts_of(error.value), logged(), caplog.text]
    assert not [text for text in texts if KEY in text]
    assert KEY in masked
