"""What OpenLineage's provider gets of a task that loads a table: before, after, and if it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.openlineage.extractors.base import DefaultExtractor
from airflow.providers.openlineage.sqlparser import DatabaseInfo
from airflow.providers.sqlite.hooks.sqlite import SqliteHook

from airflow_provider_crux.files.columns import EXPORT_COLUMNS, column_named
from airflow_provider_crux.tables.dialects import DIALECTS
from tests.transfers.table import NAMES, TABLE, Sqlite, rows_file

if TYPE_CHECKING:
    from tests.transfers.table import Database, Loading

Names = list[tuple[str, str]]


@pytest.fixture
def named(database: Database, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Names]:
    """Return the table with its schema, and the names of its dataset; SQLite's hook names none by itself."""
    if not isinstance(database, Sqlite):
        return f"public.{TABLE}", database.datasets
    info = DatabaseInfo(scheme="sqlite", authority="lake", database="orders")
    monkeypatch.setattr(SqliteHook, "get_openlineage_database_info", lambda *_: info, raising=False)
    return f"main.{TABLE}", [("sqlite://lake", f"orders.main.{TABLE}")]


def names(datasets: list[Any]) -> Names:
    return [(dataset.namespace, dataset.name) for dataset in datasets]


def test_a_table_is_named_before_it_is_loaded_without_asking_anybody(
    loading: Loading, database: Database, named: tuple[str, Names]
) -> None:
    table, datasets = named
    operator = loading.operator(loading.export(), table=table)
    lineage = DefaultExtractor(operator).extract()
    assert names(lineage.inputs) == [(f"crux://{loading.sandbox.url.removeprefix('http://')}", "orders")]
    assert names(lineage.outputs) == datasets
    assert lineage.outputs[0].outputFacets == {}
    assert loading.sandbox.requests == []
    assert database.opened == []


def test_only_the_database_knows_the_schema_of_a_table_without_one(loading: Loading, named: tuple[str, Names]) -> None:
    lineage = DefaultExtractor(loading.operator(loading.export(), table=TABLE)).extract()
    assert (len(lineage.inputs), lineage.outputs) == (1, [])


def test_a_table_that_was_not_loaded_is_no_output(loading: Loading, named: tuple[str, Names]) -> None:
    lineage = DefaultExtractor(loading.operator(loading.export(), table=named[0])).extract_on_failure(None)
    assert (len(lineage.inputs), lineage.outputs) == (1, [])


def test_the_lineage_names_the_table_as_the_hook_does(loading: Loading, database: Database) -> None:
    operator = loading.operator(uuid := loading.export())
    operator.execute(loading.new_context(loading.interval(uuid)))
    lineage = DefaultExtractor(operator).extract_on_complete(None)
    assert names(lineage.inputs) == [(f"crux://{loading.sandbox.url.removeprefix('http://')}", "orders")]
    assert names(lineage.outputs) == database.datasets
    assert [output.outputFacets["outputStatistics"].rowCount for output in lineage.outputs] == [33] * len(
        database.datasets
    )


def test_the_columns_of_a_table_have_its_types_and_come_from_the_orders(
    loading: Loading, database: Database, named: tuple[str, Names]
) -> None:
    loading.serve(rows_file({"line_item_uuid": "1", "Color": "red"}, columns=[*NAMES, "Color"]))
    operator = loading.operator(uuid := loading.export(), table=named[0])
    operator.execute(loading.new_context(loading.interval(uuid)))
    (output,) = DefaultExtractor(operator).extract_on_complete(None).outputs

    types = DIALECTS["sqlite" if isinstance(database, Sqlite) else "postgres"].types
    columns = [*map(column_named, [*NAMES, "Color"]), *EXPORT_COLUMNS]
    assert [(field.name, field.type, field.description) for field in output.facets["schema"].fields] == [
        (column.name.lower(), types[column.type], column.meaning) for column in columns
    ]
    # those that say which export a row is of come from no field
    sources = output.facets["columnLineage"].fields
    assert {name: source.inputFields[0].field for name, source in sources.items()} == {
        **{name: name for name in NAMES},
        "color": "Color",
    }
