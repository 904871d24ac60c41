"""
Store a file in object storage or on a local disk, all or nothing.

Where its bytes come from is the caller's decision.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_crux.api.csv_records import RecordCounter

if TYPE_CHECKING:
    from _typeshed import SupportsWrite
    from airflow.providers.common.compat.sdk import ObjectStoragePath

log = logging.getLogger(__name__)

# the protocols of the stores that show an object only when its upload is complete
_OBJECT_STORES: Final = frozenset({"s3", "s3a", "s3n", "gs", "gcs", "abfs", "abfss", "adl", "az"})
_LOCAL: Final = frozenset({"", "file", "local"})

# S3 accepts 10,000 parts: 80 GB. The file systems' own 50 MiB would be in memory several times.
_PART_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True)
class StoredFile:
    """
    A CSV file that was stored.

    :param path: its path.
    :param bytes: its length.
    :param rows: its records without the header.
    :param sha256: of its bytes, in hexadecimal digits.
    """

    path: str
    bytes: int
    rows: int
    sha256: str


class _DiscardEmpty(Exception):  # noqa: N818 - a signal within this module
    """Abandons the write of a file without records."""


def store(chunks: Iterable[bytes], path: ObjectStoragePath, *, skip_if_empty: bool = False) -> StoredFile:
    """
    Store a CSV file byte for byte, and count its records in the same pass.

    :param chunks: the file's bytes. If they raise, nothing is stored, and the path keeps what it contained.
    :param path: the target; an existing file is replaced.
    :param skip_if_empty: whether to store nothing if the file has no record but the header; default False.
    :return: what was stored, or would have been.
    """
    counter, digest, size = RecordCounter(), hashlib.sha256(), 0
    with suppress(_DiscardEmpty), atomic_write(path) as file:
        for chunk in chunks:
            file.write(chunk)
            counter.feed(chunk)
            digest.update(chunk)
            size += len(chunk)
        if skip_if_empty and not counter.rows:
            raise _DiscardEmpty
    return StoredFile(path=str(path), bytes=size, rows=counter.rows, sha256=digest.hexdigest())


def atomic_write(path: ObjectStoragePath) -> AbstractContextManager[SupportsWrite[bytes]]:
    """
    Write a file that is complete when the block ends, and does not exist if the block raises anything.

    Until the block ends, and for good if it raises or the process is killed, the path keeps what it contained. If two
    tasks write to the same path at once, one may fail; the path contains one of their files, complete.

    :param path: the target; an existing file is replaced. Folders are created as needed.
    :return: a context manager; its value accepts bytes with ``write``.
    """
    if path.protocol in _LOCAL:
        return _write_then_rename(path)
    return _multipart_upload(path) if path.protocol in _OBJECT_STORES else _write_then_move(path)


@contextmanager
def _multipart_upload(path: ObjectStoragePath) -> Iterator[SupportsWrite[bytes]]:
    """
    Write an object by an upload that the end of the block completes or aborts.

    Not with the file's own ``with``: fsspec completes the upload in ``__exit__``, and in ``__del__``, even after an
    error. Nor with fsspec's transaction, which closes before it discards: closing completes an upload to Azure, and it
    applies to every file of the process on that store. A killed process leaves parts, which nobody sees as an object; a
    lifecycle rule of the bucket removes them.
    """
    fs = path.fs
    file = fs.open(path.path, "wb", block_size=_PART_BYTES, autocommit=False)
    fs.transaction.files.remove(file)  # it is ended here, and must not be a second time
    try:
        yield file
        file.close()
        file.commit()
    except BaseException:
        _abort_upload(file, path)
        raise


def _abort_upload(file: Any, path: ObjectStoragePath) -> None:
    try:
        file.discard()
    except Exception as error:  # noqa: BLE001 - the error that is already being raised says more
        log.warning(
            "Could not abort the upload to %s: its parts may remain in the store, but no object: %s", path, error
        )
    finally:
        file.closed = True  # otherwise garbage collection would complete it


@contextmanager
def _write_then_rename(path: ObjectStoragePath) -> Iterator[SupportsWrite[bytes]]:
    """Write a file under a temporary name in the same folder, so that renaming it is atomic."""
    target = Path(path.path)
    target.parent.mkdir(parents=True, exist_ok=True)
    for name in _leftovers((entry.name for entry in target.parent.iterdir()), target.name):
        target.with_name(name).unlink(missing_ok=True)
    temporary = target.with_name(_temporary_name(target.name))
    try:
        # not with tempfile, whose files only their owner can read, whatever the umask says
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _write_then_move(path: ObjectStoragePath) -> Iterator[SupportsWrite[bytes]]:
    """Write a file as on a local disk, but on any other file system: all or nothing if its move is atomic."""
    fs, (folder, _, name) = path.fs, path.path.rpartition("/")
    fs.makedirs(folder, exist_ok=True)
    for leftover in _leftovers((entry.rpartition("/")[2] for entry in fs.ls(folder, detail=False)), name):
        fs.rm_file(f"{folder}/{leftover}")
    temporary = f"{folder}/{_temporary_name(name)}"
    try:
        with fs.open(temporary, "wb") as file:
            yield file
        fs.mv(temporary, path.path)
    except BaseException:
        with suppress(FileNotFoundError):
            fs.rm_file(temporary)
        raise


def _temporary_name(name: str) -> str:
    return f".{name}.{secrets.token_hex(8)}.part"


def _leftovers(names: Iterable[str], name: str) -> list[str]:
    """Return the temporary files that killed tasks left for this name: they contain people's addresses."""
    pattern = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{16}}\.part")
    return [candidate for candidate in names if pattern.fullmatch(candidate)]
