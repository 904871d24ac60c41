"""Placeholders in a path: what replaces them, and what is rejected before anything is sent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath

from airflow_provider_crux.exceptions import CruxInvalidRequestError
from tests.transfers.transfer import INTERVAL, STATUS_PATH, make_operator, statuses

if TYPE_CHECKING:
    from tests.transfers.transfer import Transfer


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("dt={interval_start:%Y-%m-%d}/a.csv", "dt=2026-01-04/a.csv"),
        ("{interval_start:%Y/%m/%d}/until {interval_end:%H:%M}.csv", "2026/01/04/until 00:00.csv"),
        ("{interval_start}_{interval_end}.csv", "20260104T000000Z_20260105T000000Z.csv"),
        ("{dag_id}-{run_id}.csv", "d-manual__2026-01-05.csv"),
        ("{{literal}}.csv", "{literal}.csv"),
    ],
)
def test_placeholders_are_replaced(transfer: Transfer, tmp_path: Path, name: str, stored: str) -> None:
    assert transfer.run(path=f"file://{tmp_path}/{name}") == f"file://{tmp_path}/{stored}"
    assert (tmp_path / stored).stat().st_size == transfer.pushed["export_file"]["bytes"]


def test_the_uuid_is_a_placeholder(transfer: Transfer, tmp_path: Path) -> None:
    transfer.run(path=f"file://{tmp_path}/{{export_uuid}}.csv")
    assert (tmp_path / f"{transfer.export_uuid}.csv").exists()


@pytest.mark.parametrize(
    ("run_id", "stored"),
    [
        ("scheduled__2026-01-05T00:00:00+00:00", "scheduled__2026-01-05T00_00_00_00_00"),
        ("../../etc/passwd", "__.._etc_passwd"),
        ("..", "_"),
        (".hidden", "_hidden"),
        ("Größe/1", "Gr__e_1"),
    ],
)
def test_a_run_id_cannot_leave_the_folder(transfer: Transfer, tmp_path: Path, run_id: str, stored: str) -> None:
    context = transfer.context_with(transfer.interval)
    context["ti"].run_id = run_id
    operator = make_operator(transfer.export_uuid, f"file://{tmp_path}/lake/{{run_id}}/a.csv")
    assert operator.execute(context) == f"file://{tmp_path}/lake/{stored}/a.csv"


def test_the_interval_is_that_of_the_mapped_task_that_requested_the_export(transfer: Transfer, tmp_path: Path) -> None:
    other = {"export_uuid": "b9888421-594c-4d2f-9f0d-3b138a16c845", "interval_start": "2020-01-01T00:00:00.000Z"}
    context = transfer.context_with(None, other, transfer.interval, other)
    operator = make_operator(transfer.export_uuid.upper(), f"file://{tmp_path}/{{interval_start:%Y}}.csv")
    operator.upstream_task_ids.add("export")
    assert operator.execute(context).endswith("/2026.csv")


@pytest.mark.parametrize("pushed", [[], [{"export_uuid": "another", **INTERVAL}]])
def test_an_unknown_interval_fails_the_task_before_anything_is_sent(
    transfer: Transfer, tmp_path: Path, pushed: list[Any]
) -> None:
    operator = make_operator(transfer.export_uuid, f"file://{tmp_path}/{{interval_end:%Y}}.csv")
    operator.upstream_task_ids.add("export")
    with pytest.raises(AirflowFailException, match=r"interval_end.*interval of the export is unknown"):
        operator.execute(transfer.context_with(*pushed))
    assert statuses(transfer.sandbox, STATUS_PATH) == []


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("{interval}", "{interval} is not a placeholder"),
        ("{}", "{} is not a placeholder"),
        ("{export_uuid.__class__}", "is not a placeholder"),
        ("{interval_start[0]}", "is not a placeholder"),
        ("{run_id!r}", "is not a placeholder"),
        ("{dag_id:%Y}", "has an invalid format"),
        ("{interval_start:day}", "has an invalid format"),
        ("{interval_start:%B}", "has an invalid format"),
        ("{interval_start:%", "unbalanced brace"),
        ("a}b", "unbalanced brace"),
        ("{{ var.value.folder }}/{% if true %}a{% endif %}/{nothing}", "{nothing} is not a placeholder"),
    ],
)
def test_an_invalid_placeholder_fails_when_the_dag_is_parsed(path: str, problem: str) -> None:
    with pytest.raises(CruxInvalidRequestError) as raised:
        make_operator("{{ export }}", f"file:///lake/{path}")
    assert problem in str(raised.value)


def test_a_template_that_renders_an_unknown_placeholder_fails_the_task(transfer: Transfer) -> None:
    operator = make_operator(transfer.export_uuid, "{{ var.value.path }}")
    operator.path = "file:///lake/{nothing}.csv"  # as Airflow does when it renders
    with pytest.raises(AirflowFailException, match=r"nothing.*is not a placeholder"):
        operator.execute(transfer.context_with())


def test_jinja_is_rendered_before_placeholders_are_replaced(transfer: Transfer, tmp_path: Path) -> None:
    operator = make_operator(transfer.export_uuid, "file://{{ folder }}/{{ '{{' }}{interval_start:%d}.csv")
    operator.upstream_task_ids.add("export")
    context = transfer.context_with(transfer.interval) | {"folder": str(tmp_path)}
    operator.render_template_fields(context)
    assert operator.execute(context) == f"file://{tmp_path}/{{04.csv"


def test_a_path_object_has_no_placeholders(transfer: Transfer, tmp_path: Path) -> None:
    path: Any = ObjectStoragePath(f"file://{tmp_path}/{{any}}.csv")
    make_operator(transfer.export_uuid, path).execute(transfer.context_with())
    assert (tmp_path / "{any}.csv").exists()
