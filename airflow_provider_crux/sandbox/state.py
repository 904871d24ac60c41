"""One running sandbox as a test sees it: what was asked of it, and how to make it fail."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
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
    :param failed: whether a test declared it failed
    """

    query: Query
    created: datetime
    failed: bool = False


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
    list or a dict, so none needs a lock.

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

    def fail_export(self, uuid: str) -> None:
        """Let an export fail: it reports ``FAILED`` from now on.

        :param uuid: of the export
        :raises KeyError: if there is no such export
        """
        self._exports[uuid].failed = True

    def expire_tokens(self) -> None:
        """Refuse every token that a login gave until now. The two built-in tokens never expire."""
        self.tokens.expire()

    def expire_urls(self) -> None:
        """Let every presigned URL lapse that was given out until now."""
        self.presigner.expire()

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
        if export.failed:
            return "FAILED"
        done_at = export.created + timedelta(seconds=self.settings.export_seconds)
        return "COMPLETED" if self.clock() >= done_at else "pending"
