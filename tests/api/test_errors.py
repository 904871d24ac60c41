from __future__ import annotations

import pickle

import pytest

from airflow_provider_crux import exceptions
from airflow_provider_crux.api import calls, failures
from airflow_provider_crux.api.requests import NIL_UUID, ApiResponse
from airflow_provider_crux.api.orders import OrdersExportRequest

POST = export_orders_request(OrdersExportRequest())
GET = get_export_request(NIL_UUID)
SECRET = "hunter2hunter2"


def refused(call: ApiRequest, status: int) -> exceptions.CruxError:
    echo = f"<pre>Authorization: Token {SECRET}</pre> {SECRET}".encode()
    answer = ApiResponse(status=status, headers={"content-type": "text/html"}, body=echo)
    return failures.refused(call, answer, conn_id="crux_eu", secrets=[SECRET])


@pytest.mark.parametrize(
    ("status", "kind", "remedy"),
    [
        (400, exceptions.CruxRequestRejectedError, "missing or wrong"),
        (401, exceptions.CruxAuthenticationError, "correct connection 'crux_eu'"),
        (403, exceptions.CruxPermissionDeniedError, "export_order permission"),
        (404, exceptions.CruxNotFoundError, "Check the host of connection 'crux_eu'"),
        (415, exceptions.CruxUnsupportedMediaTypeError, "JSON"),
        (405, exceptions.CruxRequestRejectedError, "Check the host"),
        (409, exceptions.CruxRequestRejectedError, "Check the host"),
        (422, exceptions.CruxRequestRejectedError, "Check the host"),
        (302, exceptions.CruxRequestRejectedError, "Redirects are not followed"),
        (429, exceptions.CruxRateLimitError, "pool"),
        (503, exceptions.CruxUnavailableError, "later"),
        (500, exceptions.CruxAmbiguousError, "may come twice"),
        (502, exceptions.CruxAmbiguousError, "may come twice"),
        (504, exceptions.CruxAmbiguousError, "may come twice"),
    ],
)
def test_each_status_has_its_class_and_says_what_to_do_without_a_secret(status, kind, remedy) -> None:
    error = refused(POST, status)
    assert type(error) is kind
    message = str(error)
    assert str(status) in message
    assert remedy in message
    assert SECRET not in message
    # Airflow carries errors between processes
    assert str(pickle.loads(pickle.dumps(error))) == message


@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_get_is_never_in_doubt(status: int) -> None:
    assert isinstance(refused(GET, status), exceptions.CruxTransientError)
    assert isinstance(failures.answer_lost(GET, "reset"), exceptions.CruxTransientError)


def test_every_error_is_of_one_kind_and_drawn_in_the_docstring() -> None:
    kinds = [kind for kind in vars(exceptions).values() if isinstance(kind, type)]
    roots = exceptions.CruxError.__subclasses__()
    assert len(roots) == 5
    for kind in kinds:
        assert f" {kind.__name__}" in (exceptions.__doc__ or "")
        if kind is not exceptions.CruxError:
            assert sum(issubclass(kind, root) for root in roots) == 1
