"""One running sandbox as a test sees it: what was asked of it, and how to make it fail."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Condition
from typing import Any
from uuid import uuid4

from airflow_provider_crux.sandbox.clock import Clock, system_clock
from airflow_provider_crux.sandbox.presigned import Presigner
from airflow_provider_crux.sandbox.rules import Query
from airflow_provider_crux.sandbox.settings import SandboxSettings
from airflow_provider_crux.sandbox.tokens import Tokens


@dataclass
class Export:
    """An export that was asked for.

    :param query: what it holds
    :param created: when it was asked for
    :param outcome: ``COMPLETED`` or ``FAILED`` if a test declared it so (default None: time will tell)
    """

    query: Query
    created: datetime
    outcome: str | None = None


@dataclass(frozen=True)
class CannedAnswer:
    """An answer that stands in for the sandbox's own; see :meth:`Sandbox.answer_next`."""

    path_prefix: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    carry_out: bool = False


class Sandbox:
    """The state of one sandbox.

    A test calls it from its own thread while the server works in another: every method is a single step on a
    list or a dict, so none needs a lock. The exceptions are :meth:`wait_for` and :meth:`note_answer`, which wakes
    whoever waits; the two share a lock.

    :param url: where it answers, without a slash at the end
    :param settings: users, lifetimes (default: those of :class:`SandboxSettings`)
    :param clock: what time it is (default: the machine's time)
    """

    def __init__(self, url: str, settings: SandboxSettings | None = None, clock: Clock = system_clock) -> None:
        self.url = url
        self.settings = settings or SandboxSettings()
        self.clock = clock
        self.tokens = Tokens(self.settings, clock)
        self.presigner = Presigner(self.settings.url_lifetime, clock)
        self.journal: list[dict[str, Any]] = []
        self._exports: dict[str, Export] = {}
        self._canned: list[CannedAnswer] = []
        self._answered = Condition()

    @property
    def requests(self) -> list[dict[str, Any]]:
        """Every request until now, in order, without secrets: what ``GET /sandbox/requests`` gives."""
        return [dict(entry) for entry in list(self.journal)]

    @property
    def exports(self) -> list[str]:
        """The uuids of all exports made until now, in order: each stands for an e-mail to a real person."""
        return list(self._exports)

    def answer_next(
        self,
        path_prefix: str,
        status: int,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        carry_out: bool = False,
    ) -> None:
        """Give the next request to some path an answer of your own. Answers queue up: each is given once.

        A ``Content-Length`` greater than the body cuts the connection in the middle of the answer.

        :param path_prefix: what the request's path begins with, for example ``/api/orders/export/``
        :param status: the HTTP status code
        :param headers: for example ``{"Retry-After": "1"}`` (default: none but the length)
        :param body: the answer's body (default: empty)
        :param carry_out: first do what was asked, and only then give this answer in place of the true one:
            the ambiguous failure, an export that was started though the caller saw an error (default: do
            nothing)
        """
        self._canned.append(CannedAnswer(path_prefix, status, headers or {}, body, carry_out))

    def wait_for(self, method: str, path_prefix: str, count: int = 1, timeout: float = 60) -> list[dict[str, Any]]:
        """Block until so many requests have been answered, counted from the start of the sandbox.

        What an answered request asked for is done, and its status is in the journal; the client may not have the
        answer yet.

        :param method: of the requests, for example ``POST``
        :param path_prefix: what their path begins with, for example ``/api/orders/export/``
        :param count: how many there must be (default 1)
        :param timeout: seconds to wait at most (default 60)
        :return: the entries of all such requests, as in :attr:`requests`; more than ``count`` if there are more
        :raises TimeoutError: with all that was asked until then, if they are too few
        """

        def answered() -> list[dict[str, Any]]:
            return [
                entry
                for entry in self.requests
                if entry["status"] is not None and entry["method"] == method and entry["path"].startswith(path_prefix)
            ]

        with self._answered:
            if not self._answered.wait_for(lambda: len(answered()) >= count, timeout):
                seen = [f"{entry['method']} {entry['path']} {entry['status']}" for entry in self.requests]
                raise TimeoutError(
                    f"{len(answered())} of {count} {method} {path_prefix} in {timeout:g} s; seen: {seen}"
                )
            return answered()

    def finish_export(self, uuid: str) -> None:
        """Let an export be done: it reports ``COMPLETED`` from now on, whatever ``export_seconds`` says.

        :param uuid: of the export
        :raises KeyError: if there is no such export
        """
        self._exports[uuid].outcome = "COMPLETED"

    def fail_export(self, uuid: str) -> None:
        """Let an export fail: it reports ``FAILED`` from now on.

        :param uuid: of the export
        :raises KeyError: if there is no such export
        """
        self._exports[uuid].outcome = "FAILED"

    def expire_tokens(self) -> None:
        """Refuse every token that a login gave until now. The two built-in tokens never expire."""
        self.tokens.expire()

    def expire_urls(self) -> None:
        """Let every presigned URL lapse that was given out until now."""
        self.presigner.expire()

    def note_answer(self, entry: dict[str, Any], status: int) -> None:
        """Note that a request is being answered.

        :param entry: the request's, in the journal
        :param status: the HTTP status code
        """
        with self._answered:
            entry["status"] = status
            self._answered.notify_all()

    def take_canned(self, path: str) -> CannedAnswer | None:
        """Take the oldest canned answer for a path out of the queue.

        :param path: of the request
        :return: the answer, None if there is none for this path
        """
        for canned in self._canned:
            if path.startswith(canned.path_prefix):
                self._canned.remove(canned)
                return canned
        return None

    def add_export(self, query: Query) -> str:
        """Start an export.

        :param query: what it is to hold
        :return: its uuid
        """
        uuid = str(uuid4())
        self._exports[uuid] = Export(query, self.clock())
        return uuid

    def export(self, uuid: str) -> Export | None:
        """Look up an export.

        :param uuid: as it was handed out
        :return: the export, None if there is no such
        """
        return self._exports.get(uuid)

    def status(self, export: Export) -> str:
        """Say how far an export is.

        :param export: one of this sandbox
        :return: ``pending``, ``COMPLETED`` or ``FAILED``
        """
        if export.outcome:
            return export.outcome
        if self.settings.export_seconds is None:
            return "pending"
        done_at = export.created + timedelta(seconds=self.settings.export_seconds)
        return "COMPLETED" if self.clock() >= done_at else "pending"
