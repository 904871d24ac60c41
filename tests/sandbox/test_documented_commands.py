"""The sandbox accepts the requests of the vendor's documented commands, which these tests really run.

Only the host differs. The documented Python example is missing because it is not valid Python: its body is HTTPie's.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.state import Sandbox

# starts processes
pytestmark = pytest.mark.slow

BODY = {
    "start": 0,
    "limit": 25,
    "sort": {"key": "uuid", "dir": "des"},
    "line_item_status": ["unallocated"],
    "status_conjunction": "or",
    "start_date": "2017-07-31T06:00:00.000Z",
    "end_date": "2018-08-03T06:00:00.000Z",
}

CURL = r"""
curl -X "POST" "https://api.cruxconnect.com/api/orders/export/" \
     -H 'Authorization: Token d7bb2fbb0c666dee5a5a36634baac3114e08ba9c' \
     -H 'Content-Type: application/json; charset=utf-8' \
     -d $'{
  "sort": {
    "key": "uuid",
    "dir": "des"
  },
  "start": 0,
  "status_conjunction": "or",
  "start_date": "2017-07-31T06:00:00.000Z",
  "limit": 25,
  "line_item_status": [
    "unallocated"
  ],
  "end_date": "2018-08-03T06:00:00.000Z"
}'
"""

HTTPIE = r"""
http --json POST 'https://api.cruxconnect.com/api/orders/export/' \
    'Authorization':'Token d7bb2fbb0c666dee5a5a36634baac3114e08ba9c' \
    'Content-Type':'application/json; charset=utf-8' \
    sort:="{
  \"key\": \"uuid\",
  \"dir\": \"des\"
}" \
    start:=0 \
    status_conjunction="or" \
    start_date="2017-07-31T06:00:00.000Z" \
    limit:=25 \
    line_item_status:="[
  \"unallocated\"
]" \
    end_date="2018-08-03T06:00:00.000Z"
"""

NODE = r"""
// request Get Orders Export
(function(callback) {
    'use strict';

    const httpTransport = require('https');
    const responseEncoding = 'utf8';
    const httpOptions = {
        hostname: 'api.cruxconnect.com',
        port: '443',
        path: '/api/orders/export/',
        method: 'POST',
        headers: {"Authorization":"Token d7bb2fbb0c666dee5a5a36634baac3114e08ba9c","Content-Type":"application/json; charset=utf-8"}
    };
    httpOptions.headers['User-Agent'] = 'node ' + process.version;


    const request = httpTransport.request(httpOptions, (res) => {
        let responseBufs = [];
        let responseStr = '';

        res.on('data', (chunk) => {
            if (Buffer.isBuffer(chunk)) {
                responseBufs.push(chunk);
            }
            else {
                responseStr = responseStr + chunk;
            }
        }).on('end', () => {
            responseStr = responseBufs.length > 0 ?
                Buffer.concat(responseBufs).toString(responseEncoding) : responseStr;

            callback(null, res.statusCode, res.headers, responseStr);
        });

    })
    .setTimeout(0)
    .on('error', (error) => {
        callback(error);
    });
    request.write("{\"start\":0,\"limit\":25,\"sort\":{\"key\":\"uuid\",\"dir\":\"des\"},\"line_item_status\":[\"unallocated\"],\"status_conjunction\":\"or\",\"start_date\":\"2017-07-31T06:00:00.000Z\",\"end_date\":\"2018-08-03T06:00:00.000Z\"}")
    request.end();


})((error, statusCode, headers, body) => {
    console.log('ERROR:', error);
    console.log('STATUS:', statusCode);
    console.log('HEADERS:', JSON.stringify(headers));
    console.log('BODY:', body);
});
"""  # noqa: E501 - as documented


@pytest.fixture
def plain_sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment without proxies and user settings, in which HTTPie of this Python comes first."""
    # without a terminal HTTPie reads stdin, and it checks the network for updates
    httpie = {"default_options": ["--ignore-stdin"], "disable_update_warnings": True}
    (tmp_path / "config.json").write_text(json.dumps(httpie))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(tmp_path), "HTTPIE_CONFIG_DIR": str(tmp_path), "NO_PROXY": "*"}


def run(environment: dict[str, str], *command: str) -> str:
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def require(environment: dict[str, str], *tools: str) -> None:
    for tool in tools:
        if not shutil.which(tool, path=environment["PATH"]):
            pytest.skip(f"{tool} is not installed")


def assert_accepted(sandbox: Sandbox, output: str) -> None:
    assert re.search(rf'{{"uuid": "{sandbox.exports[0]}"}}', output)
    (entry,) = sandbox.requests
    assert entry["status"] == 200
    assert entry["body"] == BODY


@pytest.mark.parametrize(("tool", "script"), [("curl", CURL), ("http", HTTPIE)])
def test_the_documented_shell_command_is_accepted(plain_sandbox: Sandbox, environment, tool, script):
    require(environment, "bash", tool)
    output = run(environment, "bash", "-c", script.replace("https://api.cruxconnect.com", plain_sandbox.url))
    assert_accepted(plain_sandbox, output)


def test_the_documented_node_request_is_accepted(plain_sandbox: Sandbox, environment):
    require(environment, "node")
    address = urlsplit(plain_sandbox.url)
    script = NODE
    for documented, replacement in (
        ("'https'", "'http'"),
        ("api.cruxconnect.com", address.hostname),
        ("443", str(address.port)),
    ):
        assert documented in script
        script = script.replace(documented, replacement)
    output = run(environment, "node", "-e", script)
    assert "STATUS: 200" in output
    assert_accepted(plain_sandbox, output)
