"""One sandbox as a test sees it: its settings and clock, what it received, and how to make it fail."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Condition, Event
from typing import Any
from uuid import uuid4

from starlette.exceptions import HTTPException

from airflow_provider_crux.sandbox.auth import Presigner, TokenStore
from airflow_provider_crux.sandbox.csv_file import COLUMN_LISTS
from airflow_provider_crux.sandbox.orders import ExportQuery
from airflow_provider_crux.sandbox.versions import VERSIONS

Clock = Callable[[], datetime]
"""Returns the current time, with its time zone."""


def system_clock() -> datetime:
    """Return the machine's time in UTC."""
    return datetime.now(UTC)


class ManualClock:
    """
    A clock that only :meth:`advance` moves, so that a test of expiry does not have to wait.

    :param now: the initial time, with its time zone; default 2025-01-01T00:00:00Z.
    """

    def __init__(self, now: datetime = datetime(2025, 1, 1, tzinfo=UTC)) -> None:
        self._now = now.astimezone(UTC)

    def __call__(self) -> datetime:
        """Return the time of this clock."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self._now += timedelta(seconds=seconds)


@dataclass(frozen=True, kw_only=True)
class SandboxSettings:
    """
    The users of a sandbox, and how long things take. Its secrets are made up, but ``repr`` omits them anyway.

    :param token: a token that never expires and has every permission; default: the token in the vendor's documented
        commands, so that they work unchanged.
    :param user: the user name for the login; default ``sandbox``.
    :param password: that user's password; default ``sandbox``.
    :param viewer_token: a token that never expires and lacks the permission ``export_order``: requesting an export with
        it returns HTTP 403; default: ``viewer``, padded with zeros to 40 characters.
    :param viewer_user: a user without that permission; default ``viewer``.
    :param viewer_password: that user's password; default ``viewer``.
    :param token_lifetime: seconds until a token from a login expires; default 7200, the vendor's two hours.
    :param export_seconds: seconds until an export is done; ``None`` if only :meth:`Sandbox.finish_export` finishes it;
        default 0, immediately.
    :param url_lifetime: whole seconds until a presigned URL expires; default 300.
    :param response_seconds: seconds between processing a request and responding; default 0.
    :param total_results: what ``total_results`` of the list of orders counts, which the specification does not say:
        ``filtered`` (the default), the orders that the filters select, or ``organization``, all orders.
    :param api_version: the version of the API, ``api`` (the default), ``v1`` or ``timp``. The paths of the other two
        return HTTP 404.
    :param columns: the columns of the file: ``2019`` (the default), the vendor's sample of a file; ``2019-page``, the
        vendor's description of it, whose first column has another name; ``2017-retailer`` or ``2017-supplier``, the
        vendor's two older lists, with one row for each package.
    :raises ValueError: if there is no such version or list of columns.
    """

    token: str = field(default="d7bb2fbb0c666dee5a5a36634baac3114e08ba9c", repr=False)
    user: str = "sandbox"
    password: str = field(default="sandbox", repr=False)
    viewer_token: str = field(default="viewer".ljust(40, "0"), repr=False)
    viewer_user: str = "viewer"
    viewer_password: str = field(default="viewer", repr=False)
    token_lifetime: float = 7200
    export_seconds: float | None = 0
    url_lifetime: int = 300
    response_seconds: float = 0
    total_results: str = "filtered"
    api_version: str = "api"
    columns: str = "2019"

    def __post_init__(self) -> None:
        for name, known in (("api_version", VERSIONS), ("columns", COLUMN_LISTS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}: unknown value {getattr(self, name)!r}; use {', '.join(known)}")


@dataclass
class Export:
    """An export that a client requested. If its outcome is None, ``export_seconds`` decides its status."""

    query: ExportQuery
    created_at: datetime
    outcome: str | None = None


@dataclass(frozen=True)
class CannedResponse:
    """A response that replaces the sandbox's own. See :meth:`Sandbox.respond_next`."""

    path_prefix: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    process_first: bool


class Sandbox:
    """
    What one sandbox received, and ways to make it fail.

    :func:`~airflow_provider_crux.sandbox.server.running_sandbox` and the pytest fixture ``crux_sandbox`` return it. Its
    ``url`` is the base URL of the API, without a trailing slash; its ``settings`` contain the token; its ``api``
    contains the paths of its version of the API, for example ``api.export_path``.
    """

    # A test calls it from one thread while the server runs in another. Each method is a single step on a list or a dict
    # and needs no lock, except wait_for() and record_response(), which share a condition.

    def __init__(self, url: str, settings: SandboxSettings | None = None, clock: Clock = system_clock) -> None:
        self.url = url
        self.settings = settings or SandboxSettings()
        self.api = VERSIONS[self.settings.api_version]
        self.clock = clock
        self.tokens = TokenStore(self.settings, clock)
        self.presigner = Presigner(self.settings.url_lifetime, clock)
        self.request_log: list[dict[str, Any]] = []
        self._exports: dict[str, Export] = {}
        self._canned_responses: list[CannedResponse] = []
        self._responded = Condition()
        self._stopping = Event()

    def stop(self) -> None:
        """Abandon the work on all requests."""
        self._stopping.set()

    def raise_if_stopping(self) -> None:
        """End the request that is being processed if the sandbox stops."""
        if self._stopping.is_set():  # pragma: no cover - in a process of its own
            raise HTTPException(503, "the sandbox is stopping")

    @property
    def requests(self) -> list[dict[str, Any]]:
        """All requests so far, in order and without secrets, as ``GET /sandbox/requests`` returns them."""
        return [dict(entry) for entry in list(self.request_log)]

    @property
    def exports(self) -> list[str]:
        """The UUIDs of all exports so far, in order. In production each would be an e-mail to a person."""
        return list(self._exports)

    def respond_next(
        self,
        path_prefix: str,
        status: int,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        process_first: bool = False,
    ) -> None:
        """
        Set the response to the next request to a path. Responses queue up, and each is sent once.

        A ``Content-Length`` greater than the body breaks the connection in the middle of the response.

        :param path_prefix: how the path of the request starts, for example ``sandbox.api.export_path``.
        :param status: the HTTP status code.
        :param headers: for example ``{"Retry-After": "1"}``; default: only the length.
        :param body: the body; default: empty.
        :param process_first: process the request before sending this response instead of the real one, so that the
            export starts although the client gets an error; default False.
        """
        self._canned_responses.append(CannedResponse(path_prefix, status, headers or {}, body, process_first))

    def wait_for(self, method: str, path_prefix: str, count: int = 1, timeout: float = 60) -> list[dict[str, Any]]:
        """
        Block until the sandbox has responded to a number of requests, counted from its start.

        Such a request is processed and its status is logged, but the client may not have the response yet.

        :param method: the HTTP method of the requests, for example ``POST``.
        :param path_prefix: how their path starts, for example ``sandbox.api.export_path``.
        :param count: the number of requests to wait for; default 1.
        :param timeout: seconds to wait at most; default 60.
        :return: the entries of all such requests, as in :attr:`requests`; there may be more than ``count``.
        :raises TimeoutError: if there are too few; the message lists all requests.
        """

        def matching_entries() -> list[dict[str, Any]]:
            return [
                entry
                for entry in self.requests
                if entry["status"] is not None and entry["method"] == method and entry["path"].startswith(path_prefix)
            ]

        with self._responded:
            if not self._responded.wait_for(lambda: len(matching_entries()) >= count, timeout):
                received = [f"{entry['method']} {entry['path']} {entry['status']}" for entry in self.requests]
                raise TimeoutError(
                    f"The sandbox responded to {len(matching_entries())} of {count} {method} requests to {path_prefix} "
                    f"within {timeout:g} s. All requests: {received}"
                )
            return matching_entries()

    def finish_export(self, uuid: str) -> None:
        """
        Complete an export, regardless of ``export_seconds``: from now on its status is ``COMPLETED``.

        :raises KeyError: if there is no such export.
        """
        self._exports[uuid].outcome = "COMPLETED"

    def fail_export(self, uuid: str) -> None:
        """
        Fail an export: from now on its status is ``FAILED``.

        :raises KeyError: if there is no such export.
        """
        self._exports[uuid].outcome = "FAILED"

    def expire_tokens(self) -> None:
        """Expire all tokens from logins so far. The two tokens of the settings never expire."""
        self.tokens.expire()

    def expire_urls(self) -> None:
        """Expire all presigned URLs so far."""
        self.presigner.expire()

    def record_response(self, entry: dict[str, Any], status: int) -> None:
        """Record the status of a response in the request's log entry, and wake :meth:`wait_for`."""
        with self._responded:
            entry["status"] = status
            self._responded.notify_all()

    def take_canned_response(self, path: str) -> CannedResponse | None:
        """Remove the oldest canned response for a path from the queue and return it, or None if there is none."""
        for response in self._canned_responses:
            if path.startswith(response.path_prefix):
                self._canned_responses.remove(response)
                return response
        return None

    def add_export(self, query: ExportQuery) -> str:
        """Start an export and return its UUID."""
        uuid = str(uuid4())
        self._exports[uuid] = Export(query, self.clock())
        return uuid

    def get_export(self, uuid: str) -> Export | None:
        """Return an export, or None if there is no such export."""
        return self._exports.get(uuid)

    def export_status(self, export: Export) -> str:
        """Return the status of an export: ``pending``, ``COMPLETED`` or ``FAILED``."""
        if export.outcome:
            return export.outcome
        if self.settings.export_seconds is None:
            return "pending"
        done_at = export.created_at + timedelta(seconds=self.settings.export_seconds)
        return "COMPLETED" if self.clock() >= done_at else "pending"
