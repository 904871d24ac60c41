"""
Write a file to object storage or to a local disk, all or nothing.

What its bytes are is the caller's decision.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from airflow_provider_crux.exceptions import CruxInvalidRequestError

if TYPE_CHECKING:
    from _typeshed import SupportsWrite
    from airflow.providers.common.compat.sdk import ObjectStoragePath

log = logging.getLogger(__name__)

# the protocols of the stores that show an object only when its upload is complete
_OBJECT_STORES: Final = frozenset({"s3", "s3a", "s3n", "gs", "gcs", "abfs", "abfss", "adl", "az"})
_LOCAL: Final = frozenset({"", "file", "local"})

# S3 accepts 10,000 parts: 80 GB. The file systems' own 50 MiB would be in memory several times.
_PART_BYTES: Final = 8 * 1024 * 1024

_ABANDONED_AFTER: Final = timedelta(days=1)

# S3, Google Cloud Storage and Azure limit the whole key, file systems (with rare exceptions) each name in a path.
_MAX_KEY_BYTES: Final = 1024
_MAX_NAME_BYTES: Final = 255
_MAX_NAME_IN_TEMPORARY: Final = 100
"""Bytes of a name that a temporary name contains; for a longer one it contains a hash, which always fits."""


def atomic_write(path: ObjectStoragePath, *, overwrite: bool = True) -> AbstractContextManager[SupportsWrite[bytes]]:
    """
    Write a file that is complete when the block ends, and does not exist if the block raises anything.

    Until the block ends, and for good if it raises or the process is killed, the path keeps what it contained. If
    several tasks write to the same path at once, the path contains one of their files, complete.

    :param path: the target. Folders are created as needed. On a local disk, a replaced file keeps its mode, and of a
        symbolic link the file that it leads to is replaced.
    :param overwrite: whether to replace an existing file; default True. If not, a file that another writer stores
        before the block ends stays: on a local disk with hard links always, elsewhere unless both end in the same
        moment.
    :return: a context manager; its value accepts bytes with ``write``.
    :raises CruxInvalidRequestError: if the file exists and must not be replaced.
    """
    if path.protocol in _LOCAL:
        return _write_then_rename(path, overwrite)
    write = _multipart_upload if path.protocol in _OBJECT_STORES else _write_then_move
    return write(path, overwrite)


def check_name_length(path: ObjectStoragePath) -> None:
    """
    Check that a file can have this path, before anybody downloads its content.

    :param path: the target.
    :raises CruxInvalidRequestError: if a name in it is too long; in an object store, if its key is.
    """
    if path.protocol in _OBJECT_STORES:
        what, names, limit = "key", [path.path.partition("/")[2]], _MAX_KEY_BYTES
    else:
        limit = _max_name_bytes(Path(path.path)) if path.protocol in _LOCAL else _MAX_NAME_BYTES
        what, names = "name", path.path.split("/")
    length = max(len(os.fsencode(name)) for name in names)
    if length > limit:
        raise CruxInvalidRequestError(
            f"path: {str(path)!r} has a {what} of {length} bytes, and the storage allows {limit}; use a shorter {what}"
        )


def _max_name_bytes(path: Path) -> int:
    """Return the limit of the file system that has, or will have, the folder of a path."""
    for folder in path.parents:
        with suppress(OSError, ValueError):  # the folder does not exist yet, or the file system tells no limit
            return os.pathconf(folder, "PC_NAME_MAX")
    return _MAX_NAME_BYTES


def already_exists(path: object) -> CruxInvalidRequestError:
    """Return the error for a file that must not be replaced."""
    return CruxInvalidRequestError(
        f"path: {str(path)!r} already exists; set overwrite=True to replace it, or use a path of its own for each run"
    )


def _check_not_stored_meanwhile(path: ObjectStoragePath, overwrite: bool) -> None:
    if not overwrite:
        path.fs.invalidate_cache()
        if path.fs.exists(path.path):
            raise already_exists(path)


@contextmanager
def _multipart_upload(path: ObjectStoragePath, overwrite: bool) -> Iterator[SupportsWrite[bytes]]:
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
        _check_not_stored_meanwhile(path, overwrite)
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
def _write_then_rename(path: ObjectStoragePath, overwrite: bool) -> Iterator[SupportsWrite[bytes]]:
    """Write a file under a temporary name in the same folder, so that renaming it is atomic."""
    target = Path(path.path).resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    for name in _leftovers((entry.name for entry in target.parent.iterdir()), target.name):
        _remove_if_abandoned(target.with_name(name))
    temporary, file = _open_locked(target)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if overwrite:
                # again: the umask may have removed permissions, and a person may have changed the mode meanwhile
                if (mode := _mode(target)) is not None:
                    temporary.chmod(mode)
                temporary.replace(target)
            else:
                try:
                    os.link(temporary, target)  # unlike a rename it never replaces
                except FileExistsError:
                    raise already_exists(path) from None
                except OSError:  # a file system without hard links
                    _check_not_stored_meanwhile(path, overwrite)
                    temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _open_locked(target: Path) -> tuple[Path, BinaryIO]:
    """Open a temporary file whose lock tells other writers that it is in use."""
    while True:
        temporary = target.with_name(_temporary_name(target.name))
        # Nobody may read it who must not read the file that it replaces. Not with tempfile: only the owner can read its
        # files, whatever the umask says.
        mode = _mode(target)
        file = open(temporary, "xb", opener=partial(os.open, mode=0o666 if mode is None else mode))  # noqa: SIM115
        with suppress(OSError):  # a file system without locks
            # it waits for another writer that takes the file for an abandoned one and is about to remove it
            fcntl.flock(file, fcntl.LOCK_EX)
        if temporary.exists():
            return temporary, file
        file.close()  # another writer removed it between the two steps


def _mode(path: Path) -> int | None:
    """Return the permissions of a file; ``None`` if it does not exist."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None


def _remove_if_abandoned(temporary: Path) -> None:
    """Remove a killed task's temporary file; one that another task is writing is locked."""
    try:
        with temporary.open("rb") as file:
            if _lock(file):
                temporary.unlink(missing_ok=True)
    except OSError:  # removed meanwhile, or not ours
        return


def _lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # in use, or a file system without locks
        return False
    return True


@contextmanager
def _write_then_move(path: ObjectStoragePath, overwrite: bool) -> Iterator[SupportsWrite[bytes]]:
    """Write a file as on a local disk, but on any other file system: all or nothing if its move is atomic."""
    fs, (folder, _, name) = path.fs, path.path.rpartition("/")
    fs.makedirs(folder, exist_ok=True)
    for leftover in _leftovers((entry.rpartition("/")[2] for entry in fs.ls(folder, detail=False)), name):
        _remove_if_old(fs, f"{folder}/{leftover}")
    temporary = f"{folder}/{_temporary_name(name)}"
    try:
        with fs.open(temporary, "wb") as file:
            yield file
        _check_not_stored_meanwhile(path, overwrite)
        fs.mv(temporary, path.path)
    except BaseException:
        with suppress(FileNotFoundError):
            fs.rm_file(temporary)
        raise


def _remove_if_old(fs: Any, temporary: str) -> None:
    """Remove a temporary file that no task can still be writing: there are no locks here, so its age tells."""
    with suppress(FileNotFoundError, NotImplementedError):
        if datetime.now(UTC) - fs.modified(temporary) > _ABANDONED_AFTER:
            fs.rm_file(temporary)


def _temporary_name(name: str) -> str:
    return f".{_name_in_temporary(name)}.{secrets.token_hex(8)}.part"


def _name_in_temporary(name: str) -> str:
    """Return the part of a temporary name that names the file: its name, or a hash if that would be too long."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= _MAX_NAME_IN_TEMPORARY else hashlib.sha256(encoded).hexdigest()[:32]


def _leftovers(names: Iterable[str], name: str) -> list[str]:
    """Return the temporary files for this name: those that killed tasks left contain people's addresses."""
    pattern = re.compile(rf"\.{re.escape(_name_in_temporary(name))}\.[0-9a-f]{{16}}\.part")
    return [candidate for candidate in names if pattern.fullmatch(candidate)]
