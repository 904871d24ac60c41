"""The arguments of a task: whether one is set, whether it is a template, and what a rendered text means."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from airflow_provider_crux.api.orders import describe


def is_template(value: Any) -> bool:
    """Tell whether a value is unknown when the DAG is parsed: a template, or the output of another task."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, Mapping):
        return any(is_template(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(is_template(item) for item in value)
    return hasattr(value, "resolve")


def none_if_unset(value: Any) -> Any:
    """Return ``None`` for what a template makes of ``None``, and every other value unchanged."""
    return None if isinstance(value, str) and value.strip() in ("", "None") else value


def choice_problems(values: Mapping[str, Any], choices: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return a sentence for each argument whose value is not one of its choices."""
    return [
        f"{name}: {describe(values[name])} is invalid; use {' or '.join(map(repr, allowed))}"
        for name, allowed in choices.items()
        if values[name] not in allowed
    ]


# How the arguments that are no texts are read in a rendered text.
_PARSERS: Final[dict[str, Callable[[str], Any]]] = {
    "start": int,
    "limit": int,
    "sort": ast.literal_eval,
    "line_item_status": ast.literal_eval,
}


def _parse(name: str, value: Any) -> Any:
    """Return the number, list or mapping in a rendered text; the rules of the request report everything else."""
    if name not in _PARSERS or not isinstance(value, str):
        return value
    try:
        return _PARSERS[name](value.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value


def coerce_rendered(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that are set, with the types they had before a template made texts of them."""
    values = {name: none_if_unset(value) for name, value in arguments.items()}
    return {name: _parse(name, value) for name, value in values.items() if value is not None}
