"""The endpoints of the sandbox, as a Starlette application."""

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

from airflow_provider_crux.sandbox.auth import S3Error, User
from airflow_provider_crux.sandbox.csv_file import write_csv
from airflow_provider_crux.sandbox.orders import (
    ExportQuery,
    count_orders,
    filter_and_count_orders,
    filter_orders,
    with_checkpoint,
)
from airflow_provider_crux.sandbox.orders_list import order_as_json
from airflow_provider_crux.sandbox.request_log import REQUEST_LOG_PATH, RequestLogMiddleware, reject_constant
from airflow_provider_crux.sandbox.state import Export, Sandbox
from airflow_provider_crux.sandbox.validation import validate

_JSON_TYPE = re.compile(r'application/json(\s*;\s*charset="?utf-8"?)?\s*', re.IGNORECASE)
_IDS = {
    name: str(uuid5(NAMESPACE_DNS, f"{name}.sandbox.invalid")) for name in ("org_uuid", "user_uuid", "retailer_uuid")
}


def create_app(sandbox: Sandbox) -> Starlette:
    """Create the ASGI application of one sandbox. It needs no lifespan events."""
    endpoints, api = _Endpoints(sandbox), sandbox.api
    routes = [
        Route(api.login_path, endpoints.log_in, methods=["POST"]),
        Route(api.list_path, endpoints.list_orders, methods=["POST"]),
        Route(api.export_path, endpoints.export_orders, methods=["POST"]),
        Route(f"{api.status_path}{{uuid}}/", endpoints.get_export, methods=["GET"]),
        Route("/sandbox-files/{uuid}.csv", endpoints.download_file, methods=["GET"]),
        Route(REQUEST_LOG_PATH, endpoints.list_requests, methods=["GET"]),
    ]
    for route in routes:
        # Starlette adds HEAD to every GET, but neither the API nor a URL presigned for GET supports it
        (route.methods or set()).discard("HEAD")
    app = Starlette(
        routes=routes,
        middleware=[Middleware(RequestLogMiddleware, sandbox=sandbox)],
        exception_handlers={HTTPException: _api_error, S3Error: _s3_error},
    )
    # a missing trailing slash is an error of the client: report it instead of redirecting
    app.router.redirect_slashes = False
    return app


class _Endpoints:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def log_in(self, request: Request) -> Response:
        body = await _read_json(request)
        if not isinstance(body, dict):
            raise HTTPException(400, "body must be a JSON object")
        user, password = body.get("username"), body.get("password")
        if not isinstance(user, str) or not isinstance(password, str):
            raise HTTPException(400, "username and password are required and must be strings")
        token = self._sandbox.tokens.log_in(user, password)
        if token is None:
            raise HTTPException(401, "wrong username or password")
        return _json({"auth_token": token, **_IDS, "supplier_uuid": None, "org_type": "RETAILER"})

    async def export_orders(self, request: Request) -> Response:
        if not self._authenticate(request).may_export:
            raise HTTPException(403, "this user lacks the permission export_order")
        query = validate(await _read_json(request), self._sandbox.api)
        return _json({"uuid": self._sandbox.add_export(query)}, self._sandbox.api.export_success)

    async def list_orders(self, request: Request) -> Response:
        self._authenticate(request)
        query = validate(await _read_json(request), self._sandbox.api, for_list=True)
        return _json(await run_in_threadpool(self._list_orders, query))

    def _list_orders(self, query: ExportQuery) -> dict[str, Any]:
        now = self._sandbox.clock()
        orders, total = filter_and_count_orders(query, now, self._sandbox.raise_if_stopping)
        # the specification does not say whether total_results follows the filters
        if self._sandbox.settings.total_results == "organization":
            total = count_orders(now)
        return {"total_results": total, "orders": [order_as_json(order, self._sandbox.api) for order in orders]}

    async def get_export(self, request: Request) -> Response:
        self._authenticate(request)
        uuid = request.path_params["uuid"]
        export = self._sandbox.get_export(uuid)
        if export is None:
            raise HTTPException(404, "export not found")
        status = self._sandbox.export_status(export)
        url = None
        if status == "COMPLETED":
            url = self._sandbox.url + self._sandbox.presigner.sign(f"/sandbox-files/{uuid}.csv")
        return _json({"uuid": uuid, "status": status, "url": url})

    async def download_file(self, request: Request) -> Response:
        if "authorization" in request.headers:
            # the query string authenticates the request already, and S3 rejects two kinds of authentication
            raise S3Error(400, "InvalidArgument", "A presigned URL must be requested without an Authorization header.")
        self._sandbox.presigner.verify(request.url.path, request.query_params.multi_items())
        export = self._sandbox.get_export(request.path_params["uuid"])
        if export is None:
            raise S3Error(404, "NoSuchKey", "The file does not exist.")
        # in a thread, because a file of several years takes seconds and must not block other requests
        content = await run_in_threadpool(self._write_file, export)
        return Response(content, media_type="text/csv")

    def _write_file(self, export: Export) -> bytes:
        checkpoint = self._sandbox.raise_if_stopping
        orders = filter_orders(export.query, export.created_at, checkpoint)
        return write_csv(with_checkpoint(orders, checkpoint), self._sandbox.settings.columns)

    async def list_requests(self, _request: Request) -> Response:
        return _json(self._sandbox.requests)

    def _authenticate(self, request: Request) -> User:
        user = self._sandbox.tokens.authenticate(request.headers.get("authorization"))
        if user is None:
            raise HTTPException(401, "missing, unknown or expired token", headers={"WWW-Authenticate": "Token"})
        return user


async def _read_json(request: Request) -> Any:
    if not _JSON_TYPE.fullmatch(request.headers.get("content-type", "")):
        raise HTTPException(415, "Content-Type must be application/json, in UTF-8")
    try:
        return json.loads((await request.body()).decode("utf-8"), parse_constant=reject_constant)
    except (ValueError, RecursionError) as error:
        raise HTTPException(415, "body must be JSON in UTF-8") from error


def _json(content: object, status: int = 200) -> Response:
    # escaped to ASCII, because a client may have sent half of a surrogate pair, which UTF-8 cannot encode
    return Response(json.dumps(content), status, media_type="application/json; charset=utf-8")


async def _api_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class only
    response = _json({"detail": error.detail}, error.status_code)
    response.headers.update(error.headers or {})
    return response


async def _s3_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, S3Error)  # noqa: S101 - registered for this class only
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{error.code}</Code><Message>{escape(error.message)}</Message></Error>"
    )
    return Response(text, error.status, media_type="application/xml")
