"""What docs/reference.md documents, and which modules it must document."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

REFERENCE = Path(__file__).parent.parent / "docs/reference.md"


def public_names(module: str) -> dict[str, Any]:
    """Return the public classes, functions and fixtures that a module defines; those in ``__all__``, if it has one."""
    members = vars(import_module(module))
    return {
        name: value
        for name, value in members.items()
        if name in members.get("__all__", [name])
        and not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(inspect.unwrap(value)))
        and value.__module__ == module
    }


def documented_names() -> list[tuple[str, str]]:
    """Return the module and the name of everything that the reference documents."""
    names: list[tuple[str, str]] = []
    for kind, target in re.findall(r"^\.\. auto(module|class|function):: (\S+)$", REFERENCE.read_text(), re.MULTILINE):
        module, _, name = target.rpartition(".")
        names += [(target, name) for name in public_names(target)] if kind == "module" else [(module, name)]
    return names


def registered_modules() -> list[str]:
    """Return the modules that the provider registers with Airflow."""
    from airflow_provider_crux.provider_info import get_provider_info

    info = get_provider_info()
    kinds = ("operators", "sensors", "triggers", "hooks")
    modules = [name for kind in kinds for entry in info[kind] for name in entry["python-modules"]]
    return [*modules, *(entry["python-module"] for entry in info["transfers"])]


def public_modules() -> list[str]:
    """Return the modules from which users import: the registered ones and four more."""
    others = ("exceptions", "params", "sandbox.pytest_plugin", "sandbox.server")
    return [*registered_modules(), *(f"airflow_provider_crux.{name}" for name in others)]
