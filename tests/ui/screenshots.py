"""Takes the screenshots of the documentation during the tests, so that they are up to date."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Locator, Page

from tests.real_airflow.sandbox_airflow import REPOSITORY
from tests.ui.browser import SIZE

IMAGES = REPOSITORY / "docs" / "images"
MARGIN = 160
"""Pixels between a dialog and the edges of the window, top and bottom added."""
MAX_BYTES = 110_000


def take_screenshot(page: Page, name: str, target: Locator, *, secret: str) -> Path:
    """Save all of `target` as docs/images/<name>.png. Fails if the page shows `secret`."""
    assert secret not in page.locator("body").inner_text()
    box = target.bounding_box()
    assert box is not None
    # A dialog that is higher than the window would be cut off.
    page.set_viewport_size({"width": SIZE["width"], "height": max(SIZE["height"], int(box["height"]) + MARGIN)})
    IMAGES.mkdir(parents=True, exist_ok=True)
    file = IMAGES / f"{name}.png"
    target.screenshot(path=file, animations="disabled")
    page.set_viewport_size(SIZE)
    assert file.stat().st_size < MAX_BYTES
    return file
