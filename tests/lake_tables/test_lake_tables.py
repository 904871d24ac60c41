"""The functions of docs/lake-tables.md merge stored files into tables of Iceberg and Delta."""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import assume, given

from tests.examples import examples
from tests.lake_tables.formats import NAME, PAGE, Delta, Format, Iceberg, recipe
from tests.merges import STAGED_COLUMNS, Export, Loads, Row, latest, loads, rows_of
from tests.object_store import BUCKET, ObjectStore
from tests.test_file_pages import blocks
from tests.transfers.transfer import csv_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.transfers.transfer import Transfer

INSTANT = pa.timestamp("us", tz="UTC")
TYPES = {"quantity": pa.int64()} | dict.fromkeys(
    ("crux_interval_start", "crux_interval_end", "crux_requested_at"), INSTANT
)
# as the transfer writes them: texts are never null
SCHEMA = pa.schema([pa.field(name, TYPES.get(name, pa.string()), nullable=name in TYPES) for name in STAGED_COLUMNS])

# the first two exports were requested at the same moment; then the time and the UUIDs are in opposite order
UUIDS = {"u0": "u0", "u1": "u1", "u2": "t2", "u3": "s3"}

formats = pytest.mark.parametrize("format_", [Iceberg, Delta])
slow = partial(pytest.param, marks=pytest.mark.slow)


def with_uuids(rows: list[Row]) -> list[Row]:
    return [tuple(UUIDS.get(value, value) for value in row) for row in rows]


def store(folder: Path, number: int, export: Export, **columns: str) -> Path:
    """Write a file as the transfer does. Its number decides when its export was requested."""
    rows = [dict(zip(STAGED_COLUMNS, row, strict=True)) | columns for row in with_uuids(rows_of(number, export))]
    path = folder / f"{number}.parquet"
    schema = pa.schema([*SCHEMA, *(pa.field(name, pa.string(), nullable=False) for name in columns)])
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows, schema), path)
    return path


def tuples(table: pa.Table, names: Sequence[str] = STAGED_COLUMNS) -> list[tuple[Any, ...]]:
    return sorted((tuple(row[name] for name in names) for row in table.to_pylist()), key=repr)


def quantities(table: pa.Table) -> list[tuple[str, int]]:
    return tuples(table, ["order_uuid", "quantity"])


@pytest.mark.slow
@formats
@examples(12)
@given(history=loads())
def test_whatever_the_order_of_the_merges_the_table_holds_the_latest_export_of_each_order(
    format_: type[Format], history: Loads
) -> None:
    merges = [numbers for numbers in history.runs if numbers]
    assume(merges)
    with tempfile.TemporaryDirectory() as name:
        table = format_(Path(name))
        files = [store(Path(name), number, export) for number, export in enumerate(history.exports)]
        for numbers in merges:
            table.merge(*(files[number] for number in numbers))
        expected = latest({number: history.exports[number] for numbers in merges for number in numbers})
        rows = [row for order in expected for row in rows_of(*order)]
        assert tuples(table.rows()) == sorted(with_uuids(rows), key=repr)


@formats
@pytest.mark.parametrize(
    "numbers", [(2, 0, 1), *(slow(order) for order in permutations(range(3)) if order != (2, 0, 1))], ids=str
)
def test_of_three_exports_the_latest_wins_and_the_uuid_decides_between_equal_times(
    format_, numbers: tuple[int, ...], tmp_path: Path
) -> None:
    exports_ = [{"x": [("a", 0)], "y": [("a", 0)]}, {"y": [("a", 1), ("b", 1)]}, {"x": [("a", 2), ("a", 2)]}]
    table = format_(tmp_path)
    for number in numbers:
        table.merge(store(tmp_path, number, exports_[number]))
    assert quantities(table.rows()) == [("x", 2), ("x", 2), ("y", 1), ("y", 1)]


@formats
def test_a_merge_is_one_commit_before_and_after_which_no_order_is_missing(format_, tmp_path: Path) -> None:
    table = format_(tmp_path)
    table.merge(store(tmp_path, 1, {"x": [("a", 1), ("b", 1)], "y": [("a", 1)]}))
    before = table.published()
    table.merge(store(tmp_path, 2, {"x": [("a", 2), ("a", 2)], "z": [("a", 2)]}, city="Basel"))
    published = table.published()
    assert len(published) == len(before) + 1
    assert quantities(published[-2]) == [("x", 1), ("x", 1), ("y", 1)]
    assert quantities(published[-1]) == [("x", 2), ("x", 2), ("y", 1), ("z", 2)]
    assert tuples(published[-1], ["order_uuid", "city"])[2:] == [("y", None), ("z", "Basel")]
    for number in (2, 1):
        table.merge(tmp_path / f"{number}.parquet")
    assert len(table.published()) == len(published), "what the table has from the same or a later export is no commit"
    table.merge(store(tmp_path, 3, {"z": [("a", 3)]}))
    assert tuples(table.rows(), ["order_uuid", "city"])[2:] == [("y", None), ("z", None)]


def test_the_history_of_iceberg_has_the_state_in_between_as_the_page_says(tmp_path: Path) -> None:
    iceberg = Iceberg(tmp_path)
    for number in (1, 2):
        iceberg.merge(store(tmp_path, number, {"x": [("a", number)]}))
    table = iceberg.catalog.load_table(NAME)
    states = [
        quantities(table.scan(snapshot_id=snapshot.snapshot_id).to_arrow()) for snapshot in table.metadata.snapshots
    ]
    assert states == [[("x", 1)], [], [("x", 2)]]


@formats
@pytest.mark.parametrize(
    "orders", [pytest.param(["x"], id="of both"), slow(["z"], id="new in both"), slow([], id="of an empty table")]
)
def test_a_merge_that_another_one_overtakes_fails_and_its_retry_succeeds(
    format_, tmp_path: Path, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one commits after this one has read the table: this one must not add an older or a second state."""
    table = format_(tmp_path)
    if orders:
        table.merge(store(tmp_path, 1, {"x": [("a", 1)]}))
    older, newer = (store(tmp_path, number, {order: [("a", number)] for order in orders or "x"}) for number in (2, 3))
    later_than, others = recipe().later_than, [newer]

    def other_first(*arguments: Any) -> pa.Table:
        if others:
            table.merge(others.pop())
        return later_than(*arguments)

    monkeypatch.setattr(recipe(), "later_than", other_first)
    with pytest.raises(table.conflict()):
        table.merge(older)
    merged = table.published()
    table.merge(older)
    assert len(table.published()) == len(merged)
    expected = {"x": 1} if orders else {}
    assert quantities(table.rows()) == sorted((expected | dict.fromkeys(orders or "x", 3)).items())


@formats
def test_names_that_differ_only_in_case_fail_and_change_nothing(format_, tmp_path: Path) -> None:
    table = format_(tmp_path)
    table.merge(store(tmp_path, 1, {"x": [("a", 1)]}))
    before = table.published()
    with pytest.raises(Exception, match=r"field names are not matching|Duplicate field name"):
        table.merge(store(tmp_path, 2, {"x": [("a", 2)]}, Gift="1", gift="2"))
    assert table.published() == before


@formats
@pytest.mark.parametrize("place", ["disk", slow("S3")])
def test_duckdb_and_polars_read_what_the_transfer_stored(
    format_, place: str, transfer: Transfer, s3: ObjectStore, tmp_path: Path
) -> None:
    folder = f"s3://aws_loopback@{BUCKET}" if place == "S3" else f"file://{tmp_path}"
    files = []
    for minute, orders in enumerate([{"1": "01234", "2": "1"}, {"1": "01235"}]):
        body = csv_file(*({"order_uuid": order, "postal_code": code} for order, code in orders.items()))
        upstream = transfer.interval | {"requested_at": f"2026-01-05T00:1{minute}:00+00:00"}
        path = f"{folder}/{minute}.parquet"
        files.append(transfer.run(body, path=path, upstream=[upstream], file_format="parquet"))
    table = format_(tmp_path, s3 if place == "S3" else None)
    for file in reversed(files):
        table.merge(file)
    stored = recipe().read(files)
    assert stored.num_rows == 3
    assert {field.type for field in stored.schema} == {pa.string(), pa.int64(), pa.decimal128(18, 2), INSTANT}
    expected = tuples(stored.filter([False, True, True]), stored.column_names)
    for rows in (table.rows(), *table.read()):
        assert tuples(rows, stored.column_names) == expected
        assert rows.column_names == stored.column_names
        assert rows.schema.field("dropship_fee").type == pa.decimal128(18, 2)
    assert bool(s3.names()) == (place == "S3")


def test_the_dag_of_the_page_merges_each_day(
    sandbox, connect, make_context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyiceberg.catalog import load_catalog

    connect(host=sandbox.url, password=sandbox.settings.token)
    iceberg = Iceberg(tmp_path)
    # pyiceberg reads its configuration when it is imported
    monkeypatch.setattr("pyiceberg.catalog.load_catalog", lambda name: load_catalog(name, **iceberg.properties))
    monkeypatch.setitem(sys.modules, "lake_tables", recipe())
    names: dict[str, Any] = {"__name__": "example"}
    exec(blocks(PAGE, "python", "with DAG(")[0].replace("s3://aws_lake@orders", f"file://{tmp_path}"), names)
    export, store_, merge = (names["export"].dag.get_task(name) for name in ("export", "store", "merge"))
    files = []
    for day in (3, 2):
        export.interval_start, export.interval_end = "2026-01-01", f"2026-01-0{day}"
        export.lookback = None
        context = make_context(dag=export.dag, params={})
        store_.export_uuid = export.execute(context)
        files.append(store_.execute(make_context(upstream=[context["ti"].pushed["export_interval"]])))
        merge.python_callable(files[-1])
    last = pyarrow.parquet.read_table(files[1].removeprefix("file://"), partitioning=None)
    first = pyarrow.parquet.read_table(files[0].removeprefix("file://"), partitioning=None)
    orders = {*first["order_uuid"].to_pylist(), *last["order_uuid"].to_pylist()}
    table = iceberg.rows()
    assert {*table["order_uuid"].to_pylist()} == orders
    assert len(orders) > 1
    # the export of the shorter interval was requested last
    shorter = [row for row in table.to_pylist() if row["crux_export_uuid"] == last["crux_export_uuid"][0].as_py()]
    assert len(shorter) == last.num_rows > 0
