"""Placeholders in a path: what they become, and what is rejected when the DAG is parsed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, ObjectStoragePath
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.task.object_storage import file_sizes
from airflow_provider_crux.task.paths import fill_placeholders
from airflow_provider_crux.transfers.crux_to_object_storage import CruxExportToObjectStorageOperator
from tests.object_store import ObjectStore, running_s3, s3
from tests.operators.lake import find_gaps
from tests.transfers.transfer import (
    INTERVAL,
    Transfer,
    context_with,
    done_uuid,
    make_operator,
    resume,
    target,
    transfer,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["context_with", "done_uuid", "find_gaps", "running_s3", "s3", "target", "transfer"]

START = datetime(2026, 1, 1, tzinfo=UTC)
UUID = "b9888421-594c-4d2f-9f0d-3b138a16c845"
OTHER = {"export_uuid": UUID, "interval_start": "2020-02-02T00:00:00.000Z", "interval_end": "2020-02-03T00:00:00.000Z"}


def stored_names(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("{interval_start}.csv", "2026-01-04_00-00-00Z.csv"),
        ("{interval_end}.csv", "2026-01-05_00-00-00Z.csv"),
        ("dt={interval_start:%Y-%m-%d}/orders.csv", "dt=2026-01-04/orders.csv"),
        ("{interval_end:%Y/%m/%d/%H%M%S}.csv", "2026/01/05/000000.csv"),
        ("{interval_start:%G-W%V}-{interval_start:%j}.csv", "2026-W01-004.csv"),
        ("{export_uuid}.csv", "EXPORT.csv"),
        ("{dag_id}/{run_id}.csv", "d/manual__2026-01-05.csv"),
        ("{interval_start:%d}{interval_start:%d}{export_uuid}", "0404EXPORT"),
        ("plain%Y.csv", "plain%Y.csv"),
    ],
)
def test_a_placeholder_is_replaced(transfer: Transfer, tmp_path: Path, path: str, name: str) -> None:
    expected = name.replace("EXPORT", transfer.export_uuid)
    assert transfer.run(path=f"file://{tmp_path}/{path}") == f"file://{tmp_path}/{expected}"
    assert transfer.pushed["export_file"]["path"] == f"file://{tmp_path}/{expected}"
    assert stored_names(tmp_path) == [expected]


def test_a_brace_that_a_template_doubles_is_literal(transfer: Transfer, tmp_path: Path) -> None:
    """Airflow renders the templates first, and to Jinja a doubled brace means something else."""
    path = f"file://{tmp_path}/" + "{{ '{{' }}orders{{ '}}' }}-{interval_start:%d}.csv"
    operator = make_operator(transfer.export_uuid, path)
    operator.upstream_task_ids.add("export")
    operator.render_template_fields({})
    operator.execute(transfer.context_with(transfer.interval))
    assert stored_names(tmp_path) == ["{orders}-04.csv"]


def test_the_interval_is_that_of_the_export_whatever_else_is_upstream(transfer: Transfer, tmp_path: Path) -> None:
    """A mapped task upstream pushed a value for each of its exports, another task pushed something else."""
    newer = transfer.interval | {"export_uuid": UUID, "request": {"start_date": "2026-01-05T00:00:00.000Z"}}
    path = f"file://{tmp_path}/{{interval_start:%Y-%m-%d}}.csv"
    transfer.run(path=path, upstream=[None, "a text", OTHER, transfer.interval, newer])
    assert stored_names(tmp_path) == ["2026-01-04.csv"]


def test_an_interval_in_another_zone_is_written_in_utc(transfer: Transfer, tmp_path: Path) -> None:
    request = INTERVAL["request"] | {"start_date": "2026-01-04T01:30:00+02:00"}
    pushed = transfer.interval | {"request": request}
    transfer.run(path=f"file://{tmp_path}/{{interval_start}}.csv", upstream=[pushed])
    assert stored_names(tmp_path) == ["2026-01-03_23-30-00Z.csv"]


@pytest.mark.parametrize(
    "upstream",
    [[], [OTHER], [{"export_uuid": "EXPORT", "request": None}, {"export_uuid": "EXPORT", "request": {}}]],
    ids=["no task", "another export", "an export without dates"],
)
@pytest.mark.parametrize("deferrable", [False, True])
def test_an_unknown_interval_fails_the_task_before_anything_is_sent(
    transfer: Transfer, tmp_path: Path, upstream: list[dict[str, Any]], deferrable: bool
) -> None:
    own = {"export_uuid": transfer.export_uuid}
    pushed = [value | own if value["export_uuid"] == "EXPORT" else value for value in upstream]
    before = transfer.sandbox.requests
    with pytest.raises(AirflowFailException, match=r"\{interval_end\}, but the interval .* is unknown; pass"):
        transfer.run(path=f"file://{tmp_path}/{{interval_end}}.csv", upstream=pushed, deferrable=deferrable)
    assert transfer.sandbox.requests == before
    assert list(tmp_path.iterdir()) == []


def test_without_a_placeholder_for_the_interval_it_may_be_unknown(transfer: Transfer, tmp_path: Path) -> None:
    transfer.run(path=f"file://{tmp_path}/{{export_uuid}}.csv", upstream=[])
    assert stored_names(tmp_path) == [f"{transfer.export_uuid}.csv"]


@pytest.mark.parametrize(
    ("run_id", "name"),
    [
        ("scheduled__2026-01-03T00:00:00+00:00", "scheduled__2026-01-03T00_00_00_00_00"),
        ("../../etc/passwd", "__.._etc_passwd"),
        ("..", "_"),
        ("...hidden", "_hidden"),
        ("/root", "_root"),
        ("a/../b\\c\0d\ne", "a_.._b_c_d_e"),
        ("{export_uuid}%Y", "_export_uuid__Y"),
        ("größe", "gr__e"),
    ],
)
def test_a_run_id_cannot_leave_its_folder(
    transfer: Transfer, make_context, tmp_path: Path, run_id: str, name: str
) -> None:
    operator = CruxExportToObjectStorageOperator(
        task_id="store", export_uuid=transfer.export_uuid, path=f"file://{tmp_path}/runs/{{run_id}}/a.csv"
    )
    operator.execute(make_context(identity={"run_id": run_id}))
    assert stored_names(tmp_path) == [f"runs/{name}/a.csv"]


@given(st.text(min_size=1))
def test_an_id_is_one_part_of_a_path(run_id: str) -> None:
    part = fill_placeholders("{run_id}", {"run_id": run_id})
    assert Path("/folder", part).resolve() == Path("/folder", part)
    assert Path("/folder", part).parent == Path("/folder")


REJECTED = {
    "{interval}": r"{interval} is not a placeholder; use {interval_start}, {interval_end}, {export_uuid}",
    "{ds}": "{ds} is not a placeholder",
    "{}": "{} is not a placeholder",
    "{0}": "{0} is not a placeholder",
    "{interval_start.year}": "{interval_start.year} is not a placeholder",
    "{interval_start[0]}": "{interval_start[0]} is not a placeholder",
    "{export_uuid.__class__}": "{export_uuid.__class__} is not a placeholder",
    "{interval_start!r}": "{interval_start} is not a placeholder",
    "{export_uuid:>50}": "{export_uuid:>50} has an invalid format",
    "{run_id:%Y}": "{run_id:%Y} has an invalid format",
    "{interval_start:Y}": "{interval_start:Y} has an invalid format",
    "{interval_start:%B}": "{interval_start:%B} has an invalid format",
    "{interval_start:%Y-%}": "{interval_start:%Y-%} has an invalid format",
    "{interval_start:{dag_id}}": "{interval_start:{dag_id}} has an invalid format",
    "{interval_start": "has an unbalanced brace",
    "interval_start}": "has an unbalanced brace",
    "{interval_end}{ds}": "{ds} is not a placeholder",
    "dt={{ ds }}/{day}.csv": "{day} is not a placeholder",
    "{% if true %}{day}{% endif %}": "{day} is not a placeholder",
}


@pytest.mark.parametrize(("path", "problem"), REJECTED.items(), ids=REJECTED)
def test_a_faulty_placeholder_fails_when_the_dag_is_parsed(path: str, problem: str) -> None:
    with DAG("lake", schedule=None, start_date=START), pytest.raises(CruxInvalidRequestError) as error:
        CruxExportToObjectStorageOperator(task_id="store", export_uuid=UUID, path=f"s3://bucket/{path}")
    message = str(error.value)
    assert "Task 'store': path: " in message
    assert problem in message
    assert "double a brace that is meant literally" in message or "for example {interval_start:%Y-%m-%d}" in message


def test_a_faulty_placeholder_from_a_template_fails_the_task_before_anything_is_sent(transfer: Transfer) -> None:
    operator = make_operator(transfer.export_uuid, "{{ folder }}/{dag_id}.csv")
    before = transfer.sandbox.requests
    operator.render_template_fields({"folder": "file:///lake/{day}"})
    with pytest.raises(AirflowFailException, match=r"path: \{day\} is not a placeholder"):
        operator.execute(transfer.context_with())
    assert transfer.sandbox.requests == before


@pytest.mark.parametrize(
    ("path", "native", "rendered"),
    [
        ("s3://b/{{ ds }}/{interval_start:%Y}.csv", False, "s3://b/2026-01-05/{interval_start:%Y}.csv"),
        ("s3://b/{{ {'a': 1}['a'] }}/{dag_id}.csv", False, "s3://b/1/{dag_id}.csv"),
        ("s3://b/{# {a} {{ b }} #}{% if 1 %}{run_id}{% endif %}", False, "s3://b/{run_id}"),
        ("s3://b/{{ ds\n}}/{run_id}", True, "s3://b/2026-01-05/{run_id}"),
    ],
)
def test_jinja_and_placeholders_do_not_touch_each_other(path: str, native: bool, rendered: str) -> None:
    with DAG("lake", schedule=None, start_date=START, render_template_as_native_obj=native):
        operator = CruxExportToObjectStorageOperator(task_id="store", export_uuid=UUID, path=path)
    operator.render_template_fields({"ds": "2026-01-05"})
    assert operator.path == rendered


def test_an_object_storage_path_has_no_placeholders(transfer: Transfer, tmp_path: Path) -> None:
    for name in ("{day}.csv", "{export_uuid}.csv", "{interval_start}.csv"):
        operator = CruxExportToObjectStorageOperator(
            task_id="store", export_uuid=transfer.export_uuid, path=ObjectStoragePath(f"file://{tmp_path}/{name}")
        )
        operator.execute(transfer.context_with())
    assert sorted(stored_names(tmp_path)) == ["{day}.csv", "{export_uuid}.csv", "{interval_start}.csv"]


def test_a_deferred_task_stores_at_the_path_of_its_placeholders(transfer: Transfer, tmp_path: Path) -> None:
    path = f"file://{tmp_path}/{{interval_start:%Y-%m-%d}}.csv"
    operator = make_operator(transfer.export_uuid, path, deferrable=True)
    operator.upstream_task_ids.add("export")
    resume(operator, transfer.context_with(transfer.interval), export_uuid=transfer.export_uuid, state="done")
    assert stored_names(tmp_path) == ["2026-01-04.csv"]


def test_a_file_system_of_another_kind_is_listed_folder_by_folder() -> None:
    folder = UPath("memory:///lake_of_paths")
    assert file_sizes(folder) == {}
    (folder / "dt=1" / "hour=2").mkdir(parents=True)
    (folder / "a.csv").write_bytes(b"1")
    (folder / "dt=1" / "hour=2" / "b.csv").write_bytes(b"22")
    try:
        sizes = {name.rpartition("lake_of_paths/")[2]: size for name, size in file_sizes(folder).items()}
        assert sizes == {"a.csv": 1, "dt=1/hour=2/b.csv": 2}
        with pytest.raises(CruxInvalidRequestError, match="is a file; use the folder"):
            file_sizes(folder / "a.csv")
    finally:
        folder.fs.rm(folder.path, recursive=True)


# What cannot be opened, said by both tasks.


@pytest.fixture(params=["store", "coverage"])
def failure(request: pytest.FixtureRequest, transfer: Transfer, find_gaps) -> Callable[[str], str]:
    """Return a function that runs a task with a path, and returns why the task fails without a retry."""

    def run(path: str) -> str:
        with pytest.raises(AirflowFailException) as caught:
            transfer.run(path=path) if request.param == "store" else find_gaps(path)
        return str(caught.value)

    return run


@pytest.mark.parametrize(
    ("scheme", "package"),
    [("gs", "google"), ("gcs", "google"), ("abfs", "microsoft-azure"), ("abfss", "microsoft-azure")],
)
def test_a_provider_that_is_not_installed(failure, scheme: str, package: str) -> None:
    """These tests run without it; those of tests/stores have all."""
    path = f"{scheme}://lake@orders/a.csv"
    assert failure(path) == (
        f"path: '{path}' cannot be opened (No filesystem registered for scheme {scheme}); install its package: pip "
        f"install apache-airflow-providers-{package}"
    )


@pytest.mark.parametrize(
    "url", ["abfss://orders@acme.dfs.core.windows.net/a", "wasbs://orders@acme.blob.core.windows.net/a"]
)
def test_the_form_that_azure_uses_names_no_connection(failure, url: str) -> None:
    account = url.partition("@")[2].partition("/")[0]
    assert failure(url) == (
        f"path: '{url}' names the account '{account}'; use abfs://conn_id@orders/key, and name the account in the "
        "connection"
    )


@pytest.mark.parametrize("path", ["{}://lake@orders/a.csv", "{}://orders/a.csv"])
@pytest.mark.parametrize("scheme", ["az", "wasb", "wasbs", "adl", "ADL"])
def test_another_scheme_of_azure(failure, path: str, scheme: str) -> None:
    url = path.format(scheme)
    conn_id = "lake" if "@" in path else "conn_id"
    assert failure(url) == f"path: '{url}' has the scheme {scheme.lower()}; use abfs://{conn_id}@orders/key"


@pytest.mark.parametrize("scheme", ["abfs", "abfss"])
@pytest.mark.parametrize(("before", "container"), [("orders@", "orders"), ("", "container")])
def test_a_path_in_the_form_of_microsoft(failure, scheme: str, before: str, container: str) -> None:
    account = "acme.dfs.core.windows.net"
    assert failure(f"{scheme}://{before}{account}/a.csv") == (
        f"path: '{scheme}://{before}{account}/a.csv' names the account '{account}'; "
        f"use abfs://conn_id@{container}/key, and name the account in the connection"
    )


def test_a_connection_that_is_incomplete(failure, connect) -> None:
    connect("incomplete", conn_type="aws", extra={"service_config": {"s3": {"signer": "S3V4RestSigner"}}})
    assert failure("s3://incomplete@orders/a.csv") == (
        "path: 's3://incomplete@orders/a.csv' cannot be opened (Signer S3V4RestSigner requires uri and token); "
        "connection 'incomplete' may be incomplete: correct it"
    )


def test_a_store_without_the_id_of_a_connection(transfer: Transfer, s3: ObjectStore, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.client.meta.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "unknown-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "unknown-secret")
    url = f"{s3.client.meta.endpoint_url}/moto-api/reset-auth"
    requests.post(url, data=b"0", timeout=10).raise_for_status()
    try:
        with pytest.raises(PermissionError, match="does not accept the credentials of the environment") as caught:
            transfer.run(path="s3://exports/a.csv")
        remedy = "name a connection in the path (s3://conn_id@exports/key), or correct these credentials"
        assert str(caught.value).endswith(f"; {remedy}")
    finally:
        requests.post(url, data=b"inf", timeout=10).raise_for_status()
