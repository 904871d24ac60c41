"""The manifest beside a stored file: when it is written, what it says, and that it is as published."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from airflow_provider_crux import __version__
from airflow_provider_crux.api.orders import LINE_ITEM_STATUSES, OTHER_LINE_ITEM_STATUSES
from airflow_provider_crux.exceptions import CruxUnavailableError
from airflow_provider_crux.files.manifest import Manifest
from airflow_provider_crux.hooks.crux import CruxHook
from airflow_provider_crux.operators.coverage import CoverageChecks, CruxExportCoverageOperator
from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.transfers import crux_to_object_storage
from tests.transfers.transfer import FILE_PATH, INTERVAL, csv_file, file_content, make_operator, parse, statuses

if TYPE_CHECKING:
    from tests.object_store import ObjectStore
    from tests.transfers.transfer import Transfer

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/manifest.schema.json").read_text())
FORMATS = {
    "csv": ({}, "csv", None),
    "gzip": ({"compression": "gzip"}, "csv", "gzip"),
    "converted csv": ({"add_export_columns": True}, "csv", None),
    "parquet": ({"file_format": "parquet"}, "parquet", "zstd"),
}
ADDED = ["crux_export_uuid", "crux_interval_start", "crux_interval_end", "crux_requested_at"]
formats = pytest.mark.parametrize(("arguments", "format_", "compression"), FORMATS.values(), ids=FORMATS)


def check(manifest: object) -> None:
    """Validate by the published schema, times included."""
    jsonschema.Draft202012Validator(SCHEMA).validate(manifest)


def read(path: Path) -> dict[str, Any]:
    manifest = json.loads(path.with_name(f"_{path.name}.manifest.json").read_bytes())
    check(manifest)
    return manifest


@formats
def test_it_says_what_the_file_contains_and_where_it_comes_from(
    transfer: Transfer, arguments: dict[str, Any], format_: str, compression: str | None
) -> None:
    rows = parse(file_content(transfer.export_uuid))
    before = datetime.now(UTC)
    content = transfer.content(manifest=True, **arguments)
    manifest = read(transfer.target)
    names = [*rows[0], *(ADDED if format_ == "parquet" or "add_export_columns" in arguments else [])]
    assert before <= datetime.fromisoformat(manifest.pop("stored_at")) <= datetime.now(UTC)
    assert manifest == {
        "version": 1,
        "export_uuid": transfer.export_uuid,
        "host": transfer.sandbox.url.removeprefix("http://"),
        **INTERVAL,
        "path": f"file://{transfer.target}",
        "format": format_,
        "compression": compression,
        "personal_data": "keep",
        "columns": names,
        "rows": len(rows),
        "orders": len({row["order_uuid"] for row in rows}),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "provider_version": __version__,
    }
    assert 1 < manifest["orders"] < manifest["rows"]
    assert transfer.names == ["_orders.csv.manifest.json", "orders.csv"]


@pytest.mark.slow
@formats
def test_orders_are_counted_whatever_their_order(
    transfer: Transfer, arguments: dict[str, Any], format_: str, compression: str | None
) -> None:
    orders = ["b", "a", "b", "-", "é", "a", "e\N{COMBINING ACUTE ACCENT}"]
    # so many that Parquet needs several row groups
    rows = [{"order_uuid": order, "city": "x" * 1000} for order in orders * 3000]
    transfer.run(csv_file(*rows), manifest=True, **arguments)
    assert (read(transfer.target)["orders"], read(transfer.target)["rows"]) == (5, 21_000)


def test_it_says_what_the_operator_upstream_requested(sandbox, make_context, tmp_path: Path) -> None:
    with DAG("lake", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        export = CruxOrdersExportOperator(
            task_id="export",
            interval_start="2026-01-01T02:00+02:00",
            interval_end="2026-01-02",
            line_item_status=["allocated", "has_tracking"],
            status_conjunction="and",
            sort={"key": "date", "dir": "desc"},
            start=0,
            limit=99,
        )
        store = make_operator("uuid", tmp_path / "a.csv", manifest=True)
        export >> store
    context = make_context(dag=dag, params={})
    before = datetime.now(UTC)
    store.export_uuid = export.execute(context)
    store.execute(make_context(upstream=[context["ti"].pushed["export_interval"]]))
    manifest = read(tmp_path / "a.csv")
    start, end = "2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z"
    assert (manifest["interval_start"], manifest["interval_end"]) == (start, end)
    assert before <= datetime.fromisoformat(manifest["requested_at"]) <= datetime.now(UTC)
    assert manifest["request"] == {
        "start": 0,
        "limit": 99,
        "sort": {"key": "date", "dir": "des"},
        "line_item_status": ["allocated", "has_tracking"],
        "status_conjunction": "and",
        "start_date": start,
        "end_date": end,
    }


def test_without_an_upstream_task_the_origin_is_unknown(transfer: Transfer) -> None:
    transfer.run(csv_file({}), upstream=[], manifest=True)
    manifest = read(transfer.target)
    assert {manifest[name] for name in INTERVAL} == {None}
    assert manifest["export_uuid"] == transfer.export_uuid


def test_an_interval_without_orders_has_a_file_and_a_manifest(transfer: Transfer) -> None:
    for arguments, *_ in FORMATS.values():
        transfer.run(csv_file(), manifest=True, overwrite=True, **arguments)
        assert (read(transfer.target)["rows"], read(transfer.target)["orders"]) == (0, 0)


@pytest.mark.parametrize(
    ("name", "manifest"), [("ü" * 120, True), ("a" * 255, False)], ids=["with a manifest", "without"]
)
def test_the_longest_name_is_stored(transfer: Transfer, name: str, manifest: bool) -> None:
    transfer.target = transfer.target.with_name(name)
    transfer.content(manifest=manifest)
    assert transfer.names == [f"_{name}.manifest.json", name][1 - manifest :]


@pytest.mark.parametrize(
    ("name", "manifest"),
    [("ü" * 121, True), ("a" * 256, False), (f"{'a' * 256}/orders.csv", True)],
    ids=["of the manifest", "of the file", "of a folder"],
)
@pytest.mark.parametrize("existing", [True, False], ids=["", "folder"])
def test_a_name_that_is_too_long_is_rejected_before_the_download(
    transfer: Transfer, name: str, manifest: bool, existing: bool
) -> None:
    if existing:
        transfer.target.parent.mkdir()
    with pytest.raises(AirflowFailException, match=r"path: .* has a name of 25\d bytes, and the storage allows 255"):
        transfer.run(path=f"file://{transfer.target.parent}/{name}", manifest=manifest)
    assert transfer.names == []
    assert statuses(transfer.sandbox, FILE_PATH) == []


def test_a_key_that_is_too_long_for_an_object_store_is_rejected_before_the_download(
    transfer: Transfer, s3: ObjectStore
) -> None:
    folder, name = "/".join(["ü" * 100] * 5), "orde"
    key, manifest = f"{folder}/{name}", f"{folder}/_{name}.manifest.json"
    assert len(manifest.encode()) == 1024
    path = f"s3://aws_loopback@exports/{key}"
    with pytest.raises(AirflowFailException, match="has a key of 1025 bytes, and the storage allows 1024"):
        transfer.run(path=f"{path}a", manifest=True)
    assert s3.names() == []
    assert statuses(transfer.sandbox, FILE_PATH) == []
    transfer.run(path=path, manifest=True)
    assert sorted(s3.names()) == [manifest, key]


def test_it_is_replaced_with_its_file(transfer: Transfer) -> None:
    transfer.content(csv_file({}, {}), manifest=True)
    first = read(transfer.target)
    content = transfer.content(csv_file({"order_uuid": "another"}), manifest=True, personal_data="drop")
    second = read(transfer.target)
    assert (first["rows"], second["rows"], second["personal_data"]) == (2, 1, "drop")
    assert second["sha256"] == hashlib.sha256(content).hexdigest()
    assert first["stored_at"] < second["stored_at"]


def test_by_default_there_is_none(transfer: Transfer) -> None:
    transfer.run()
    assert transfer.names == ["orders.csv"]


def test_it_is_written_after_the_file(transfer: Transfer, monkeypatch) -> None:
    """A task that is killed in between leaves a file without a manifest, never a manifest without its file."""
    real, written = crux_to_object_storage.atomic_write, []

    def killed(path: Any, **arguments: Any) -> Any:
        written.append((path.name, transfer.names))
        raise KeyboardInterrupt

    monkeypatch.setattr(crux_to_object_storage, "atomic_write", killed)
    with pytest.raises(KeyboardInterrupt):
        transfer.run(csv_file({}), manifest=True)
    assert written == [("_orders.csv.manifest.json", ["orders.csv"])]
    assert transfer.pushed == {}
    monkeypatch.setattr(crux_to_object_storage, "atomic_write", real)
    transfer.run(csv_file({}), manifest=True, overwrite=True)
    assert read(transfer.target)["rows"] == 1


# An older manifest never vouches for another file, also not for one of the same length.

OLD, NEW = csv_file({"city": "Rome"}), csv_file({"city": "Oslo"})


def find_gaps(transfer: Transfer, make_context, **arguments: Any) -> list[dict[str, str]]:
    """Return what the coverage task returns for the day of the export."""
    operator = CruxExportCoverageOperator(
        task_id="check", path=transfer.target.parent.as_uri(), since="2026-01-04", until="2026-01-05", **arguments
    )
    return operator.execute(make_context())


def test_the_name_of_a_file_may_begin_as_that_of_a_manifest_does(transfer: Transfer, make_context) -> None:
    transfer.target = transfer.target.with_name("_orders.csv")
    transfer.run(csv_file({}), manifest=True)
    assert transfer.names == ["__orders.csv.manifest.json", "_orders.csv"]
    assert find_gaps(transfer, make_context) == []


def test_a_file_without_columns_of_an_export_covers_its_interval_with_a_warning(
    transfer: Transfer, make_context, logged
) -> None:
    """If its gap were exported again and again, each run would send an e-mail."""
    transfer.run(b"a,b\r\n1,2\r\n", manifest=True)
    assert find_gaps(transfer, make_context) == []
    assert "_orders.csv.manifest.json counts, although its file has none of the columns of an export" in logged()


def test_a_task_that_is_killed_before_its_manifest_leaves_no_older_one(
    transfer: Transfer, make_context, monkeypatch
) -> None:
    transfer.run(OLD, manifest=True)
    assert find_gaps(transfer, make_context) == []

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(crux_to_object_storage, "atomic_write", killed)
    with pytest.raises(KeyboardInterrupt):
        transfer.run(NEW, manifest=True, overwrite=True)
    assert (transfer.target.read_bytes(), transfer.names) == (NEW, ["orders.csv"])
    assert len(find_gaps(transfer, make_context)) == 1


def test_a_file_that_another_task_stores_meanwhile_keeps_its_manifest(transfer: Transfer, monkeypatch) -> None:
    download = CruxHook.open_file

    @contextmanager
    def other_task_stores(hook: CruxHook, export: Any) -> Iterator[Any]:
        with download(hook, export) as chunks:
            monkeypatch.setattr(CruxHook, "open_file", download)
            transfer.run(OLD, manifest=True)
            yield chunks

    monkeypatch.setattr(CruxHook, "open_file", other_task_stores)
    with pytest.raises(AirflowFailException, match="already exists"):
        transfer.run(manifest=True)
    assert (transfer.target.read_bytes(), read(transfer.target)["rows"]) == (OLD, 1)


def test_an_older_manifest_in_s3_is_removed_with_its_object(transfer: Transfer, s3: ObjectStore) -> None:
    path = "s3://aws_loopback@exports/[a-b]*/orders.csv"
    s3.client.put_object(Bucket="exports", Key="[a-b]*/_orders.csv.manifest.json", Body=b"older")
    s3.client.put_object(Bucket="exports", Key="a/_orders.csv.manifest.json", Body=b"of another file")
    transfer.run(NEW, path=path, overwrite=True)
    assert sorted(s3.names()) == ["[a-b]*/orders.csv", "a/_orders.csv.manifest.json"]


@formats
def test_a_failed_task_leaves_the_old_file_and_its_manifest(
    transfer: Transfer, arguments: dict[str, Any], format_: str, compression: str | None
) -> None:
    content = transfer.content(csv_file({}, {}), manifest=True, **arguments)
    before = read(transfer.target)
    transfer.sandbox.respond_next(FILE_PATH, 200, {"Content-Length": "9999999"}, csv_file({}))
    with pytest.raises(CruxUnavailableError):
        transfer.run(manifest=True, overwrite=True, **arguments)
    assert (transfer.target.read_bytes(), read(transfer.target)) == (content, before)
    assert transfer.names == ["_orders.csv.manifest.json", "orders.csv"]


def test_in_s3_it_is_beside_its_object(transfer: Transfer, s3: ObjectStore) -> None:
    path = "s3://aws_loopback@exports/dt={interval_start:%Y-%m-%d}/a#b c.parquet"
    transfer.run(path=path, file_format="parquet", manifest=True)
    name, manifest_name = "dt=2026-01-04/a#b c.parquet", "dt=2026-01-04/_a#b c.parquet.manifest.json"
    assert sorted(s3.names()) == [manifest_name, name]
    manifest = json.loads(s3.content(manifest_name))
    check(manifest)
    assert manifest["path"] == f"s3://aws_loopback@exports/{name}"
    content = s3.content(name)
    assert (manifest["bytes"], manifest["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())


def test_without_overwrite_an_existing_file_keeps_its_manifest(transfer: Transfer) -> None:
    transfer.content(csv_file({}), manifest=True)
    before = read(transfer.target)
    with pytest.raises(AirflowFailException, match="already exists"):
        transfer.run(manifest=True)
    assert read(transfer.target) == before


def test_the_reader_accepts_exactly_what_the_schema_does(transfer: Transfer) -> None:
    transfer.run(manifest=True)
    valid = read(transfer.target)
    assert Manifest.from_json(json.dumps(valid).encode()).as_json() == (json.dumps(valid, indent=2) + "\n").encode()
    for name in valid:
        incomplete = {key: value for key, value in valid.items() if key != name}
        more = valid | {f"{name}_2": valid[name]}
        for wrong in (incomplete, more):
            with pytest.raises(jsonschema.ValidationError):
                check(wrong)
            with pytest.raises(ValueError, match=r"fields are missing or unknown|not a manifest of version 1"):
                Manifest.from_json(json.dumps(wrong).encode())


def test_the_coverage_task_counts_the_orders_of_the_list_that_a_file_lacks(transfer: Transfer, make_context) -> None:
    rows = parse(file_content(transfer.export_uuid))
    lacking = {row["order_uuid"] for row in rows[:9]}
    rest = [row for row in rows if row["order_uuid"] not in lacking]
    transfer.run(csv_file(*rest, columns=rows[0]), manifest=True, order_details=True)
    count = len(lacking)
    assert find_gaps(transfer, make_context, checks=CoverageChecks(max_missing_orders=count)) == []
    with pytest.raises(AirflowFailException, match=rf"files lack {count} orders of the list, at most {count - 1} may"):
        find_gaps(transfer, make_context, checks=CoverageChecks(max_missing_orders=count - 1))


@pytest.mark.parametrize("missing", [0, 10, None])
def test_the_counts_of_a_file_that_was_compared_with_the_list_are_read_and_written(
    transfer: Transfer, missing: int | None
) -> None:
    transfer.run(manifest=True)
    old = read(transfer.target)
    assert "matched_orders" not in old
    assert "missing_orders" not in old
    compared = old | {"matched_orders": 3, "missing_orders": missing}
    check(compared)
    manifest = Manifest.from_json(json.dumps(compared).encode())
    assert (manifest.matched_orders, manifest.missing_orders) == (3, missing)
    # an older version of the provider rejects a field that it does not know, also one without a value
    written = old | {"matched_orders": 3} | ({} if missing is None else {"missing_orders": missing})
    assert json.loads(manifest.as_json()) == written


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"rows": -1},
        {"rows": 1.5},
        {"orders": "3"},
        {"columns": "a,b"},
        {"columns": [1]},
        {"bytes": None},
        {"matched_orders": -1},
        {"matched_orders": True},
        {"missing_orders": 1.5},
        {"missing_orders": "0"},
        {"request": []},
        {"host": ""},
        {"host": None},
        {"interval_start": "2026-01-04"},
        {"interval_start": "2026-01-04T00:00:00"},
        {"stored_at": "yesterday"},
    ],
    ids=str,
)
def test_a_field_of_another_type_is_rejected_by_the_schema_and_the_reader(
    transfer: Transfer, changes: dict[str, Any]
) -> None:
    transfer.run(manifest=True)
    manifest = read(transfer.target) | changes
    with pytest.raises(jsonschema.ValidationError):
        check(manifest)
    if changes != {"stored_at": "yesterday"}:  # it is only read if the time of the request is unknown
        with pytest.raises(ValueError, match=r"."):
            Manifest.from_json(json.dumps(manifest).encode())


def test_the_schema_is_valid_and_describes_every_field() -> None:
    def descriptions(part: dict[str, Any]) -> list[bool]:
        fields = part.get("properties", {}).values()
        return ["description" in field for field in fields] + [d for field in fields for d in descriptions(field)]

    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert all(descriptions(SCHEMA))
    assert len(descriptions(SCHEMA)) == 20 + 7 + 2
    statuses_of_schema = SCHEMA["properties"]["request"]["properties"]["line_item_status"]["items"]["enum"]
    assert statuses_of_schema == [*LINE_ITEM_STATUSES, *OTHER_LINE_ITEM_STATUSES]
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
