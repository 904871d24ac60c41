"""Starts Debian's Chromium with Playwright. It can only connect to this machine."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

from playwright.sync_api import Page, expect, sync_playwright

SIZE = {"width": 1280, "height": 800}
TIMEOUT_SECONDS = 60
"""Timeout of one step. It is long because server, tasks and browser may share two cores with other processes."""

ARGUMENTS = [
    "--no-proxy-server",
    # The pages need only Airflow. Chromium must not contact any other host.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


@contextlib.contextmanager
def open_page(base_url: str) -> Iterator[Page]:
    """Open an empty page in a new browser. Its paths are relative to `base_url`."""
    executable = shutil.which("chromium")
    if executable is None:
        raise FileNotFoundError("Chromium is not installed: run make e2e, which installs it")
    expect.set_options(timeout=TIMEOUT_SECONDS * 1000)
    # Playwright disables the sandbox of Chromium, which cannot start as root in a container.
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
        page.set_default_timeout(TIMEOUT_SECONDS * 1000)
        yield page
