"""What docs/reference.md describes, and which modules it must describe."""

from __future__ import annotations

import re
from pathlib import Path

REFERENCE = Path(__file__).parent.parent / "docs/reference.md"


def sections() -> dict[tuple[str, str], str]:
    """Return the text of each section of the reference, by module and name."""
    texts: dict[tuple[str, str], str] = {}
    module = ""
    parts = re.split(r"^(##|###) (.+)$", REFERENCE.read_text(), flags=re.MULTILINE)
    for level, heading, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        code = re.fullmatch(r"`([\w.]+)`", heading)
        if level == "##":
            module = code[1] if code else ""
        elif code and module:
            assert (module, code[1]) not in texts, heading
            texts[module, code[1]] = text
    return texts


def registered_modules() -> list[str]:
    """Return the modules that the provider registers with Airflow."""
    from airflow_provider_crux.provider_info import get_provider_info

    info = get_provider_info()
    kinds = ("operators", "sensors", "triggers", "hooks")
    modules = [name for kind in kinds for entry in info[kind] for name in entry["python-modules"]]
    return [*modules, *(entry["python-module"] for entry in info["transfers"])]


def public_modules() -> list[str]:
    """Return the modules from which users import: the registered ones and three more."""
    return [
        *registered_modules(),
        *(f"airflow_provider_crux.{name}" for name in ("exceptions", "arguments", "sandbox.server")),
    ]
