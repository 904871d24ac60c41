"""The manifest beside a stored file."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from airflow_provider_crux import __version__
from airflow_provider_crux.manifest import Manifest
from airflow_provider_crux.sandbox.csv_file import write_csv
from airflow_provider_crux.sandbox.orders import make_order
from airflow_provider_crux.transfers.csv_file import MAX_RECORD_BYTES
from tests.object_store import BUCKET
from tests.transfers.transfer import INTERVAL, csv_file

if TYPE_CHECKING:
    from tests.object_store import ObjectStore
    from tests.transfers.transfer import Transfer

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "manifest.schema.json").read_text())
ORDERS = 500


@pytest.mark.parametrize("arguments", [{}, {"compression": "gzip"}, {"file_format": "parquet"}], ids=str)
def test_a_manifest_describes_the_file(transfer: Transfer, arguments: dict[str, Any]) -> None:
    body = write_csv(make_order(number) for number in range(ORDERS))
    before = datetime.now(UTC)
    path = transfer.run(body, manifest=True, **arguments)
    manifest = json.loads(transfer.target.with_name("orders.csv.manifest.json").read_text())
    jsonschema.validate(manifest, SCHEMA)
    stored_at = datetime.fromisoformat(manifest.pop("stored_at"))
    assert before <= stored_at <= datetime.now(UTC)
    content = transfer.target.read_bytes()
    assert manifest == {
        "version": 1,
        "export_uuid": transfer.export_uuid,
        **INTERVAL,
        "path": path,
        "format": arguments.get("file_format", "csv"),
        "compression": "zstd" if "file_format" in arguments else arguments.get("compression"),
        "personal_data": "keep",
        "rows": sum(len(make_order(number).line_items) for number in range(ORDERS)),
        "orders": ORDERS,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "provider_version": __version__,
    }
    assert Manifest.from_json(transfer.target.with_name("orders.csv.manifest.json").read_bytes()).period == (
        datetime(2026, 1, 4, tzinfo=UTC),
        datetime(2026, 1, 5, tzinfo=UTC),
    )


def test_a_manifest_is_replaced_with_its_file(transfer: Transfer) -> None:
    transfer.run(csv_file({}), manifest=True)
    transfer.run(csv_file({}, {}), manifest=True, overwrite=True)
    manifest = Manifest.from_json(transfer.target.with_name("orders.csv.manifest.json").read_bytes())
    assert (manifest.rows, manifest.orders, manifest.bytes) == (2, 1, transfer.target.stat().st_size)
    assert transfer.names == ["orders.csv", "orders.csv.manifest.json"]


def test_a_manifest_is_stored_beside_its_file_in_s3(transfer: Transfer, s3: ObjectStore) -> None:
    transfer.run(path=f"s3://aws_loopback@{BUCKET}/dt={{interval_start:%Y-%m-%d}}/a.csv", manifest=True)
    assert sorted(s3.names()) == ["dt=2026-01-04/a.csv", "dt=2026-01-04/a.csv.manifest.json"]
    manifest = Manifest.from_json(s3.content("dt=2026-01-04/a.csv.manifest.json"))
    assert manifest.bytes == len(s3.content("dt=2026-01-04/a.csv"))


@pytest.mark.parametrize(
    ("body", "orders"),
    [
        (b"a,b\r\n1,2\r\n", None),
        (b"a,order_uuid\r\n1\r\n", None),
        (b"a,order_uuid\r\n" + b"x" * (MAX_RECORD_BYTES + 1) + b",1\r\n", None),
        (b"a,order_uuid\r\n\xff,1\r\n\xfe,1\r\n", 1),
    ],
    ids=["no such column", "a short row", "a long field", "invalid UTF-8"],
)
def test_an_odd_file_is_stored_byte_for_byte(transfer: Transfer, body: bytes, orders: int | None) -> None:
    assert transfer.content(body, manifest=True) == body
    manifest = Manifest.from_json(transfer.target.with_name("orders.csv.manifest.json").read_bytes())
    assert manifest.orders == orders
    assert manifest.bytes == len(body)


@pytest.mark.parametrize(
    "content",
    [b"[]", b'{"version": 2}', b'{"version": 1}'],
)
def test_what_is_no_manifest_is_an_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a manifest of version 1|fields are missing"):
        Manifest.from_json(content)
