"""Write a file to object storage or to a local disk, all or nothing."""

from __future__ import annotations

import logging
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_crux.exceptions import CruxInvalidRequestError

if TYPE_CHECKING:
    from _typeshed import SupportsWrite
    from airflow.providers.common.compat.sdk import ObjectStoragePath

log = logging.getLogger(__name__)

# protocols of stores in which an object exists only when its upload is complete
OBJECT_STORES: Final = frozenset({"s3", "s3a", "s3n", "gs", "gcs", "abfs", "abfss", "adl", "az"})
LOCAL: Final = frozenset({"", "file", "local"})

# S3 accepts 10,000 parts: 80 GB. The file systems' own 50 MiB would be in memory several times.
_PART_BYTES: Final = 8 * 1024 * 1024

# S3, Google Cloud Storage and Azure limit the whole key, file systems (with rare exceptions) each name in a path.
_MAX_KEY_BYTES: Final = 1024
_MAX_NAME_BYTES: Final = 255


def atomic_write(path: ObjectStoragePath, *, overwrite: bool = True) -> AbstractContextManager[SupportsWrite[bytes]]:
    """
    Write a file that is complete when the block ends, and does not exist if the block raises anything.

    Until the block ends, and for good if it raises or the process is killed, the path keeps what it contained. If
    several tasks write to the same path at once, the path contains one of their files, complete. On a local disk, a
    replaced file keeps its mode, and a symbolic link stays: the file that it leads to is replaced.

    :param path: the target. Folders are created as needed.
    :param overwrite: with False, a file that another writer stores before the block ends is kept: always on a local
        disk with hard links, elsewhere unless both blocks end at the same moment.
    :raises CruxInvalidRequestError: if the file exists and must not be replaced.
    """
    if path.protocol in LOCAL:
        return _write_then_rename(path, overwrite)
    write = _multipart_upload if path.protocol in OBJECT_STORES else _write_then_move
    return write(path, overwrite)


def check_name_length(path: ObjectStoragePath) -> None:
    """Raise CruxInvalidRequestError if a name in a path is too long; in an object store, if the key is."""
    if path.protocol in OBJECT_STORES:
        what, names, limit = "key", [path.path.partition("/")[2]], _MAX_KEY_BYTES
    else:
        limit = _max_name_bytes(Path(path.path)) if path.protocol in LOCAL else _MAX_NAME_BYTES
        what, names = "name", path.path.split("/")
    length = max(len(os.fsencode(name)) for name in names)
    if length > limit:
        raise CruxInvalidRequestError(
            f"path: {str(path)!r} has a {what} of {length} bytes, and the storage allows {limit}; use a shorter {what}"
        )


def _max_name_bytes(path: Path) -> int:
    """Return the limit of the file system that has the folder of a path, or will have it."""
    for folder in path.parents:
        with suppress(OSError, ValueError):  # the folder does not exist yet, or the file system reports no limit
            return os.pathconf(folder, "PC_NAME_MAX")
    return _MAX_NAME_BYTES


def already_exists(path: object) -> CruxInvalidRequestError:
    """Return the error for a file that must not be replaced."""
    return CruxInvalidRequestError(
        f"path: {str(path)!r} already exists; set overwrite=True to replace it, or give each run and try its own path"
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

    Not with the file's own ``with``: fsspec completes the upload in ``__exit__`` and in ``__del__``, even after an
    error. Nor with fsspec's transaction: it applies to every file of the process on that store, and closes a file
    before it discards it, which completes an upload to Azure. A killed process leaves parts of an upload, which are not
    visible as an object; a lifecycle rule of the bucket removes them.
    """
    fs = path.fs
    file = fs.open(path.path, "wb", block_size=_PART_BYTES, autocommit=False)
    fs.transaction.files.remove(file)  # it ends here, and must not end a second time
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
    temporary = target.with_name(_temporary_name())
    # Nobody may read it who must not read the file that it replaces. Not with tempfile: only the owner can read its
    # files, whatever the umask says.
    mode = _mode(target)
    opener = partial(os.open, mode=0o666 if mode is None else mode)
    try:
        with open(temporary, "xb", opener=opener) as file:
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


def _mode(path: Path) -> int | None:
    """Return the permissions of a file; ``None`` if it does not exist."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None


@contextmanager
def _write_then_move(path: ObjectStoragePath, overwrite: bool) -> Iterator[SupportsWrite[bytes]]:
    """Write a file as on a local disk, but on any other file system: all or nothing if its move is atomic."""
    fs, folder = path.fs, path.path.rpartition("/")[0]
    fs.makedirs(folder, exist_ok=True)
    temporary = f"{folder}/{_temporary_name()}"
    try:
        with fs.open(temporary, "wb") as file:
            yield file
        _check_not_stored_meanwhile(path, overwrite)
        fs.mv(temporary, path.path)
    except BaseException:
        with suppress(FileNotFoundError):
            fs.rm_file(temporary)
        raise


def _temporary_name() -> str:
    """Return a name that no other writer uses, and that is not too long, however long the name of the file is."""
    return f".crux-{secrets.token_hex(8)}.part"
