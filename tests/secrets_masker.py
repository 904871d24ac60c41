"""Airflow's masker of secrets, which lives as long as the process."""

from __future__ import annotations

import sys


def clear_masker() -> None:
    """
    Remove every secret from Airflow's masker.

    For each new secret, it compiles one pattern of all of them, which takes a second after a few thousand. A task has a
    process of its own, and few secrets.
    """
    for name, module in list(sys.modules.items()):
        if name.startswith("airflow.") and name.endswith(".secrets_masker") and hasattr(module, "_secrets_masker"):
            masker = module._secrets_masker()
            masker.patterns, masker.replacer = set(), None
