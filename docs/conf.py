"""
How Sphinx builds the documentation site: ``make docs``.

The source folder is that of the repository, so that a link works on the site and where the repository is hosted.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_crux import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).parent.parent

project = "airflow-provider-crux"
release = __version__
root_doc = "README"
include_patterns = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md", "docs/**.md"]
extensions = ["myst_parser"]

# headings have the same anchors as where the repository is hosted
myst_heading_anchors = 4
# Without it, <img> is copied as it is: its file is missing on the site, and nothing warns.
myst_enable_extensions = ["html_image"]

html_theme = "furo"
# the theme's own style underlines the names of modules, as if they were links
pygments_dark_style = "a11y-dark"
html_title = f"airflow-provider-crux {release}"
templates_path = ["_templates"]
html_additional_pages = {"index": "to_readme.html"}
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
# no host is named, so nothing is loaded from one, and the site also works from a folder
html_baseurl = ""


def _navigation() -> str:
    """Return the tables of contents, with the groups and pages of docs/README.md."""
    text = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    _, *groups = re.split(r"^\*\*(.+)\*\*$", text, flags=re.MULTILINE)
    groups += ["Project", "- [](../CONTRIBUTING.md)\n- [](../CHANGELOG.md)\n- [](../benchmarks/README.md)"]
    contents = "\n```{toctree}\n:hidden:\ndocs/README\n```\n"
    for caption, links in zip(groups[::2], groups[1::2], strict=True):
        pages = [
            (Path("docs") / name).as_posix().replace("docs/../", "")
            for name in re.findall(r"^- \[.*?\]\((.+?)\.md\)", links, re.MULTILINE)
        ]
        contents += "\n".join(["", "```{toctree}", ":hidden:", f":caption: {caption}", *pages, "```", ""])
    return contents


def _add_navigation(_app: Sphinx, page: str, source: list[str]) -> None:
    if page == root_doc:
        source[0] += _navigation()


def setup(app: Sphinx) -> None:
    """Connect the functions above."""
    app.connect("source-read", _add_navigation)
