"""
Paths of Airflow's object storage: the placeholders in them, and which ones are valid.

A placeholder is in single braces, because Jinja's are double: ``s3://lake/dt={interval_start:%Y-%m-%d}/orders.csv``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from string import Formatter
from typing import Any, Final

from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.task.arguments import none_if_unset

INSTANTS: Final = ("interval_start", "interval_end")
PLACEHOLDERS: Final = (*INSTANTS, "export_uuid", "dag_id", "run_id")

# as a folder such as start=..., no reader takes it for a number or a time, and none rejects it
_DEFAULT_FORMAT: Final = "%Y-%m-%d_%H-%M-%SZ"
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
