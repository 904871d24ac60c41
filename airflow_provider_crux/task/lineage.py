"""The OpenLineage facets of a stored or loaded export. Only OpenLineage's provider needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import OutputDataset
    from airflow.providers.common.compat.sdk import Connection
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_crux.files.store import StoredFile
    from airflow_provider_crux.tables.base import LoadedTable


def stored_file_lineage(stored: StoredFile, base_url: str) -> OperatorLineage[Any, Any]:
    """Return the lineage from the orders to a file, named as OpenLineage does: bucket and key, or ``file`` and path."""
    # not with urlsplit: a key may contain #, ? and //
    scheme, separator, rest = stored.path.partition("://")
    authority, _, key = (rest if separator else stored.path).partition("/")
    # the id of an Airflow connection before the bucket is not part of the dataset's name
    bucket = authority.rpartition("@")[2]
    namespace, name = (f"{scheme}://{bucket}", key) if bucket else ("file", f"/{key}")
    return _lineage(base_url, [_dataset(namespace, name, stored.rows, stored.bytes)])


def loaded_table_lineage(
    loaded: LoadedTable, hook: DbApiHook, connection: Connection, base_url: str
) -> OperatorLineage[Any, Any]:
    """Return the lineage from the orders to a table. The hook names its dataset; if it cannot, there is no output."""
    from airflow.providers.openlineage.sqlparser import SQLParser

    info = hook.get_openlineage_database_info(connection)
    if info is None:
        return _lineage(base_url, [])
    name = ".".join(filter(None, [info.database, loaded.table]))
    return _lineage(base_url, [_dataset(SQLParser.create_namespace(info), name, loaded.rows)])


def _dataset(namespace: str, name: str, rows: int | None, size: int | None = None) -> OutputDataset:
    from airflow.providers.common.compat.openlineage.facet import OutputDataset, OutputStatisticsOutputDatasetFacet

    facet = OutputStatisticsOutputDatasetFacet(rowCount=rows, size=size)
    return OutputDataset(namespace=namespace, name=name, outputFacets={"outputStatistics": facet})


def _lineage(base_url: str, outputs: list[OutputDataset]) -> OperatorLineage[Any, Any]:
    """Return the lineage from the orders, whose dataset is named by the host of the API."""
    from airflow.providers.common.compat.openlineage.facet import InputDataset
    from airflow.providers.openlineage.extractors import OperatorLineage

    orders = InputDataset(namespace=f"crux://{urlsplit(base_url).netloc}", name="orders")
    return OperatorLineage(inputs=[orders], outputs=outputs)
