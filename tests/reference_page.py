"""
Writes docs/reference.md: what users import, as the signatures and docstrings describe it.

Run ``python -m tests.reference_page`` (``make reference``); a test fails if the committed page differs.

Signatures are read from the source, so that a type or a default is on the page as it is written, on every version of
Airflow.
"""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from enum import Enum
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

PACKAGE: Final = "airflow_provider_crux"
REFERENCE: Final = Path(__file__).parent.parent / "docs/reference.md"

HEADER: Final = """\
# Reference

<!-- python -m tests.reference_page writes this page from the docstrings: change those -->

Every class and function for users of the provider. Each section is a module from which you import its names. Times are
in seconds unless the text names another unit. Operators, the sensor and the transfers also accept the arguments of
every Airflow task, such as `task_id`, `retries` and `outlets`.

In a task, an error that a retry cannot fix becomes Airflow's `AirflowFailException`, so the task fails immediately.
[Exceptions](#airflow_provider_cruxexceptions) says which errors these are.
"""

# Only Airflow calls these.
CALLED_BY_AIRFLOW: Final = (
    *("execute", "execute_complete", "finish_polling", "on_kill", "poke", "run", "serialize"),
    *("get_connection_form_widgets", "get_ui_field_behaviour"),
    *("get_openlineage_facets_on_complete", "get_openlineage_facets_on_start"),
)


@dataclass(frozen=True)
class Section:
    """
    A module on the page.

    :param names: what of it is on the page; all public names if empty.
    :param members: the methods of its classes that are on the page; all public ones if empty.
    """

    module: str
    text: str = ""
    names: tuple[str, ...] = ()
    members: tuple[str, ...] = ()


# What the hooks accept and return, in whichever module of api/ it is defined.
DATA: Final = ("OrdersExportRequest", "Sort", "Export", "SubmittedExport", "OrdersList", "ExportState")


def sections() -> list[Section]:
    """Return the sections of the page, in its order."""
    return [
        Section("operators.orders", "See [Exporting](exporting.md)."),
        Section("sensors.exports", "See [Waiting](waiting.md)."),
        Section("transfers.crux_to_object_storage", "See [Storing](storing.md)."),
        Section("transfers.crux_to_sql", "See [Table](table.md)."),
        Section("operators.coverage", "See [Coverage](coverage.md)."),
        Section(
            "files.coverage_checks",
            f"See [Coverage](coverage.md#what-else-it-checks). `{PACKAGE}.operators.coverage` has it, too.",
            names=("CoverageChecks",),
        ),
        Section("tables.statements", "See [Warehouse](warehouse.md).", names=("merge_statements", "MergeStatements")),
        Section("params", "See [Manual runs](manual-runs.md)."),
        Section("exceptions", "[Reliability](reliability.md) says what the provider sends again before it raises one."),
        Section("hooks.crux", "See [Connection](connection.md)."),
        Section("hooks.crux_async"),
        Section("triggers.exports"),
        *_data_sections(),
        Section(
            "sandbox.pytest_plugin",
            "See [Testing with the sandbox](testing-with-the-sandbox.md). pytest finds this fixture itself.",
        ),
        Section("sandbox.server"),
        Section(
            "sandbox.state",
            names=("Sandbox", "SandboxSettings", "ManualClock"),
            members=(
                *("requests", "exports", "respond_next", "wait_for", "finish_export", "fail_export"),
                *("expire_tokens", "expire_urls", "advance"),
            ),
        ),
    ]


def _data_sections() -> Iterator[Section]:
    missing = set(DATA)
    for info in pkgutil.iter_modules(import_module(f"{PACKAGE}.api").__path__):
        names = tuple(name for name in DATA if name in public_names(f"{PACKAGE}.api.{info.name}"))
        if names:
            yield Section(f"api.{info.name}", names=names)
        missing -= {*names}
    if missing:
        raise LookupError(
            f"no module of {PACKAGE}.api defines {', '.join(sorted(missing))}: correct DATA in {__name__}"
        )


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
    return [
        (f"{PACKAGE}.{section.module}", name)
        for section in sections()
        for name in section.names or public_names(f"{PACKAGE}.{section.module}")
    ]


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
    return [*registered_modules(), *(f"{PACKAGE}.{name}" for name in others)]


# --- a docstring in Markdown

_FIELD: Final = re.compile(r"^:(param|return|raises)(?: (\w+))?:", re.MULTILINE)
_ROLE: Final = re.compile(r":(?:class|func|meth|exc|mod|data|attr):`~?([\w.]+)`")


@dataclass
class Docstring:
    """A docstring, its parts in Markdown."""

    text: str
    params: dict[str, str]
    returns: str
    raises: list[tuple[str, str]]


def parse_docstring(docstring: str) -> Docstring:
    """Split a docstring into its text and its fields."""
    # a field ends where a paragraph without indentation begins
    fields = re.compile(rf"{_FIELD.pattern}(.*?)(?=^:\w|\n\n(?! )|\Z)", re.MULTILINE | re.DOTALL)
    parsed = Docstring(_blocks(fields.sub("", docstring).strip()), {}, "", [])
    for kind, name, lines in fields.findall(docstring):
        text = _inline(" ".join(lines.split()))
        if kind == "param":
            parsed.params[name] = text
        elif kind == "return":
            parsed.returns = text
        else:
            parsed.raises.append((name, text))
    return parsed


def _blocks(text: str) -> str:
    """Convert the paragraphs of a docstring: a note, an example, a list, text."""
    blocks: list[str] = []
    fence = None
    for paragraph in re.split(r"\n{2,}(?=\S)", text):
        if note := re.match(r"\.\. note::", paragraph):
            blocks.append(f"> **Note:** {_inline(' '.join(paragraph[note.end() :].split()))}")
        elif code := re.match(r"\.\. code-block:: (\w+)\n", paragraph):
            blocks.append(f"```{code[1]}\n{inspect.cleandoc(paragraph[code.end() :])}\n```")
        elif literal := re.search(r"::\n\n", paragraph):
            fence = inspect.cleandoc(paragraph[literal.end() :])
            blocks += [f"{_inline(' '.join(paragraph[: literal.start()].split()))}:", f"```\n{fence}\n```"]
        elif paragraph.startswith("- "):
            items = re.split(r"^- ", paragraph, flags=re.MULTILINE)[1:]
            blocks.append("\n".join(f"- {_inline(' '.join(item.split()))}" for item in items))
        else:
            blocks.append(_inline(" ".join(paragraph.split())))
    return "\n\n".join(block for block in blocks if block)


def _inline(text: str) -> str:
    """Convert roles to links or code, and double backticks to single ones."""
    return re.sub(r"``(.+?)``", r"`\1`", _ROLE.sub(_link, text))


def _link(role: re.Match[str]) -> str:
    if role[1] in {f"{PACKAGE}.{section.module}" for section in sections()}:
        return f"[`{role[1]}`](#{role[1].replace('.', '')})"
    name = role[1].rpartition(".")[2]
    return f"[`{name}`](#{name.lower()})" if name in _linked_names() else f"`{name}`"


@cache
def _linked_names() -> frozenset[str]:
    return frozenset(name for _, name in documented_names())


def unknown_targets(module: str, name: str) -> list[str]:
    """Return what the docstrings of a documented name refer to, although it does not exist."""
    value = getattr(import_module(module), name)
    docstrings = [inspect.getdoc(value) or ""]
    if inspect.isclass(value):
        docstrings += [inspect.getdoc(member) or "" for member in vars(value).values() if callable(member)]
    near = ["", f"{module}.", f"{module}.{name}."]
    # a target that begins with a dot may be in any module
    anywhere = [other for other in sys.modules if other.startswith(PACKAGE)]
    return [
        target
        for target in _ROLE.findall("\n".join(docstrings))
        if not any(_exists(f"{prefix}{target}") for prefix in (anywhere if target.startswith(".") else near))
    ]


def _exists(path: str) -> bool:
    parts = path.split(".")
    for count in range(len(parts), 0, -1):
        try:
            value: Any = import_module(".".join(parts[:count]))
        except ImportError:
            continue
        for part in parts[count:]:
            value = getattr(value, part, None)
        return value is not None
    return False


# --- signatures


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(inspect.getsource(import_module(module)))


def _node(module: str, name: str) -> ast.ClassDef | ast.FunctionDef:
    for node in _tree(module).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == name:
            return node
    raise LookupError(f"{module} defines no {name}: correct sections() in {__name__}")


@dataclass
class Argument:
    """An argument as the source declares it; ``default`` is empty if it is required."""

    name: str
    type: str = ""
    default: str = ""


def _argument(module: str, name: str, annotation: ast.expr | None, default: ast.expr | None) -> Argument:
    # orders.Sort is Sort to whoever reads the page
    kind = re.sub(r"\b\w+\.(?=[A-Z])", "", ast.unparse(annotation)) if annotation else ""
    return Argument(name, kind, _default(module, default) if default else "")


def _default(module: str, default: ast.expr) -> str:
    source = ast.unparse(default)
    if setting := re.match(r"conf\.\w+\('(\w+)', '(\w+)'", source):
        return f"[{setting[1]}] {setting[2]}"
    if source.startswith("field("):
        declared = re.match(r"field\(default=(.+?)(?:, repr=\w+)?\)$", source)
        source = declared[1] if declared else ""
    # a constant of ours is on the page with its value
    value = eval(source, vars(import_module(module))) if re.fullmatch(r"(\w+\.)*[A-Z_]+", source) else None
    return source if value is None else repr(value)


def _signature(module: str, function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[Argument]:
    declared = function.args
    positional = [*declared.posonlyargs, *declared.args]
    defaults = [None] * (len(positional) - len(declared.defaults)) + declared.defaults
    pairs = [*zip(positional, defaults, strict=True), *zip(declared.kwonlyargs, declared.kw_defaults, strict=True)]
    return [
        _argument(module, arg.arg, arg.annotation, default) for arg, default in pairs if arg.arg not in ("self", "cls")
    ]


def _members(class_: ast.ClassDef, section: Section) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in class_.body:
        if (
            isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            and not node.name.startswith("_")
            and node.name not in CALLED_BY_AIRFLOW
            and ast.get_docstring(node)
            and (not section.members or node.name in section.members)
        ):
            yield node


def _arguments(class_: type) -> list[Argument]:
    """Return the arguments of a class and of its bases in this package, or the fields of a dataclass."""
    arguments: list[Argument] = []
    for base in class_.__mro__:
        if not base.__module__.startswith(PACKAGE):
            continue
        node = _node(base.__module__, base.__name__)
        if is_dataclass(base):
            arguments += [
                _argument(base.__module__, field.target.id, field.annotation, field.value)
                for field in node.body
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
            ]
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                arguments += _signature(base.__module__, method)
    for argument in arguments:
        if argument.default.isidentifier() and hasattr(class_, argument.default):
            argument.default = repr(getattr(class_, argument.default))
    return arguments


# --- the page


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _argument_table(arguments: list[Argument], described: dict[str, str]) -> str:
    declared = {argument.name: argument for argument in reversed(arguments)}
    # an argument that the class passes to Airflow's own is described, but not declared
    rows = [declared.get(name, Argument(name)) for name in described]
    lines = ["| argument | type | default | meaning |", "|---|---|---|---|"]
    for row in rows:
        default = f"`{row.default}`" if row.default else "required" if row.type else ""
        kind = f"`{row.type}`" if row.type else ""
        meaning = _without_default(described[row.name], row.default)
        lines.append(f"| `{row.name}` | {_cell(kind)} | {_cell(default)} | {_cell(meaning)} |")
    return "\n".join(lines)


def _without_default(text: str, default: str) -> str:
    """Remove the default from a description: it has a column of its own."""
    value = re.escape(default.strip("'").removesuffix(".0"))
    return re.sub(rf"; default:? (?:Airflow's )?`?{value}`?(?=[.;]|$)", "", text) if default else text


def _fields(doc: Docstring, arguments: list[Argument]) -> Iterator[str]:
    if doc.params:
        yield _argument_table(arguments, doc.params)
    if doc.returns:
        yield f"**Returns** {doc.returns}"
    if doc.raises:
        yield "\n".join(["**Raises**", "", *(f"- {_error(name)}: {text}" for name, text in doc.raises)])


def _error(name: str) -> str:
    return _inline(f":exc:`{name}`")


def _call(module: str, name: str, function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    arguments = ", ".join(
        f"{argument.name}={argument.default}" if argument.default else argument.name
        for argument in _signature(module, function)
    )
    awaited = "await " if isinstance(function, ast.AsyncFunctionDef) else ""
    result = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    return f"`{awaited}{name}({arguments}){result}`"


def _class(module: str, class_: ast.ClassDef, section: Section) -> Iterator[str]:
    doc = parse_docstring(ast.get_docstring(class_) or "")
    value = getattr(import_module(module), class_.name)
    bases = [base.__name__ for base in value.__bases__]
    yield f"### `{class_.name}`"
    if section.module == "exceptions" and bases != ["Exception"]:
        yield f"Is a {' and a '.join(map(_error, bases))}."
    yield doc.text
    if issubclass(value, Enum):
        yield "\n".join(f"- `{member.name}`: `{member.value!r}`" for member in value)
    yield from _fields(doc, _arguments(value))
    for member in _members(class_, section):
        yield f"#### `{class_.name}.{member.name}`"
        decorators = {ast.unparse(node) for node in member.decorator_list}
        if not decorators & {"property", "cached_property"}:
            yield _call(module, member.name, member)
        doc = parse_docstring(ast.get_docstring(member) or "")
        yield doc.text
        yield from _fields(doc, _signature(module, member))


def _section(section: Section) -> Iterator[str]:
    module = f"{PACKAGE}.{section.module}"
    yield f"## `{module}`"
    yield section.text
    if section.module == "exceptions":
        yield parse_docstring(inspect.getdoc(import_module(module)) or "").text
    for name in section.names or public_names(module):
        node = _node(module, name)
        if isinstance(node, ast.ClassDef):
            yield from _class(module, node, section)
        else:
            doc = parse_docstring(ast.get_docstring(node) or "")
            yield f"### `{name}`"
            yield _call(module, name, node)
            yield doc.text
            yield from _fields(doc, _signature(module, node))


def page() -> str:
    """Return the page in Markdown."""
    blocks = [block for section in sections() for block in _section(section) if block]
    return HEADER + "\n" + "\n\n".join(blocks) + "\n"


if __name__ == "__main__":
    REFERENCE.write_text(page())
