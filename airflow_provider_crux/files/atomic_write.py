"""Write a file to object storage or to a local disk, all or nothing."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from airflow_provider_crux.api.redaction import excerpt
from airflow_provider_crux.exceptions import CruxInvalidRequestError, CruxTransientError

if TYPE_CHECKING:
    from _typeshed import SupportsWrite
    from airflow.providers.common.compat.sdk import ObjectStoragePath

log = logging.getLogger(__name__)

# protocols of stores in which an object exists only when its upload is complete, and what to install for them
OBJECT_STORES: Final = {
    **dict.fromkeys(("s3", "s3a", "s3n"), "'apache-airflow-providers-amazon[s3fs]'"),
    **dict.fromkeys(("gs", "gcs"), "apache-airflow-providers-google"),
    **dict.fromkeys(("abfs", "abfss"), "apache-airflow-providers-microsoft-azure"),
}
LOCAL: Final = frozenset({"", "file", "local"})

# S3 accepts 10,000 parts: 80 GB. The file systems' own 50 MiB would be in memory several times.
_PART_BYTES: Final = 8 * 1024 * 1024

# what Azure answers if another upload to the same object was completed after parts of this one had been sent
_DROPPED: Final = "InvalidBlockList"

# S3, Google Cloud Storage and Azure limit the whole key, file systems (with rare exceptions) each name in a path.
_MAX_KEY_BYTES: Final = 1024
_MAX_NAME_BYTES: Final = 255


@contextmanager
def atomic_write(path: ObjectStoragePath, *, overwrite: bool = True) -> Iterator[SupportsWrite[bytes]]:
    """
    Write a file that is complete when the block ends, and does not exist if the block raises anything.

    Until the block ends, and for good if it raises or the process is killed, the path keeps what it contained. If
    several tasks write to the same path at once, the path contains one of their files, complete. On a local disk, a
    replaced file keeps its mode, and a symbolic link stays: the file that it leads to is replaced.

    :param path: the target. Folders are created as needed.
    :param overwrite: with False, a file that another writer stores before the block ends is kept: always if the disk
        has hard links, or the store a condition for writes that its file system knows; elsewhere unless both blocks end
        at the same moment.
    :raises CruxInvalidRequestError: if the file exists and must not be replaced.
    :raises CruxTransientError: if another task stored the path during an upload to Azure, which drops this one.
    """
    if path.protocol in LOCAL:
        write: _Write = _LocalFile(path, overwrite)
    else:
        write = (_Upload if path.protocol in OBJECT_STORES else _MovedFile)(path, overwrite)
    try:
        yield write.file
        write.complete()
    except BaseException as error:
        write.abort()
        if isinstance(error, FileExistsError) and not overwrite:
            raise already_exists(path) from error
        raise


class _Write(Protocol):
    """One way to write a file: the file to write, and how the path gets it, or does not."""

    file: Any

    def complete(self) -> None:
        """Let the path contain the file; raise FileExistsError if it contains another one that must be kept."""

    def abort(self) -> None:
        """Leave nothing behind."""


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


def _check_not_stored_meanwhile(path: ObjectStoragePath) -> None:
    path.fs.invalidate_cache()
    if path.fs.exists(path.path):
        raise FileExistsError(path.path)


class _Upload:
    """
    An object, which exists only when its upload is complete.

    Not with the file's own ``with``: fsspec completes the upload in ``__exit__`` and in ``__del__``, even after an
    error. Nor with fsspec's transaction: it applies to every file of the process on that store, and closes a file
    before it discards it, which completes an upload to Azure. A killed process leaves parts of an upload, which are not
    visible as an object; a lifecycle rule of the bucket removes them.
    """

    def __init__(self, path: ObjectStoragePath, overwrite: bool) -> None:
        self._path = path
        self._overwrite = overwrite
        self.file: Any = self._open("wb") if overwrite else self._open_exclusively()
        path.fs.transaction.files.remove(self.file)  # it ends here, and must not end a second time

    def _open(self, mode: str) -> Any:
        return self._path.fs.open(self._path.path, mode, block_size=_PART_BYTES, autocommit=False)

    def _open_exclusively(self) -> Any:
        """Open a file whose upload the store itself completes only if there is no such object."""
        try:
            return self._open("xb")
        except (NotImplementedError, ValueError):  # an older version of the file system
            return self._open("wb")

    def complete(self) -> None:
        if not self._overwrite:
            # The store's own condition decides, but some stores, and older versions of the file systems, ignore it.
            _check_not_stored_meanwhile(self._path)
        try:
            # Nothing may come between these two: to Azure, closing completes the upload, and committing does nothing.
            self.file.close()
            self._commit()
        except Exception as error:
            dropped = _DROPPED in str(error)
            if not self._overwrite and (dropped or getattr(error, "errno", None) == errno.EINVAL):
                # EINVAL: S3-compatible stores do not say which condition failed, and s3fs does not guess
                _check_not_stored_meanwhile(self._path)
            if dropped:
                raise CruxTransientError(
                    f"Another task stored {str(self._path)!r} during this upload, and Azure dropped the parts of this "
                    "one. The other file is complete. A retry replaces it; let no two tasks write to the same path"
                ) from error
            raise

    def _commit(self) -> None:
        try:
            self.file.commit()
        except OSError as error:
            if self._overwrite or error.errno != errno.ENOSYS:
                raise
            self.file.mode = "wb"  # an S3-compatible store that knows no conditions
            self.file.commit()

    def abort(self) -> None:
        try:
            self.file.discard()
        except Exception as error:  # noqa: BLE001 - the error that is already being raised says more
            log.warning(
                "Could not abort the upload to %s: its parts may remain in the store, but no object: %s",
                self._path,
                excerpt(str(error)),  # gcsfs names the URL of the upload, with which anyone could continue it
            )
        finally:
            self.file.closed = True  # otherwise garbage collection would complete it


class _LocalFile:
    """A file under a temporary name in the same folder, so that renaming it is atomic."""

    def __init__(self, path: ObjectStoragePath, overwrite: bool) -> None:
        self._path = path
        self._overwrite = overwrite
        self._target = Path(path.path).resolve()
        self._target.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = self._target.with_name(_temporary_name())
        # Nobody may read it who must not read the file that it replaces. Not with tempfile: only the owner can read
        # its files, whatever the umask says.
        mode = _mode(self._target)
        self.file = open(  # noqa: SIM115 - the other methods close it
            self._temporary, "xb", opener=partial(os.open, mode=0o666 if mode is None else mode)
        )

    def complete(self) -> None:
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        if self._overwrite:
            # again: the umask may have removed permissions, and a person may have changed the mode meanwhile
            if (mode := _mode(self._target)) is not None:
                self._temporary.chmod(mode)
            self._temporary.replace(self._target)
            return
        try:
            os.link(self._temporary, self._target)  # unlike a rename it never replaces
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            _check_not_stored_meanwhile(self._path)
            self._temporary.replace(self._target)
        else:
            self._temporary.unlink()

    def abort(self) -> None:
        with suppress(OSError):  # a full disk
            self.file.close()
        self._temporary.unlink(missing_ok=True)


def _mode(path: Path) -> int | None:
    """Return the permissions of a file; ``None`` if it does not exist."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None


class _MovedFile:
    """A file as on a local disk, but on any other file system: all or nothing if its move is atomic."""

    def __init__(self, path: ObjectStoragePath, overwrite: bool) -> None:
        self._path = path
        self._overwrite = overwrite
        folder = path.path.rpartition("/")[0]
        path.fs.makedirs(folder, exist_ok=True)
        self._temporary = f"{folder}/{_temporary_name()}"
        self.file: Any = path.fs.open(self._temporary, "wb")

    def complete(self) -> None:
        self.file.close()
        if not self._overwrite:
            _check_not_stored_meanwhile(self._path)
        self._path.fs.mv(self._temporary, self._path.path)

    def abort(self) -> None:
        with suppress(OSError):
            self.file.close()
        with suppress(FileNotFoundError):
            self._path.fs.rm_file(self._temporary)


def _temporary_name() -> str:
    """Return a name that no other writer uses, and that is not too long, however long the name of the file is."""
    return f".crux-{secrets.token_hex(8)}.part"
