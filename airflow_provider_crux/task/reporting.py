"""
What others see of a task: metrics, the partitions in the events of assets, and the datasets of OpenLineage.

Nothing here fails a task, and nothing sends a request to Crux Connect, to a store or to a database. Only OpenLineage's
provider calls what needs it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import conf

from airflow_provider_crux.exceptions import CruxExportFailedError
from airflow_provider_crux.files.columns import EXPORT_COLUMNS, Column, ColumnType, column_named
from airflow_provider_crux.files.store import CSV
from airflow_provider_crux.task.timetables import partition_keys

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset, DatasetFacet, InputDataset, OutputDataset
    from airflow.providers.common.compat.sdk import Connection, Context
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_crux.api.exports import SubmittedExport
    from airflow_provider_crux.files.store import StoredFile
    from airflow_provider_crux.tables.base import LoadedTable

    _Field = tuple[str, Column, str]
    """A column of a dataset: its name there, what is known of it, and its type there."""

log = logging.getLogger(__name__)

_MAX_PARTITIONS: Final = 1000
"""Airflow's own default for the number of runs that one event of an asset may start."""

_ADDED: Final = {column.name: column for column in EXPORT_COLUMNS}


# Metrics


def count(task: Any, name: str, value: int | None = 1) -> None:
    """Increase the counter ``crux.<name>``, unless the value is unknown."""
    if value is not None:
        _send("incr", task, name, value)


def report_wait(task: Any, since: datetime) -> None:
    """Set the gauge ``crux.wait_seconds`` when an export is done for which a task waited."""
    # not a timer, which has milliseconds in StatsD, and milliseconds or seconds in OpenTelemetry
    _send("gauge", task, "wait_seconds", round(max(0, (datetime.now(UTC) - since).total_seconds()), 3))


@contextmanager
def counting_failed_exports(task: Any) -> Iterator[None]:
    """Increase ``crux.exports.failed`` if the block finds that an export failed at Crux Connect."""
    try:
        yield
    except CruxExportFailedError:
        count(task, "exports.failed")
        raise


def _send(method: str, task: Any, name: str, value: float) -> None:
    try:
        from airflow.providers.common.compat.sdk import Stats

        tags = {"dag_id": task.dag_id, "crux_conn_id": task.crux_conn_id}
        getattr(Stats, method)(f"crux.{name}", value, tags=tags)
    except Exception as error:  # noqa: BLE001 - of any client of metrics
        log.debug("Could not send the metric crux.%s: %s", name, type(error).__name__)


# Partitions


def add_partitions(event: Any, context: Context, submitted: SubmittedExport) -> None:
    """
    Name the partitions that an export touches on the event of an asset, if the DAG's schedule has partitions.

    Only then, because an event that names one starts no DAG that is scheduled on the asset alone. If the interval is
    unknown, on Airflow before 3.3, and beyond Airflow's limit for one event, it names none.
    """
    start, end = submitted.interval_start, submitted.interval_end
    if not hasattr(event, "add_partitions") or start is None or end is None:
        return
    try:
        most = conf.getint("scheduler", "partition_mapper_max_downstream_keys", fallback=_MAX_PARTITIONS)
        # an export has nothing of the time after its request
        period = start, min(end, submitted.requested_at or end)
        keys = partition_keys(context["dag"].timetable, period, context["dag_run"].partition_key, most=most + 1)
        if len(keys) <= most:
            event.add_partitions(keys)
            return
        reason = (
            f"they are more than {most}, the limit of [scheduler] partition_mapper_max_downstream_keys. To process "
            "them, backfill the DAGs downstream"
        )
    except Exception as error:  # noqa: BLE001 - a timetable may raise anything, and the orders are stored
        reason = type(error).__name__
    log.warning(
        "The event of the asset does not name the partitions from %s to %s: %s",
        start.isoformat(),
        end.isoformat(),
        reason,
    )


# OpenLineage


def lineage(
    reads: Iterable[Callable[[], Dataset]], writes: Iterable[Callable[[], Dataset | None]] = ()
) -> OperatorLineage[Any, Any]:
    """
    Return the lineage of a task, as far as it is known.

    Of a task that names no dataset, OpenLineage's provider reports what Airflow itself reads and writes: the files of
    its XComs, if they are on object storage.

    :param reads: functions that return a dataset; if one raises, its dataset is unknown.
    :param writes: likewise; ``None`` is no dataset.
    """
    from airflow.providers.openlineage.extractors import OperatorLineage

    return OperatorLineage(inputs=list(_known(reads)), outputs=list(_known(writes)))


def _known(datasets: Iterable[Callable[[], Dataset | None]]) -> Iterator[Dataset]:
    for dataset_of in datasets:
        try:
            dataset = dataset_of()
        except Exception as error:  # noqa: BLE001 - the task itself says what is wrong
            log.debug("A dataset is unknown: %s", type(error).__name__)
        else:
            if dataset is not None:
                yield dataset


def orders_dataset(base_url: str) -> InputDataset:
    """Return the dataset of the orders, which is named by the host of the API."""
    from airflow.providers.common.compat.openlineage.facet import InputDataset

    return InputDataset(namespace=f"crux://{urlsplit(base_url).netloc}", name="orders")


def folder_dataset(path: object) -> InputDataset:
    """Return the dataset of a folder of stored files."""
    from airflow.providers.common.compat.openlineage.facet import InputDataset

    namespace, name = _names(str(path))
    return InputDataset(namespace=namespace, name=name.rstrip("/") or "/")


def planned_file_dataset(path: str) -> OutputDataset:
    """Return the dataset of a file before it is stored."""
    return _output(*_names(path))


def stored_file_dataset(stored: StoredFile, base_url: str, *, personal_data: str) -> OutputDataset:
    """Return the dataset of a stored file, with its columns if they are known."""
    columns = [_ADDED.get(name) or column_named(name) for name in stored.columns or ()]
    types = _file_types(stored.format)
    fields = [(column.name, column, types[column.type]) for column in columns]
    facets = _column_facets(fields, base_url, personal_data=personal_data)
    return _output(*_names(stored.path), facets, rows=stored.rows, size=stored.bytes)


def planned_table_dataset(table: str, hook: DbApiHook, connection: Connection) -> OutputDataset | None:
    """Return the dataset of a table before it is loaded; without a schema, only the database knows its name."""
    names = _table_names(table.lower(), hook, connection) if "." in table else None
    return names and _output(*names)


def loaded_table_dataset(
    loaded: LoadedTable,
    hook: DbApiHook,
    connection: Connection,
    base_url: str,
    *,
    columns: Sequence[Column],
    types: Mapping[ColumnType, str],
    personal_data: str,
) -> OutputDataset | None:
    """Return the dataset of a table with the columns that were loaded; ``None`` if the hook cannot name it."""
    from airflow_provider_crux.tables.base import stored_name

    names = _table_names(loaded.table, hook, connection)
    fields = [(stored_name(column.name), column, types[column.type]) for column in (*columns, *EXPORT_COLUMNS)]
    return names and _output(*names, _column_facets(fields, base_url, personal_data=personal_data), rows=loaded.rows)


def _names(path: str) -> tuple[str, str]:
    """Return namespace and name of a path as OpenLineage names them: bucket and key, or ``file`` and path."""
    # not with urlsplit: a key may contain #, ? and //
    scheme, separator, rest = path.partition("://")
    if not separator:
        return "file", str(Path(path).absolute())
    authority, _, key = rest.partition("/")
    # the id of an Airflow connection before the bucket is not part of the dataset's name
    bucket = authority.rpartition("@")[2]
    return (f"{scheme}://{bucket}", key) if bucket else ("file", f"/{key}")


def _table_names(table: str, hook: DbApiHook, connection: Connection) -> tuple[str, str] | None:
    """Return namespace and name of a table, which the hook knows; ``None`` if it does not."""
    from airflow.providers.openlineage.sqlparser import SQLParser

    info = hook.get_openlineage_database_info(connection)
    if info is None:
        return None
    return SQLParser.create_namespace(info), ".".join(filter(None, [info.database, table]))


def _file_types(file_format: str) -> Mapping[ColumnType, str]:
    if file_format == CSV:
        return dict.fromkeys(ColumnType, "string")
    from airflow_provider_crux.files.rows import TYPES

    return {column_type: str(arrow_type) for column_type, arrow_type in TYPES.items()}


def _column_facets(fields: Sequence[_Field], base_url: str, *, personal_data: str) -> dict[str, DatasetFacet]:
    """
    Return the facets of a dataset's columns: what they are, and from which fields of the orders they come.

    The columns that say which export a row is of come from no field.
    """
    from airflow.providers.common.compat.openlineage.facet import (
        ColumnLineageDatasetFacet,
        Fields,
        InputField,
        SchemaDatasetFacet,
        SchemaDatasetFacetFields,
    )
    from openlineage.client.facet_v2 import column_lineage_dataset

    if not fields:
        return {}
    orders = orders_dataset(base_url)
    schema = [
        SchemaDatasetFacetFields(name=name, type=type_, description=column.meaning) for name, column, type_ in fields
    ]
    sources = {}
    for name, column, _ in fields:
        if column.name in _ADDED:
            continue
        is_hashed = personal_data == "hash" and column.personal
        transformation = column_lineage_dataset.Transformation(
            type="DIRECT",
            subtype="TRANSFORMATION" if is_hashed else "IDENTITY",
            description="HMAC-SHA256" if is_hashed else "",
            masking=is_hashed,
        )
        source = InputField(orders.namespace, orders.name, column.name, transformations=[transformation])
        sources[name] = Fields(inputFields=[source])
    return {"schema": SchemaDatasetFacet(fields=schema), "columnLineage": ColumnLineageDatasetFacet(fields=sources)}


def _output(
    namespace: str,
    name: str,
    facets: Mapping[str, DatasetFacet] | None = None,
    *,
    rows: int | None = None,
    size: int | None = None,
) -> OutputDataset:
    from airflow.providers.common.compat.openlineage.facet import OutputDataset, OutputStatisticsOutputDatasetFacet

    if facets is None:  # nothing is written yet
        return OutputDataset(namespace=namespace, name=name)
    statistics = OutputStatisticsOutputDatasetFacet(rowCount=rows, size=size)
    return OutputDataset(
        namespace=namespace, name=name, facets=dict(facets), outputFacets={"outputStatistics": statistics}
    )
