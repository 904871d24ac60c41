"""
Paths of Airflow's object storage: the placeholders in them, and how they are opened.

A placeholder is in single braces, because Jinja's are double: ``s3://lake/dt={interval_start:%Y-%m-%d}/orders.csv``.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.files.atomic_write import LOCAL, OBJECT_STORES
from airflow_provider_crux.task.arguments import none_if_unset

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

INSTANTS: Final = ("interval_start", "interval_end")
PLACEHOLDERS: Final = (*INSTANTS, "export_uuid", "dag_id", "run_id")

_DEFAULT_FORMAT: Final = "%Y%m%dT%H%M%SZ"
# those of strftime that give the same text on every machine
_DIRECTIVES: Final = frozenset("YmdHMSfjyGVuwUW%")
_JINJA: Final = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_UNSAFE: Final = re.compile(r"^\.+|[^A-Za-z0-9_.=-]", re.ASCII)


def placeholder_problems(path: object) -> list[str]:
    """Return a sentence for each invalid placeholder of a path; its Jinja templates are ignored."""
    return list(_problems(_JINJA.sub("", path))) if isinstance(path, str) else []


def fill_placeholders(path: str, values: Mapping[str, Any]) -> str:
    """
    Replace the placeholders of a path. Doubled braces become single ones.

    ``dag_id`` and ``run_id`` are made safe: a character other than an ASCII letter, a digit, ``_``, ``.``, ``=`` and
    ``-`` becomes ``_``, as does a full stop at the beginning.

    :raises CruxInvalidRequestError: if a placeholder is invalid, or its value unknown.
    """
    if problems := list(_problems(path)):
        raise CruxInvalidRequestError("; ".join(problems))
    parts = []
    for literal, name, spec, _ in Formatter().parse(path):
        parts.append(literal)
        if name is not None:
            parts.append(_text(path, name, spec or "", values.get(name)))
    return "".join(parts)


def _text(path: str, name: str, spec: str, value: Any) -> str:
    if value is None:
        raise CruxInvalidRequestError(
            f"path: {path!r} contains {{{name}}}, but the interval of the export is unknown; pass "
            "export.output of the CruxOrdersExportOperator that requests it as export_uuid, and leave its do_xcom_push "
            "on, or use {export_uuid} in the path"
        )
    if isinstance(value, datetime):
        return value.strftime(spec or _DEFAULT_FORMAT)
    return str(value) if name == "export_uuid" else _UNSAFE.sub("_", str(value))


def _problems(path: str) -> Iterator[str]:
    known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    try:
        fields = [(name, spec or "", conversion) for _, name, spec, conversion in Formatter().parse(path)]
    except ValueError as error:
        yield f"path: {path!r} has an unbalanced brace ({error}); double a brace that is meant literally"
        return
    for name, spec, conversion in fields:
        if name is None:
            continue
        if name not in PLACEHOLDERS or conversion:
            yield f"path: {{{name}}} is not a placeholder; use {known}, or double a brace that is meant literally"
        elif spec and (name not in INSTANTS or not _is_strftime(spec)):
            yield (
                f"path: {{{name}:{spec}}} has an invalid format; only {{interval_start}} and {{interval_end}} have "
                "one, of strftime's directives for numbers, for example {interval_start:%Y-%m-%d}"
            )


def _is_strftime(spec: str) -> bool:
    directives = re.findall("%(.?)", spec, re.DOTALL)
    return bool(directives) and _DIRECTIVES.issuperset(directives) and not any(brace in spec for brace in "{}")


def folder_problems(path: object) -> list[str]:
    """Return a sentence for each fault of the path of a folder, after Jinja."""
    remedy = "use the folder that holds the files, such as s3://bucket/orders/"
    if none_if_unset(path) is None or not (isinstance(path, str) or hasattr(path, "protocol")):
        return [f"path: {path!r} is not a path; {remedy}"]
    return [
        f"path: {{{name}}} is a placeholder, and a folder has none; {remedy}"
        for name in PLACEHOLDERS
        if re.search(rf"\{{{name}[:!}}]", str(path))
    ]


def open_path(path: str | ObjectStoragePath) -> ObjectStoragePath:
    """Return a path of Airflow's object storage; raise CruxInvalidRequestError if it cannot be opened."""
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    if none_if_unset(path) is None:
        raise CruxInvalidRequestError(f"path: {path!r} is not a path; use one such as s3://bucket/a.csv")
    with path_errors(path):
        # not of a path that is one already: without a scheme it is rejected
        opened = path if isinstance(path, ObjectStoragePath) else ObjectStoragePath(path)
        _ = opened.fs
    return opened


def file_sizes(folder: ObjectStoragePath) -> dict[str, int]:
    """
    Return the length of every file below a folder, by name; nothing if the folder does not exist.

    A folder that cannot be listed is an error, because its files would seem to be missing. On a local disk, symbolic
    links to folders are followed, because files are stored through them; each folder is listed once.

    :raises CruxInvalidRequestError: if it cannot be opened, or is a file.
    :raises OSError: if it cannot be listed, or a symbolic link leads nowhere.
    """
    fs, root = folder.fs, folder.path.rstrip("/") or "/"
    fs.invalidate_cache()
    with path_errors(folder):
        if folder.protocol in LOCAL:
            sizes = dict(_walk_local_disk(root))
        elif folder.protocol in OBJECT_STORES:
            sizes = {name: entry["size"] for name, entry in fs.find(root, detail=True).items()}
        else:
            sizes = dict(_walk(fs, root))
    if root in sizes:
        raise CruxInvalidRequestError(f"path: {str(folder)!r} is a file; use the folder that holds the files")
    return sizes


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
def path_errors(path: object) -> Iterator[None]:
    """Raise CruxInvalidRequestError for what file systems raise if a path cannot be opened."""
    try:
        yield
    except (AttributeError, TypeError, ValueError, ImportError) as error:
        raise CruxInvalidRequestError(
            f"path: {str(path)!r} cannot be opened ({error}); use a scheme that Airflow's object storage knows, and "
            "install its provider"
        ) from error


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
