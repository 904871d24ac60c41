"""Stands before the calls: it writes the journal, and gives the answers that a test has queued.

The journal holds no secret, so it may be printed, kept and compared: no password, no token, no signature.
"""

import asyncio
import json
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_provider_crux.sandbox.state import Sandbox

JOURNAL_PATH = "/sandbox/requests"
HIDDEN = "***"
_SECRET_FIELDS = frozenset({"password", "token", "auth_token"})
_SCHEMES = frozenset({"token", "bearer", "basic"})


class Journal:
    """ASGI middleware that notes each request before it is answered, and the status when it is.

    :param app: what answers
    :param sandbox: holds the journal and the queue of canned answers
    """

    def __init__(self, app: ASGIApp, sandbox: Sandbox) -> None:
        self._app = app
        self._sandbox = sandbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] == JOURNAL_PATH:
            await self._app(scope, receive, send)
            return
        body = await Request(scope, receive).body()
        entry = _entry(scope, body)
        self._sandbox.journal.append(entry)

        async def receive_again() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send_noted(message: Message) -> None:
            # noted before it is sent: whoever has the answer finds its status in the journal
            if message["type"] == "http.response.start":
                await asyncio.sleep(self._sandbox.settings.answer_seconds)
                self._sandbox.note_answer(entry, message["status"])
            await send(message)

        canned = self._sandbox.take_canned(scope["path"])
        if canned is None:
            await self._app(scope, receive_again, send_noted)
            return
        if canned.carry_out:
            await self._app(scope, receive_again, _discard)
        answer = Response(canned.body, canned.status, dict(canned.headers))
        await answer(scope, receive_again, send_noted)


async def _discard(message: Message) -> None:
    """Send nothing."""


def _entry(scope: Scope, body: bytes) -> dict[str, Any]:
    headers = Headers(scope=scope)
    return {
        "method": scope["method"],
        "path": scope["path"],
        "status": None,
        "authorization": _authorization(headers.get("authorization")),
        "content_type": headers.get("content-type"),
        "user_agent": headers.get("user-agent"),
        "body": _json(body),
    }


def _authorization(value: str | None) -> str | None:
    if value is None:
        return None
    # a word that is no known scheme may be the secret itself
    scheme = value.partition(" ")[0]
    return f"{scheme} {HIDDEN}" if scheme.lower() in _SCHEMES else HIDDEN


def _json(body: bytes) -> Any:
    try:
        return json.loads(body, object_hook=_without_secrets)
    except (ValueError, RecursionError):
        return None


def _without_secrets(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: HIDDEN if name.lower() in _SECRET_FIELDS else value for name, value in fields.items()}
