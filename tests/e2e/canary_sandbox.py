"""A sandbox that records every secret it issues. The status filter of an export determines how the export ends."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from html import escape

from airflow_provider_crux.sandbox.orders import ExportQuery
from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.state import Sandbox, SandboxSettings
from airflow_provider_crux.sandbox.validation import validate
from tests.real_airflow.request_bodies import interval_body

# How an export of orders with this status ends: at its second poll, or when the test calls finish_slow_exports().
FAST_OUTCOMES = {"allocated": "COMPLETED", "rejected": "FAILED"}
SLOW_OUTCOMES = {"unallocated": "COMPLETED", "backordered": "FAILED"}


class CanarySandbox:
    """
    Wrap a sandbox to record its secrets and control its exports.

    :param sandbox: the sandbox.
    :ivar issued_secrets: the tokens of logins and the signatures of URLs, by name.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.issued_secrets: dict[str, str] = {}
        self._expired_paths: set[str] = set()
        self._log_in, sandbox.tokens.log_in = sandbox.tokens.log_in, self._recorded_log_in
        self._sign, sandbox.presigner.sign = sandbox.presigner.sign, self._recorded_sign
        self._add_export, sandbox.add_export = sandbox.add_export, self._add_controlled_export

    def create_export(self, status: str) -> str:
        """Create an export that no task has requested. It holds one day.

        Without an interval it would hold all orders, which are 17 MB. On a busy machine the sandbox needs longer than
        the read timeout to write several such files at once, so every download would be repeated.
        """
        body = interval_body("2025-04-01", "2025-04-02") | {"line_item_status": [status]}
        return self.sandbox.add_export(validate(body))

    def expire_file_urls(self, uuid: str) -> None:
        """Reject every URL of this export's file with a response that repeats the signature, as S3 does."""
        self._expired_paths.add(_file_path(uuid))

    def truncate_file(self, uuid: str) -> None:
        """Close the connection in the middle of this export's file."""
        headers = {"Content-Type": "text/csv", "Content-Length": "1000"}
        self.sandbox.respond_next(_file_path(uuid), 200, headers, b"order_uuid\n")

    def finish_slow_exports(self) -> None:
        """Finish the exports with SLOW_OUTCOMES, and expire all tokens so that the next poll needs a new login."""
        self.sandbox.expire_tokens()
        for uuid in self.sandbox.exports:
            self._finish(uuid, SLOW_OUTCOMES)

    def _finish(self, uuid: str, outcomes: dict[str, str]) -> None:
        export = self.sandbox.get_export(uuid)
        for status in export.query.statuses:
            export.outcome = outcomes.get(status, export.outcome)

    def _recorded_log_in(self, user: str, password: str) -> str | None:
        token = self._log_in(user, password)
        if token is not None:
            self.issued_secrets[f"token {len(self.issued_secrets)}"] = token
        return token

    def _recorded_sign(self, path: str) -> str:
        url = self._sign(path)
        signature = url.partition("X-Amz-Signature=")[2]
        self.issued_secrets[f"signature {len(self.issued_secrets)}"] = signature
        if path in self._expired_paths:
            body = f"<Code>AccessDenied</Code><URL>{escape(url)}</URL><SignatureProvided>{signature}"
            self.sandbox.respond_next(path, 403, {"Content-Type": "application/xml"}, body.encode())
        return url

    def _add_controlled_export(self, query: ExportQuery) -> str:
        uuid = self._add_export(query)
        # The first poll never finds the export done, so that every mode really waits.
        pending = json.dumps({"uuid": uuid, "status": "pending", "url": None}).encode()
        self.sandbox.respond_next(f"/api/data/export/{uuid}/", 200, {"Content-Type": "application/json"}, pending)
        self._finish(uuid, FAST_OUTCOMES)
        return uuid


def _file_path(uuid: str) -> str:
    return f"/sandbox-files/{uuid}.csv"


@contextlib.contextmanager
def canary_sandbox(token: str, password: str) -> Iterator[CanarySandbox]:
    """Run the sandbox on loopback until the block ends; it accepts this token and this password."""
    with running_sandbox(SandboxSettings(token=token, password=password, export_seconds=None)) as sandbox:
        yield CanarySandbox(sandbox)
