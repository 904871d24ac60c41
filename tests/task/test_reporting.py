"""What OpenLineage's provider gets of the tasks that write nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.openlineage.extractors.base import DefaultExtractor

from airflow_provider_crux.operators.coverage import CruxExportCoverageOperator
from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.sensors.exports import CruxExportSensor

if TYPE_CHECKING:
    from airflow_provider_crux.sandbox.state import Sandbox


def coverage(**arguments: Any) -> CruxExportCoverageOperator:
    return CruxExportCoverageOperator(
        task_id="cover", since=datetime(2026, 1, 1, tzinfo=UTC), **{"path": "s3://aws@lake/orders/", **arguments}
    )


@pytest.mark.parametrize(
    ("task", "reads"),
    [
        (CruxOrdersExportOperator(task_id="export"), ["orders"]),
        (CruxExportSensor(task_id="sense", export_uuid="uuid"), ["orders"]),
        (coverage(), ["s3://lake/orders"]),
        (coverage(path="s3://lake"), ["s3://lake/"]),
        (coverage(path="file:///"), ["file/"]),
        (coverage(skip_if_no_orders=True), ["s3://lake/orders", "orders"]),
    ],
    ids=["export", "sensor", "coverage", "bucket", "disk", "list"],
)
def test_a_task_that_writes_nothing_names_what_it_reads(held_sandbox: Sandbox, task: Any, reads: list[str]) -> None:
    extractor = DefaultExtractor(task)
    orders = f"crux://{held_sandbox.url.removeprefix('http://')}/"
    for lineage in (extractor.extract(), extractor.extract_on_complete(None), extractor.extract_on_failure(None)):
        names = [f"{dataset.namespace}/{dataset.name.removeprefix('/')}" for dataset in lineage.inputs]
        assert [name.removeprefix(orders) for name in names] == reads
        assert lineage.outputs == []
    assert held_sandbox.requests == []
