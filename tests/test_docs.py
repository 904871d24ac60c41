"""What is written for people: links lead somewhere, examples run, and the reference has all that can be imported."""

from __future__ import annotations

import inspect
import json
import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.test_package import named_modules

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
REFERENCE = ROOT / "docs/reference.md"

FENCE = re.compile(r"^(```+)(\w*)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|<(?:img|a) [^>]*?(?:src|href)=\"([^\"]+)\"")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(language: str) -> list[object]:
    """Return every block of code in a language, named by its page and line."""
    found: list[object] = []
    for page in PAGES:
        text = page.read_text()
        for block in FENCE.finditer(text):
            if block[2] == language:
                line = text.count("\n", 0, block.start(3)) + 1
                found.append(pytest.param(block[3], id=f"{name_of(page)}:{line}"))
    return found


def links() -> list[object]:
    """Return every link to another place in the repository, named by its page."""
    found: list[object] = []
    for page in PAGES:
        targets = {one or other for one, other in LINK.findall(FENCE.sub("", page.read_text()))}
        found += [
            pytest.param(page, target, id=f"{name_of(page)} to {target}")
            for target in sorted(targets)
            if not re.match(r"[a-z]+:", target)
        ]
    return found


def anchors(page: Path) -> set[str]:
    """Return what a link may name within a page, made of its headings as GitHub does it."""
    found: set[str] = set()
    for heading in HEADING.findall(FENCE.sub("", page.read_text())):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        repeated = sum(1 for other in found if re.fullmatch(rf"{re.escape(slug)}(-\d+)?", other))
        found.add(f"{slug}-{repeated}" if repeated else slug)
    return found


def sections() -> dict[tuple[str, str], str]:
    """Return what the reference says of each name, by module and name."""
    found: dict[tuple[str, str], str] = {}
    module = ""
    parts = re.split(r"^(##|###) (.+)$", REFERENCE.read_text(), flags=re.MULTILINE)
    for level, heading, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        named = re.fullmatch(r"`([\w.]+)`", heading)
        if level == "##":
            module = named[1] if named else ""
        elif named and module:
            assert (module, named[1]) not in found, heading
            found[module, named[1]] = text
    return found


def public_modules() -> list[str]:
    """Return the modules that users import from: those that Airflow is told of, and three more."""
    return [*named_modules(), *(f"airflow_provider_crux.{name}" for name in ("exceptions", "params", "sandbox.server"))]


def defined_in(module: ModuleType) -> dict[str, object]:
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    }


def parameters() -> list[object]:
    """Return every parameter of every class that users make, with the class."""
    found: list[object] = []
    for module in public_modules():
        for name, value in defined_in(import_module(module)).items():
            if inspect.isclass(value) and "__init__" in vars(value):
                found += [
                    pytest.param(module, name, parameter.name, id=f"{name} {parameter.name}")
                    for parameter in inspect.signature(value.__init__).parameters.values()
                    if parameter.name != "self" and parameter.kind is not inspect.Parameter.VAR_KEYWORD
                ]
    return found


def test_there_is_something_to_check() -> None:
    assert {name_of(page) for page in PAGES} >= {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/reference.md"}
    assert len(links()) > 20
    assert len(blocks("python")) > 5
    assert blocks("json")
    assert len(parameters()) > 30


@pytest.mark.parametrize(("page", "target"), links())
def test_a_link_leads_to_a_file_and_a_heading_that_are_there(page: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    assert file.is_relative_to(ROOT)
    assert file.exists()
    if anchor:
        assert anchor in anchors(file)


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name == "docs" and page.name != "README.md"])
def test_the_list_of_pages_has_every_page(page: Path) -> None:
    assert f"]({page.name})" in (ROOT / "docs/README.md").read_text()


@pytest.mark.filterwarnings("error::SyntaxWarning")
@pytest.mark.parametrize("source", blocks("python"))
def test_an_example_compiles_and_where_it_makes_a_dag_airflow_takes_it(source: str) -> None:
    from airflow.providers.common.compat.sdk import DAG

    code = compile(source, "<example>", "exec")
    if "with DAG(" not in source:
        return
    namespace: dict[str, object] = {"__name__": "example"}
    exec(code, namespace)
    made = {id(dag): dag for value in namespace.values() if isinstance(dag := getattr(value, "dag", value), DAG)}
    assert made
    for dag in made.values():
        assert dag.tasks
        dag.topological_sort()


@pytest.mark.parametrize("source", blocks("json"))
def test_an_example_in_json_is_json(source: str) -> None:
    json.loads(source)


@pytest.mark.parametrize("module", public_modules())
def test_the_reference_describes_all_that_a_module_defines_and_nothing_else(module: str) -> None:
    described = sorted(name for where, name in sections() if where == module)
    assert described == sorted(defined_in(import_module(module)))


@pytest.mark.parametrize(("module", "name"), sections())
def test_what_the_reference_describes_can_be_imported_from_where_it_says(module: str, name: str) -> None:
    assert getattr(import_module(module), name).__module__ == module


@pytest.mark.parametrize(("module", "name", "parameter"), parameters())
def test_a_parameter_is_described_in_the_docstring_and_in_the_reference(module: str, name: str, parameter: str) -> None:
    described = inspect.getdoc(getattr(import_module(module), name)) or ""
    assert f":param {parameter}:" in described
    assert f"`{parameter}`" in sections()[module, name]


@pytest.mark.parametrize(
    "module",
    [f"airflow_provider_crux.{name}" for name in ("operators.orders", "sensors.exports", "transfers.exports")],
)
def test_the_reference_names_the_fields_that_are_templates(module: str) -> None:
    for name, value in defined_in(import_module(module)).items():
        told = re.search(r"^Templates: (.+)\.$", sections()[module, name], re.MULTILINE)
        assert told, name
        assert re.findall(r"`(\w+)`", told[1]) == list(value.template_fields)
