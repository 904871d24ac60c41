"""``python -m airflow_provider_crux.sandbox``, as a user starts and stops it."""

import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from subprocess import PIPE
from threading import Timer

import pytest
import requests

from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.state import SandboxSettings

# starts processes
pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-W", "error", "-m", "airflow_provider_crux.sandbox"]


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_its_url_serves_and_stops_cleanly(http: requests.Session, signal_number):
    options = ["--token", "my-token", "--user", "me", "--password", "mine", "--export-seconds", "3600"]
    options += ["--total-results", "organization"]
    # buffered, as for a user, because the test checks that the line comes at once
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    process = subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    watchdog = Timer(60, process.kill)  # if the line never comes, the test must fail instead of hanging
    watchdog.start()
    try:
        announcement = re.fullmatch(r"Crux Connect sandbox on (http://127\.0\.0\.1:\d+)\n", process.stdout.readline())
        url = announcement.group(1)
        http.headers["Authorization"] = "Token my-token"
        uuid = http.post(f"{url}/api/orders/export/", json={}).json()["uuid"]
        assert http.get(f"{url}/api/data/export/{uuid}/").json()["status"] == "pending"
        login = http.post(f"{url}/api/organizations/user-login/", json={"username": "me", "password": "mine"})
        assert login.status_code == 200
        before_the_first = {"end_date": "2016-01-01T00:00:00.000Z"}
        listed = http.post(f"{url}/api/orders/", json=before_the_first).json()
        assert (listed["orders"], listed["total_results"] > 0) == ([], True)
        process.send_signal(signal_number)
        assert process.communicate(timeout=60) == ("", "")
        assert process.returncode == 0
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()


def test_it_speaks_another_version_and_writes_other_columns(http: requests.Session):
    options = ["--api-version", "timp", "--columns", "2017-supplier"]
    process = subprocess.Popen([*COMMAND, *options], stdout=PIPE, stderr=PIPE, text=True)
    watchdog = Timer(60, process.kill)
    watchdog.start()
    try:
        url = process.stdout.readline().split()[-1]
        http.headers["Authorization"] = f"Token {SandboxSettings().token}"
        assert http.post(f"{url}/api/orders/export/", json={}).status_code == 404
        export = http.post(f"{url}/timp/orders/search/export/", json={"end_date": "2017-01-02T00:00:00.000Z"}).json()
        file_url = http.get(f"{url}/timp/data/export/{export['uuid']}/").json()["url"]
        header = requests.get(file_url, proxies={"http": ""}, timeout=60).text.partition("\r\n")[0]
        assert header.endswith(",tracking_number,shipping_carrier,shipping_method,weight,shipping_cost,shipping_date")
        assert ",retailer_id,sku," in header
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()


def test_it_stops_quietly_while_it_writes_large_files(http: requests.Session):
    process = subprocess.Popen([*COMMAND, "--export-seconds", "0"], stdout=PIPE, stderr=PIPE, text=True)
    watchdog = Timer(60, process.kill)
    watchdog.start()
    try:
        url = process.stdout.readline().split()[-1]
        http.headers["Authorization"] = f"Token {SandboxSettings().token}"
        uuid = http.post(f"{url}/api/orders/export/", json={"end_date": "2026-01-01T00:00:00.000Z"}).json()["uuid"]
        file_url = http.get(f"{url}/api/data/export/{uuid}/").json()["url"]
        with ThreadPoolExecutor() as pool:
            # six files of nine years, each of which takes many seconds
            downloads = [pool.submit(requests.get, file_url, timeout=60) for _ in range(6)]
            time.sleep(1)
            assert not any(download.done() for download in downloads)
            stopped_at = time.monotonic()
            process.terminate()
            assert process.communicate(timeout=60) == ("", "")
            # about a second on an idle machine
            assert time.monotonic() - stopped_at < 5
        assert process.returncode == 0
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()


def test_a_taken_port_is_reported_in_one_line():
    with running_sandbox() as sandbox:
        port = sandbox.url.rpartition(":")[2]
        result = subprocess.run([*COMMAND, "--port", port], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert result.stdout == ""
    assert re.fullmatch(f"Cannot listen on port {port}: Address already in use.*\n", result.stderr)


@pytest.mark.parametrize("option", ["--port=65536", "--url-lifetime=-1", "--token-lifetime=nan", "--export-seconds=x"])
def test_an_invalid_value_is_rejected(option):
    result = subprocess.run([*COMMAND, option], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert f"argument {option.partition('=')[0]}: must be " in result.stderr
