"""Page objects for the UI of Airflow 3."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Locator, Page, Response, expect


@dataclass(frozen=True)
class ConnectionTestResult:
    """The result of the Test button."""

    successful: bool
    message: str


class ConnectionsPage:
    """The page Admin, Connections."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.form = page.get_by_role("dialog")

    def add(self, conn_id: str, conn_type: str) -> None:
        """Open the form of a new connection. `conn_type` is the name of the type in the form."""
        self._page.goto("/connections")
        self._page.get_by_role("button", name="Add Connection").click()
        self.fill(connection_id=conn_id)
        self.form.get_by_role("combobox", name="Connection Type", exact=True).fill(conn_type)
        self._page.get_by_role("option", name=conn_type, exact=True).click()

    def edit(self, conn_id: str) -> None:
        """Open the form of an existing connection."""
        self._row(conn_id).get_by_role("button", name="Edit Connection").click()
        expect(self.form.locator("[name=connection_id]")).to_have_value(conn_id)

    def fill(self, **fields: str) -> None:
        """Fill standard fields, by their names in the API."""
        for name, value in fields.items():
            self.form.locator(f"[name={name}]").fill(value)

    def open_section(self, title: str) -> None:
        """Expand a section of the form. The form collapses the section that was open."""
        section = self.form.get_by_role("button", name=title, exact=True)
        section.click()
        expect(section).to_have_attribute("aria-expanded", "true")

    def fill_extra(self, name: str, value: str) -> None:
        """Fill a field in the section Extra Fields."""
        field = self.extra(name)
        field.fill(value)
        field.blur()  # the form accepts a number when the field loses focus

    def extra(self, name: str) -> Locator:
        """The field of an extra in the section Extra Fields."""
        return self.form.locator(f"[name=element_{name}]")

    def save(self) -> Response:
        """Press Save, wait until the form closes and return the response of the server."""
        with self._page.expect_response(_is_write_to("/connections")) as response_info:
            self.form.get_by_role("button", name="Save", exact=True).click()
        expect(self.form).to_be_hidden()
        return response_info.value

    def test(self, conn_id: str) -> ConnectionTestResult:
        """Press the Test button of a connection and return the result."""
        with self._page.expect_response("**/api/v2/connections/test") as response_info:
            self._row(conn_id).get_by_role("button", name="Test Connection").click()
        result = response_info.value.json()
        expect(self._page.get_by_role("status").filter(has_text=result["message"])).to_be_visible()
        return ConnectionTestResult(result["status"], result["message"])

    def _row(self, conn_id: str) -> Locator:
        return self._page.get_by_role("row").filter(has=self._page.get_by_text(conn_id, exact=True))


class TriggerForm:
    """The form for the parameters of a manual run."""

    def __init__(self, page: Page, dag_id: str) -> None:
        self._page = page
        self.form = page.get_by_role("dialog")
        page.goto(f"/dags/{dag_id}")
        page.get_by_test_id("trigger-dag-button").click()
        self._title = self.form.get_by_role("heading", name="Trigger Dag")
        expect(self._title).to_be_visible()

    def set_time(self, label: str, value: datetime) -> None:
        """Choose a date and a time in the field with this label."""
        field = self.form.get_by_role("group").filter(has=self._page.get_by_text(label, exact=True))
        button = field.get_by_test_id("datetime-input")
        button.click()
        for placeholder, text in (("YYYY/MM/DD", f"{value:%Y/%m/%d}"), ("HH:mm", f"{value:%H:%M}")):
            self._page.get_by_placeholder(placeholder).fill(text)
            self._page.get_by_placeholder(placeholder).press("Enter")
        # Click the title, because Escape would close the whole form.
        self._title.click()
        expect(self._page.get_by_placeholder("HH:mm")).to_be_hidden()
        expect(button).to_have_text(f"{value:%b %d, %Y %H:%M}")

    def choose(self, name: str, *options: str) -> None:
        """Choose one or more options of a parameter."""
        field = self.form.locator(f"#element_{name}")
        for option in options:
            field.get_by_role("combobox").fill(option)
            self._page.get_by_role("option", name=option, exact=True).click()
            expect(field.get_by_text(option, exact=True)).to_be_visible()

    def submit(self) -> str:
        """Press Trigger and return the run_id."""
        with self._page.expect_response(_is_write_to("/dagRuns")) as response_info:
            self._page.get_by_test_id("trigger-dag-submit").click()
        expect(self.form).to_be_hidden()
        return str(response_info.value.json()["dag_run_id"])


class RunPage:
    """The page of a run, and the pages of its tasks."""

    def __init__(self, page: Page, dag_id: str, run_id: str) -> None:
        self._page = page
        self._path = f"/dags/{dag_id}/runs/{quote(run_id, safe='')}"
        self.details = page.locator("#details-panel")
        page.goto(self._path)

    @property
    def state(self) -> Locator:
        """The element with the state of the run. The page updates it."""
        return self.details.get_by_test_id("header-card").get_by_test_id("state-badge")

    def open_xcoms(self, task_id: str) -> None:
        """Open the XCom page of a task."""
        self._page.goto(f"{self._path}/tasks/{task_id}/xcom")

    def text(self, key: str) -> str:
        """Return a text XCom, as the XCom page shows it."""
        cell = self._xcom(key)
        expect(cell).to_contain_text(re.compile(r"\S"))  # it is empty until the page has fetched the value
        return cell.inner_text().split("\n")[0]  # the next line is the copy button

    def expand(self, key: str) -> dict[str, Any]:
        """Expand an XCom that is an object, and return it as the XCom page shows it."""
        return _expand(self._xcom(key))

    def _xcom(self, key: str) -> Locator:
        row = self._page.get_by_role("row").filter(has=self._page.get_by_text(key, exact=True))
        return row.get_by_test_id("table-cell-Value")


class AssetPage:
    """The page of an asset."""

    def __init__(self, page: Page, name: str) -> None:
        self._page = page
        page.goto("/assets")
        page.get_by_role("link", name=name, exact=True).click()

    def event(self) -> dict[str, Any]:
        """Expand the only event of the asset and return its extra."""
        expect(self._page.get_by_text("1 Asset Event", exact=True)).to_be_visible()
        # the editor draws only the lines that fit, and the columns of the file are the last and longest field
        return _expand(self._page.get_by_test_id("card-list"), without="columns")


def _is_write_to(path: str) -> Callable[[Response], bool]:
    return lambda response: path in response.url and response.request.method in {"POST", "PATCH"}


def _expand(element: Locator, without: str = "") -> dict[str, Any]:
    """Expand the only object in this element and return it, without its last field if that has this name."""
    # A click with Shift also expands everything inside.
    element.locator(".codicon-folding-collapsed").click(modifiers=["Shift"])
    lines = element.locator(".view-lines")
    # The closing brace appears last.
    end = f'"{without}":' if without else "}$"
    expect(lines).to_have_text(re.compile("^{.*:.*" + end, re.DOTALL))
    # The editor wraps long lines, even inside a string, and draws other spaces. The expected values contain no spaces.
    text = "".join(lines.inner_text().split())
    value = json.loads(text.partition(f',"{without}":')[0] + "}" if without else text)
    assert isinstance(value, dict)
    return value
