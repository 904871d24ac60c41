"""The documentation: links lead somewhere, examples run, and the reference describes all that users can import."""

from __future__ import annotations

import ast
import inspect
import json
import re
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from airflow import __version__ as airflow_version
from packaging.version import parse as parse_version

from airflow_provider_crux.api.settings import EXTRA_FIELDS
from tests import reference_page
from tests.reference_page import documented_names, public_modules, public_names, unknown_targets

ROOT = Path(__file__).parent.parent
INDEX = ROOT / "docs/README.md"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), ROOT / "benchmarks/README.md"]

FENCE = re.compile(r"^(```+)([\w{}-]*)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|<(?:img|a) [^>]*?(?:src|href)=\"([^\"]+)\"")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(language: str) -> list[object]:
    """Return every code block in a language, with its page and line as id."""
    examples: list[object] = []
    for page in PAGES:
        text = page.read_text()
        for block in FENCE.finditer(text):
            if block[2] == language:
                line = text.count("\n", 0, block.start(3)) + 1
                examples.append(pytest.param(block[3], id=f"{name_of(page)}:{line}"))
    return examples


def links() -> list[object]:
    """Return every link to another place in the repository, with its page."""
    internal: list[object] = []
    for page in PAGES:
        targets = {one or other for one, other in LINK.findall(FENCE.sub("", page.read_text()))}
        internal += [
            pytest.param(page, target, id=f"{name_of(page)} to {target}")
            for target in sorted(targets)
            if not re.match(r"[a-z]+:", target)
        ]
    return internal


@cache
def anchors(page: Path) -> set[str]:
    """Return the anchors of a page, which GitHub makes from its headings."""
    slugs: set[str] = set()
    for heading in HEADING.findall(FENCE.sub("", page.read_text())):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        repeated = sum(1 for other in slugs if re.fullmatch(rf"{re.escape(slug)}(-\d+)?", other))
        slugs.add(f"{slug}-{repeated}" if repeated else slug)
    return slugs


def parameters() -> list[object]:
    """Return every parameter of every public class, with the class."""
    described: list[object] = []
    for module in public_modules():
        for name, value in public_names(module).items():
            if inspect.isclass(value) and "__init__" in vars(value):
                described += [
                    pytest.param(module, name, parameter.name, id=f"{name} {parameter.name}")
                    for parameter in inspect.signature(value.__init__).parameters.values()
                    if parameter.name != "self" and parameter.kind is not inspect.Parameter.VAR_KEYWORD
                ]
    return described


def test_pages_links_and_examples_are_found() -> None:
    names = {name_of(page) for page in PAGES}
    assert names >= {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/reference.md", "docs/evidence/faults.md"}
    assert len(links()) > 20
    assert len(blocks("python")) > 5
    assert blocks("json")
    assert len(parameters()) > 30


@pytest.mark.parametrize(("page", "target"), links())
def test_a_link_leads_to_an_existing_file_and_heading(page: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    assert file.is_relative_to(ROOT)
    assert file.exists()
    if anchor:
        assert anchor in anchors(file)


@pytest.mark.parametrize("page", [page for page in PAGES if page.is_relative_to(INDEX.parent) and page != INDEX])
def test_the_index_lists_every_page(page: Path) -> None:
    assert f"]({page.relative_to(INDEX.parent)})" in INDEX.read_text()


@pytest.mark.filterwarnings("error::SyntaxWarning")
@pytest.mark.parametrize("source", blocks("python"))
def test_an_example_compiles_and_airflow_accepts_its_dag(source: str) -> None:
    from airflow.providers.common.compat.sdk import DAG

    code = compile(source, "<example>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if "with DAG(" not in source:
        return
    if "definitions.deadline" in source and parse_version(airflow_version) < parse_version("3.1"):
        pytest.skip("deadline alerts were added in Airflow 3.1")
    namespace: dict[str, object] = {"__name__": "example"}
    exec(code, namespace)
    dags = {id(dag): dag for value in namespace.values() if isinstance(dag := getattr(value, "dag", value), DAG)}
    assert dags
    for dag in dags.values():
        assert dag.tasks
        dag.topological_sort()


@pytest.mark.parametrize("source", blocks("json"))
def test_a_json_example_is_json(source: str) -> None:
    json.loads(source)


def test_the_connection_page_lists_the_extras_in_the_order_of_the_form() -> None:
    _, _, extras = (ROOT / "docs/connection.md").read_text().partition("| extra |")
    rows = extras.split("\n\n")[0].splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(EXTRA_FIELDS)


def test_the_reference_is_what_the_docstrings_say() -> None:
    assert reference_page.REFERENCE.read_text() == reference_page.page(), "run make reference"


@pytest.mark.parametrize(("module", "name"), documented_names())
def test_a_docstring_in_the_reference_refers_to_names_that_exist(module: str, name: str) -> None:
    assert unknown_targets(module, name) == []


@pytest.mark.parametrize("module", public_modules())
def test_the_reference_documents_what_users_import_from_a_module(module: str) -> None:
    assert {(module, name) for name in public_names(module)} <= set(documented_names())


@pytest.mark.parametrize(("module", "name"), documented_names())
def test_every_name_in_the_reference_has_a_docstring_in_its_module(module: str, name: str) -> None:
    value = getattr(import_module(module), name)
    assert value.__module__ == module
    assert value.__doc__


@pytest.mark.parametrize(("module", "name", "parameter"), parameters())
def test_a_docstring_describes_each_parameter(module: str, name: str, parameter: str) -> None:
    assert f":param {parameter}:" in (inspect.getdoc(getattr(import_module(module), name)) or "")


@pytest.mark.parametrize("module", public_modules())
def test_a_docstring_says_which_parameters_are_templated(module: str) -> None:
    for value in public_names(module).values():
        if hasattr(value, "template_fields"):
            described = re.split(r"^:(?:param (\w+)|raises \w+):", inspect.getdoc(value) or "", flags=re.MULTILINE)
            texts = zip(described[1::2], described[2::2], strict=True)
            templated = [name for name, text in texts if "Templated." in text]
            assert sorted(templated) == sorted(value.template_fields)
