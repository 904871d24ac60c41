"""The rules for the body of a request for an export: every mistake gets the documented status code."""

import pytest
import requests
from starlette.exceptions import HTTPException

from airflow_provider_crux.sandbox.state import Sandbox
from airflow_provider_crux.sandbox.validation import validate
from airflow_provider_crux.sandbox.versions import VERSIONS

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


EXPORT_DATE, SPACED_DATE = "2018-01-01T00:00:00.000Z", "2018-01-01 00:00:00"
STATUSES, DESIGNATION = "line_item_allocation_statuses", "line_item_designation"


@pytest.mark.parametrize("version", ["v1", "timp"])
@pytest.mark.parametrize(
    ("in_export", "in_list"),
    [
        ({STATUSES: ["Unallocated", "Partial", "Allocated"]}, {STATUSES: ["Unallocated", "Partial", "Allocated"]}),
        ({DESIGNATION: ["HasTracking", "Cancelled"]}, {DESIGNATION: "HasTracking"}),
        ({"sort": {"key": "date", "dir": "desc"}}, {"sort": {"key": "date", "dir": "asc"}}),
    ],
)
def test_the_words_of_v1_and_timp_are_accepted(version, in_export, in_list):
    validate({"start": 0, "limit": 25, "start_date": EXPORT_DATE, **in_export}, VERSIONS[version])
    date = SPACED_DATE if version == "timp" else EXPORT_DATE
    validate({"start": 0, "limit": 25, "start_date": date, **in_list}, VERSIONS[version], for_list=True)


@pytest.mark.parametrize("version", ["v1", "timp"])
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"line_item_status": ["allocated"]}, "body"),
        ({"status_conjunction": "or"}, "body"),
        ({STATUSES: ["allocated"]}, STATUSES),
        ({STATUSES: ["HasTracking"]}, STATUSES),
        ({STATUSES: "Allocated"}, STATUSES),
        ({STATUSES: []}, STATUSES),
        ({STATUSES: ["Partial", "Partial"]}, STATUSES),
        ({STATUSES: ["Allocated"], DESIGNATION: ["HasTracking"]}, STATUSES),
        ({DESIGNATION: ["has_tracking"]}, DESIGNATION),
        ({DESIGNATION: "HasTracking"}, DESIGNATION),
        ({"sort": {"key": "date", "dir": "des"}}, "sort.dir"),
        ({"sort": {"key": "date", "value": "desc"}}, "sort"),
        ({"start_date": SPACED_DATE}, "start_date"),
    ],
)
def test_v1_and_timp_reject_the_words_of_another_version_in_an_export(version, body, field):
    assert_rejected(body, field, version)


@pytest.mark.parametrize("version", ["v1", "timp"])
@pytest.mark.parametrize("designation", [["HasTracking"], [], "has_tracking", ""])
def test_the_list_takes_one_designation_that_is_no_array(version, designation):
    assert_rejected({DESIGNATION: designation}, DESIGNATION, version, for_list=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_only_the_list_of_timp_has_dates_of_its_own(version):
    wrong = EXPORT_DATE if version == "timp" else SPACED_DATE
    assert_rejected({"end_date": wrong}, "end_date", version, for_list=True)
    if version == "timp":
        assert_rejected({"end_date": "2018-02-29 00:00:00"}, "end_date", version, for_list=True)


@pytest.mark.parametrize("body", [{STATUSES: ["Allocated"]}, {DESIGNATION: ["HasTracking"]}])
def test_the_default_version_rejects_the_fields_of_the_others(body):
    assert_rejected(body, "body", "api")


def assert_rejected(body, field, version, **options) -> None:
    with pytest.raises(HTTPException) as caught:
        validate(body, VERSIONS[version], **options)
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
