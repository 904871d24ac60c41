"""Page objects for the UI of Airflow 2."""

from __future__ import annotations

from playwright.sync_api import Page, expect


def log_in(page: Page, user: str, password: str) -> None:
    """Log in on the page of Flask-AppBuilder."""
    page.goto("/login/")
    page.locator("#username").fill(user)
    page.locator("#password").fill(password)
    page.get_by_role("button", name="Sign In").click()
    page.wait_for_url("**/home")


class ConnectionForm:
    """The page Admin, Connections, Add."""

    def __init__(self, page: Page, conn_id: str, conn_type: str) -> None:
        self._page = page
        page.goto("/connection/add")
        page.locator("#conn_id").fill(conn_id)
        # A script draws the visible list over the select element of the form.
        page.locator("#conn_type").select_option(label=conn_type, force=True)

    def fill(self, **fields: str) -> None:
        """Fill standard fields, by their HTML IDs."""
        for name, value in fields.items():
            self._page.locator(f"#{name}").fill(value)

    def fill_extra(self, label: str, value: str) -> None:
        """Fill the extra field with this label."""
        self._page.get_by_label(label, exact=True).fill(value)

    def test(self) -> str:
        """Press Test and return the message that the page shows."""
        with self._page.expect_response("**/api/v1/connections/test") as response_info:
            self._page.locator("#test-connection").click()
        message = str(response_info.value.json()["message"])
        expect(self._page.locator(".alert").filter(has_text=message)).to_be_visible()
        return message

    def save(self) -> None:
        """Press Save and wait for the page of DAGs."""
        self._page.get_by_role("button", name="Save").click()
        self._page.wait_for_url("**/home")
