"""The calls as a client meets them: tokens, states of an export, presigned files, paths, the journal."""

import csv
import io
import json
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
import requests

from airflow_provider_crux.sandbox.clock import ManualClock
from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.settings import SandboxSettings
from airflow_provider_crux.sandbox.state import Sandbox

NIL = "00000000-0000-0000-0000-000000000000"
DAY = "2024-12-31T00:00:00.000Z"


def log_in(sandbox: Sandbox, http: requests.Session, user="sandbox", password="sandbox") -> requests.Response:
    credentials = {"username": user, "password": password}
    return http.post(f"{sandbox.url}/api/organizations/user-login/", json=credentials)


def ask(sandbox: Sandbox, http: requests.Session, token: str | None = None, **fields) -> requests.Response:
    headers = {"Authorization": f"Token {token}"} if token else {}
    return http.post(f"{sandbox.url}/api/orders/export/", json=fields, headers=headers)


def retrieve(sandbox: Sandbox, http: requests.Session, uuid: str) -> dict[str, str]:
    return http.get(f"{sandbox.url}/api/data/export/{uuid}/").json()


def finished(sandbox: Sandbox, crux: requests.Session, clock: ManualClock, **fields) -> tuple[str, str]:
    # a day of orders only, unless asked otherwise: the file of all years takes seconds
    uuid = ask(sandbox, crux, **{"start_date": DAY, **fields}).json()["uuid"]
    clock.advance(30)
    return uuid, retrieve(sandbox, crux, uuid)["url"]


def test_a_token_from_login_works_until_it_expires(sandbox: Sandbox, http: requests.Session, clock: ManualClock):
    answer = log_in(sandbox, http).json()
    assert set(answer) == {
        *("auth_token", "org_uuid", "user_uuid", "retailer_uuid", "supplier_uuid", "org_type"),
    }
    clock.advance(7199)
    assert ask(sandbox, http, answer["auth_token"]).status_code == 200
    clock.advance(1)
    assert ask(sandbox, http, answer["auth_token"]).status_code == 401

    token = log_in(sandbox, http).json()["auth_token"]
    sandbox.expire_tokens()
    assert ask(sandbox, http, token).status_code == 401
    assert ask(sandbox, http, sandbox.settings.token).status_code == 200


@pytest.mark.parametrize("authorization", [None, "Token", "Token wrong", "Bearer {token}", "token {token}", "{token}"])
def test_without_a_good_token_nothing_is_exported(sandbox: Sandbox, http: requests.Session, authorization):
    headers = {"Authorization": authorization.format(token=sandbox.settings.token)} if authorization else {}
    assert http.post(f"{sandbox.url}/api/orders/export/", json={}, headers=headers).status_code == 401
    assert http.get(f"{sandbox.url}/api/data/export/{NIL}/", headers=headers).status_code == 401
    assert sandbox.exports == []


def test_wrong_credentials_do_not_log_in(sandbox: Sandbox, http: requests.Session):
    assert log_in(sandbox, http, password="wrong").status_code == 401
    assert log_in(sandbox, http, user="viewer").status_code == 401
    assert log_in(sandbox, http, user=["sandbox"]).status_code == 400


def test_a_user_without_the_permission_may_look_but_not_export(sandbox: Sandbox, http: requests.Session):
    token = log_in(sandbox, http, "viewer", "viewer").json()["auth_token"]
    for either in (token, sandbox.settings.viewer_token):
        assert ask(sandbox, http, either).status_code == 403
    assert sandbox.exports == []


def test_an_export_is_pending_then_completed(sandbox: Sandbox, crux: requests.Session, clock: ManualClock):
    uuid = ask(sandbox, crux).json()["uuid"]
    assert sandbox.exports == [uuid]
    clock.advance(29)
    assert retrieve(sandbox, crux, uuid) == {"uuid": uuid, "status": "pending", "url": None}
    clock.advance(1)
    done = retrieve(sandbox, crux, uuid)
    assert done["status"] == "COMPLETED"
    assert done["url"].startswith(f"{sandbox.url}/sandbox-files/")


def test_a_failed_export_has_no_url(sandbox: Sandbox, crux: requests.Session, clock: ManualClock):
    uuid, _ = finished(sandbox, crux, clock)
    sandbox.fail_export(uuid)
    assert retrieve(sandbox, crux, uuid) == {"uuid": uuid, "status": "FAILED", "url": None}


def test_an_export_without_a_time_is_pending_until_it_is_finished(crux: requests.Session, clock: ManualClock):
    with running_sandbox(SandboxSettings(export_seconds=None), clock=clock) as sandbox:
        uuid, other = (ask(sandbox, crux).json()["uuid"] for _ in range(2))
        clock.advance(31_536_000)
        assert retrieve(sandbox, crux, uuid) == {"uuid": uuid, "status": "pending", "url": None}
        sandbox.finish_export(uuid)
        done = retrieve(sandbox, crux, uuid)
        assert done["status"] == "COMPLETED"
        assert done["url"].startswith(f"{sandbox.url}/sandbox-files/")
        assert retrieve(sandbox, crux, other)["status"] == "pending"
        with pytest.raises(KeyError):
            sandbox.finish_export(NIL)


def test_an_export_can_be_finished_before_its_time(sandbox: Sandbox, crux: requests.Session):
    uuid = ask(sandbox, crux).json()["uuid"]
    sandbox.finish_export(uuid)
    assert retrieve(sandbox, crux, uuid)["status"] == "COMPLETED"


def test_the_file_holds_the_orders_that_were_asked_for(sandbox: Sandbox, crux: requests.Session, clock: ManualClock):
    _, url = finished(
        sandbox,
        crux,
        clock,
        start=4,
        limit=8,
        start_date="2017-01-01T00:00:00.000Z",
        end_date="2017-01-02T00:00:00.000Z",
    )
    # no Session: its headers hold the token
    answer = requests.get(url, proxies={"http": ""}, timeout=10)
    assert answer.status_code == 200
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))
    assert sorted({row["retailer_po_number"] for row in rows}) == [f"PO-{number:07d}" for number in range(4, 9)]


def test_two_kinds_of_authentication_are_refused(sandbox: Sandbox, crux: requests.Session, clock: ManualClock):
    _, url = finished(sandbox, crux, clock)
    answer = crux.get(url)
    assert answer.status_code == 400
    assert "<Code>InvalidArgument</Code>" in answer.text


@pytest.mark.parametrize("how", ["time", "by hand", "unsigned", "other file", "other expiry", "other signature"])
def test_a_lapsed_or_altered_url_is_forbidden(sandbox: Sandbox, crux: requests.Session, clock: ManualClock, how):
    uuid, url = finished(sandbox, crux, clock)
    other, _ = finished(sandbox, crux, clock)
    if how == "time":
        clock.advance(300)
    elif how == "by hand":
        sandbox.expire_urls()
    altered = {
        "unsigned": url.partition("?")[0],
        "other file": url.replace(uuid, other),
        "other expiry": url.replace("X-Amz-Expires=300", "X-Amz-Expires=301"),
        "other signature": f"{url}0",
    }.get(how, url)
    answer = crux.get(altered, headers={"Authorization": None})
    assert answer.status_code == 403
    assert answer.headers["Content-Type"] == "application/xml"
    fresh = retrieve(sandbox, crux, uuid)["url"]
    assert crux.get(fresh, headers={"Authorization": None}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/orders/export", 404),
        ("POST", "/api/organizations/user-login", 404),
        ("GET", f"/api/data/export/{NIL}", 404),
        ("GET", f"/api/data/export/{NIL}/", 404),
        ("GET", "/api/data/export/no-uuid/", 404),
        ("POST", "/api/v2/orders/export/", 404),
        ("GET", "/", 404),
        ("GET", "/api/orders/export/", 405),
        ("PUT", "/api/orders/export/", 405),
        ("GET", "/api/organizations/user-login/", 405),
        ("POST", f"/api/data/export/{NIL}/", 405),
        ("HEAD", f"/sandbox-files/{NIL}.csv", 405),
    ],
)
def test_no_other_path_or_method_is_answered_or_redirected(sandbox: Sandbox, crux, method, path, status):
    answer = crux.request(method, sandbox.url + path, allow_redirects=False)
    assert answer.status_code == status
    assert sandbox.requests[-1]["path"] == path


def test_the_journal_tells_all_but_the_secrets(sandbox: Sandbox, http: requests.Session, clock: ManualClock):
    http.headers["User-Agent"] = "a-client/1"
    token = log_in(sandbox, http, password="sandbox").json()["auth_token"]
    wrong = log_in(sandbox, http, password="pa55-wrong").status_code
    http.headers["Authorization"] = f"Token {token}"
    uuid, url = finished(sandbox, http, clock, limit=0)
    http.get(url)
    http.get(url, headers={"Authorization": None})
    http.get(f"{sandbox.url}/", headers={"Authorization": token})

    journal = http.get(f"{sandbox.url}/sandbox/requests").json()
    assert journal == sandbox.requests  # and the request for the journal is not in it
    told = [(entry["method"], entry["path"], entry["status"], entry["authorization"]) for entry in journal]
    file = f"/sandbox-files/{uuid}.csv"
    assert told == [
        ("POST", "/api/organizations/user-login/", 200, None),
        ("POST", "/api/organizations/user-login/", wrong, None),
        ("POST", "/api/orders/export/", 200, "Token ***"),
        ("GET", f"/api/data/export/{uuid}/", 200, "Token ***"),
        ("GET", file, 400, "Token ***"),
        ("GET", file, 200, None),
        ("GET", "/", 404, "***"),
    ]
    assert journal[0]["body"] == {"username": "sandbox", "password": "***"}
    assert journal[2]["body"] == {"start_date": DAY, "limit": 0}
    assert journal[2]["content_type"] == "application/json"
    assert {entry["user_agent"] for entry in journal} == {"a-client/1"}
    text = json.dumps(journal)
    signature = urlsplit(url).query.partition("X-Amz-Signature=")[2]
    assert signature
    assert not [secret for secret in (token, "pa55-wrong", signature) if secret in text]


def test_waiting_ends_when_so_many_requests_are_answered(sandbox: Sandbox, crux: requests.Session):
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(sandbox.wait_for, "POST", "/api/orders/", count=2)
        crux.get(f"{sandbox.url}/api/orders/export/")
        ask(sandbox, crux)
        assert not waiting.done()
        ask(sandbox, crux, limit="none")
        assert [(entry["status"], entry["body"]) for entry in waiting.result(60)] == [
            (200, {}),
            (400, {"limit": "none"}),
        ]
    assert sandbox.wait_for("GET", "/api/orders/export/", timeout=0) == sandbox.requests[:1]


def test_a_wait_for_too_many_requests_says_what_there_was(sandbox: Sandbox, crux: requests.Session):
    ask(sandbox, crux)
    seen = r"1 of 2 POST /api/orders/ in 0\.1 s; seen: \['POST /api/orders/export/ 200'\]"
    with pytest.raises(TimeoutError, match=seen):
        sandbox.wait_for("POST", "/api/orders/", count=2, timeout=0.1)


def test_canned_answers_are_given_once_each_in_their_turn(sandbox: Sandbox, crux: requests.Session):
    sandbox.answer_next("/api/orders/export/", 503, {"Retry-After": "1"}, b"busy")
    sandbox.answer_next("/api/data/", 429)
    sandbox.answer_next("/api/orders/export/", 504, carry_out=True)
    first = ask(sandbox, crux)
    assert (first.status_code, first.headers["Retry-After"], first.content) == (503, "1", b"busy")
    assert sandbox.exports == []
    assert ask(sandbox, crux).status_code == 504
    assert len(sandbox.exports) == 1  # the ambiguous failure: it was started
    assert ask(sandbox, crux).status_code == 200
    assert [entry["status"] for entry in sandbox.requests] == [503, 504, 200]
    assert crux.get(f"{sandbox.url}/api/data/export/{NIL}/").status_code == 429


def test_a_content_length_too_great_cuts_the_connection(sandbox: Sandbox, crux: requests.Session):
    sandbox.answer_next("/api/orders/export/", 200, {"Content-Length": "99"}, b"{", carry_out=True)
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError)):
        ask(sandbox, crux)
    assert len(sandbox.exports) == 1


def test_a_late_answer_comes_after_the_request_was_carried_out(http: requests.Session):
    with running_sandbox(SandboxSettings(answer_seconds=3600)) as slow:
        http.headers["Authorization"] = f"Token {slow.settings.token}"
        with pytest.raises(requests.ReadTimeout):
            http.post(f"{slow.url}/api/orders/export/", json={}, timeout=2)
        assert len(slow.exports) == 1
        assert slow.requests[0]["status"] is None


def test_the_sandbox_ends_with_the_with(http: requests.Session):
    with running_sandbox() as sandbox:
        assert sandbox.url.startswith("http://127.0.0.1:")
        assert http.get(f"{sandbox.url}/sandbox/requests").json() == []
    with pytest.raises(requests.exceptions.ConnectionError):
        http.get(f"{sandbox.url}/sandbox/requests")


def test_a_login_is_an_object(sandbox: Sandbox, http: requests.Session):
    assert http.post(f"{sandbox.url}/api/organizations/user-login/", json=[]).status_code == 400


def test_a_file_that_never_was_is_not_there_though_its_url_is_signed(sandbox: Sandbox, http: requests.Session):
    answer = http.get(sandbox.url + sandbox.presigner.sign(f"/sandbox-files/{NIL}.csv"))
    assert (answer.status_code, "NoSuchKey" in answer.text) == (404, True)
