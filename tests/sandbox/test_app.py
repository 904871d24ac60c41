"""The API as a client sees it: tokens, the status of an export, presigned URLs, paths, the request log."""

import csv
import io
import json
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
import requests

from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.state import ManualClock, Sandbox, SandboxSettings

NIL_UUID = "00000000-0000-0000-0000-000000000000"
DAY = "2024-12-31T00:00:00.000Z"


def log_in(sandbox: Sandbox, http: requests.Session, user="sandbox", password="sandbox") -> requests.Response:
    credentials = {"username": user, "password": password}
    return http.post(f"{sandbox.url}/api/organizations/user-login/", json=credentials)


def request_export(sandbox: Sandbox, http: requests.Session, token: str | None = None, **fields) -> requests.Response:
    headers = {"Authorization": f"Token {token}"} if token else {}
    return http.post(f"{sandbox.url}/api/orders/export/", json=fields, headers=headers)


def get_export(sandbox: Sandbox, http: requests.Session, uuid: str) -> dict[str, str]:
    return http.get(f"{sandbox.url}/api/data/export/{uuid}/").json()


def export_and_finish(sandbox: Sandbox, crux: requests.Session, clock: ManualClock, **fields) -> tuple[str, str]:
    # by default only one day of orders, because the file of all years takes seconds
    uuid = request_export(sandbox, crux, **{"start_date": DAY, **fields}).json()["uuid"]
    clock.advance(30)
    return uuid, get_export(sandbox, crux, uuid)["url"]


def test_a_token_from_login_works_until_it_expires(sandbox: Sandbox, http: requests.Session, clock: ManualClock):
    response = log_in(sandbox, http).json()
    ids = {"org_uuid", "user_uuid", "retailer_uuid", "supplier_uuid"}
    assert set(response) == {"auth_token", "org_type"} | ids
    clock.advance(7199)
    assert request_export(sandbox, http, response["auth_token"]).status_code == 200
    clock.advance(1)
    assert request_export(sandbox, http, response["auth_token"]).status_code == 401

    token = log_in(sandbox, http).json()["auth_token"]
    sandbox.expire_tokens()
    assert request_export(sandbox, http, token).status_code == 401
    assert request_export(sandbox, http, sandbox.settings.token).status_code == 200


@pytest.mark.parametrize("authorization", [None, "Token", "Token wrong", "Bearer {token}", "token {token}", "{token}"])
def test_a_request_without_a_valid_token_exports_nothing(sandbox: Sandbox, http: requests.Session, authorization):
    headers = {"Authorization": authorization.format(token=sandbox.settings.token)} if authorization else {}
    assert http.post(f"{sandbox.url}/api/orders/export/", json={}, headers=headers).status_code == 401
    assert http.get(f"{sandbox.url}/api/data/export/{NIL_UUID}/", headers=headers).status_code == 401
    assert sandbox.exports == []


def test_wrong_credentials_do_not_log_in(sandbox: Sandbox, http: requests.Session):
    assert log_in(sandbox, http, password="wrong").status_code == 401
    assert log_in(sandbox, http, user="viewer").status_code == 401
    assert log_in(sandbox, http, user=["sandbox"]).status_code == 400


def test_a_user_without_the_permission_can_log_in_but_not_export(sandbox: Sandbox, http: requests.Session):
    token = log_in(sandbox, http, "viewer", "viewer").json()["auth_token"]
    for viewer_token in (token, sandbox.settings.viewer_token):
        assert request_export(sandbox, http, viewer_token).status_code == 403
    assert sandbox.exports == []


def test_an_export_is_pending_then_completed(sandbox: Sandbox, crux: requests.Session, clock: ManualClock):
    uuid = request_export(sandbox, crux).json()["uuid"]
    assert sandbox.exports == [uuid]
    clock.advance(29)
    assert get_export(sandbox, crux, uuid) == {"uuid": uuid, "status": "pending", "url": None}
    clock.advance(1)
    done = get_export(sandbox, crux, uuid)
    assert done["status"] == "COMPLETED"
    assert done["url"].startswith(f"{sandbox.url}/sandbox-files/")


def test_a_failed_export_has_no_url(sandbox: Sandbox, crux: requests.Session, clock: ManualClock):
    uuid, _ = export_and_finish(sandbox, crux, clock)
    sandbox.fail_export(uuid)
    assert get_export(sandbox, crux, uuid) == {"uuid": uuid, "status": "FAILED", "url": None}


def test_without_export_seconds_an_export_is_pending_until_the_test_finishes_it(
    crux: requests.Session, clock: ManualClock
):
    with running_sandbox(SandboxSettings(export_seconds=None), clock=clock) as sandbox:
        uuid, other = (request_export(sandbox, crux).json()["uuid"] for _ in range(2))
        clock.advance(31_536_000)
        assert get_export(sandbox, crux, uuid) == {"uuid": uuid, "status": "pending", "url": None}
        sandbox.finish_export(uuid)
        done = get_export(sandbox, crux, uuid)
        assert done["status"] == "COMPLETED"
        assert done["url"].startswith(f"{sandbox.url}/sandbox-files/")
        assert get_export(sandbox, crux, other)["status"] == "pending"
        with pytest.raises(KeyError):
            sandbox.finish_export(NIL_UUID)


def test_a_test_can_finish_an_export_early(sandbox: Sandbox, crux: requests.Session):
    uuid = request_export(sandbox, crux).json()["uuid"]
    sandbox.finish_export(uuid)
    assert get_export(sandbox, crux, uuid)["status"] == "COMPLETED"


def test_the_file_holds_the_requested_orders(sandbox: Sandbox, crux: requests.Session, clock: ManualClock):
    _, url = export_and_finish(
        sandbox,
        crux,
        clock,
        start=4,
        limit=8,
        start_date="2017-01-01T00:00:00.000Z",
        end_date="2017-01-02T00:00:00.000Z",
    )
    # not with the session, because its headers hold the token
    response = requests.get(url, proxies={"http": ""}, timeout=10)
    assert response.status_code == 200
    assert int(response.headers["Content-Length"]) == len(response.content)
    rows = list(csv.DictReader(io.StringIO(response.content.decode("utf-8-sig"), newline="")))
    assert sorted({row["retailer_po_number"] for row in rows}) == [f"PO-{number:07d}" for number in range(4, 9)]


def test_a_presigned_url_with_a_token_is_rejected(sandbox: Sandbox, crux: requests.Session, clock: ManualClock):
    _, url = export_and_finish(sandbox, crux, clock)
    response = crux.get(url)
    assert response.status_code == 400
    assert "<Code>InvalidArgument</Code>" in response.text


@pytest.mark.parametrize("change", ["time", "expire_urls", "unsigned", "other file", "other expiry", "other signature"])
def test_an_expired_or_altered_url_is_forbidden(sandbox: Sandbox, crux: requests.Session, clock: ManualClock, change):
    uuid, url = export_and_finish(sandbox, crux, clock)
    other, _ = export_and_finish(sandbox, crux, clock)
    if change == "time":
        clock.advance(300)
    elif change == "expire_urls":
        sandbox.expire_urls()
    altered = {
        "unsigned": url.partition("?")[0],
        "other file": url.replace(uuid, other),
        "other expiry": url.replace("X-Amz-Expires=300", "X-Amz-Expires=301"),
        "other signature": f"{url}0",
    }.get(change, url)
    response = crux.get(altered, headers={"Authorization": None})
    assert response.status_code == 403
    assert response.headers["Content-Type"] == "application/xml"
    new_url = get_export(sandbox, crux, uuid)["url"]
    assert crux.get(new_url, headers={"Authorization": None}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/orders/export", 404),
        ("POST", "/api/organizations/user-login", 404),
        ("GET", f"/api/data/export/{NIL_UUID}", 404),
        ("GET", f"/api/data/export/{NIL_UUID}/", 404),
        ("GET", "/api/data/export/no-uuid/", 404),
        ("POST", "/api/v2/orders/export/", 404),
        ("GET", "/", 404),
        ("GET", "/api/orders/export/", 405),
        ("PUT", "/api/orders/export/", 405),
        ("GET", "/api/organizations/user-login/", 405),
        ("POST", f"/api/data/export/{NIL_UUID}/", 405),
        ("HEAD", f"/sandbox-files/{NIL_UUID}.csv", 405),
    ],
)
def test_an_unknown_path_or_method_is_rejected_and_not_redirected(sandbox: Sandbox, crux, method, path, status):
    response = crux.request(method, sandbox.url + path, allow_redirects=False)
    assert response.status_code == status
    assert sandbox.requests[-1]["path"] == path


def test_the_request_log_holds_everything_but_the_secrets(sandbox: Sandbox, http: requests.Session, clock: ManualClock):
    http.headers["User-Agent"] = "a-client/1"
    token = log_in(sandbox, http, password="sandbox").json()["auth_token"]
    rejected = log_in(sandbox, http, password="pa55-wrong").status_code
    http.headers["Authorization"] = f"Token {token}"
    uuid, url = export_and_finish(sandbox, http, clock, limit=0)
    http.get(url)
    http.get(url, headers={"Authorization": None})
    http.get(f"{sandbox.url}/", headers={"Authorization": token})

    request_log = http.get(f"{sandbox.url}/sandbox/requests").json()
    assert request_log == sandbox.requests  # the request for the log itself is not in it
    summary = [(entry["method"], entry["path"], entry["status"], entry["authorization"]) for entry in request_log]
    file = f"/sandbox-files/{uuid}.csv"
    assert summary == [
        ("POST", "/api/organizations/user-login/", 200, None),
        ("POST", "/api/organizations/user-login/", rejected, None),
        ("POST", "/api/orders/export/", 200, "Token ***"),
        ("GET", f"/api/data/export/{uuid}/", 200, "Token ***"),
        ("GET", file, 400, "Token ***"),
        ("GET", file, 200, None),
        ("GET", "/", 404, "***"),
    ]
    assert request_log[0]["body"] == {"username": "sandbox", "password": "***"}
    assert request_log[2]["body"] == {"start_date": DAY, "limit": 0}
    assert request_log[2]["content_type"] == "application/json"
    assert {entry["user_agent"] for entry in request_log} == {"a-client/1"}
    text = json.dumps(request_log)
    signature = urlsplit(url).query.partition("X-Amz-Signature=")[2]
    assert signature
    assert not [secret for secret in (token, "pa55-wrong", signature) if secret in text]


def test_wait_for_returns_after_that_many_responses(sandbox: Sandbox, crux: requests.Session):
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(sandbox.wait_for, "POST", "/api/orders/", count=2)
        crux.get(f"{sandbox.url}/api/orders/export/")
        request_export(sandbox, crux)
        assert not waiting.done()
        request_export(sandbox, crux, limit="none")
        assert [(entry["status"], entry["body"]) for entry in waiting.result(60)] == [
            (200, {}),
            (400, {"limit": "none"}),
        ]
    assert sandbox.wait_for("GET", "/api/orders/export/", timeout=0) == sandbox.requests[:1]


def test_wait_for_lists_all_requests_when_it_times_out(sandbox: Sandbox, crux: requests.Session):
    request_export(sandbox, crux)
    message = (
        r"responded to 1 of 2 POST requests to /api/orders/ within 0\.1 s\. "
        r"All requests: \['POST /api/orders/export/ 200'\]"
    )
    with pytest.raises(TimeoutError, match=message):
        sandbox.wait_for("POST", "/api/orders/", count=2, timeout=0.1)


def test_canned_responses_are_sent_once_each_in_their_order(sandbox: Sandbox, crux: requests.Session):
    sandbox.respond_next("/api/orders/export/", 503, {"Retry-After": "1"}, b"busy")
    sandbox.respond_next("/api/data/", 429)
    sandbox.respond_next("/api/orders/export/", 504, process_first=True)
    first = request_export(sandbox, crux)
    assert (first.status_code, first.headers["Retry-After"], first.content) == (503, "1", b"busy")
    assert sandbox.exports == []
    assert request_export(sandbox, crux).status_code == 504
    assert len(sandbox.exports) == 1  # the ambiguous failure: the export started
    assert request_export(sandbox, crux).status_code == 200
    assert [entry["status"] for entry in sandbox.requests] == [503, 504, 200]
    assert crux.get(f"{sandbox.url}/api/data/export/{NIL_UUID}/").status_code == 429


def test_a_content_length_greater_than_the_body_breaks_the_connection(sandbox: Sandbox, crux: requests.Session):
    sandbox.respond_next("/api/orders/export/", 200, {"Content-Length": "99"}, b"{", process_first=True)
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError)):
        request_export(sandbox, crux)
    assert len(sandbox.exports) == 1


@pytest.mark.slow
def test_a_delayed_response_comes_after_the_request_is_processed(http: requests.Session):
    with running_sandbox(SandboxSettings(response_seconds=3600)) as slow:
        http.headers["Authorization"] = f"Token {slow.settings.token}"
        with pytest.raises(requests.ReadTimeout):
            http.post(f"{slow.url}/api/orders/export/", json={}, timeout=2)
        assert len(slow.exports) == 1
        assert slow.requests[0]["status"] is None


def test_the_sandbox_stops_at_the_end_of_the_with_block(http: requests.Session):
    with running_sandbox() as sandbox:
        assert sandbox.url.startswith("http://127.0.0.1:")
        assert http.get(f"{sandbox.url}/sandbox/requests").json() == []
    with pytest.raises(requests.exceptions.ConnectionError):
        http.get(f"{sandbox.url}/sandbox/requests")


def test_the_body_of_a_login_must_be_an_object(sandbox: Sandbox, http: requests.Session):
    assert http.post(f"{sandbox.url}/api/organizations/user-login/", json=[]).status_code == 400


def test_a_signed_url_of_a_file_that_does_not_exist_is_not_found(sandbox: Sandbox, http: requests.Session):
    response = http.get(sandbox.url + sandbox.presigner.sign(f"/sandbox-files/{NIL_UUID}.csv"))
    assert (response.status_code, "NoSuchKey" in response.text) == (404, True)
