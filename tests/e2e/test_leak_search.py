"""The search for secrets finds them in every form in which they are commonly written; here without an Airflow."""

from __future__ import annotations

import base64
import gzip
import html
import json
import pickle
import sqlite3
import zlib
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from cryptography.fernet import Fernet

from tests.e2e.everything_written import finds, in_files, in_tables
from tests.e2e.test_secrets import PASSWORD, TOKEN

KEY = Fernet(Fernet.generate_key())


@pytest.mark.parametrize("secret", [TOKEN, PASSWORD, "0123456789abcdef" * 4])
@pytest.mark.parametrize(
    "written",
    [
        lambda text: text,
        lambda text: text[: len(text) // 2],
        lambda text: f"Token {text}",
        lambda text: json.dumps({"a": text}),
        lambda text: json.dumps(json.dumps({"a": text})),
        repr,
        lambda text: repr(text.encode()),
        lambda text: quote(text, safe=""),
        quote_plus,
        lambda text: quote(quote(text, safe=""), safe=""),
        html.escape,
        lambda text: text.encode().hex(),
        *(lambda text, before=before: base64.b64encode(f"{before}{text}".encode()) for before in ("", "a:", "ab:")),
        lambda text: base64.urlsafe_b64encode(text.encode()),
        lambda text: pickle.dumps({"a": text}),
        lambda text: zlib.compress(text.encode()),
        lambda text: gzip.compress(text.encode()),
        lambda text: KEY.encrypt(text.encode()),
        lambda text: json.dumps({"a": KEY.encrypt(json.dumps(text).encode()).decode()}),
        lambda text: KEY.encrypt(base64.b64encode(zlib.compress(text.encode()))),
    ],
)
def test_a_secret_is_found_in_whatever_form_it_stands_in_a_file_or_a_table(tmp_path: Path, written, secret) -> None:
    value = written(secret)
    (tmp_path / "some.log").write_bytes(value if isinstance(value, bytes) else value.encode())
    with sqlite3.connect(tmp_path / "airflow.db") as connection:
        connection.execute("CREATE TABLE some (id INTEGER, value BLOB)")
        connection.execute("INSERT INTO some VALUES (1, ?)", (value,))
    connection.close()

    places = in_files(tmp_path, KEY) | in_tables(tmp_path / "airflow.db", KEY)
    assert {"some.log", "some.value"} <= set(finds(places, {"it": secret})) <= {"some.log", "some.value", "airflow.db"}


def test_nothing_is_found_where_no_secret_is(tmp_path: Path) -> None:
    (tmp_path / "some.log").write_bytes(KEY.encrypt(b"Token ***"))

    assert finds(in_files(tmp_path, KEY), {"token": TOKEN, "password": PASSWORD}) == {}
