"""How often to look at an export, and for how long. Not in ``waiting``: a DAG file, which says so, needs no more."""

from __future__ import annotations

from typing import Final

POLL_INTERVAL: Final = 30.0
"""Seconds between two looks, unless the task says otherwise."""

TIMEOUT: Final = 60 * 60.0
"""Seconds until an export counts as late, unless the task says otherwise."""


def violations(poll_interval: object, timeout: object) -> list[str]:
    """Return what is wrong with the arguments of a wait, each sentence with field, value and remedy."""
    return [
        f"{name}: {value!r} is not a number of seconds above 0; give one, for example {example:g}"
        for name, value, example in (("poll_interval", poll_interval, POLL_INTERVAL), ("timeout", timeout, TIMEOUT))
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf")
    ]
