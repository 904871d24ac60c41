#!/usr/bin/env bash
# pyarrow 26.0.1 (and 17.0.0): read_csv does not ask invalid_row_handler about a row of the wrong width if the row is not
# UTF-8, although the columns are read as binary and the rest of the file is. A handler that says "skip" skips nothing: the
# whole file is an error.
#
# Behavior: before it calls the handler, pyarrow decodes the text of the row as UTF-8. That fails, the UnicodeDecodeError is
# only printed ("Exception ignored in ..."), and the row counts as one that the handler did not accept. `encoding` of
# ReadOptions is no help for files of which one row has another encoding than the others.
# Source: python/pyarrow/_csv.pyx, `_handle_invalid_row`.
# Who meets it: whoever skips or counts the damaged rows of exports from old systems, in Latin-1. Remedy: if read_csv fails,
# read again with the bytes above 127 replaced (bytes.translate) to learn which rows have another width.
# Output seen on 2026-11-28:
#   UTF-8: 2 rows, the handler was asked about 2 values
#   Latin-1: ArrowInvalid, the handler was asked about nothing, 1 exception ignored
#   Latin-1 without the row: 2 rows, the handler was asked about nothing
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pyarrow==26.0.1 2>/dev/null
"$folder/venv/bin/python" >"$folder/output" <<'PYTHON'
import io
import sys

import pyarrow
import pyarrow.csv

ignored = []
sys.unraisablehook = ignored.append


def read(what, content):
    ignored.clear()
    asked = []

    def skip(row):
        asked.append(f"{row.actual_columns} values")
        return "skip"

    try:
        table = pyarrow.csv.read_csv(
            io.BytesIO(content),
            parse_options=pyarrow.csv.ParseOptions(invalid_row_handler=skip),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(["order", "city", "note"], pyarrow.binary())
            ),
        )
        outcome = f"{len(table)} rows"
    except pyarrow.ArrowInvalid as error:
        outcome = type(error).__name__
    print(
        f"{what}: {outcome}, the handler was asked about {', '.join(asked) or 'nothing'}"
        + (f", {len(ignored)} exception ignored" if ignored else "")
    )


good = b"order,city,note\no1,Basel,a\n"
read("UTF-8", good + "o2,Zürich\n".encode() + b"o3,Bern,b\n")
read("Latin-1", good + "o2,Zürich\n".encode("latin-1") + b"o3,Bern,b\n")
read("Latin-1 without the row", good + "o3,Zürich,b\n".encode("latin-1"))
PYTHON
cat "$folder/output"
diff "$folder/output" - <<'EXPECTED'
UTF-8: 2 rows, the handler was asked about 2 values
Latin-1: ArrowInvalid, the handler was asked about nothing, 1 exception ignored
Latin-1 without the row: 2 rows, the handler was asked about nothing
EXPECTED
