"""All that an Airflow has written, opened as far as it goes, and the search for secrets in it."""

from __future__ import annotations

import base64
import contextlib
import html
import json
import re
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus

from cryptography.fernet import Fernet, InvalidToken

PIECE = 12
"""Secrets are looked for in pieces of so many characters, so that half of one is found too."""

_ENCRYPTED = re.compile(rb"gAAAA[\w-]{60,}={0,2}")
# base64 of what zlib and gzip write; that of plain text is found as it is, see `spellings`
_COMPRESSED = re.compile(rb"(?:eJ|H4sI|eN)[\w+/-]{20,}={0,2}")


def in_files(folder: Path, key: Fernet) -> dict[str, bytes]:
    """Return what stands in every file below a folder, by the file's name; opened, but for the database's own."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    return {
        str(path.relative_to(folder)): path.read_bytes()
        if path.name.startswith("airflow.db")
        else _opened_wide(path.read_bytes(), key)
        for path in files
    }


def in_tables(database: Path, key: Fernet) -> dict[str, bytes]:
    """Return what stands in every table of a database, by `table.column`, opened."""
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as connection:
        connection.text_factory = bytes
        names = [row[0].decode() for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            f"{name}.{column}": b"\n".join(_opened_wide(_bytes(row[0]), key) for row in rows)
            for name in names
            for column, rows in _columns(connection, name)
        }


def _columns(connection: sqlite3.Connection, table: str) -> Iterator[tuple[str, sqlite3.Cursor]]:
    for row in connection.execute(f"PRAGMA table_info('{table}')").fetchall():
        column = row[1].decode()
        yield column, connection.execute(f'SELECT "{column}" FROM "{table}"')


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _opened_wide(text: bytes, key: Fernet) -> bytes:
    return b"\n".join(opened(text, key))


def opened(text: bytes, key: Fernet) -> Iterator[bytes]:
    """Give a text, and all that is wrapped in it: encrypted, or compressed; pickled text can be read as it is."""
    yield text
    for inner in _wrapped_in(text, key):
        yield from opened(inner, key)


def _wrapped_in(text: bytes, key: Fernet) -> Iterator[bytes]:
    for found in set(_ENCRYPTED.findall(text)):
        with contextlib.suppress(InvalidToken):
            yield key.decrypt(found)
    with contextlib.suppress(zlib.error):
        yield zlib.decompress(text, wbits=47)  # zlib or gzip
    for found in set(_COMPRESSED.findall(text)):
        with contextlib.suppress(ValueError, zlib.error):
            yield zlib.decompress(base64.b64decode(found.translate(bytes.maketrans(b"-_", b"+/"))), wbits=47)


def spellings(secret: str) -> set[bytes]:
    """Return the pieces by which a secret is found, whole or in part, in any form in which it is commonly written."""
    once = json.dumps(secret)[1:-1]
    texts = {secret, once, json.dumps(once)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
    texts |= {quote(secret, safe=""), quote(secret), quote_plus(secret), quote(quote(secret, safe=""), safe="")}
    texts |= {html.escape(secret), ascii(secret)[1:-1], repr(secret.encode())[2:-1], secret.encode().hex()}
    pieces = {piece for text in texts for piece in _pieces(text.encode())}
    for shift in range(3):  # where the secret begins within three bytes that become four characters
        for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
            # the first and the last characters depend on what stands beside the secret
            pieces |= set(_pieces(encode(bytes(shift) + secret.encode())[4:-4]))
    return pieces


def _pieces(text: bytes) -> Iterator[bytes]:
    for start in range(0, len(text) - PIECE + 1, PIECE):
        yield text[start : start + PIECE]


def finds(places: Mapping[str, bytes], secrets: Mapping[str, str]) -> dict[str, list[str]]:
    """Return which secrets stand in which places, by place, each with what surrounds it."""
    sought = {name: spellings(secret) for name, secret in secrets.items()}
    told = {
        place: [
            f"{name}: {text[max(0, at - 80) : at + 80]!r}"
            for name, pieces in sought.items()
            if (at := max(text.find(piece) for piece in pieces)) >= 0
        ]
        for place, text in places.items()
    }
    return {place: found for place, found in told.items() if found}
