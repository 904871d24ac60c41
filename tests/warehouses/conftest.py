"""Runs an example with the warehouse's own provider, the sandbox as Crux Connect, and a folder as the bucket."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.state import ManualClock, Sandbox, SandboxSettings
from airflow_provider_crux.tables.statements import MergeStatements, merge_statements
from airflow_provider_crux.task import waiting
from tests.dag_runs import EXAMPLES, XCOMS, _terminate_handler, dags_folder, query, run
from tests.daily_lookbacks import check_rows, expected_rows, shuffled_runs

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["_terminate_handler", "dags_folder", "run"]

RUNS = [(moment, day) for moment, day in shuffled_runs() if day.strftime("%m%d") in ("0205", "0206")]
"""That of February 6 comes first; that of February 5 comes twice. Orders change between them."""
FILES = ["2026-02-06.parquet", "2026-02-05.parquet", "2026-02-05.parquet"]


@dataclass(frozen=True)
class Example:
    """
    An example that ran.

    :param folder: where it stored its files.
    :param names: what its module defines.
    """

    dialect: str
    folder: Path
    names: Mapping[str, Any]
    sandbox: Sandbox

    @property
    def statements(self) -> MergeStatements:
        """What it must send, if all files have the same columns."""
        schema = self.names.get("SCHEMA")
        table, staged = (".".join(filter(None, (schema, self.names[name]))) for name in ("TABLE", "STAGED"))
        files = [file["columns"] for file in self._xcoms("export_file")]
        assert len(files) == len(RUNS)
        assert all(columns == files[0] for columns in files)
        return merge_statements(self.dialect, table, staged, columns=files[0])

    def check(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Fail unless these are the rows that the table must hold."""
        expected = expected_rows(self.sandbox, self._xcoms("export_interval"))
        assert len(expected) > 10
        check_rows(rows, expected)

    def _xcoms(self, key: str) -> list[Any]:
        rows = query(f"SELECT value FROM {XCOMS} WHERE dag_id = '{self.names['dag'].dag_id}' AND key = '{key}'")
        return [json.loads(row) for row in rows]


@pytest.fixture
def run_example(connect, run, monkeypatch, tmp_path: Path) -> Iterator[Callable[[str], Example]]:
    """Return a function that runs the example of a dialect for each run. Its files go to ``tmp_path / "bucket"``."""
    # dag.test() runs the trigger itself: it can resume the task at once
    monkeypatch.setattr(waiting, "MIN_RESUME_DELAY", 0)
    folder = tmp_path / "bucket"
    clock = ManualClock(RUNS[0][0])
    with running_sandbox(clock=clock) as sandbox:
        connect(host=sandbox.url, password=SandboxSettings().token)

        def run_all(dialect: str) -> Example:
            (example,) = EXAMPLES[0].parent.glob(f"warehouses/*_{dialect}.py")
            bucket = f"FOLDER = {folder.as_uri()!r}"
            source, replaced = re.subn(r"^FOLDER = .*", bucket, example.read_text(), flags=re.MULTILINE)
            assert replaced == 1
            copy = tmp_path / example.name
            copy.write_text(source)
            for moment, logical_date in RUNS:
                clock.advance((moment - clock()).total_seconds())
                names = run(copy, logical_date=logical_date, poll_interval=0.1)
            assert sorted(path.name for path in folder.iterdir()) == sorted(set(FILES))
            return Example(dialect, folder, names, sandbox)

        yield run_all
