"""What is in a store of Airflow's object storage: opened, looked at, listed. Its errors say what to do."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException

from airflow_provider_crux.api.redaction import excerpt
from airflow_provider_crux.exceptions import CruxError, CruxInvalidConnectionError, CruxInvalidRequestError
from airflow_provider_crux.files.atomic_write import LOCAL, OBJECT_STORES
from airflow_provider_crux.task.arguments import none_if_unset

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

_URL: Final = re.compile(r"(?P<scheme>\w+)://(?:(?P<conn_id>[^/@]*)@)?(?P<container>[^/]*)")

# To Azure's file system these are one store. Airflow knows only some of them, and loses the container of adl://.
_AZURE: Final = ("abfs", "abfss")
_SAME_AS_ABFS: Final = ("adl", "az", "wasb", "wasbs")

# What the libraries tell: the codes of S3 and Azure; of gcsfs the path of the request, here one that lists a bucket.
_NO_CONTAINER: Final = ("NoSuchBucket", "ContainerNotFound")
_NO_GOOGLE_BUCKET: Final = re.compile(r"b/[^/]+/o")
_NOT_ACCEPTED: Final = (401, 403)
_CREDENTIALS_ERRORS: Final = {
    "ClientAuthenticationError",  # of Azure
    "DefaultCredentialsError",  # these two are Google's
    "RefreshError",
    "NoCredentialsError",  # these two are Amazon's
    "PartialCredentialsError",
}
# What is in no connection: errors of gcsfs and Azure's library if a response is not the store's, but a proxy's.
_UNREADABLE: Final = {"JSONDecodeError", "DeserializationError"}
# gcsfs puts the URL of the request before the message; that of an upload has the id that lets anyone continue it.
_WITH_URL: Final = ("Forbidden: ", "Bad Request: ")


def open_path(path: str | ObjectStoragePath) -> ObjectStoragePath:
    """
    Return a path of Airflow's object storage.

    :raises CruxInvalidRequestError: if it cannot be opened.
    :raises CruxInvalidConnectionError: if its connection does not exist or is incomplete.
    """
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    if none_if_unset(path) is None:
        raise CruxInvalidRequestError(f"path: {path!r} is not a path; use one such as s3://bucket/a.csv")
    with path_errors(path, opening=True):
        scheme, conn_id, container = _parts(path)
        if scheme in (*_AZURE, *_SAME_AS_ABFS) and "." in container:
            # Azure's own form, in which the container comes first: abfss://container@account.dfs.core.windows.net/key
            raise CruxInvalidRequestError(
                f"path: {str(path)!r} names the account {container!r}; "
                f"use abfs://conn_id@{conn_id or 'container'}/key, and name the account in the connection"
            )
        if scheme in _SAME_AS_ABFS:
            used = f"abfs://{conn_id or 'conn_id'}@{container or 'container'}/key"
            raise CruxInvalidRequestError(f"path: {str(path)!r} has the scheme {scheme}; use {used}")
        # not of a path that is one already: without a scheme it is rejected
        opened = path if isinstance(path, ObjectStoragePath) else ObjectStoragePath(path)
        _ = opened.fs
    return opened


def check_outside_of_xcoms(path: ObjectStoragePath) -> None:
    """
    Raise CruxInvalidRequestError for a path below the folder of Airflow's XComs on object storage.

    If a task returns such a path, Airflow takes it for its own reference to a large XCom: whoever pulls it gets the
    contents of the file, and clearing or retrying the task deletes the file. It does so only if connection and scheme
    are the same in both, but the files of two owners in one folder are a trap in any case.
    """
    from airflow.providers.common.compat.sdk import ObjectStoragePath, conf

    setting = conf.get("common.io", "xcom_objectstorage_path", fallback="")
    if not setting:
        return
    xcoms = ObjectStoragePath(setting)
    folder = xcoms.path.rstrip("/")
    if f"{path.path}/".startswith(f"{folder}/") and type(path.fs) is type(xcoms.fs):
        raise CruxInvalidRequestError(
            f"path: {str(path)!r} is below {setting!r}, where Airflow keeps its XComs ([common.io] "
            "xcom_objectstorage_path), and Airflow would delete the file when the task is cleared; use a path outside "
            "of this folder, or give the XComs a folder of their own"
        )


def find_entry(path: ObjectStoragePath) -> dict[str, Any] | None:
    """
    Return what fsspec tells about a file or folder; ``None`` if there is none.

    :raises CruxInvalidRequestError: if its bucket or container does not exist, for certain.
    """
    fs = path.fs
    fs.invalidate_cache()
    with path_errors(path):
        try:
            entry: dict[str, Any] = fs.info(path.path)
        except (FileNotFoundError, NotADirectoryError) as error:
            if _lacks_container(error):
                raise
        else:
            return entry
        # not in the block above: an error that is raised there loses the one behind it, which says why
        _check_container(path)
    return None


def file_sizes(folder: ObjectStoragePath) -> dict[str, int]:
    """
    Return the length of every file below a folder, by name; nothing if the folder does not exist.

    A folder that cannot be listed is an error, because its files would seem to be missing; so is a bucket or container
    that does not exist. On a local disk, symbolic links to folders are followed, because files are stored through them;
    each folder is listed once.

    :raises CruxInvalidRequestError: if it cannot be opened, is a file, or is in no bucket or container.
    :raises OSError: if it cannot be listed, or a symbolic link leads nowhere.
    """
    fs, root = folder.fs, folder.path.rstrip("/") or "/"
    fs.invalidate_cache()
    with path_errors(folder):
        if folder.protocol in LOCAL:
            sizes = dict(_walk_local_disk(root))
        elif folder.protocol in OBJECT_STORES:
            entries = fs.find(root, detail=True)  # of a file, adlfs returns a list
            sizes = {name: entry["size"] for name, entry in entries.items()} if isinstance(entries, dict) else {root: 0}
            if not sizes:
                _check_container(folder)
        else:
            sizes = dict(_walk(fs, root))
    if root in sizes:
        raise CruxInvalidRequestError(f"path: {str(folder)!r} is a file; use the folder that holds the files")
    return sizes


def _check_container(path: ObjectStoragePath) -> None:
    """
    Raise the error of Azure if the container of a path, at which there is nothing, cannot be listed.

    adlfs takes a container that does not exist, and any other 404, such as a proxy's, for an empty one, except when it
    lists. Not with the container's own properties: a key for what is in a container cannot read them.
    """
    if path.protocol in _AZURE:
        try:
            path.fs.ls(path.path)
        except FileNotFoundError as error:
            if _status(error):  # the listing failed; of what is only not there, adlfs knows no response
                raise


def _walk(fs: Any, folder: str) -> Iterator[tuple[str, int]]:
    """Yield the name and the length of every file. fsspec's ``find`` ignores folders that cannot be listed."""
    with suppress(FileNotFoundError):  # or it was removed meanwhile
        for entry in fs.ls(folder, detail=True):
            if entry["type"] != "directory":
                yield entry["name"], entry["size"]
            elif entry["name"].rstrip("/") != folder.rstrip("/"):
                yield from _walk(fs, entry["name"])


def _walk_local_disk(root: str) -> Iterator[tuple[str, int]]:
    """Yield the same, also through symbolic links, which can lead to a folder twice or back to one above."""
    if os.path.isfile(root):  # noqa: PTH113 - texts, as the other file systems return them
        yield root, 0
        return
    listed = set()
    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=_raise_unless_removed):
        real_folder = os.path.realpath(folder)
        if real_folder in listed:
            subfolders.clear()
            continue
        listed.add(real_folder)
        for path in (os.path.join(folder, name) for name in names):  # noqa: PTH118 - as above
            try:
                yield path, os.stat(path).st_size  # noqa: PTH116 - as above
            except OSError as error:
                _raise_unless_removed(error)


def _raise_unless_removed(error: OSError) -> None:
    """
    Raise an error of listing a local disk, unless the file or folder was removed meanwhile.

    A symbolic link that leads nowhere is an error, for example one to a disk that is not mounted: its files are not
    missing. Hidden links are ignored, because editors lock files with them.
    """
    path = Path(error.filename)
    if path.is_symlink() and error.errno in {errno.ENOENT, errno.ELOOP}:
        if not path.name.startswith("."):
            message = "a symbolic link leads nowhere; mount the disk that it leads to, or remove it"
            raise FileNotFoundError(errno.ENOENT, message, error.filename)
    elif error.errno != errno.ENOENT:
        raise error


@contextmanager
def path_errors(path: object, *, opening: bool = False) -> Iterator[None]:
    """
    Raise the errors of this provider for what file systems raise if a path cannot be opened, or its store says no.

    :raises CruxInvalidRequestError: if the scheme is unknown, or its package is not installed.
    :raises CruxInvalidConnectionError: if the connection of an object store does not exist or is incomplete.
    :raises OSError: if the store's response cannot be read.
    """
    try:
        with store_errors(path):
            yield
    except CruxError:
        raise
    except AirflowNotFoundException as error:
        message = f"path: {str(path)!r}: {excerpt(str(error))}; create this connection, or correct the path"
        raise CruxInvalidConnectionError(message) from error
    except (AttributeError, TypeError, ValueError, ImportError) as error:
        if not opening and type(error).__name__ in _UNREADABLE:
            raise OSError(f"path: {str(path)!r}: the store's response is unreadable ({_reason(error)})") from error
        scheme, conn_id, container = _parts(path)
        cause = f"path: {str(path)!r} cannot be opened ({excerpt(str(error))})"
        package = OBJECT_STORES.get(scheme)
        if package is None:
            raise CruxInvalidRequestError(
                f"{cause}; use a scheme that Airflow's object storage knows, and install its provider"
            ) from error
        if isinstance(error, ImportError) or "No filesystem registered" in str(error):
            raise CruxInvalidRequestError(f"{cause}; install its package: pip install {package}") from error
        remedy = "correct it" if conn_id else _name_a_connection(scheme, container)
        if conn_id and scheme in _AZURE:
            remedy = (
                "give it the extra connection_string, or the extra account_name besides login and password, because "
                "the login is not used here"
            )
        message = f"{cause}; {_credentials(conn_id)} may be incomplete: {remedy}"
        raise CruxInvalidConnectionError(message) from error


@contextmanager
def store_errors(path: object) -> Iterator[None]:
    """
    Say what to do if an object store says no; the text of no other error is changed.

    What it does not accept, with HTTP 401 or 403, may be accepted later: keys are rotated, and permissions take minutes
    to take effect. So that is a PermissionError, and a task is retried, which e-mails nobody.

    :raises CruxInvalidRequestError: if the bucket or container does not exist, for certain.
    :raises PermissionError: if the store does not accept the credentials, or they lack a permission.
    :raises OSError: for any other response with the status of an error.
    """
    try:
        yield
    except (CruxError, AirflowException):
        raise
    except Exception as error:
        scheme, conn_id, container = _parts(path)
        if scheme not in OBJECT_STORES:
            raise
        if _lacks_container(error):
            what = f"{'container' if scheme in _AZURE else 'bucket'} {container!r}"
            message = f"path: {str(path)!r}: the {what} does not exist; create it, or correct the path"
            raise CruxInvalidRequestError(message) from None  # the rest is an XML, or a URL
        status, code = _status(error), _code(error)
        behind = None if "upload_id=" in str(error) else error
        reason = f"{_reason(error)}{f'; HTTP {status}' if status else ''}{f' {code}' if code else ''}"
        if status in _NOT_ACCEPTED or _is_about_credentials(error):
            remedy = "correct it, or grant it the permission to list, read, write and delete there"
            if not conn_id:
                remedy = _name_a_connection(scheme, container)
            raise PermissionError(
                f"path: {str(path)!r}: the store does not accept {_credentials(conn_id)} ({reason}); {remedy}"
            ) from behind
        if (status and not isinstance(error, OSError)) or behind is None or str(error).startswith(_WITH_URL):
            raise OSError(f"path: {str(path)!r}: the store failed ({reason})") from behind
        raise


def _parts(path: object) -> tuple[str, str, str]:
    """Return the scheme, the id of the connection and the container of a path; empty if it has none."""
    match = _URL.match(str(path))
    return (match["scheme"].lower(), match["conn_id"] or "", match["container"]) if match else ("", "", "")


def _credentials(conn_id: str) -> str:
    return f"connection {conn_id!r}" if conn_id else "the credentials of the environment"


def _name_a_connection(scheme: str, container: str) -> str:
    return f"name a connection in the path ({scheme}://conn_id@{container}/key), or correct these credentials"


def _errors_behind(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _lacks_container(error: Exception) -> bool:
    if _code(error) in _NO_CONTAINER:
        return True
    return isinstance(error, FileNotFoundError) and bool(_NO_GOOGLE_BUCKET.fullmatch(str(error)))


def _status(error: Exception) -> int | None:
    """Return the HTTP status of the response behind an error."""
    for one in _errors_behind(error):
        response = getattr(one, "response", None)
        metadata = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
        status = metadata.get("HTTPStatusCode") or getattr(one, "status_code", None) or getattr(one, "code", None)
        if str(status).isdecimal():
            return int(str(status))
    return 403 if str(error).startswith("Forbidden: ") else None  # of gcsfs


def _code(error: Exception) -> str:
    """Return what S3 or Azure call an error; empty if they do not say."""
    for one in _errors_behind(error):
        response = getattr(one, "response", None)
        code = response.get("Error", {}).get("Code") if isinstance(response, dict) else getattr(one, "error_code", None)
        if code:
            code = str(getattr(code, "value", code))
            return "" if code.isdecimal() else code
    return ""


def _is_about_credentials(error: Exception) -> bool:
    return any(kind.__name__ in _CREDENTIALS_ERRORS for one in _errors_behind(error) for kind in type(one).__mro__)


def _reason(error: Exception) -> str:
    """Return the sentence of an error: Azure's next lines are an XML, and that of gcsfs before it is a URL."""
    lines = str(error).splitlines() or [type(error).__name__]
    return excerpt(lines[-1] if lines[0].startswith(_WITH_URL) else lines[0])
