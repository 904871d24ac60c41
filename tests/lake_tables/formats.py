"""The two formats of docs/lake-tables.md, and the functions of that page."""

from __future__ import annotations

import json
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pytest

from tests.object_store import BUCKET, ObjectStore
from tests.test_file_pages import blocks

if TYPE_CHECKING:
    from pathlib import Path

    from deltalake import DeltaTable

# imported only by the tests that need them, because that takes seconds, in each process that collects the tests
if not (find_spec("deltalake") and find_spec("pyiceberg")):
    pytest.skip("deltalake and pyiceberg are installed on one version of Airflow", allow_module_level=True)

PAGE = "lake-tables.md"
NAME = "crux.orders"


@cache
def recipe() -> ModuleType:
    """Return the functions of the page as a module."""
    module = ModuleType("lake_tables")
    for source in blocks(PAGE, "python", "def "):
        if "with DAG(" not in source:
            exec(compile(source, PAGE, "exec"), vars(module))
    return module


def read_as_the_page_does(containing: str, **names: Any) -> list[pa.Table]:
    """Return what DuckDB and Polars read."""
    (source,) = blocks(PAGE, "python", containing)
    exec(source, names)
    return [names["orders_in_duckdb"].to_arrow_table(), names["orders_in_polars"].to_arrow()]


class Format(Protocol):
    """A table that may not exist yet."""

    def merge(self, *files: Path | str) -> None: ...

    def conflict(self) -> type[Exception]:
        """Return the error of a merge that another one overtakes."""

    def rows(self) -> pa.Table: ...

    def read(self) -> list[pa.Table]: ...

    def published(self) -> list[pa.Table]:
        """Return the rows that a reader saw after each commit, from the first one on."""


class Iceberg:
    """A table of Iceberg in a catalog in SQLite."""

    def __init__(self, folder: Path, s3: ObjectStore | None = None) -> None:
        warehouse = f"file://{folder}/iceberg" if s3 is None else f"s3://{BUCKET}/iceberg"
        self.properties = {"type": "sql", "uri": f"sqlite:///{folder}/catalog.db", "warehouse": warehouse}
        if s3 is not None:
            login, password, endpoint, region = access(s3)
            self.properties |= {"s3.access-key-id": login, "s3.secret-access-key": password}
            self.properties |= {"s3.endpoint": endpoint, "s3.region": region}
        from pyiceberg.catalog import load_catalog

        self.catalog = load_catalog("lake", **self.properties)
        self.catalog.create_namespace("crux")

    def merge(self, *files: Path | str) -> None:
        recipe().merge_into_iceberg(self.catalog, NAME, list(map(str, files)))

    def rows(self) -> pa.Table:
        return self.catalog.load_table(NAME).scan().to_arrow()

    def conflict(self) -> type[Exception]:
        from pyiceberg.exceptions import ValidationException

        return ValidationException

    def read(self) -> list[pa.Table]:
        return read_as_the_page_does("scan_iceberg", catalog=self.catalog)

    def published(self) -> list[pa.Table]:
        from pyiceberg.table import StaticTable

        table = self.catalog.load_table(NAME)
        earlier = [entry.metadata_file for entry in table.metadata.metadata_log]
        return [
            StaticTable.from_metadata(file, self.properties).scan().to_arrow()
            for file in [*earlier, table.metadata_location]
        ]


class Delta:
    """A table of Delta."""

    def __init__(self, folder: Path, s3: ObjectStore | None = None) -> None:
        self.location = f"{folder}/delta" if s3 is None else f"s3://{BUCKET}/delta"
        self.options: dict[str, str] | None = None
        if s3 is not None:
            login, password, endpoint, region = access(s3)
            self.options = {"AWS_ACCESS_KEY_ID": login, "AWS_SECRET_ACCESS_KEY": password, "AWS_ALLOW_HTTP": "true"}
            self.options |= {"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": region}

    def merge(self, *files: Path | str) -> None:
        recipe().merge_into_delta(self.location, list(map(str, files)), self.options)

    def rows(self) -> pa.Table:
        return self._table().to_pyarrow_table()

    def conflict(self) -> type[Exception]:
        from deltalake.exceptions import CommitFailedError

        return CommitFailedError

    def read(self) -> list[pa.Table]:
        return read_as_the_page_does("scan_delta", location=self.location, storage_options=self.options)

    def published(self) -> list[pa.Table]:
        return [self._table(version).to_pyarrow_table() for version in range(self._table().version() + 1)]

    def _table(self, version: int | None = None) -> DeltaTable:
        from deltalake import DeltaTable

        return DeltaTable(self.location, version=version, storage_options=self.options)


def access(s3: ObjectStore) -> tuple[str, str, str, str]:
    connection = json.loads(s3.connection)
    extra = connection["extra"]
    return connection["login"], connection["password"], extra["endpoint_url"], extra["region_name"]
