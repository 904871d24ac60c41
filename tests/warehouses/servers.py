"""What stands in for warehouses: it notes what it receives, and runs it on DuckDB after a translation."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import duckdb

from tests.merges import in_duckdb


class Warehouse:
    """
    A database that notes each statement before it runs it.

    :param dialect: the dialect of the statements.
    :param bucket: the folder that stands in for the bucket.
    :param schemas: the schemas that exist, each with a database or without.
    """

    def __init__(self, dialect: str, bucket: Path, *schemas: str) -> None:
        self.received: list[str] = []
        self._dialect = dialect
        self._bucket = bucket
        self._connection = duckdb.connect()
        self._connection.execute("SET TimeZone = 'UTC'")
        for schema in schemas:
            database, dot, _ = schema.rpartition(".")
            if dot:
                self._connection.execute(f"ATTACH ':memory:' AS {database}")
            self._connection.execute(f"CREATE SCHEMA {schema}")

    def execute(self, sql: str) -> None:
        """Run statements as a driver does, without the transaction."""
        text = " ".join(sql.split())
        self.received.append(text)
        if copy := re.match(r"COPY (?:INTO )?([\w.]+)\s+FROM '\w+://[^']*/([^/']+)'", text):
            self.load(*copy.groups())
        elif text.strip(";") not in ("BEGIN", "COMMIT"):
            for statement in in_duckdb(sql, self._dialect):
                self._connection.execute(statement)

    def load(self, table: str, file: str) -> None:
        """Load a file by the position of its columns."""
        self._connection.execute(f"INSERT INTO {table} {self._rows_of(file)}")

    def replace(self, table: str, file: str) -> None:
        """Make a table of a file."""
        self._connection.execute(f"CREATE OR REPLACE TABLE {table} AS {self._rows_of(file)}")

    def _rows_of(self, file: str) -> str:
        return f"SELECT * FROM read_parquet('{self._bucket / file}', hive_partitioning = false)"

    def rows(self, table: str) -> list[dict[str, Any]]:
        relation = self._connection.sql(f"FROM {table}")
        return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]

    def close(self) -> None:
        self._connection.close()


class Connection:
    """A connection of PEP 249 to a warehouse, as far as the hooks of Redshift and Databricks need one."""

    description = None
    rowcount = -1
    query_id = None

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self.autocommit = False

    def cursor(self, *_: object) -> Connection:
        return self

    def execute(self, sql: str, parameters: object = None) -> None:
        assert not parameters
        self._warehouse.execute(sql)

    def commit(self) -> None:
        self._warehouse.received.append("(commit)")

    def close(self) -> None:
        """Leave the warehouse open."""


@contextmanager
def running_bigquery(warehouse: Warehouse) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Run the API of BigQuery, as far as jobs need it. The value is its URL, and the jobs that were inserted."""
    jobs: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert urlsplit(self.path).path == "/bigquery/v2/projects/my-project/jobs"
            job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            jobs.append(job["configuration"])
            run_job(warehouse, job["configuration"])
            self._respond({**job, "status": {"state": "DONE"}})

        def do_GET(self) -> None:
            *_, kind, job_id = urlsplit(self.path).path.split("/")
            reference = {"projectId": "my-project", "jobId": job_id, "location": "EU"}
            assert kind == "queries"
            self._respond({"jobReference": reference, "jobComplete": True, "totalRows": "0", "schema": {"fields": []}})

        def _respond(self, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", jobs
        finally:
            server.shutdown()
            thread.join()


def run_job(warehouse: Warehouse, configuration: dict[str, Any]) -> None:
    """Run a job's statements, or load its file."""
    if "query" in configuration:
        warehouse.execute(configuration["query"]["query"])
        return
    load = configuration["load"]
    (uri,) = load["sourceUris"]
    table = load["destinationTable"]
    name = ".".join(f'"{table[part]}"' for part in ("projectId", "datasetId", "tableId"))
    warehouse.replace(name, uri.rpartition("/")[2])
