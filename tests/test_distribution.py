"""The source distribution and the wheel: what they contain, and whether an installed wheel works."""

from __future__ import annotations

import configparser
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from email import message_from_bytes
from importlib import import_module
from importlib.metadata import version
from importlib.util import cache_from_source
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import airflow_provider_crux
from tests.reference_page import documented_names

if TYPE_CHECKING:
    from collections.abc import Iterable
    from email.message import Message

# builds and installs the distributions
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
NAME = f"airflow_provider_crux-{airflow_provider_crux.__version__}"
DIST_INFO = f"{NAME}.dist-info"
INSTALLED_ON = "3.3.2"

# All other hidden files belong to the repository only.
HIDDEN_BUT_SHIPPED = ".gitignore"

# What remains in a checkout after work: none of it may be shipped.
LEFTOVERS = (
    ".coverage",
    ".hypothesis/unicode_data/charmap.json.gz",
    ".matrix/3.3.2-unit.log",
    ".mypy_cache/3.11/cache.json",
    ".pytest_cache/README.md",
    ".ruff_cache/CACHEDIR.TAG",
    ".venv/3.3.2/lib/README.md",
    "airflow_provider_crux/__pycache__/interval.cpython-311.pyc",
    "airflow_provider_crux.egg-info/PKG-INFO",
    "demo_output/2026-01-02.csv",
    "dist/airflow_provider_crux-0.0.1.tar.gz",
    "docs/__pycache__/conf.cpython-311.pyc",
    "tests/.hypothesis/examples/0f1e",
    "tests/.pytest_cache/README.md",
    "tests/__pycache__/conftest.cpython-311.pyc",
)


@dataclass(frozen=True)
class Distribution:
    """The built distributions, and the tracked files from which they were built."""

    tracked: frozenset[str]
    sdist: Path
    wheel: Path

    def members_of_sdist(self) -> list[str]:
        with tarfile.open(self.sdist) as archive:
            return [member.name for member in archive.getmembers() if not member.isdir()]

    def in_wheel(self, name: str) -> bytes:
        with zipfile.ZipFile(self.wheel) as archive:
            return archive.read(name)

    def metadata(self) -> Message:
        return message_from_bytes(self.in_wheel(f"{DIST_INFO}/METADATA"))


def run(*command: str | Path, cwd: Path, **env: str) -> str:
    """Run a command outside of the source tree, without the import paths of this process."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    completed = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=inherited | env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert completed.returncode == 0, f"{command}\n{completed.stdout}\n{completed.stderr}"
    return completed.stdout


@pytest.fixture(scope="session")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Distribution:
    """Build from a copy of the tracked files: the sdist, and from it the wheel, as ``build`` does."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout, so it is unknown which files belong to the package")
    listed = run("git", "ls-files", "-z", cwd=ROOT).split("\0")
    tracked = frozenset(name for name in listed if name and (ROOT / name).is_file())
    source = tmp_path_factory.mktemp("source")
    for name in tracked:
        copy = source / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy)
    for name in LEFTOVERS:
        leftover = source / name
        leftover.parent.mkdir(parents=True, exist_ok=True)
        leftover.write_text("not to be shipped")
    built = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "build", "--outdir", built, source, cwd=built)
    assert sorted(path.name for path in built.iterdir()) == [f"{NAME}-py3-none-any.whl", f"{NAME}.tar.gz"]
    return Distribution(tracked, built / f"{NAME}.tar.gz", built / f"{NAME}-py3-none-any.whl")


def test_an_index_accepts_both_and_shows_their_description(distribution: Distribution) -> None:
    output = run(
        sys.executable,
        *("-m", "twine", "--no-color", "check", "--strict", distribution.sdist, distribution.wheel),
        cwd=distribution.wheel.parent,
    )
    assert output.count("PASSED") == 2


def test_the_sdist_contains_every_tracked_file_except_those_of_the_repository_itself_and_no_leftovers(
    distribution: Distribution,
) -> None:
    shipped = {name for name in distribution.tracked if not name.startswith(".") or name == HIDDEN_BUT_SHIPPED}
    assert sorted(distribution.members_of_sdist()) == sorted(f"{NAME}/{name}" for name in {*shipped, "PKG-INFO"})


@pytest.mark.parametrize(
    "name",
    [
        "LICENSE",
        "Makefile",
        "README.md",
        "airflow_provider_crux/py.typed",
        "benchmarks/__main__.py",
        "constraints/airflow-2.11.2.txt",
        "constraints/airflow-3.3.2.txt",
        "dags_examples/crux_orders_export.py",
        "docs/images/connection-form.png",
        "docs/storing.md",
        "pyproject.toml",
        "scripts/demo.sh",
        "tests/conftest.py",
        "tests/e2e/dags/schedules.py",
    ],
)
def test_the_sdist_contains_documentation_tests_and_benchmarks(distribution: Distribution, name: str) -> None:
    assert f"{NAME}/{name}" in distribution.members_of_sdist()


def test_the_wheel_contains_the_complete_package_and_nothing_else(distribution: Distribution) -> None:
    package = {name for name in distribution.tracked if name.startswith("airflow_provider_crux/")}
    metadata = {f"{DIST_INFO}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt")}
    with zipfile.ZipFile(distribution.wheel) as archive:
        assert sorted(archive.namelist()) == sorted(package | metadata | {f"{DIST_INFO}/licenses/LICENSE"})
    assert "airflow_provider_crux/py.typed" in package


def test_the_files_in_the_wheel_equal_the_tracked_files(distribution: Distribution) -> None:
    for name in distribution.tracked:
        if name.startswith("airflow_provider_crux/"):
            assert distribution.in_wheel(name) == (ROOT / name).read_bytes(), name
    assert distribution.in_wheel(f"{DIST_INFO}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()


def test_the_metadata_names_version_python_airflow_and_license(distribution: Distribution) -> None:
    metadata = distribution.metadata()
    assert metadata["Name"] == "airflow-provider-crux"
    assert metadata["Version"] == airflow_provider_crux.__version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload().strip() == (ROOT / "README.md").read_text().strip()
    assert metadata.get_all("Provides-Extra") == ["parquet", "sandbox", "sql"]
    requirements = [line.replace(" ", "") for line in metadata.get_all("Requires-Dist", []) if "extra" not in line]
    assert "apache-airflow<4,>=2.11" in requirements
    assert {re.split(r"[<>=]", line)[0] for line in requirements} == {
        "aiohttp",
        "apache-airflow",
        "apache-airflow-providers-common-compat",
        "asgiref",
        "pendulum",
        "requests",
        "urllib3",
    }


def test_the_entry_points_lead_to_the_provider_and_the_pytest_plugin(distribution: Distribution) -> None:
    points = configparser.ConfigParser()
    points.read_string(distribution.in_wheel(f"{DIST_INFO}/entry_points.txt").decode())
    assert {section: dict(points[section]) for section in points.sections()} == {
        "apache_airflow_provider": {"provider_info": "airflow_provider_crux.provider_info:get_provider_info"},
        "pytest11": {"crux_sandbox": "airflow_provider_crux.sandbox.pytest_plugin"},
    }
    assert import_module(points["pytest11"]["crux_sandbox"]).crux_sandbox
    module, _, function = points["apache_airflow_provider"]["provider_info"].partition(":")
    assert getattr(import_module(module), function)()["package-name"] == "airflow-provider-crux"


IN_THE_FRESH_ENVIRONMENT = """
import importlib, json, sys, sysconfig
from pathlib import Path

import airflow_provider_crux
from airflow.providers_manager import ProvidersManager

manager = ProvidersManager()
for module, name in json.loads(sys.argv[1]):
    getattr(importlib.import_module(module), name)
print(json.dumps({
    "installed": Path(airflow_provider_crux.__file__).parent.parent == Path(sysconfig.get_path("purelib")),
    "version": manager.providers["airflow-provider-crux"].version,
    "hook": manager.hooks["crux"].hook_class_name,
    "hook_name": manager.hooks["crux"].hook_name,
}))
"""


def required(requirements: Iterable[str]) -> dict[str, importlib.metadata.Distribution]:
    """Return the distributions of this environment that requirements name, and those that these require."""
    distributions: dict[str, importlib.metadata.Distribution] = {}
    extras_read: set[tuple[str, str]] = set()
    todo = [(Requirement(line), "") for line in requirements]
    while todo:
        requirement, extra_of_parent = todo.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra_of_parent}):
            continue
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) not in extras_read:
                extras_read.add((name, extra))
                distributions[name] = importlib.metadata.distribution(name)
                todo += [(Requirement(line), extra) for line in distributions[name].requires or ()]
    return distributions


def link_files(distribution: importlib.metadata.Distribution, site_packages: Path) -> None:
    """Let the modules and the metadata of a distribution be in another environment too, with their bytecode."""
    for file in distribution.files or ():
        if ".." in file.parts:
            continue  # a script
        source, link = Path(str(distribution.locate_file(file))), site_packages / file
        compiled = Path(cache_from_source(str(source)))
        link.parent.mkdir(parents=True, exist_ok=True)
        if source.exists() and not link.exists():
            link.symlink_to(source)
        if source.suffix == ".py" and compiled.exists():
            cache = link.parent / compiled.parent.name
            cache.mkdir(exist_ok=True)
            with suppress(FileExistsError):  # some distributions list it
                (cache / compiled.name).symlink_to(compiled)


@pytest.fixture(scope="session")
def fresh(distribution: Distribution, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    Install the wheel with Airflow's constraints into a new environment, and return its Python.

    What the wheel requires is linked, because to install it takes a minute. Without an index, pip fails if any of it is
    missing, or has another version than the constraints say.
    """
    if version("apache-airflow") != INSTALLED_ON:
        pytest.skip(f"takes long, so it runs on Airflow {INSTALLED_ON} only")
    home = tmp_path_factory.mktemp("fresh")
    run(sys.executable, "-m", "venv", "--without-pip", home / "venv", cwd=home)
    python = home / "venv/bin/python"
    site_packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip())
    for dependency in required(distribution.metadata().get_all("Requires-Dist", [])).values():
        link_files(dependency, site_packages)
    constraints = ROOT / f"constraints/airflow-{INSTALLED_ON}.txt"
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile", "--no-index"),
        *("--constraint", constraints, distribution.wheel),
        cwd=home,
    )
    return python


def test_airflow_finds_the_installed_wheel_and_everything_in_the_reference_can_be_imported(
    fresh: Path, tmp_path: Path
) -> None:
    # the new environment has no pytest
    names = [name for name in documented_names() if name[0] != "airflow_provider_crux.sandbox.pytest_plugin"]
    assert ("airflow_provider_crux.operators.orders", "CruxOrdersExportOperator") in names
    output = run(
        fresh,
        *("-W", "error:::airflow_provider_crux", "-c", IN_THE_FRESH_ENVIRONMENT, json.dumps(names)),
        cwd=tmp_path,
        AIRFLOW_HOME=str(tmp_path),
    )
    assert json.loads(output.splitlines()[-1]) == {
        "installed": True,
        "version": airflow_provider_crux.__version__,
        "hook": "airflow_provider_crux.hooks.crux.CruxHook",
        "hook_name": "Crux Connect",
    }
