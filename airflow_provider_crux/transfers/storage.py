"""
Writing a file to object storage or to a local disk, all or nothing: it is there whole, or it is not there.

Where its bytes come from is for others to say.
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

from airflow_provider_crux.api.files import RecordCount

if TYPE_CHECKING:
    from _typeshed import SupportsWrite
    from airflow.providers.common.compat.sdk import ObjectStoragePath

log = logging.getLogger(__name__)

# what Airflow's providers call the stores that show an object only when its upload is completed
_OBJECT_STORES: Final = frozenset({"s3", "s3a", "s3n", "gs", "gcs", "abfs", "abfss", "adl", "az"})
_LOCAL: Final = frozenset({"", "file", "local"})

# S3 takes 10,000 parts: 80 GB. The file systems' own 50 MiB would be in memory several times over.
_PART_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True)
class StoredFile:
    """
    A CSV file that was stored.

    :param path: where.
    :param bytes: its length.
    :param rows: its records without the header.
    :param sha256: of its bytes, in hexadecimal digits.
    """

    path: str
    bytes: int
    rows: int
    sha256: str


class _NotKeptError(Exception):
    """Raised, and caught, here: it abandons a write."""


def store(chunks: Iterable[bytes], path: ObjectStoragePath, *, keep_empty: bool = True) -> StoredFile:
    """
    Store a CSV file byte for byte, and count its records in the same pass.

    :param chunks: the file's bytes. Where they raise, nothing is stored, and what was at the path before stays.
    :param path: where to; a file that is there is replaced.
    :param keep_empty: whether a file without a record but the header is stored; default true. Where it is not, what
        was at the path before stays.
    :returns: what was stored, or would have been.
    """
    rows, digest, size = RecordCount(), hashlib.sha256(), 0
    with suppress(_NotKeptError), written_whole(path) as file:
        for chunk in chunks:
            file.write(chunk)
            rows.feed(chunk)
            digest.update(chunk)
            size += len(chunk)
        if not (rows.rows or keep_empty):
            raise _NotKeptError
    return StoredFile(path=str(path), bytes=size, rows=rows.rows, sha256=digest.hexdigest())


def written_whole(path: ObjectStoragePath) -> AbstractContextManager[SupportsWrite[bytes]]:
    """
    Write a file that is there whole when the block ends, and not at all when the block raises, whatever it raises.

    Until the block ends, and for good where it raises or the process is killed, what was at the path before stays.
    Of two who write to the same path at once, one may fail; what is there is one of their files, whole.

    :param path: where; a file that is there is replaced. Folders are made as needed.
    :returns: a context manager; what it gives takes bytes with ``write``.
    """
    if path.protocol in _LOCAL:
        return _on_disk(path)
    return _uploaded(path) if path.protocol in _OBJECT_STORES else _moved(path)


@contextmanager
def _uploaded(path: ObjectStoragePath) -> Iterator[SupportsWrite[bytes]]:
    """
    Write an object by an upload that is completed at the end of the block, or given up.

    Not with the file's own ``with``: fsspec completes the upload in ``__exit__``, and in ``__del__``, even when an
    error is under way. Nor with fsspec's transaction, which closes before it discards: closing completes an upload to
    Azure, and it holds for every file of the process on that store. A killed process leaves parts, which no one sees
    as an object; a lifecycle rule of the bucket removes them.
    """
    fs = path.fs
    file = fs.open(path.path, "wb", block_size=_PART_BYTES, autocommit=False)
    fs.transaction.files.remove(file)  # it is ended here, and must not be a second time
    try:
        yield file
        file.close()
        file.commit()
    except BaseException:
        _give_up(file, path)
        raise


def _give_up(file: Any, path: ObjectStoragePath) -> None:
    try:
        file.discard()
    except Exception as error:  # noqa: BLE001 - the error under way says more
        log.warning("Parts of an upload to %s may be left in the store, but no object: %s", path, error)
    finally:
        file.closed = True  # else it would be completed when it is thrown away


@contextmanager
def _on_disk(path: ObjectStoragePath) -> Iterator[SupportsWrite[bytes]]:
    """Write a file under a temporary name in the same folder, so that renaming it is one step."""
    target = Path(path.path)
    target.parent.mkdir(parents=True, exist_ok=True)
    for name in _left_over((found.name for found in target.parent.iterdir()), target.name):
        target.with_name(name).unlink(missing_ok=True)
    temporary = target.with_name(_temporary(target.name))
    try:
        # not with tempfile, whose files only their owner may read, whatever the umask says
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _moved(path: ObjectStoragePath) -> Iterator[SupportsWrite[bytes]]:
    """Write a file as on a disk, but on any other file system: all or nothing as far as its renaming is one step."""
    fs, (folder, _, name) = path.fs, path.path.rpartition("/")
    fs.makedirs(folder, exist_ok=True)
    for left in _left_over((found.rpartition("/")[2] for found in fs.ls(folder, detail=False)), name):
        fs.rm_file(f"{folder}/{left}")
    temporary = f"{folder}/{_temporary(name)}"
    try:
        with fs.open(temporary, "wb") as file:
            yield file
        fs.mv(temporary, path.path)
    except BaseException:
        with suppress(FileNotFoundError):
            fs.rm_file(temporary)
        raise


def _temporary(name: str) -> str:
    return f".{name}.{secrets.token_hex(8)}.part"


def _left_over(names: Iterable[str], name: str) -> list[str]:
    """Return which names a killed task's temporary files of this name have: people's addresses are in them."""
    form = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{16}}\.part")
    return [found for found in names if form.fullmatch(found)]
