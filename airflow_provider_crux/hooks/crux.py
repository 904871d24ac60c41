"""
The connection to Crux Connect, with requests as transport.

What to send, what an answer means and when to send again is decided in :mod:`airflow_provider_crux.api`.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_provider_crux import connection_form
from airflow_provider_crux.api import answers, calls, failures
from airflow_provider_crux.api.authorization import Authorization
from airflow_provider_crux.api.calls import MAX_ANSWER_BYTES, Answer, Call
from airflow_provider_crux.api.check import check, verdict_of
from airflow_provider_crux.api.connection import ConnectionSettings, settings
from airflow_provider_crux.api.polling import POLL_INTERVAL, TIMEOUT
from airflow_provider_crux.api.waiting import Pause, Wait
from airflow_provider_crux.exceptions import (
    CruxError,
    CruxInvalidConnectionError,
    CruxUrlLapsedError,
)
from airflow_provider_crux.hooks import transport

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from typing import TypeVar

    from airflow.providers.common.compat.sdk import Connection
    from requests import PreparedRequest, Response, Session

    from airflow_provider_crux.api.answers import Export
    from airflow_provider_crux.api.orders import OrdersExportRequest

    T = TypeVar("T")


def settings_of(connection: Connection, extra: Mapping[str, Any]) -> ConnectionSettings:
    """
    Read the fields of an Airflow connection.

    :param connection: which.
    :param extra: its extra, which an event loop has to read in another way than a worker.
    :raises CruxInvalidConnectionError: where one of them cannot be used.
    """
    return settings(
        conn_id=connection.conn_id,
        host=connection.host,
        schema=connection.schema,
        port=connection.port,
        login=connection.login,
        password=connection.password,
        extra=extra,
    )


class CruxHook(BaseHook):
    """
    Talk to Crux Connect over an Airflow connection of type ``crux``.

    ``password`` alone is an API token. ``login`` and ``password`` are a user name and its password: they are
    exchanged for a token at the first call, which is kept in memory, renewed before its two hours are over, and
    once where it is refused. An empty host is production.

    Extras, all optional: ``connect_timeout`` (seconds, 10), ``read_timeout`` (seconds, 60), ``max_retries`` (3; only
    calls that surely were not processed, or that may safely be made twice, are sent again), ``ca_bundle`` (path),
    ``proxy`` (URL), ``allow_http`` (false; only for a host other than this machine).

    :param crux_conn_id: id of the connection; default ``crux_default``.
    :raises CruxInvalidConnectionError: at the first use, where a field of the connection cannot be used.
    """

    conn_name_attr = "crux_conn_id"
    default_conn_name = "crux_default"
    conn_type = "crux"
    hook_name = "Crux Connect"

    def __init__(self, crux_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.crux_conn_id = crux_conn_id

    def export_orders(self, request: OrdersExportRequest) -> str:
        """
        Ask for an export of orders. Crux Connect e-mails the token's user for every call that it accepts.

        :param request: which orders.
        :returns: the uuid of the export.
        :raises CruxAmbiguousError: where nobody knows whether the export was started; it was not sent again.
        :raises CruxError: for every other failure, see :mod:`airflow_provider_crux.exceptions`.
        """
        answer = self._drive(self._authorization.authorize(calls.export_orders(request)))
        return answers.export_uuid(answer, secrets=self._authorization.secrets())

    def get_export(self, export_uuid: str) -> Export:
        """
        Ask how an export stands.

        :param export_uuid: what :meth:`export_orders` returned.
        :returns: its state and, when it is done, a fresh presigned URL of its file.
        :raises CruxNotFoundError: where there is no such export; also for a moment after it was asked for.
        :raises CruxError: for every other failure, see :mod:`airflow_provider_crux.exceptions`.
        """
        answer = self._drive(self._authorization.authorize(calls.get_export(export_uuid)))
        return answers.export(answer, asked=export_uuid, secrets=self._authorization.secrets())

    def look(self, export_uuid: str) -> Export | CruxError:
        """Return what :meth:`get_export` returns or raises; a wait is told of both."""
        try:
            return self.get_export(export_uuid)
        except CruxError as error:
            return error

    def wait_for_export(
        self,
        export_uuid: str,
        *,
        poll_interval: float = POLL_INTERVAL,
        timeout: float = TIMEOUT,
        asked_at: float | None = None,
    ) -> Export:
        """
        Wait until an export is done.

        A passing failure to look is borne, up to five times in a row. So is an export that is not found within 60
        seconds after it was asked for.

        :param export_uuid: what :meth:`export_orders` returned.
        :param poll_interval: seconds between two looks; default 30.
        :param timeout: seconds to wait at most; default 3600. The export is looked at once more when they are over.
        :param asked_at: when the export was asked for, in seconds since the epoch; default now.
        :returns: the export, with a fresh presigned URL.
        :raises CruxExportFailedError: when the export failed.
        :raises CruxExportTimeoutError: when it is not done in time.
        :raises CruxError: for every other failure, see :mod:`airflow_provider_crux.exceptions`.
        """
        now = time.time()
        wait = Wait(export_uuid, now if asked_at is None else asked_at, now + timeout, poll_interval)
        while isinstance(judged := wait.judge(self.look(export_uuid), time.time()), Pause):
            if judged.remark is not None:
                self.log.warning(judged.remark)
            time.sleep(judged.seconds)
        return judged

    @contextmanager
    def open_file(self, export: Export) -> Iterator[Iterator[bytes]]:
        """
        Open the file of an export that is done; where its presigned URL has lapsed, ask once for a new one.

        :param export: what :meth:`get_export` or :meth:`wait_for_export` returned.
        :returns: the file's bytes, in chunks; see :func:`airflow_provider_crux.hooks.files.opened`.
        :raises CruxUrlLapsedError: where the new URL has lapsed too.
        :raises CruxError: for every other failure, see :mod:`airflow_provider_crux.exceptions`.
        """
        from airflow_provider_crux.hooks.files import opened

        with ExitStack() as stack:
            try:
                chunks = stack.enter_context(opened(answers.file_url(export), self.settings))
            except CruxUrlLapsedError:
                export = self.get_export(export.uuid)
                chunks = stack.enter_context(opened(answers.file_url(export), self.settings))
            yield chunks

    def test_connection(self) -> tuple[bool, str]:
        """
        Try the connection by one call, so that nobody is e-mailed: a login, or a look at an export that cannot exist.

        :returns: whether it works, and what to show to the user (no secret in it); see
            :func:`airflow_provider_crux.api.check.check`.
        """
        try:
            return self._drive(check(self.settings), max_retries=0)
        except CruxError as error:
            return verdict_of(error, conn_id=self.crux_conn_id)
        except AirflowNotFoundException:
            # for a test Airflow passes the connection on as a URI, and finds none where it cannot read the port in it
            return False, "Airflow does not find this connection: give it a port from 1 to 65535 (443), and store it"

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's fields for the extras, for Airflow before 3.2."""
        return connection_form.widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how the form shows the other fields, for Airflow before 3.2."""
        return connection_form.field_behaviour()

    def get_conn(self) -> Session:
        """
        Return the session: it names us, trusts what the connection says, and signs requests with the token.

        Only requests to the connection's own host are signed. The session does not send anything again, and knows no
        errors of ours.
        """
        return self._session

    @cached_property
    def settings(self) -> ConnectionSettings:
        """What the connection says; read at the first use."""
        from airflow.providers.common.compat.sdk import mask_secret

        connection = self.get_connection(self.crux_conn_id)
        found = settings_of(connection, connection.extra_dejson)
        for secret in found.secrets:
            mask_secret(secret)
        if found.unknown_extras:
            self.log.warning(
                "Connection %r has extras that mean nothing here: %s",
                self.crux_conn_id,
                ", ".join(found.unknown_extras),
            )
        return found

    @cached_property
    def _authorization(self) -> Authorization:
        from airflow.providers.common.compat.sdk import mask_secret

        return Authorization(
            conn_id=self.crux_conn_id,
            username=self.settings.username,
            secret=self.settings.secret,
            others=self.settings.secrets_of_proxy,
            on_login=mask_secret,
        )

    @cached_property
    def _session(self) -> Session:
        import ssl

        bundle = self.settings.ca_bundle
        try:
            if bundle is not None and not Path(bundle).is_dir():
                ssl.create_default_context(cafile=bundle)
        except OSError:  # no such file, not ours to read, or (an SSLError is one) no certificates in it
            raise CruxInvalidConnectionError(
                f"Connection {self.crux_conn_id!r} cannot be used: extra ca_bundle: there are no certificates in "
                f"{bundle!r} on this machine; give the path of a file of certificates that every worker has"
            ) from None
        session = transport.new_session(self.settings)
        session.auth = self._sign
        return session

    def _sign(self, request: PreparedRequest) -> PreparedRequest:
        """Put the token on a request that a user sends through the session to the connection's own host."""
        if (request.url or "").startswith(f"{self.settings.base_url}/"):
            request.headers["Authorization"] = f"Token {self._drive(self._authorization.token())}"
        return request

    def _drive(self, steps: Generator[Call, Answer, T], max_retries: int | None = None) -> T:
        """Send what the generator says, tell it what came back, and return what it returns."""
        from tenacity import Retrying

        from airflow_provider_crux.api.repetition import repetition

        retries = self.settings.max_retries if max_retries is None else max_retries
        try:
            call = next(steps)
            while True:
                again = Retrying(**repetition(call, max_retries=retries), before_sleep=self._tell_of_wait)
                call = steps.send(again(self._exchange, call))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def _tell_of_wait(self, state: Any) -> None:
        call: Call = state.args[0]
        seconds = state.next_action.sleep
        if state.outcome.failed:
            self.log.info("Trying again in %.1f s: %s", seconds, state.outcome.exception())
        else:
            answered = state.outcome.result().status
            self.log.info("Crux Connect answered %s: trying to %s again in %.1f s", answered, call.doing, seconds)

    def _exchange(self, call: Call) -> Answer:
        """Send one request and read its answer; errors say only whether the request can have been processed."""
        import json

        import requests
        from requests import exceptions as gone_wrong

        unusable = (gone_wrong.InvalidURL, gone_wrong.InvalidSchema, gone_wrong.InvalidHeader)
        secrets = self._authorization.secrets()
        body = None if call.body is None else json.dumps(call.body).encode()
        try:
            with self._session.request(
                call.method,
                f"{self.settings.base_url}{call.path}",
                data=body,
                headers=call.headers,
                auth=transport.as_it_is,
                **transport.options(self._session, self.settings),
            ) as response:
                return Answer(
                    status=response.status_code,
                    headers={name.lower(): value for name, value in response.headers.items()},
                    body=_read(response),
                )
        except unusable as error:
            raise failures.not_usable(
                call, transport.reason_of(error), conn_id=self.crux_conn_id, secrets=secrets
            ) from None
        except (gone_wrong.ConnectTimeout, gone_wrong.ProxyError) as error:
            raise failures.not_connected(call, transport.reason_of(error), secrets=secrets) from None
        except gone_wrong.ConnectionError as error:
            cause = transport.cause_of(error)
            if transport.is_about_certificate(cause):
                raise failures.not_trusted(
                    call, transport.reason_of(error), conn_id=self.crux_conn_id, secrets=secrets
                ) from None
            if transport.never_connected(cause):
                raise failures.not_connected(call, transport.reason_of(error), secrets=secrets) from None
            raise failures.answer_lost(call, transport.reason_of(error), secrets=secrets) from None
        except requests.RequestException as error:
            raise failures.answer_lost(call, transport.reason_of(error), secrets=secrets) from None


def _read(response: Response) -> bytes:
    """Read an answer, but not much more of it than an answer of the API can have."""
    body = b""
    chunk: bytes
    for chunk in response.iter_content(64 * 1024):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            return body[: MAX_ANSWER_BYTES + 1]
    return body
