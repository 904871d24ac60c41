"""An export as CSV: converted or not, compressed or not; what stays unchanged, and what odd files do."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from airflow_provider_crux.files import records as records_module
from airflow_provider_crux.files.columns import COLUMNS, ColumnType
from airflow_provider_crux.sandbox.csv_file import COLUMNS as SAMPLE
from airflow_provider_crux.transport import download as files
from tests.examples import examples
from tests.transfers.transfer import FILE_PATH, INTERVAL, csv_file, file_content, parse

if TYPE_CHECKING:
    from tests.transfers.transfer import Transfer

BOM = b"\xef\xbb\xbf"
NAMES = list(SAMPLE)
TEXTS = [column.name for column in COLUMNS if column.type is ColumnType.TEXT and column.name in NAMES]
EXPORT_COLUMNS = ["crux_export_uuid", "crux_interval_start", "crux_interval_end", "crux_requested_at"]


def records(content: bytes) -> list[list[str]]:
    """Return the records with the header as Python's parser reads them, without blank lines."""
    text = io.StringIO(content.decode("utf-8-sig", errors="surrogateescape"), newline="")
    return [record for record in csv.reader(text) if record]


def test_the_columns_of_the_export_are_added_at_the_end(transfer: Transfer) -> None:
    original = file_content(transfer.export_uuid)
    stored = transfer.content(add_export_columns=True)
    assert stored.startswith(BOM + b"retailer_po_number,")
    added = [transfer.export_uuid, *(INTERVAL[name] for name in ("interval_start", "interval_end", "requested_at"))]
    header, *rows = records(original)
    assert records(stored) == [header + EXPORT_COLUMNS, *(row + added for row in rows)]
    assert len(rows) == transfer.pushed["export_file"]["rows"] > 0


def test_without_an_upstream_task_the_added_interval_is_empty(transfer: Transfer) -> None:
    transfer.run(csv_file({}), upstream=[], add_export_columns=True)
    added = [row[-4:] for row in records(transfer.target.read_bytes())]
    assert added == [EXPORT_COLUMNS, [transfer.export_uuid, "", "", ""]]


def test_a_compressed_file_is_the_same_file(transfer: Transfer) -> None:
    body = file_content(transfer.export_uuid)
    stored = transfer.content(compression="gzip")
    assert gzip.decompress(stored) == body
    file = transfer.pushed["export_file"]
    assert (file["bytes"], file["sha256"]) == (len(stored), hashlib.sha256(stored).hexdigest())
    assert file["rows"] == len(records(body)) - 1
    # neither its name nor its time is in it
    assert transfer.content(compression="gzip", path=f"file://{transfer.target}.gz") == stored
    assert transfer.target.with_name("orders.csv.gz").read_bytes() == stored
    assert stored[4:8] == bytes(4)


def test_a_converted_file_can_be_compressed(transfer: Transfer) -> None:
    arguments = {"add_export_columns": True, "personal_data": "drop"}
    assert gzip.decompress(transfer.content(compression="gzip", **arguments)) == transfer.content(**arguments)


def test_only_the_columns_that_are_dropped_change_a_converted_file(transfer: Transfer) -> None:
    original = file_content(transfer.export_uuid)
    personal = {column.name for column in COLUMNS if column.personal}
    rows = parse(transfer.content(personal_data="drop"))
    assert rows == [{name: row[name] for name in NAMES if name not in personal} for row in parse(original)]


@pytest.mark.parametrize("beginning", [b"", BOM])
@pytest.mark.parametrize("line_end", [b"\r\n", b"\n", b"\r"])
def test_a_converted_file_has_a_byte_order_mark_and_crlf(transfer: Transfer, beginning: bytes, line_end: bytes) -> None:
    content = csv_file({"city": "a"}, {"city": "b"}).removeprefix(BOM).replace(b"\r\n", line_end)
    stored = transfer.content(beginning + content.rstrip(line_end), add_export_columns=True)
    assert stored.startswith(BOM + b"retailer")
    assert not stored.startswith(BOM * 2)
    assert [row["city"] for row in parse(stored)] == ["a", "b"]
    assert stored.count(b"\r\n") == stored.count(b"\n") == stored.count(b"\r") == 3


ODD = {
    "no order_uuid": b"a,b\r\n1,2\r\n3,4\r\n",
    "a row too short for order_uuid": b"a,order_uuid\r\n1,u\r\n2\r\n3,v\r\n",
    "a line longer than the limit": b"order_uuid,b\r\nu,1\r\n" + b"x" * (3 << 20) + b"\r\nv,1\r\n",
    "a quoted field longer than the limit": b'order_uuid,b\r\nu,"' + b"x\r\n" * (1 << 20) + b'"\r\nv,1\r\n',
}


@pytest.mark.parametrize("body", ODD.values(), ids=ODD)
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_file_in_which_orders_cannot_be_counted_is_stored_byte_for_byte(
    transfer: Transfer, body: bytes, compression: str | None
) -> None:
    stored = transfer.content(body, manifest=True, compression=compression)
    assert (gzip.decompress(stored) if compression else stored) == body
    manifest = json.loads(transfer.target.with_name("_orders.csv.manifest.json").read_bytes())
    assert (manifest["orders"], manifest["rows"]) == (None, len(records_of_any_length(body)) - 1)


def records_of_any_length(content: bytes) -> list[list[str]]:
    previous = csv.field_size_limit(1 << 30)
    try:
        return records(content)
    finally:
        csv.field_size_limit(previous)


def test_what_is_not_utf_8_is_stored_and_counted(transfer: Transfer) -> None:
    body = b"order_uuid,b\r\n\xff,1\r\n\xfe,1\r\n\xff,\xc3\r\n"
    assert transfer.content(body, manifest=True) == body
    manifest = json.loads(transfer.target.with_name("_orders.csv.manifest.json").read_bytes())
    assert (manifest["orders"], manifest["rows"]) == (2, 3)


def test_what_is_not_utf_8_stays_what_it_is_in_a_converted_file(transfer: Transfer) -> None:
    (row,) = parse(transfer.content(csv_file({"city": "Z\udcfcrich"}), add_export_columns=True))
    assert row["city"] == "Z\udcfcrich"


def test_the_limit_of_other_parsers_in_the_process_stays(transfer: Transfer) -> None:
    before = csv.field_size_limit()
    transfer.content(csv_file({}), personal_data="drop", manifest=True)
    with pytest.raises(AirflowFailException):
        transfer.content(csv_file({}) + b"1,2\r\n", personal_data="drop")
    transfer.content(ODD["a quoted field longer than the limit"], manifest=True)
    assert csv.field_size_limit() == before


def without(characters: str) -> dict[int, None]:
    return {ord(character): None for character in characters}


# what stands between two commas, in all the ways that Python's parser accepts in strict mode
TEXT = st.text('ab ,"\r\n\t\0\x1c\x85é山\u2028\ufeff', max_size=10)
PLAIN = TEXT.map(lambda text: text.translate(without(',\r\n"')))
QUOTED = TEXT.map(lambda text: '"' + text.replace('"', '""') + '"')
WITH_QUOTES = TEXT.map(lambda text: text.translate(without(",\r\n")))
FIELD = st.one_of(
    PLAIN,
    QUOTED,
    st.tuples(PLAIN.filter(bool), WITH_QUOTES).map("".join),
)
ROWS = st.lists(
    st.tuples(
        st.lists(FIELD, min_size=3, max_size=3),
        st.integers(0, len(TEXTS) - 3),
        st.sampled_from(["\r\n", "\n", "\r", "\n\n", "\r\r\n", "\r\n\r\n"]),
    ),
    max_size=12,
)


@pytest.mark.slow
@examples(80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS, st.sampled_from(["utf-8", "utf-8-sig"]), st.booleans())
def test_odd_values_are_read_as_pythons_parser_reads_them(
    transfer: Transfer, monkeypatch, rows: list[tuple[list[str], int, str]], encoding: str, ended: bool
) -> None:
    """In chunks and blocks that end in the middle of fields, quotes, characters and line ends."""
    monkeypatch.setattr(files, "CHUNK_BYTES", 97)
    monkeypatch.setattr(records_module, "MAX_RECORD_BYTES", 700)
    text = ",".join(NAMES) + "\r\n"
    for fields, at, line_end in rows:
        row = dict.fromkeys(NAMES, "") | dict(zip(TEXTS[at : at + 3], fields, strict=True)) | {"order_uuid": "o"}
        text += ",".join(row.values()) + line_end
    body = (text if ended else text.rstrip("\r\n")).encode(encoding)
    expected = records(body)
    parquet = pq.read_table(io.BytesIO(transfer.content(body, file_format="parquet")))
    columns = [["" if value is None else value for value in parquet[name].to_pylist()] for name in NAMES]
    assert [list(row) for row in zip(*columns, strict=True)] == expected[1:]
    converted = records(transfer.content(body, add_export_columns=True))
    assert [record[:-4] for record in converted] == expected
    assert transfer.content(body, manifest=True) == body
    manifest = json.loads(transfer.target.with_name("_orders.csv.manifest.json").read_bytes())
    assert (manifest["rows"], manifest["orders"]) == (len(expected) - 1, len({record[1] for record in expected[1:]}))


@pytest.mark.slow
def test_csv_needs_no_pyarrow(transfer: Transfer) -> None:
    """In a process of its own, in which pyarrow cannot be imported."""
    code = """
        import sys
        sys.modules["pyarrow"] = None
        from types import SimpleNamespace
        from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator
        _, uuid, path = sys.argv
        operator = CruxExportToObjectStorageOperator(
            task_id="store", export_uuid=uuid, path=path, manifest=True, compression="gzip", personal_data="drop"
        )
        ti = SimpleNamespace(dag_id="d", run_id="r", map_index=-1, xcom_push=lambda key, value: None)
        operator.execute({"ti": ti})
        assert not [name for name in sys.modules if name.startswith("pyarrow.")]
    """
    command = [sys.executable, "-c", textwrap.dedent(code), transfer.export_uuid, f"file://{transfer.target}"]
    subprocess.run(command, check=True, capture_output=True)
    assert transfer.names == ["_orders.csv.manifest.json", "orders.csv"]
    assert [entry["status"] for entry in transfer.sandbox.requests if entry["path"].startswith(FILE_PATH)] == [200]
