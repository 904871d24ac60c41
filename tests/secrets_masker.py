"""Airflow's masker of secrets, which lives as long as the process."""

from __future__ import annotations

import sys
from functools import cache


def clear_masker() -> None:
    """
    Remove every secret from Airflow's masker.

    For each new secret, it compiles one pattern of all of them, which takes a second after a few thousand. A task has a
    process of its own, and few secrets.
    """
    for name in _modules(len(sys.modules)):
        masker = sys.modules[name]._secrets_masker()
        masker.patterns, masker.replacer = set(), None


@cache
def _modules(_: int) -> list[str]:
    # cached while no module is added, because the search takes longer than many a test
    return [
        name
        for name, module in list(sys.modules.items())
        if name.startswith("airflow.") and name.endswith(".secrets_masker") and hasattr(module, "_secrets_masker")
    ]
