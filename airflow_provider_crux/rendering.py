"""What a template makes of an operator's argument, read back: text where there was a number, a list or nothing."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any, Final


def is_literal(value: Any) -> bool:
    """Tell whether a value is known when the DAG is parsed: no template, and no output of another task."""
    if isinstance(value, str):
        return "{{" not in value and "{%" not in value
    if isinstance(value, Mapping):
        return all(is_literal(item) for item in value.values())
    if isinstance(value, list | tuple):
        return all(is_literal(item) for item in value)
    return not hasattr(value, "resolve")


def if_set(value: Any) -> Any:
    """Return a value, or ``None`` where it is one of the forms that a template gives to ``None``."""
    return None if isinstance(value, str) and value.strip() in ("", "None") else value


def _number(value: Any) -> Any:
    """Read the whole number in a rendered text; what is none is left for the rules to name."""
    if isinstance(value, str) and value.strip().removeprefix("-").isdecimal():
        return int(value)
    return value


def _collection(value: Any) -> Any:
    """Read the list or mapping in a rendered text; what is none is left for the rules to name."""
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value


_READERS: Final = {"start": _number, "limit": _number, "sort": _collection, "line_item_status": _collection}


def from_text(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments as what they were before a template made texts of them, where they have another form."""
    return {name: _READERS.get(name, if_set)(value) for name, value in arguments.items()}
