"""What OpenLineage's provider gets of a task that stores a file: before, after, and if it fails."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.openlineage.extractors.base import DefaultExtractor
from airflow.providers.openlineage.extractors.manager import ExtractorManager

from airflow_provider_crux.files.columns import EXPORT_COLUMNS, column_named
from airflow_provider_crux.files.store import StoredFile
from airflow_provider_crux.sandbox.csv_file import COLUMNS
from airflow_provider_crux.task.reporting import planned_file_dataset, stored_file_dataset
from tests.order_details import DETAILS
from tests.transfers.transfer import make_operator

if TYPE_CHECKING:
    from airflow_provider_crux.sandbox.state import Sandbox
    from tests.transfers.transfer import Transfer

ADDED = [column.name for column in EXPORT_COLUMNS]


@pytest.mark.parametrize(
    ("path", "namespace", "name"),
    [
        ("file:///lake/orders.csv", "file", "/lake/orders.csv"),
        ("/lake/orders.csv", "file", "/lake/orders.csv"),
        ("lake/orders.csv", "file", f"{Path.cwd()}/lake/orders.csv"),
        ("s3://aws_lake@bucket/a/b.csv", "s3://bucket", "a/b.csv"),
        ("gs://bucket/a/b.csv", "gs://bucket", "a/b.csv"),
        ("s3://bucket/a#b?c=d/e f.csv", "s3://bucket", "a#b?c=d/e f.csv"),
        ("s3://aws_lake@bucket//a//b@c.csv", "s3://bucket", "/a//b@c.csv"),
        ("s3://bucket/ds=2026-01-02://x.csv", "s3://bucket", "ds=2026-01-02://x.csv"),
        ("file:///lake/a#b?c.csv", "file", "/lake/a#b?c.csv"),
        ("/lake/a#b?c.csv", "file", "/lake/a#b?c.csv"),
    ],
)
def test_a_file_has_the_same_name_before_and_after_it_is_stored(path: str, namespace: str, name: str) -> None:
    stored = stored_file_dataset(
        StoredFile(path, bytes=10, rows=2, sha256="0"), "https://api.cruxconnect.com", personal_data="keep"
    )
    planned = planned_file_dataset(path)
    assert (stored.namespace, stored.name) == (planned.namespace, planned.name) == (namespace, name)
    statistics = stored.outputFacets["outputStatistics"]
    assert (statistics.rowCount, statistics.size) == (2, 10)
    assert (planned.facets, planned.outputFacets) == ({}, {})
    # nobody knows the columns of a file that is stored as it is, and has no header
    assert stored.facets == {}


def test_openlineage_gets_the_lineage_from_the_operator(
    held_sandbox: Sandbox, done_uuid: str, target: Path, context
) -> None:
    operator = make_operator(done_uuid, target)
    assert isinstance(ExtractorManager()._get_extractor(operator), DefaultExtractor)
    extractor = DefaultExtractor(operator)
    requests = len(held_sandbox.requests)
    planned, failed = extractor.extract(), extractor.extract_on_failure(None)
    assert len(held_sandbox.requests) == requests
    operator.execute(context)
    lineage = extractor.extract_on_complete(None)
    orders = [(f"crux://{held_sandbox.url.removeprefix('http://')}", "orders")]
    for facets, outputs in ((planned, [str(target)]), (failed, []), (lineage, [str(target)])):
        assert [(dataset.namespace, dataset.name) for dataset in facets.inputs] == orders
        assert [dataset.name for dataset in facets.outputs] == outputs
    assert {field.type for field in lineage.outputs[0].facets["schema"].fields} == {"string"}


def test_a_file_that_is_stored_is_an_output_of_a_task_that_fails_later(
    done_uuid: str, target: Path, context_with, monkeypatch
) -> None:
    operator = make_operator(done_uuid, target)
    context = context_with()

    def refuse(**_: object) -> None:
        raise OSError("no XCom today")

    monkeypatch.setattr(context["ti"], "xcom_push", refuse)
    with pytest.raises(OSError, match="no XCom"):
        operator.execute(context)
    assert [dataset.name for dataset in DefaultExtractor(operator).extract_on_failure(None).outputs] == [str(target)]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("s3://no_such_connection@lake/{dag_id}/{export_uuid}.csv", "adhoc_airflow/{uuid}.csv"),
        # what only the run knows, or the task that requested the export
        ("s3://lake/{run_id}.csv", None),
        ("s3://lake/{interval_start:%Y-%m-%d}.csv", None),
    ],
)
def test_before_the_file_is_stored_only_a_path_that_is_complete_is_named(
    done_uuid: str, path: str, name: str | None, logged
) -> None:
    outputs = DefaultExtractor(make_operator(done_uuid, path)).extract().outputs
    assert [(output.namespace, output.name) for output in outputs] == (
        [("s3://lake", name.format(uuid=done_uuid))] if name else []
    )
    assert "warning" not in logged().lower()


def test_without_a_connection_nothing_is_known_and_nothing_is_logged(done_uuid: str, logged) -> None:
    operator = make_operator(done_uuid, "s3://lake/orders.csv", crux_conn_id="missing")
    lineage = DefaultExtractor(operator).extract()
    assert (lineage.inputs, [output.name for output in lineage.outputs]) == ([], ["orders.csv"])
    assert "warning" not in logged().lower()


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
@pytest.mark.parametrize("personal_data", ["keep", "drop", "hash"])
def test_each_column_has_a_meaning_and_an_origin(start, file_format: str, personal_data: str) -> None:
    transfer: Transfer = start()
    operator = make_operator(
        transfer.export_uuid,
        transfer.target,
        file_format=file_format,
        personal_data=personal_data,
        add_export_columns=True,
        order_details=True,
    )
    operator.upstream_task_ids.add("export")
    operator.execute(transfer.context_with(transfer.interval))
    (output,) = DefaultExtractor(operator).extract_on_complete(None).outputs

    names = [name for name in (*COLUMNS, *DETAILS) if personal_data != "drop" or not column_named(name).personal]
    fields = {field.name: field for field in output.facets["schema"].fields}
    assert list(fields) == [*names, *ADDED]
    assert fields["quantity"].description == "Ordered pieces"
    assert fields["order_created_at"].description == "When the order was created"
    assert [fields[name].type for name in ("order_uuid", "quantity", "estimated_tax", "is_allocated", ADDED[-1])] == (
        ["string", "int64", "decimal128(18, 2)", "bool", "timestamp[us, tz=UTC]"]
        if file_format == "parquet"
        else ["string"] * 5
    )
    sources: dict[str, Any] = output.facets["columnLineage"].fields
    assert list(sources) == names
    for name, source in sources.items():
        (origin,) = source.inputFields
        assert (origin.namespace, origin.name) == (f"crux://{transfer.sandbox.url.removeprefix('http://')}", "orders")
        assert origin.field == name
        (transformation,) = origin.transformations
        is_hashed = personal_data == "hash" and column_named(name).personal
        assert (transformation.type, transformation.masking) == ("DIRECT", is_hashed)
        assert transformation.subtype == ("TRANSFORMATION" if is_hashed else "IDENTITY")
