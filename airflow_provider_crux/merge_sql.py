"""
Print the SQL that merges stored files into a table of a warehouse, for a dbt or SQL project.

``python -m airflow_provider_crux.merge_sql --dialect snowflake --table orders --staged orders_staged``
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.tables.dialects import DIALECTS
from airflow_provider_crux.tables.statements import merge_statements


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the statements to standard output; exit with 2 and a message if an argument is invalid."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_crux.merge_sql", description=(__doc__ or "").split("\n")[1]
    )
    parser.add_argument("--dialect", required=True, choices=DIALECTS)
    parser.add_argument("--table", required=True, help="the table that holds every order once, in its latest state")
    parser.add_argument("--staged", required=True, help="the table into which the files are loaded")
    parser.add_argument(
        "--key", default="order_uuid", help="columns of the key, separated by commas; default: %(default)s"
    )
    parser.add_argument(
        "--columns", help="the columns of the files, separated by commas; default: those of the files of 2019"
    )
    options = parser.parse_args(arguments)
    columns = _names(options.columns) if options.columns else None
    try:
        sql = merge_statements(options.dialect, options.table, options.staged, _names(options.key), columns)
    except CruxInvalidRequestError as error:
        parser.error(str(error))
    parts = {
        "Before the load: make the staging table, empty.": sql.stage,
        "After it: create the table, and add columns that it lacks.": sql.prepare,
        f"Then merge: {DIALECTS[options.dialect].atomic.value}.": sql.merge,
    }
    for comment, lines in parts.items():
        sys.stdout.write("\n".join([f"-- {comment}", *(f"{line};" for line in lines), ""]) + "\n")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


if __name__ == "__main__":
    main()
