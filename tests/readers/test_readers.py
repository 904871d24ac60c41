"""
What pandas, Polars, DuckDB and pyarrow make of stored files: docs/evidence/readers.md.

With RECORD_READERS in its environment the test writes the page instead (`make readers`).
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.transfers.transfer import csv_file

pandas = pytest.importorskip("pandas", reason="is installed on one version of Airflow")
polars = pytest.importorskip("polars", reason="is installed on one version of Airflow")

import duckdb
import numpy as np
import pyarrow.csv
import pyarrow.parquet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.transfers.transfer import Transfer

PAGE = Path(__file__).parents[2] / "docs/evidence/readers.md"
TEMPLATE = Path(__file__).with_name("readers.md.template")
RECORD = "RECORD_READERS" in os.environ

USUAL = {"postal_code": "12345", "address2": "Suite 2", "country": "US", "dropship_fee": "14.65", "quantity": "2"}
ODD = {"postal_code": "01234", "address2": "", "country": "NA", "dropship_fee": "US$0.00", "quantity": ""}
CANADIAN = {"postal_code": "K1A 0B1"}
# more rows than any reader looks at before it decides on a type
LONG = 40_000
FILES: Mapping[str, list[dict[str, str]]] = {
    "short": [USUAL, ODD],
    "long": [USUAL] * LONG + [USUAL | {"postal_code": "01234"}],
    "mixed": [USUAL | {"postal_code": "01234"}, *[USUAL] * LONG, USUAL | CANADIAN, USUAL | {"postal_code": "01234"}],
    "money": [USUAL] * LONG + [ODD],
}

Row = tuple[str, str, str, int, tuple[Any, ...]]
REQUESTED_AT = datetime(2026, 1, 5, 0, 10, tzinfo=UTC)
ROWS: list[Row] = [
    ("postal code `01234` in a short file", "short", "postal_code", 1, ("01234",)),
    (f"postal code `01234` after {LONG:,} other rows", "long", "postal_code", -1, ("01234",)),
    ("postal code `01234` in the first row, and `K1A 0B1` near the end", "mixed", "postal_code", 0, ("01234",)),
    ("postal code `01234` in the last row of that file", "mixed", "postal_code", -1, ("01234",)),
    ("amount `14.65`", "long", "dropship_fee", 0, (Decimal("14.65"), "14.65")),
    (f"amount `US$0.00` after {LONG:,} others", "money", "dropship_fee", -1, (Decimal(0), "US$0.00")),
    ("empty text", "short", "address2", 1, ("",)),
    ("country `NA`", "short", "country", 1, ("NA",)),
    ("whole number `2`, if another one is missing", "short", "quantity", 0, (2, "2")),
    ("missing whole number", "short", "quantity", 1, (None, "")),
    ("instant", "short", "crux_requested_at", 0, (REQUESTED_AT, REQUESTED_AT.isoformat())),
]
"""Each row of the tables: what it says, a file, a column, a row in it, and what is a right value."""

Read = tuple[str, Any]
DEFAULTS: Mapping[str, str] = {
    "pandas": "pandas.read_csv(file)",
    "Polars": "polars.read_csv(file)",
    "DuckDB": "duckdb.read_csv(file)",
    "pyarrow": "pyarrow.csv.read_csv(file)",
}
TEXTS: Mapping[str, str] = {
    "pandas": "pandas.read_csv(file, dtype=str, keep_default_na=False)",
    "Polars": "polars.read_csv(file, infer_schema=False, empty_string_is_null=False)",
    "DuckDB": 'duckdb.read_csv(file, all_varchar=True, na_values="no such text")',
    "pyarrow": "pyarrow.csv.read_csv(file, convert_options=pyarrow.csv.ConvertOptions"
    "(default_column_type=pyarrow.string()))",
}
PARQUET: Mapping[str, str] = {
    "pandas": "pandas.read_parquet(file)",
    "Polars": "polars.read_parquet(file)",
    "DuckDB": "duckdb.read_parquet(file)",
    "pyarrow": "pyarrow.parquet.read_table(file, partitioning=None)",
}
NAMES = {"pandas": pandas, "polars": polars, "duckdb": duckdb, "pyarrow": pyarrow}


class DuckDbRows(NamedTuple):
    """What DuckDB has read: its relations read only when one fetches the rows."""

    types: dict[str, str]
    rows: pyarrow.Table

    @classmethod
    def of(cls, relation: Any) -> DuckDbRows:
        return cls(dict(zip(relation.columns, map(str, relation.types), strict=True)), relation.to_arrow_table())


def read_pandas(rows: Any, column: str, row: int) -> Read:
    value = rows[column].iloc[row]
    plain = value.item() if isinstance(value, np.generic) else value
    return str(rows[column].dtype), None if pandas.isna(plain) else plain


def read_polars(rows: Any, column: str, row: int) -> Read:
    return str(rows.schema[column]), rows[column][row]


def read_duckdb(rows: Any, column: str, row: int) -> Read:
    return rows.types[column], rows.rows[column][row].as_py()


def read_pyarrow(rows: Any, column: str, row: int) -> Read:
    return str(rows.schema.field(column).type), rows[column][row].as_py()


VALUES: Mapping[str, Callable[[Any, str, int], Read]] = {
    "pandas": read_pandas,
    "Polars": read_polars,
    "DuckDB": read_duckdb,
    "pyarrow": read_pyarrow,
}


def cell(reader: str, rows: Any, row: Row) -> str:
    """Return what a reader makes of a value; bold if it is none of the right ones."""
    _, _, column, number, right = row
    if isinstance(rows, Exception):
        return "**reading stops**"
    type_, value = VALUES[reader](rows, column, number)
    shown = value.astimezone(UTC).isoformat() if isinstance(value, datetime) else repr(value)
    text = "null" if value is None else f"`{shown}`"
    # 14.65 as a float is not exact
    exact = Decimal(value) if isinstance(value, float) else value
    return f"`{type_}`: {text if exact in right else f'**{text}**'}"


def table(files: Mapping[str, Path], sources: Mapping[str, str]) -> str:
    lines = [f"| value | {' | '.join(sources)} |", f"|---{'|---' * len(sources)}|"]
    read: dict[tuple[str, str], Any] = {}
    for reader, source in sources.items():
        for name, file in files.items():
            try:
                rows = eval(source, NAMES | {"file": str(file)})
                read[reader, name] = DuckDbRows.of(rows) if reader == "DuckDB" else rows
            except (polars.exceptions.ComputeError, duckdb.ConversionException) as error:
                read[reader, name] = error
    for row in ROWS:
        cells = [cell(reader, read[reader, row[1]], row) for reader in sources]
        lines.append(f"| {' | '.join([row[0], *cells])} |")
    return "\n".join(lines)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pandas.errors.DtypeWarning")  # it says so itself, if a column has two types
def test_the_page_says_what_the_readers_make_of_the_files(transfer: Transfer, tmp_path: Path) -> None:
    stored: dict[str, dict[str, Path]] = {"csv": {}, "parquet": {}}
    for name, rows in FILES.items():
        body = csv_file(*rows)
        for format_, files in stored.items():
            files[name] = tmp_path / f"{name}.{format_}"
            options = {"add_export_columns": True} if format_ == "csv" else {}
            transfer.run(body, path=f"file://{files[name]}", file_format=format_, **options)
    committed = PAGE.read_text() if PAGE.exists() else ""
    date = re.search(r"on (\d{4}-\d\d-\d\d)\.", committed)
    parts = {
        "versions": ", ".join(f"{name} {version(name.lower())}" for name in DEFAULTS),
        "date": f"{datetime.now(UTC):%Y-%m-%d}" if RECORD or date is None else date[1],
        "parquet": table(stored["parquet"], PARQUET),
        "options": "\n".join(TEXTS.values()),
        "texts": table(stored["csv"], TEXTS),
        "csv": table(stored["csv"], DEFAULTS),
    }
    page = TEMPLATE.read_text()
    for name, text in parts.items():
        page = page.replace(f"{{{{ {name} }}}}", text)
    assert "**" not in parts["parquet"] + parts["texts"], "the answer at the beginning of the page"
    if RECORD:
        PAGE.write_text(page)
    assert page == committed or RECORD, "run make readers, and read the difference"
