"""The calls that the sandbox answers, as a Starlette application. What they may say is in ``rules``."""

import json
import re
from typing import Any
from uuid import NAMESPACE_DNS, uuid5
from xml.sax.saxutils import escape

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from airflow_provider_crux.sandbox.csv_file import write_csv
from airflow_provider_crux.sandbox.journal import JOURNAL_PATH, Journal
from airflow_provider_crux.sandbox.presigned import Denial
from airflow_provider_crux.sandbox.rules import judge
from airflow_provider_crux.sandbox.selection import select
from airflow_provider_crux.sandbox.state import Sandbox
from airflow_provider_crux.sandbox.tokens import Caller

_JSON_TYPE = re.compile(r'application/json(\s*;\s*charset="?utf-8"?)?\s*', re.IGNORECASE)
_IDS = {
    name: str(uuid5(NAMESPACE_DNS, f"{name}.sandbox.invalid")) for name in ("org_uuid", "user_uuid", "retailer_uuid")
}


def create_app(sandbox: Sandbox) -> Starlette:
    """Make the application of one sandbox.

    :param sandbox: its state
    :return: an ASGI application; it needs no lifespan events
    """
    calls = _Calls(sandbox)
    routes = [
        Route("/api/organizations/user-login/", calls.log_in, methods=["POST"]),
        Route("/api/orders/export/", calls.ask_for_export, methods=["POST"]),
        Route("/api/data/export/{uuid}/", calls.retrieve_export, methods=["GET"]),
        Route("/sandbox-files/{uuid}.csv", calls.download, methods=["GET"]),
        Route(JOURNAL_PATH, calls.list_requests, methods=["GET"]),
    ]
    for route in routes:
        # Starlette adds HEAD to every GET; neither the API nor a URL presigned for GET knows it
        (route.methods or set()).discard("HEAD")
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Journal, sandbox=sandbox)],
        exception_handlers={HTTPException: _refusal},
    )
    # a path without its final slash is a mistake to be found here, not one to be made good
    app.router.redirect_slashes = False
    return app


class _Calls:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def log_in(self, request: Request) -> Response:
        body = await _read_json(request)
        if not isinstance(body, dict):
            raise HTTPException(400, "the body: must be an object")
        user, password = body.get("username"), body.get("password")
        if not isinstance(user, str) or not isinstance(password, str):
            raise HTTPException(400, "username, password: both must be given, as strings")
        token = self._sandbox.tokens.log_in(user, password)
        if token is None:
            raise HTTPException(401, "username and password do not belong together")
        return _json({"auth_token": token, **_IDS, "supplier_uuid": None, "org_type": "RETAILER"})

    async def ask_for_export(self, request: Request) -> Response:
        if not self._caller(request).may_export:
            raise HTTPException(403, "this user lacks the permission export_order")
        query = judge(await _read_json(request))
        return _json({"uuid": self._sandbox.add_export(query)})

    async def retrieve_export(self, request: Request) -> Response:
        self._caller(request)
        uuid = request.path_params["uuid"]
        export = self._sandbox.export(uuid)
        if export is None:
            raise HTTPException(404, "there is no such export")
        status = self._sandbox.status(export)
        url = None
        if status == "COMPLETED":
            url = self._sandbox.url + self._sandbox.presigner.sign(f"/sandbox-files/{uuid}.csv")
        return _json({"uuid": uuid, "status": status, "url": url})

    async def download(self, request: Request) -> Response:
        if "authorization" in request.headers:
            # the query string is one authentication already; S3 refuses two, even if both are good
            return _xml(400, Denial("InvalidArgument", "Leave out the Authorization header: the address is signed."))
        denial = self._sandbox.presigner.denial(request.url.path, request.query_params.multi_items())
        if denial:
            return _xml(403, denial)
        export = self._sandbox.export(request.path_params["uuid"])
        if export is None:
            return _xml(404, Denial("NoSuchKey", "There is no such file."))
        # in a thread: the file of several years takes seconds, and other calls are not to wait for it
        file = await run_in_threadpool(lambda: write_csv(select(export.query, export.created)))
        return Response(file, media_type="text/csv")

    async def list_requests(self, _request: Request) -> Response:
        return _json(self._sandbox.requests)

    def _caller(self, request: Request) -> Caller:
        caller = self._sandbox.tokens.caller(request.headers.get("authorization"))
        if caller is None:
            raise HTTPException(401, "no valid token", headers={"WWW-Authenticate": "Token"})
        return caller


async def _read_json(request: Request) -> Any:
    if not _JSON_TYPE.fullmatch(request.headers.get("content-type", "")):
        raise HTTPException(415, "Content-Type: must be application/json, in UTF-8")
    try:
        return json.loads((await request.body()).decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise HTTPException(415, "the body: is not JSON in UTF-8") from error


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is Python's, not JSON's")


def _json(content: object, status: int = 200) -> Response:
    # escaped to ASCII: a caller may have sent half of a surrogate pair, which UTF-8 cannot hold
    return Response(json.dumps(content), status, media_type="application/json; charset=utf-8")


async def _refusal(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - the handler is registered for nothing else
    response = _json({"detail": error.detail}, error.status_code)
    response.headers.update(error.headers or {})
    return response


def _xml(status: int, denial: Denial) -> Response:
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{denial.code}</Code><Message>{escape(denial.message)}</Message></Error>"
    )
    return Response(text, status, media_type="application/xml")
