"""What OpenLineage is told of a stored export. Only OpenLineage's own provider calls this: where it is not, nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_crux.transfers.storage import StoredFile


def of_stored_export(stored: StoredFile, base_url: str) -> OperatorLineage[Any, Any]:
    """
    Return the facets of a stored export: from Crux Connect's orders to the file.

    :param stored: the file. Its dataset is named by OpenLineage's rules: bucket and key, or ``file`` and the path.
    :param base_url: of the API, whose host names the dataset of the orders.
    """
    from airflow.providers.common.compat.openlineage.facet import (
        InputDataset,
        OutputDataset,
        OutputStatisticsOutputDatasetFacet,
    )
    from airflow.providers.openlineage.extractors import OperatorLineage

    parts = urlsplit(stored.path)
    # the id of an Airflow connection, which may stand before the bucket, is no part of the dataset's name
    bucket = parts.netloc.rpartition("@")[2]
    statistics = OutputStatisticsOutputDatasetFacet(rowCount=stored.rows, size=stored.bytes)
    return OperatorLineage(
        inputs=[InputDataset(namespace=f"crux://{urlsplit(base_url).netloc}", name="orders")],
        outputs=[
            OutputDataset(
                namespace=f"{parts.scheme}://{bucket}" if bucket else "file",
                name=parts.path.lstrip("/") if bucket else parts.path,
                outputFacets={"outputStatistics": statistics},
            )
        ],
    )
