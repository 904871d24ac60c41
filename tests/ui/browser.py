"""Debian's Chromium, driven by Playwright; it reaches this machine and nothing else."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

from playwright.sync_api import Page, expect, sync_playwright

SIZE = {"width": 1280, "height": 800}
PATIENCE_SECONDS = 60
"""The most that one step waits: the server, the tasks and the browser may have to share two cores with others."""

ARGUMENTS = [
    "--no-proxy-server",
    # what the pages need comes from Airflow, and nobody is told about the test
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


@contextlib.contextmanager
def open_page(base_url: str) -> Iterator[Page]:
    """Open an empty page of a fresh browser; paths that it is sent to are relative to `base_url`."""
    executable = shutil.which("chromium")
    if executable is None:
        raise FileNotFoundError("There is no chromium: run make e2e, which installs it")
    expect.set_options(timeout=PATIENCE_SECONDS * 1000)
    # Playwright turns Chromium's own sandbox off, which would not start for root in a container
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=executable, args=ARGUMENTS) as browser,
    ):
        page = browser.new_page(
            base_url=base_url,
            viewport=SIZE,
            locale="en-US",
            timezone_id="UTC",
            color_scheme="light",
            reduced_motion="reduce",
        )
        page.set_default_timeout(PATIENCE_SECONDS * 1000)
        yield page
