"""Reads everything that an Airflow has written, decrypted and decompressed, and searches it for secrets."""

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

PIECE_LENGTH = 12
"""The search uses pieces of this many characters, so that it also finds a part of a secret."""

_ENCRYPTED = re.compile(rb"gAAAA[\w-]{60,}={0,2}")
# base64 of zlib or gzip data. base64 of plain text needs no decoding, see `encoded_pieces`.
_COMPRESSED = re.compile(rb"(?:eJ|H4sI|eN)[\w+/-]{20,}={0,2}")


def read_files(folder: Path, key: Fernet) -> dict[str, bytes]:
    """Return the decoded content of every file below a folder, by file name. The database files are not decoded."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    return {
        str(path.relative_to(folder)): path.read_bytes()
        if path.name.startswith("airflow.db")
        else _decoded(path.read_bytes(), key)
        for path in files
    }


def read_tables(database: Path, key: Fernet) -> dict[str, bytes]:
    """Return the decoded content of every column of a database, by `table.column`."""
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as connection:
        connection.text_factory = bytes
        names = [row[0].decode() for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            f"{name}.{column}": b"\n".join(_decoded(_to_bytes(row[0]), key) for row in rows)
            for name in names
            for column, rows in _columns(connection, name)
        }


def _columns(connection: sqlite3.Connection, table: str) -> Iterator[tuple[str, sqlite3.Cursor]]:
    for row in connection.execute(f"PRAGMA table_info('{table}')").fetchall():
        column = row[1].decode()
        yield column, connection.execute(f'SELECT "{column}" FROM "{table}"')


def _to_bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _decoded(content: bytes, key: Fernet) -> bytes:
    return b"\n".join(_decode(content, key))


def _decode(content: bytes, key: Fernet) -> Iterator[bytes]:
    """Yield the content and everything encrypted or compressed in it. Pickled text needs no decoding."""
    yield content
    for inner in _decode_once(content, key):
        yield from _decode(inner, key)


def _decode_once(content: bytes, key: Fernet) -> Iterator[bytes]:
    for encrypted in set(_ENCRYPTED.findall(content)):
        with contextlib.suppress(InvalidToken):
            yield key.decrypt(encrypted)
    with contextlib.suppress(zlib.error):
        yield zlib.decompress(content, wbits=47)  # zlib or gzip
    for encoded in set(_COMPRESSED.findall(content)):
        with contextlib.suppress(ValueError, zlib.error):
            yield zlib.decompress(base64.b64decode(encoded.translate(bytes.maketrans(b"-_", b"+/"))), wbits=47)


def encoded_pieces(secret: str) -> set[bytes]:
    """Return pieces of the secret in all common encodings. Each piece identifies the secret."""
    as_json = json.dumps(secret)[1:-1]
    texts = {secret, as_json, json.dumps(as_json)[1:-1]}
    texts |= {json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
    texts |= {quote(secret, safe=""), quote(secret), quote_plus(secret), quote(quote(secret, safe=""), safe="")}
    texts |= {html.escape(secret), ascii(secret)[1:-1], repr(secret.encode())[2:-1], secret.encode().hex()}
    pieces = {piece for text in texts for piece in _pieces(text.encode())}
    for shift in range(3):  # base64 encodes three bytes as four characters: the secret may start at any of the three
        for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
            # The first and the last characters depend on the text around the secret.
            pieces |= set(_pieces(encode(bytes(shift) + secret.encode())[4:-4]))
    return pieces


def _pieces(text: bytes) -> Iterator[bytes]:
    for start in range(0, len(text) - PIECE_LENGTH + 1, PIECE_LENGTH):
        yield text[start : start + PIECE_LENGTH]


def find_leaks(contents: Mapping[str, bytes], secrets: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the secrets that each place contains, with the text around them. Places without secrets are left out."""
    pieces_by_name = {name: encoded_pieces(secret) for name, secret in secrets.items()}
    leaks_by_place = {
        place: [
            f"{name}: {content[max(0, position - 80) : position + 80]!r}"
            for name, pieces in pieces_by_name.items()
            if (position := max(content.find(piece) for piece in pieces)) >= 0
        ]
        for place, content in contents.items()
    }
    return {place: leaks for place, leaks in leaks_by_place.items() if leaks}
