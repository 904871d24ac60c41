"""The rules for the body of a request for an export: every mistake gets the documented status code."""

import pytest
import requests
from starlette.exceptions import HTTPException

from airflow_provider_crux.sandbox.state import Sandbox
from airflow_provider_crux.sandbox.validation import validate

DOCUMENTED = {
    "start": 0,
    "limit": 25,
    "sort": {"key": "uuid", "dir": "des"},
    "line_item_status": ["unallocated"],
    "status_conjunction": "or",
    "start_date": "2017-07-31T06:00:00.000Z",
    "end_date": "2018-08-03T06:00:00.000Z",
}


@pytest.mark.parametrize(
    "body",
    [
        {},
        DOCUMENTED,
        *({name: DOCUMENTED[name]} for name in DOCUMENTED if name != "status_conjunction"),
        {"start": 4, "limit": 4},
        {"sort": {"key": "no such column", "dir": "asc"}},
        {"line_item_status": ["allocated", "rejected"], "status_conjunction": "and"},
        {"line_item_status": ["allocated"], "status_conjunction": "only"},
        {"line_item_status": ["allocated"], "status_conjunction": "all"},
        {"start_date": "2024-02-29T23:59:59.000Z", "end_date": "2024-02-29T23:59:59.000Z"},
    ],
)
def test_a_body_that_follows_the_specification_is_accepted(body):
    validate(body)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ("text", "body"),
        ({"begin": 0}, "body"),
        ({"start": None}, "start"),
        ({"start": True}, "start"),
        ({"start": "0"}, "start"),
        ({"start": 0.5}, "start"),
        ({"start": -1}, "start"),
        ({"limit": -1}, "limit"),
        ({"start": 8, "limit": 4}, "limit"),
        ({"sort": "uuid"}, "sort"),
        ({"sort": {"key": "uuid"}}, "sort"),
        ({"sort": {"key": "uuid", "dir": "asc", "case": "no"}}, "sort"),
        ({"sort": {"key": "", "dir": "asc"}}, "sort.key"),
        ({"sort": {"key": 1, "dir": "asc"}}, "sort.key"),
        ({"sort": {"key": "uuid", "dir": "desc"}}, "sort.dir"),
        ({"sort": {"key": "uuid", "dir": ["asc"]}}, "sort.dir"),
        ({"line_item_status": "allocated"}, "line_item_status"),
        ({"line_item_status": []}, "line_item_status"),
        ({"line_item_status": ["lost"]}, "line_item_status"),
        ({"line_item_status": [["allocated"]]}, "line_item_status"),
        ({"line_item_status": ["allocated", "allocated"]}, "line_item_status"),
        ({"status_conjunction": "or"}, "status_conjunction"),
        ({"line_item_status": ["allocated"], "status_conjunction": "OR"}, "status_conjunction"),
        ({"line_item_status": ["allocated"], "status_conjunction": ["or"]}, "status_conjunction"),
        ({"line_item_status": ["allocated", "rejected"], "status_conjunction": "only"}, "status_conjunction"),
        ({"line_item_status": ["allocated", "rejected"], "status_conjunction": "all"}, "status_conjunction"),
        ({"start_date": 1514764800}, "start_date"),
        ({"start_date": "2018-01-01"}, "start_date"),
        ({"start_date": "2018-01-01T00:00:00Z"}, "start_date"),
        ({"start_date": "2018-01-01T00:00:00.001Z"}, "start_date"),
        ({"start_date": "2018-01-01T00:00:00.000+00:00"}, "start_date"),
        ({"start_date": "2018-01-01T00:00:00.000Z\n"}, "start_date"),
        ({"start_date": "٢٠١٨-01-01T00:00:00.000Z"}, "start_date"),
        ({"end_date": "2018-02-29T00:00:00.000Z"}, "end_date"),
        ({"end_date": "2018-01-01T24:00:00.000Z"}, "end_date"),
        ({"start_date": "2018-01-02T00:00:00.000Z", "end_date": "2018-01-01T00:00:00.000Z"}, "end_date"),
    ],
)
def test_a_body_that_breaks_a_rule_gets_400_and_the_name_of_the_field(body, field):
    with pytest.raises(HTTPException) as caught:
        validate(body)
    assert caught.value.status_code == 400
    assert caught.value.detail.startswith(f"{field} ")


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", "application/json", 200),
        (b"{}", "application/json; charset=utf-8", 200),
        (b"{}", "Application/JSON;charset=UTF-8", 200),
        (b"{}", "application/json; charset=latin-1", 415),
        (b"{}", "application/x-www-form-urlencoded", 415),
        (b"{}", None, 415),
        (b"", "application/json", 415),
        (b"{'start': 0}", "application/json", 415),
        (b'{"start": NaN}', "application/json", 415),
        (b'{"sort": "\xff"}', "application/json", 415),
        (b"[" * 100_000, "application/json", 415),
        (b'{"\\ud800": 0}', "application/json", 400),
    ],
)
def test_a_body_that_is_not_json_gets_415(sandbox: Sandbox, crux: requests.Session, body, content_type, status):
    response = crux.post(f"{sandbox.url}/api/orders/export/", data=body, headers={"Content-Type": content_type})
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert len(sandbox.exports) == (status == 200)
    # the request log stays readable after any body
    assert crux.get(f"{sandbox.url}/sandbox/requests").json()[0]["status"] == status
