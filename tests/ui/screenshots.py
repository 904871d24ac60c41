"""The pictures of the documentation, taken by the tests, so that they show what there is."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Locator, Page

from tests.e2e.connected import PROJECT
from tests.ui.browser import SIZE

IMAGES = PROJECT / "docs" / "images"
MARGIN = 160
"""Pixels that a dialog keeps from the edges of the window, above and below together."""
MAX_BYTES = 110_000


def take(page: Page, name: str, target: Locator, *, secret: str) -> Path:
    """Picture `target`, the whole of it, as docs/images/<name>.png; no text on the page may hold `secret`."""
    assert secret not in page.locator("body").inner_text()
    box = target.bounding_box()
    assert box is not None
    # a dialog that is higher than the window would be cut off at its edge
    page.set_viewport_size({"width": SIZE["width"], "height": max(SIZE["height"], int(box["height"]) + MARGIN)})
    IMAGES.mkdir(parents=True, exist_ok=True)
    file = IMAGES / f"{name}.png"
    target.screenshot(path=file, animations="disabled")
    page.set_viewport_size(SIZE)
    assert file.stat().st_size < MAX_BYTES
    return file
