"""What a person does and reads on the pages of Airflow 3."""

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
class Verdict:
    """What the Test button said."""

    good: bool
    message: str


class ConnectionsPage:
    """Admin, Connections."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.form = page.get_by_role("dialog")

    def add(self, conn_id: str, conn_type: str) -> None:
        """Open the form of a new connection of this type, named as the form names it."""
        self._page.goto("/connections")
        self._page.get_by_role("button", name="Add Connection").click()
        self.fill(connection_id=conn_id)
        self.form.get_by_role("combobox", name="Connection Type", exact=True).fill(conn_type)
        self._page.get_by_role("option", name=conn_type, exact=True).click()

    def edit(self, conn_id: str) -> None:
        """Open the form of a connection that there is."""
        self._row(conn_id).get_by_role("button", name="Edit Connection").click()
        expect(self.form.locator("[name=connection_id]")).to_have_value(conn_id)

    def fill(self, **fields: str) -> None:
        """Write into standard fields, by their names on the wire."""
        for name, value in fields.items():
            self.form.locator(f"[name={name}]").fill(value)

    def open_section(self, title: str) -> None:
        """Unfold a section of the form, which folds the one that was open."""
        section = self.form.get_by_role("button", name=title, exact=True)
        section.click()
        expect(section).to_have_attribute("aria-expanded", "true")

    def fill_extra(self, name: str, value: str) -> None:
        """Write into a field of the section of extra fields."""
        field = self.form.locator(f"[name=element_{name}]")
        field.fill(value)
        field.blur()  # a number counts when the field is left

    def save(self) -> Response:
        """Press Save and return what the server said; the form is gone then."""
        with self._page.expect_response(_is_write_to("/connections")) as answered:
            self.form.get_by_role("button", name="Save", exact=True).click()
        expect(self.form).to_be_hidden()
        return answered.value

    def test(self, conn_id: str) -> Verdict:
        """Press the Test button of a connection and return what it said."""
        with self._page.expect_response("**/api/v2/connections/test") as answered:
            self._row(conn_id).get_by_role("button", name="Test Connection").click()
        said = answered.value.json()
        expect(self._page.get_by_role("status").filter(has_text=said["message"])).to_be_visible()
        return Verdict(said["status"], said["message"])

    def _row(self, conn_id: str) -> Locator:
        return self._page.get_by_role("row").filter(has=self._page.get_by_text(conn_id, exact=True))


class TriggerForm:
    """The form that asks for a run's parameters."""

    def __init__(self, page: Page, dag_id: str) -> None:
        self._page = page
        self.form = page.get_by_role("dialog")
        page.goto(f"/dags/{dag_id}")
        page.get_by_test_id("trigger-dag-button").click()
        self._title = self.form.get_by_role("heading", name="Trigger Dag")
        expect(self._title).to_be_visible()

    def set_instant(self, label: str, value: datetime) -> None:
        """Choose a date and a time in the field of this label."""
        field = self.form.get_by_role("group").filter(has=self._page.get_by_text(label, exact=True))
        chosen = field.get_by_test_id("datetime-input")
        chosen.click()
        for placeholder, text in (("YYYY/MM/DD", f"{value:%Y/%m/%d}"), ("HH:mm", f"{value:%H:%M}")):
            self._page.get_by_placeholder(placeholder).fill(text)
            self._page.get_by_placeholder(placeholder).press("Enter")
        # Escape would close the whole form
        self._title.click()
        expect(self._page.get_by_placeholder("HH:mm")).to_be_hidden()
        expect(chosen).to_have_text(f"{value:%b %d, %Y %H:%M}")

    def choose(self, name: str, *options: str) -> None:
        """Choose options of the parameter of this name: several where it takes several."""
        field = self.form.locator(f"#element_{name}")
        for option in options:
            field.get_by_role("combobox").fill(option)
            self._page.get_by_role("option", name=option, exact=True).click()
            expect(field.get_by_text(option, exact=True)).to_be_visible()

    def submit(self) -> str:
        """Press Trigger and return the run_id."""
        with self._page.expect_response(_is_write_to("/dagRuns")) as answered:
            self._page.get_by_test_id("trigger-dag-submit").click()
        expect(self.form).to_be_hidden()
        return str(answered.value.json()["dag_run_id"])


class RunPage:
    """A run, and the pages of its tasks."""

    def __init__(self, page: Page, dag_id: str, run_id: str) -> None:
        self._page = page
        self._path = f"/dags/{dag_id}/runs/{quote(run_id, safe='')}"
        self.details = page.locator("#details-panel")
        page.goto(self._path)

    @property
    def state(self) -> Locator:
        """Where the page shows how the run stands; it follows the run by itself."""
        return self.details.get_by_test_id("header-card").get_by_test_id("state-badge")

    def open_xcoms(self, task_id: str) -> None:
        """Go to the XCom page of a task."""
        self._page.goto(f"{self._path}/tasks/{task_id}/xcom")

    def text(self, key: str) -> str:
        """Return an XCom that is a text, as the XCom page shows it."""
        return self._xcom(key).inner_text().split("\n")[0]  # below it is the button to copy it

    def unfold(self, key: str) -> dict[str, Any]:
        """Unfold an XCom that is an object, and return what the XCom page shows then."""
        return _unfold(self._xcom(key))

    def _xcom(self, key: str) -> Locator:
        row = self._page.get_by_role("row").filter(has=self._page.get_by_text(key, exact=True))
        return row.get_by_test_id("table-cell-Value")


class AssetPage:
    """An asset and its events."""

    def __init__(self, page: Page, name: str) -> None:
        self._page = page
        page.goto("/assets")
        page.get_by_role("link", name=name, exact=True).click()

    def event(self) -> dict[str, Any]:
        """Unfold the one event of the asset and return what it says."""
        expect(self._page.get_by_text("1 Asset Event", exact=True)).to_be_visible()
        return _unfold(self._page.get_by_test_id("card-list"))


def _is_write_to(path: str) -> Callable[[Response], bool]:
    return lambda response: path in response.url and response.request.method in {"POST", "PATCH"}


def _unfold(place: Locator) -> dict[str, Any]:
    """Unfold the one object in this place and return it."""
    # with Shift all that is folded inside it, too
    place.locator(".codicon-folding-collapsed").click(modifiers=["Shift"])
    lines = place.locator(".view-lines")
    # the closing brace comes last, when the editor has grown
    expect(lines).to_have_text(re.compile(r"^{.*:.*}$", re.DOTALL))
    # the editor breaks long lines, also inside a text, and draws blanks of its own; what is shown here has none
    shown = json.loads("".join(lines.inner_text().split()))
    assert isinstance(shown, dict)
    return shown
