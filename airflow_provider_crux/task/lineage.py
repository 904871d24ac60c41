"""The OpenLineage facets of a stored or loaded export. Only OpenLineage's provider needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import InputDataset
    from airflow.providers.common.compat.sdk import Connection
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_crux.files.store import StoredFile
    from airflow_provider_crux.tables.base import LoadedTable


def stored_file_lineage(stored: StoredFile, base_url: str) -> OperatorLineage[Any, Any]:
    """
    Return the lineage from Crux Connect's orders to the stored file.

    :param stored: the file. OpenLineage's naming rules apply to its dataset: bucket and key, or ``file`` and the path.
    :param base_url: base URL of the API; its host names the dataset of the orders.
    """
    from airflow.providers.common.compat.openlineage.facet import OutputDataset, OutputStatisticsOutputDatasetFacet
    from airflow.providers.openlineage.extractors import OperatorLineage

    # not with urlsplit: a key may contain #, ? and //
    scheme, separator, rest = stored.path.partition("://")
    authority, _, key = (rest if separator else stored.path).partition("/")
    # the id of an Airflow connection before the bucket is not part of the dataset's name
    bucket = authority.rpartition("@")[2]
    statistics = OutputStatisticsOutputDatasetFacet(rowCount=stored.rows, size=stored.bytes)
    return OperatorLineage(
        inputs=[_orders_dataset(base_url)],
        outputs=[
            OutputDataset(
                namespace=f"{scheme}://{bucket}" if bucket else "file",
                name=key if bucket else f"/{key}",
                outputFacets={"outputStatistics": statistics},
            )
        ],
    )


def loaded_table_lineage(
    loaded: LoadedTable, hook: DbApiHook, connection: Connection, base_url: str
) -> OperatorLineage[Any, Any]:
    """
    Return the lineage from Crux Connect's orders to the table.

    :param loaded: the table. The hook names its dataset; if it cannot, there is no output.
    :param hook: the database's hook.
    :param connection: its connection.
    :param base_url: base URL of the API; its host names the dataset of the orders.
    """
    from airflow.providers.common.compat.openlineage.facet import OutputDataset, OutputStatisticsOutputDatasetFacet
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.providers.openlineage.sqlparser import SQLParser

    outputs = []
    info = hook.get_openlineage_database_info(connection)
    if info is not None:
        default_schema = hook.get_openlineage_default_schema()
        table = loaded.table if "." in loaded.table or not default_schema else f"{default_schema}.{loaded.table}"
        statistics = OutputStatisticsOutputDatasetFacet(rowCount=loaded.rows)
        outputs.append(
            OutputDataset(
                namespace=SQLParser.create_namespace(info),
                name=".".join(filter(None, [info.database, table])),
                outputFacets={"outputStatistics": statistics},
            )
        )
    return OperatorLineage(inputs=[_orders_dataset(base_url)], outputs=outputs)


def _orders_dataset(base_url: str) -> InputDataset:
    from airflow.providers.common.compat.openlineage.facet import InputDataset

    return InputDataset(namespace=f"crux://{urlsplit(base_url).netloc}", name="orders")
