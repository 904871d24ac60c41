"""A sandbox that notes every secret it gives out, and whose exports say by their filter what is to become of them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from html import escape

from airflow_provider_crux.sandbox.rules import Query, judge
from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.settings import SandboxSettings
from airflow_provider_crux.sandbox.state import Sandbox

# An export of orders of this status ends so: as soon as it was looked at once, or when the test says so.
SOON = {"allocated": "COMPLETED", "rejected": "FAILED"}
LATER = {"unallocated": "COMPLETED", "backordered": "FAILED"}


class TelltaleSandbox:
    """
    What a test sees of it.

    :param sandbox: the sandbox.
    :ivar given_out: the tokens of logins and the signatures of URLs, by name.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.given_out: dict[str, str] = {}
        self._lapsed: set[str] = set()
        self._log_in, sandbox.tokens.log_in = sandbox.tokens.log_in, self._noted_log_in
        self._sign, sandbox.presigner.sign = sandbox.presigner.sign, self._noted_sign
        self._add_export, sandbox.add_export = sandbox.add_export, self._fated_export

    def made_export(self, status: str) -> str:
        """Make an export that no task has asked for."""
        return self.sandbox.add_export(judge({"line_item_status": [status]}))

    def let_lapse(self, uuid: str) -> None:
        """Refuse every URL of this export's file, as S3 does: what is said repeats the signature."""
        self._lapsed.add(_file(uuid))

    def cut_off(self, uuid: str) -> None:
        """Break the connection in the middle of this export's file."""
        headers = {"Content-Type": "text/csv", "Content-Length": "1000"}
        self.sandbox.answer_next(_file(uuid), 200, headers, b"order_uuid\n")

    def end_later_exports(self) -> None:
        """Let those exports end that wait for it, and let the tokens lapse, so that whoever looks logs in again."""
        self.sandbox.expire_tokens()
        for uuid in self.sandbox.exports:
            self._end(uuid, LATER)

    def _end(self, uuid: str, outcomes: dict[str, str]) -> None:
        export = self.sandbox.export(uuid)
        for status in export.query.statuses:
            export.outcome = outcomes.get(status, export.outcome)

    def _noted_log_in(self, user: str, password: str) -> str | None:
        token = self._log_in(user, password)
        if token is not None:
            self.given_out[f"token {len(self.given_out)}"] = token
        return token

    def _noted_sign(self, path: str) -> str:
        signed = self._sign(path)
        signature = signed.partition("X-Amz-Signature=")[2]
        self.given_out[f"signature {len(self.given_out)}"] = signature
        if path in self._lapsed:
            said = f"<Code>AccessDenied</Code><URL>{escape(signed)}</URL><SignatureProvided>{signature}"
            self.sandbox.answer_next(path, 403, {"Content-Type": "application/xml"}, said.encode())
        return signed

    def _fated_export(self, query: Query) -> str:
        uuid = self._add_export(query)
        # every wait is one: the first look finds nothing yet
        waits = json.dumps({"uuid": uuid, "status": "pending", "url": None}).encode()
        self.sandbox.answer_next(f"/api/data/export/{uuid}/", 200, {"Content-Type": "application/json"}, waits)
        self._end(uuid, SOON)
        return uuid


def _file(uuid: str) -> str:
    return f"/sandbox-files/{uuid}.csv"


@contextlib.contextmanager
def telltale_sandbox(token: str, password: str) -> Iterator[TelltaleSandbox]:
    """Run it on loopback for the length of the block; this token and this password are accepted."""
    with running_sandbox(SandboxSettings(token=token, password=password, export_seconds=None)) as sandbox:
        yield TelltaleSandbox(sandbox)
