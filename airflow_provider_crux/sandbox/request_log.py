"""
Middleware that logs each request, and sends the responses that a test has queued.

The log contains no password, token or signature, so you may print, keep and compare it.
"""

import asyncio
import json
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_provider_crux.sandbox.state import Sandbox

REQUEST_LOG_PATH = "/sandbox/requests"
_REDACTED = "***"
_SECRET_FIELDS = frozenset({"password", "token", "auth_token"})
_SCHEMES = frozenset({"token", "bearer", "basic"})


class RequestLogMiddleware:
    """ASGI middleware that logs each request on arrival, and its status before the response is sent."""

    def __init__(self, app: ASGIApp, sandbox: Sandbox) -> None:
        self._app = app
        self._sandbox = sandbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["path"] == REQUEST_LOG_PATH:
            await self._app(scope, receive, send)
            return
        body = await Request(scope, receive).body()
        entry = _log_entry(scope, body)
        self._sandbox.request_log.append(entry)

        async def replay_body() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def record_and_send(message: Message) -> None:
            # recorded first, so that a client that has the response finds its status in the log
            if message["type"] == "http.response.start":
                await asyncio.sleep(self._sandbox.settings.response_seconds)
                self._sandbox.record_response(entry, message["status"])
            await send(message)

        canned = self._sandbox.take_canned_response(scope["path"])
        if canned is None:
            await self._app(scope, replay_body, record_and_send)
            return
        if canned.process_first:
            await self._app(scope, replay_body, _discard)
        response = Response(canned.body, canned.status, dict(canned.headers))
        await response(scope, replay_body, record_and_send)


async def _discard(message: Message) -> None:
    """Send nothing."""


def _log_entry(scope: Scope, body: bytes) -> dict[str, Any]:
    headers = Headers(scope=scope)
    return {
        "method": scope["method"],
        "path": scope["path"],
        "status": None,
        "authorization": _redact_authorization(headers.get("authorization")),
        "content_type": headers.get("content-type"),
        "user_agent": headers.get("user-agent"),
        "body": _redacted_json(body),
    }


def _redact_authorization(value: str | None) -> str | None:
    if value is None:
        return None
    # a word that is not a known scheme may be the secret itself
    scheme = value.partition(" ")[0]
    return f"{scheme} {_REDACTED}" if scheme.lower() in _SCHEMES else _REDACTED


def _redacted_json(body: bytes) -> Any:
    try:
        return json.loads(body, object_hook=_redact_fields, parse_constant=reject_constant)
    except (ValueError, RecursionError):
        return None


def reject_constant(name: str) -> None:
    """Raise ValueError for NaN and the like, which Python accepts, although they are not JSON."""
    raise ValueError(f"{name} is not valid JSON")


def _redact_fields(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: _REDACTED if name.lower() in _SECRET_FIELDS else value for name, value in fields.items()}
