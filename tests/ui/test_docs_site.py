"""The documentation site that make docs builds, in a real browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.reference_page import documented_names
from tests.ui.browser import open_page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

SITE = Path(__file__).parents[2] / "site"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    # from the folder, as somebody opens it who has built it: no server, and no other host
    assert (SITE / "index.html").exists(), "run make docs"
    with open_page(f"{SITE.as_uri()}/") as opened:
        yield opened


def test_a_reader_searches_and_finds_the_page_and_the_reference(page: Page) -> None:
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto("index.html")
    expect(page.get_by_role("heading", name="airflow-provider-crux", level=1)).to_be_visible()

    page.get_by_placeholder("Search").fill("lookback")
    page.get_by_placeholder("Search").press("Enter")
    results = page.locator("#search-results")
    expect(results.get_by_role("link", name="Reference")).to_be_visible()
    results.get_by_role("link", name="Exporting").click()
    expect(page.get_by_role("heading", name="Exporting", level=1)).to_be_visible()

    page.get_by_role("link", name="Reference", exact=True).first.click()
    for _, name in documented_names():
        assert page.locator(f"[id='{name.lower()}']").count() == 1, name
    assert {urlsplit(url).scheme for url in requested} <= {"file", "data"}


def test_a_search_for_a_class_leads_to_its_entry_in_the_reference(page: Page) -> None:
    page.goto("search.html?q=CruxExportSensor")
    page.locator("#search-results").get_by_role("link", name="Reference > CruxExportSensor", exact=True).click()
    expect(page).to_have_url(re.compile(r"/docs/reference\.html#cruxexportsensor$"))
    expect(page.locator("#cruxexportsensor")).to_be_in_viewport()


def test_a_page_shows_its_screenshot(page: Page) -> None:
    page.goto("docs/connection.html")
    expect(page.get_by_alt_text("Airflow's form for a Crux Connect connection")).to_have_js_property("complete", True)
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")


@pytest.mark.parametrize(("scheme", "darkest", "lightest"), [("light", 200, 255), ("dark", 0, 60)])
def test_the_site_is_as_light_or_dark_as_the_system(page: Page, scheme, darkest: int, lightest: int) -> None:
    page.emulate_media(color_scheme=scheme)
    page.goto("README.html")
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    levels = [int(level) for level in color.removeprefix("rgb(").removesuffix(")").split(",")]
    assert all(darkest <= level <= lightest for level in levels), color
