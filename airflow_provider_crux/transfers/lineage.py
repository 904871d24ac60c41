"""The OpenLineage facets of a stored export. Only OpenLineage's provider needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_crux.transfers.stored_file import StoredFile


def stored_file_lineage(stored: StoredFile, base_url: str) -> OperatorLineage[Any, Any]:
    """
    Return the lineage from Crux Connect's orders to the stored file.

    :param stored: the file. OpenLineage's naming rules apply to its dataset: bucket and key, or ``file`` and the path.
    :param base_url: base URL of the API; its host names the dataset of the orders.
    """
    from airflow.providers.common.compat.openlineage.facet import (
        InputDataset,
        OutputDataset,
        OutputStatisticsOutputDatasetFacet,
    )
    from airflow.providers.openlineage.extractors import OperatorLineage

    # not with urlsplit: a key may contain #, ? and //
    scheme, separator, rest = stored.path.partition("://")
    authority, _, key = (rest if separator else stored.path).partition("/")
    # the id of an Airflow connection before the bucket is not part of the dataset's name
    bucket = authority.rpartition("@")[2]
    statistics = OutputStatisticsOutputDatasetFacet(rowCount=stored.rows, size=stored.bytes)
    return OperatorLineage(
        inputs=[InputDataset(namespace=f"crux://{urlsplit(base_url).netloc}", name="orders")],
        outputs=[
            OutputDataset(
                namespace=f"{scheme}://{bucket}" if bucket else "file",
                name=key if bucket else f"/{key}",
                outputFacets={"outputStatistics": statistics},
            )
        ],
    )
