"""Tests that the leak search finds secrets in every common encoding. They need no Airflow."""

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

from tests.e2e.canaries import PASSWORD, TOKEN
from tests.e2e.leak_search import find_leaks, read_files, read_tables

KEY = Fernet(Fernet.generate_key())


@pytest.mark.parametrize("secret", [TOKEN, PASSWORD, "0123456789abcdef" * 4])
@pytest.mark.parametrize(
    "encode",
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
        *(lambda text, prefix=prefix: base64.b64encode(f"{prefix}{text}".encode()) for prefix in ("", "a:", "ab:")),
        lambda text: base64.urlsafe_b64encode(text.encode()),
        lambda text: pickle.dumps({"a": text}),
        lambda text: zlib.compress(text.encode()),
        lambda text: gzip.compress(text.encode()),
        lambda text: KEY.encrypt(text.encode()),
        lambda text: json.dumps({"a": KEY.encrypt(json.dumps(text).encode()).decode()}),
        lambda text: KEY.encrypt(base64.b64encode(zlib.compress(text.encode()))),
    ],
)
def test_search_finds_a_secret_in_a_file_and_a_table_in_every_encoding(tmp_path: Path, encode, secret) -> None:
    value = encode(secret)
    (tmp_path / "some.log").write_bytes(value if isinstance(value, bytes) else value.encode())
    with sqlite3.connect(tmp_path / "airflow.db") as connection:
        connection.execute("CREATE TABLE some (id INTEGER, value BLOB)")
        connection.execute("INSERT INTO some VALUES (1, ?)", (value,))
    connection.close()

    contents = read_files(tmp_path, KEY) | read_tables(tmp_path / "airflow.db", KEY)
    leaks = set(find_leaks(contents, {"secret": secret}))
    assert {"some.log", "some.value"} <= leaks <= {"some.log", "some.value", "airflow.db"}


def test_search_finds_nothing_if_there_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / "some.log").write_bytes(KEY.encrypt(b"Token ***"))

    assert find_leaks(read_files(tmp_path, KEY), {"token": TOKEN, "password": PASSWORD}) == {}
