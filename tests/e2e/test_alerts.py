"""The recipes of docs/alerts.md: a real scheduler runs them, and receivers on loopback get their messages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.manifests import manifest, manifest_name
from tests.real_airflow.instance import RUN_SECONDS, AirflowInstance
from tests.real_airflow.launcher import AIRFLOW_VERSION
from tests.real_airflow.sandbox_airflow import airflow_with_sandbox
from tests.receivers import WITHOUT_PROXY, Receiver, running_mail_server, running_webhook
from tests.test_alerts_page import CHECK, CONNECTIONS, DEADLINE, EXPORT

if TYPE_CHECKING:
    from airflow_provider_crux.sandbox.state import Sandbox

pytestmark = pytest.mark.e2e

ALERT = re.compile(r"^alert = .*?^\)\n", re.MULTILINE | re.DOTALL)
IMPORT_OF_ALERT = re.compile(r"^from airflow\.providers\.(?:slack|smtp)\..*\n", re.MULTILINE)
DAY = timedelta(days=1)

SLACK_TOKEN, MAIL_PASSWORD, REJECTED_TOKEN = "T0/B0/of-this-test", "mail-password-of-this-test", "token-that-is-wrong"

since_3_1 = pytest.mark.skipif(AIRFLOW_VERSION < (3, 1), reason="deadline alerts were added in Airflow 3.1")


class Receivers(NamedTuple):
    slack: Receiver
    mail: Receiver


@pytest.fixture(scope="module")
def receivers() -> Iterator[Receivers]:
    with running_webhook() as slack, running_mail_server() as mail:
        yield Receivers(slack, mail)


def last_run() -> datetime:
    """Return when the DAG that checks is due last, at six."""
    return (datetime.now(UTC) - timedelta(hours=6)).replace(hour=6, minute=0, second=0, microsecond=0)


def store(folder: Path, host: str, day: datetime, **changes: Any) -> None:
    """Store a file with the orders of a day, and its manifest."""
    name = f"dt={day:%Y-%m-%d}/orders.csv"
    content = manifest(day, day + DAY, host=host, requested_at=(day + DAY).isoformat(), **changes)
    for path, text in ((name, "12345678"), (manifest_name(name), json.dumps(content))):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


@pytest.fixture(scope="module")
def lakes(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox) -> dict[str, str]:
    """Return the paths of a folder that is complete, and of one that lacks the last day, another one, and orders."""
    root, host = tmp_path_factory.mktemp("lakes"), sandbox.url.removeprefix("http://")
    midnight = last_run().replace(hour=0)
    for number in range(1, 40):
        orders = {"orders": 100, "missing_orders": 0, "matched_orders": 100}
        store(root / "complete", host, midnight - number * DAY, **orders)
        if number not in (1, 10):
            changes = {2: {"orders": 0}, 5: {"missing_orders": 3}}.get(number, {})
            store(root / "incomplete", host, midnight - number * DAY, **orders | changes)
    return {name: f"{(root / name).as_uri()}/" for name in ("complete", "incomplete")}


def recipe(block: str, dag_id: str, *, alert_of: str | None = None, **texts: str) -> str:
    """Return a recipe as the DAG ``dag_id``, with the alert of another recipe, and with other texts."""
    if alert_of is not None:
        for pattern in (ALERT, IMPORT_OF_ALERT):
            (other,) = pattern.findall(alert_of)
            block, replaced = pattern.subn(lambda _, other=other: other, block)
            assert replaced == 1
    (own_id,) = re.findall(r"DAG\(\s*\"(\w+)\"", block)
    for old, new in {f'"{own_id}"': f'"{dag_id}"', **texts}.items():
        assert block.count(old) == 1, old
        block = block.replace(old, new)
    return block


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory, lakes: dict[str, str]) -> list[Path]:
    """Return the files of the recipes; the name of each begins with its DAG's ID."""
    path, rejected = "s3://aws_lake@orders/", 'task_id="export", crux_conn_id="crux_rejected"'
    sources = {
        "check_to_slack": (CHECK, {path: lakes["incomplete"]}),
        "check_to_mail": (CHECK, {path: lakes["incomplete"], "alert_of": EXPORT}),
        "check_complete": (CHECK, {path: lakes["complete"]}),
        "export_to_mail": (EXPORT, {'task_id="export"': rejected}),
        "export_to_slack": (EXPORT, {'task_id="export"': rejected, "alert_of": CHECK}),
        "deadline_to_slack": (DEADLINE, {}),
        "deadline_to_mail": (DEADLINE, with_mail(DEADLINE)),
    }
    folder = tmp_path_factory.mktemp("recipes")
    for name, (block, arguments) in sources.items():
        if block != DEADLINE or AIRFLOW_VERSION >= (3, 1):
            (folder / f"{name}.py").write_text(recipe(block, name, **arguments))
    return sorted(folder.iterdir())


def with_mail(block: str) -> dict[str, str]:
    """Return what changes a deadline alert as the page says: SmtpNotifier with the arguments of its recipe."""
    (slack,) = re.findall(r"        SlackWebhookNotifier,\n        kwargs={.*?\n        }", block, re.DOTALL)
    (text,) = re.findall(r'"text": (".*?")', slack)
    (import_of_slack,), (import_of_mail,) = (IMPORT_OF_ALERT.findall(page) for page in (block, EXPORT))
    kwargs = (
        '"smtp_conn_id": "smtp_orders", "from_email": "airflow@example.com", "to": "orders@example.com", '
        f'"subject": "late", "html_content": {text}'
    )
    return {slack: f"SmtpNotifier, kwargs={{{kwargs}}}", import_of_slack: import_of_mail}


@pytest.fixture(scope="module")
def airflow(
    tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox, recipes: list[Path], receivers: Receivers
) -> Iterator[AirflowInstance]:
    """Run a real Airflow with the recipes and the connections of the page, whose hosts are on loopback."""
    credentials = {
        "AIRFLOW_CONN_SLACK_ORDERS": receivers.slack.connection | {"password": SLACK_TOKEN},
        "AIRFLOW_CONN_SMTP_ORDERS": receivers.mail.connection | {"login": "mail-user", "password": MAIL_PASSWORD},
    }
    assert CONNECTIONS.keys() == credentials.keys()
    connections = {name: connection | credentials[name] for name, connection in CONNECTIONS.items()}
    connections["AIRFLOW_CONN_CRUX_REJECTED"] = {"conn_type": "crux", "host": sandbox.url, "password": REJECTED_TOKEN}
    env = {name: json.dumps(value) for name, value in connections.items()} | WITHOUT_PROXY
    with airflow_with_sandbox(
        tmp_path_factory.mktemp("e2e"), recipes, sandbox, env, triggerer=True, quick_polls=True
    ) as instance:
        instance.wait_for_dags({file.stem for file in recipes})
        yield instance


FINDINGS = (
    "2 gaps in",
    "checks.max_age: the newest covered hour ended at",
    "checks.min_orders: the newest interval, ",
    "checks.volume_change: the newest interval, ",
    "checks.max_missing_orders: files lack 3 orders of the list",
)


both = pytest.mark.parametrize("name", ["slack", "mail"])


@both
def test_a_gap_a_late_file_an_unusual_volume_and_missing_orders_are_one_message(
    airflow: AirflowInstance, receivers: Receivers, name: str
) -> None:
    (run,) = airflow.wait_for_runs(f"check_to_{name}", 1, state="failed")
    (message,) = getattr(receivers, name).wait_for(f"check_to_{name} check", RUN_SECONDS)
    assert [finding in message for finding in FINDINGS] == [True] * len(FINDINGS)
    assert run.run_id in message
    assert re.search(rf"http://\S+{run.dag_id}", message)  # the link to the log


def test_a_check_that_finds_nothing_sends_nothing(airflow: AirflowInstance, receivers: Receivers) -> None:
    airflow.wait_for_runs("check_complete", 1)
    assert not [message for message in receivers.slack.messages if "check_complete" in message]


@both
def test_an_export_that_failed_is_one_message(airflow: AirflowInstance, receivers: Receivers, name: str) -> None:
    (run,) = airflow.wait_for_runs(f"export_to_{name}", 1, state="failed")
    (message,) = getattr(receivers, name).wait_for(f"export_to_{name} export", RUN_SECONDS)
    assert "HTTP 401" in message
    assert run.run_id in message


@since_3_1
@both
def test_a_run_that_is_not_done_in_time_is_one_message(
    airflow: AirflowInstance, receivers: Receivers, name: str
) -> None:
    now = datetime.now(UTC)
    timely, late = (airflow.trigger(f"deadline_to_{name}", date) for date in (now, now - 2 * DAY))
    (message,) = getattr(receivers, name).wait_for(late, RUN_SECONDS)
    assert f"deadline_to_{name}: run {late} is not done at " in message
    assert not [message for message in getattr(receivers, name).messages if timely in message]


@pytest.mark.usefixtures("airflow")
def test_no_message_shows_a_secret(sandbox: Sandbox, receivers: Receivers) -> None:
    assert {*receivers.slack.credentials} == {f"/{SLACK_TOKEN}"}
    assert {*receivers.mail.credentials} == {f"mail-user:{MAIL_PASSWORD}"}
    messages = "\n".join([*receivers.slack.messages, *receivers.mail.messages])
    assert messages
    for secret in (SLACK_TOKEN, MAIL_PASSWORD, REJECTED_TOKEN, sandbox.settings.token):
        assert secret not in messages
