"""Coverage as a task computes it: from manifests as they are published, in a folder and in a real S3."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import requests
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, ObjectStoragePath

from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.operators.coverage import CruxExportCoverageOperator
from tests.manifests import HOST, manifest
from tests.object_store import BUCKET, ObjectStore
from tests.operators.lake import DAYS, SINCE, UNTIL, Lake

pytestmark = pytest.mark.usefixtures("connection")

FILTERS: dict[str, Any] = {"sort": {"key": "date", "dir": "des"}, "line_item_status": ["rejected", "allocated"]}


def test_the_manifests_of_these_tests_are_as_published() -> None:
    schema = Path(__file__).parents[2] / "docs" / "manifest.schema.json"
    for changes in (
        {},
        {"filters": FILTERS, "rows": None, "orders": None, "columns": None},
        {"requested_at": None, "request": None},
    ):
        jsonschema.validate(manifest(DAYS[0], DAYS[1], **changes), json.loads(schema.read_text()))


ALL = [(DAYS[0], DAYS[30])]
MONTH = timedelta(days=30)


def test_what_no_file_covers_is_returned_in_pieces_oldest_first(lake: Lake, find_gaps) -> None:
    lake.store(DAYS[20], DAYS[23])
    lake.store(DAYS[22], DAYS[25], orders=None)
    lake.store(DAYS[1], DAYS[3])
    lake.store(DAYS[25], DAYS[30] + timedelta(days=9), rows=7)
    lake.store(DAYS[0] - timedelta(days=9), DAYS[0])
    gaps, coverage = find_gaps(lake.url)
    assert gaps == [
        (DAYS[0], DAYS[1]),
        (DAYS[3], DAYS[10]),
        (DAYS[10], DAYS[17]),
        (DAYS[17], DAYS[20]),
    ]
    assert coverage == {
        "since": "2026-01-01T00:00:00+00:00",
        "until": "2026-01-31T00:00:00+00:00",
        "covered_seconds": 12 * 86400,
        "gaps": 2,
        "short_gaps": 0,
        "empty_intervals": 0,
        "empty_seconds": 0,
        "overlaps": 1,
        "files": 4,
        "rows": 22,
        "orders": None,  # a sum without those of one file would be too small
    }


def test_a_stretch_that_is_covered_has_no_gap(lake: Lake, find_gaps) -> None:
    lake.store(DAYS[0], DAYS[12])
    lake.store(DAYS[12], DAYS[30])
    gaps, coverage = find_gaps(lake.url, fail_on_gap=True)
    assert (gaps, coverage["covered_seconds"], coverage["gaps"]) == ([], 30 * 86400, 0)


def test_in_a_folder_that_does_not_exist_everything_is_missing(lake: Lake, find_gaps) -> None:
    gaps, coverage = find_gaps(lake.url, max_interval=MONTH)
    assert gaps == ALL
    assert [coverage[name] for name in ("covered_seconds", "gaps", "files", "rows", "orders")] == [0, 1, 0, 0, 0]


def test_files_beside_the_folder_do_not_count(lake: Lake, find_gaps) -> None:
    lake.store(DAYS[0], DAYS[9], file="history/a.csv")
    lake.store(DAYS[9], DAYS[30], file="history2/a.csv")
    path = f"{lake.url.rstrip('/')}/history"
    assert find_gaps(path)[1]["covered_seconds"] == find_gaps(f"{path}/")[1]["covered_seconds"] == 9 * 86400
    # every scheme of a file system needs this: a name is no pattern
    lake.store(DAYS[0], DAYS[9], file="[a-z]*?/{x}#%20.csv")
    assert find_gaps(f"{lake.url.rstrip('/')}/[a-z]*?/")[1]["covered_seconds"] == 9 * 86400


def test_an_object_storage_path_is_accepted(folder: Lake, find_gaps) -> None:
    folder.store(DAYS[0], DAYS[30])
    assert find_gaps(ObjectStoragePath(folder.url))[0] == []


# Symbolic links, through which the transfer stores files.


def test_a_folder_that_is_a_symbolic_link_is_listed(folder: Lake, find_gaps, tmp_path: Path) -> None:
    for name in ("elsewhere", "lake", "further"):
        (tmp_path / name).mkdir()
    (tmp_path / "lake" / "year").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "month").symlink_to("../further")
    folder.store(DAYS[0], DAYS[15], file="year/a.csv")
    folder.store(DAYS[15], DAYS[30], file="year/month/b.csv")
    gaps, coverage = find_gaps(folder.url, fail_on_gap=True)
    assert (gaps, coverage["files"]) == ([], 2)


def test_links_in_a_circle_or_to_the_same_folder_count_a_file_once(folder: Lake, find_gaps, tmp_path: Path) -> None:
    folder.store(DAYS[0], DAYS[30], file="year/a.csv")
    for name, target in {"year/up": "..", "year/itself": ".", "other": "year", "year/file.csv": "a.csv"}.items():
        (tmp_path / "lake" / name).symlink_to(target)
    (tmp_path / "link").symlink_to("lake")
    for url in (folder.url, f"{tmp_path.as_uri()}/link"):
        gaps, coverage = find_gaps(url)
        assert (gaps, coverage["files"], coverage["overlaps"]) == ([], 1, 0)


@pytest.mark.parametrize("link", ["lake", "lake/year", "lake/year/a.csv"])
def test_a_link_that_leads_nowhere_is_an_error(find_gaps, tmp_path: Path, link: str) -> None:
    (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / link).symlink_to(tmp_path / "unmounted")
    with pytest.raises(FileNotFoundError, match=rf"leads nowhere; mount the disk.*{link}'"):
        find_gaps(f"{tmp_path.as_uri()}/lake")


def test_a_linked_folder_that_cannot_be_reached_is_an_error(folder: Lake, find_gaps, tmp_path: Path) -> None:
    folder.store(DAYS[0], DAYS[30])
    (tmp_path / "lake" / "year").symlink_to("year")
    with pytest.raises(FileNotFoundError, match="leads nowhere; mount the disk"):
        find_gaps(folder.url)


@pytest.mark.parametrize("name", ["orders.csv", "_orders.csv.manifest.json"])
def test_the_lock_file_of_an_editor_is_not_an_error(folder: Lake, find_gaps, tmp_path: Path, name: str) -> None:
    folder.store(DAYS[0], DAYS[30])
    (tmp_path / "lake" / f".#{name}").symlink_to("ada@host.1234")
    assert find_gaps(folder.url)[0] == []


# What looks like "no file": each gap is an e-mail, so it must be an error.


@pytest.fixture
def no_access(s3: ObjectStore):
    """Let S3 reject credentials that it does not know, as a real one does."""
    url = f"{s3.client.meta.endpoint_url}/moto-api/reset-auth"
    requests.post(url, data=b"0", timeout=10).raise_for_status()
    yield
    requests.post(url, data=b"inf", timeout=10).raise_for_status()


def test_a_bucket_that_does_not_exist_is_an_error(s3: ObjectStore, find_gaps) -> None:
    for key in ("", "orders/"):
        with pytest.raises(AirflowFailException, match=r"path: .*: the bucket 'no-such-bucket' does not exist; create"):
            find_gaps(f"s3://aws_loopback@no-such-bucket/{key}")


@pytest.mark.usefixtures("no_access")
def test_rejected_credentials_are_an_error(find_gaps) -> None:
    for key in ("", "orders/"):
        with pytest.raises(PermissionError, match=r"the store does not accept connection 'aws_loopback' .*HTTP 403"):
            find_gaps(f"s3://aws_loopback@{BUCKET}/{key}")


def test_a_folder_that_cannot_be_read_is_an_error(folder: Lake, find_gaps, monkeypatch) -> None:
    folder.store(DAYS[0], DAYS[30], file="year/month/a.csv")
    scandir = os.scandir

    def broken_disk(path: str) -> Any:
        if str(path).endswith("month"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", broken_disk)
    with pytest.raises(OSError, match="Input/output error"):
        find_gaps(folder.url)


def test_a_manifest_that_cannot_be_read_is_an_error(folder: Lake, find_gaps, tmp_path: Path) -> None:
    folder.put("a.csv", b"12345678")
    (tmp_path / "lake" / "_a.csv.manifest.json").symlink_to(tmp_path / "unmounted")
    with pytest.raises(FileNotFoundError):
        find_gaps(folder.url)


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_file_instead_of_a_folder_is_an_error(lake: Lake, find_gaps, slash: str) -> None:
    name = lake.store(DAYS[0], DAYS[30])
    with pytest.raises(AirflowFailException, match=rf"path: .*{name}/?' is a file; use the folder"):
        find_gaps(f"{lake.url.rstrip('/')}/{name}{slash}")


# What does not count.


def test_a_file_that_is_missing_or_has_another_length_does_not_count(lake: Lake, find_gaps, logged) -> None:
    lake.put("_gone.csv.manifest.json", json.dumps(manifest(DAYS[0], DAYS[1])).encode())
    lake.store(DAYS[1], DAYS[2], file="short.csv", bytes=9)
    lake.store(DAYS[2], DAYS[3], file="long.csv", bytes=7)
    lake.store(DAYS[3], DAYS[4], file="good.csv")
    gaps, coverage = find_gaps(lake.url, max_interval=MONTH)
    assert gaps == [(DAYS[0], DAYS[3]), (DAYS[4], DAYS[30])]
    assert coverage["files"] == 1
    text = logged()
    for name in ("gone", "short", "long"):
        assert f"_{name}.csv.manifest.json does not count: its file is missing or has another length; it is exp" in text
    assert text.count("does not count") == 3


DAY = manifest(DAYS[0], DAYS[1])
BROKEN: dict[str, bytes | dict[str, Any]] = {
    "empty": b"",
    "cut": json.dumps(DAY).encode()[:-30],
    "binary": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
    "list": json.dumps([DAY]).encode(),
    "foreign": b'{"name": "a web app", "icons": []}',
    "newer": DAY | {"version": 2},
    "version_text": DAY | {"version": "1"},
    "more_fields": DAY | {"color": "red"},
    "fewer_fields": {name: value for name, value in DAY.items() if name != "sha256"},
    "rows_text": DAY | {"rows": "5"},
    "rows_negative": DAY | {"rows": -5},
    "rows_nan": DAY | {"rows": float("nan")},
    "orders_list": DAY | {"orders": [3]},
    "bytes_boolean": DAY | {"bytes": True},
    "without_host": {name: value for name, value in DAY.items() if name != "host"},
    "host_empty": DAY | {"host": ""},
    "host_list": DAY | {"host": [HOST]},
    "request_text": DAY | {"request": "everything"},
    "request_empty": DAY | {"request": []},
    "request_deep": json.dumps(DAY).replace('"request": {', f'"request": {{"start": {"[" * 990}{"]" * 990}, ').encode(),
    "request_unknown": manifest(DAYS[0], DAYS[1], filters={"color": "red"}),
    "request_list": manifest(DAYS[0], DAYS[1], filters={"line_item_status": [1, None], "sort": []}),
    "request_conjunction": manifest(DAYS[0], DAYS[1], filters={"status_conjunction": "or"}),
    "request_start_null": manifest(DAYS[0], DAYS[1]) | {"request": {"start_date": None}},
    "start_number": DAY | {"interval_start": 20260101},
    "start_local": DAY | {"interval_start": "2026-01-01T00:00:00"},
    "end_word": DAY | {"interval_end": "tomorrow"},
    "end_of_time": DAY | {"interval_end": "9999-12-31T23:59:59-12:00"},
    "requested_at_word": DAY | {"requested_at": "today"},
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_manifest_does_not_count_and_does_not_fail_the_task(
    folder: Lake, find_gaps, logged, name: str
) -> None:
    content = BROKEN[name]
    folder.put(f"{name}.csv", b"1" if name == "bytes_boolean" else b"12345678")
    folder.put(f"_{name}.csv.manifest.json", content if isinstance(content, bytes) else json.dumps(content).encode())
    folder.store(DAYS[1], DAYS[30])
    gaps, coverage = find_gaps(folder.url)
    assert (gaps, coverage["files"]) == ([(DAYS[0], DAYS[1])], 1)
    assert f"_{name}.csv.manifest.json does not count: it is not a manifest of this provider (" in logged()


@pytest.mark.parametrize(
    "changes",
    [
        {"interval_start": None, "interval_end": None, "request": None},  # no export operator upstream
        {"request": None},
        {"requested_at": None},
        {"requested_at": "2025-12-31T23:00:00+00:00"},  # before its own interval
        {"interval_end": "2026-01-01T00:00:00.000Z"},
    ],
)
def test_a_manifest_without_an_interval_does_not_count(
    folder: Lake, find_gaps, logged, changes: dict[str, Any]
) -> None:
    folder.store(DAYS[0], DAYS[30], file="a.csv", **changes)
    gaps, coverage = find_gaps(folder.url, max_interval=MONTH)
    assert (gaps, coverage["files"]) == (ALL, 0)
    assert "_a.csv.manifest.json does not count: the interval of its export is unknown or empty, or its " in logged()


@pytest.mark.parametrize(
    ("requested_at", "stored_at"),
    [
        ("2026-01-09T12:30:00.750000+00:00", "2026-01-10T00:00:00+00:00"),
        ("2026-01-09T13:30:00+01:00", "2026-01-10T00:00:00+00:00"),
    ],
)
def test_a_file_covers_nothing_after_its_request(
    folder: Lake, find_gaps, requested_at: str | None, stored_at: str
) -> None:
    folder.store(DAYS[0], DAYS[30], requested_at=requested_at, stored_at=stored_at)
    assert find_gaps(folder.url, max_interval=MONTH)[0] == [(datetime(2026, 1, 9, 12, 30, tzinfo=UTC), DAYS[30])]


def test_files_with_the_same_filters_cover_however_these_are_written(lake: Lake, find_gaps) -> None:
    lake.store(DAYS[0], DAYS[10], filters=FILTERS)
    lake.store(DAYS[10], DAYS[20], filters=FILTERS | {"status_conjunction": "or", "start": 0})
    lake.store(DAYS[20], DAYS[29], filters=FILTERS | {"line_item_status": ["allocated", "rejected"]})
    gaps, coverage = find_gaps(lake.url)
    assert (gaps, coverage["files"]) == ([(DAYS[29], DAYS[30])], 3)


REJECTED = '{"line_item_status": ["allocated", "rejected"], '


@pytest.mark.parametrize("skip_if_no_orders", [False, True])
def test_two_kinds_of_filters_in_a_folder_fail_the_task_immediately(
    folder: Lake, make_context, *, skip_if_no_orders: bool
) -> None:
    folder.store(DAYS[0], DAYS[10], file="a.csv")
    folder.store(DAYS[10], DAYS[29], file="b.csv")
    folder.store(DAYS[29], DAYS[30], file="c.csv", filters=FILTERS)
    context = make_context()
    operator = CruxExportCoverageOperator(
        task_id="check", path=folder.url, since=SINCE, until=UNTIL, skip_if_no_orders=skip_if_no_orders, retries=3
    )
    with pytest.raises(AirflowFailException) as caught:
        operator.execute(context)
    root = folder.url.removeprefix("file://")
    assert str(caught.value) == (
        f"path: '{folder.url}' holds exports with different filters, which cannot be checked together: 2 with no "
        f"filters (for example {root}/_a.csv.manifest.json); 1 with {REJECTED}"
        f'"status_conjunction": "or"}} (for example {root}/_c.csv.manifest.json). Use two folders, one for each kind, '
        "and move each file with its manifest"
    )
    assert context["ti"].pushed == {}


@pytest.mark.parametrize(
    "filters", [{"sort": {"key": "date", "dir": "asc"}}, FILTERS | {"status_conjunction": "and"}, {}]
)
def test_filters_that_differ_in_one_field_are_two_kinds(folder: Lake, find_gaps, filters: dict[str, Any]) -> None:
    folder.store(DAYS[0], DAYS[10], filters=FILTERS)
    folder.store(DAYS[10], DAYS[30], filters=filters)
    with pytest.raises(AirflowFailException, match="different filters"):
        find_gaps(folder.url)


def test_another_kind_whose_files_would_not_count_is_no_error(folder: Lake, find_gaps) -> None:
    folder.store(DAYS[10], DAYS[20], filters=FILTERS)
    for name, start, end, changes in (
        ("before", DAYS[0], DAYS[10], {}),
        ("after", DAYS[20], DAYS[30], {"filters": {"limit": 9}}),
        ("host", DAYS[10], DAYS[20], {"host": "elsewhere"}),
        ("incomplete", DAYS[10], DAYS[20], {"bytes": 9}),
        ("unknown", DAYS[10], DAYS[20], {"requested_at": None}),
    ):
        folder.store(start, end, file=f"{name}.csv", **changes)
    gaps, coverage = find_gaps(folder.url, since=DAYS[10], until=DAYS[20])
    assert (gaps, coverage["files"]) == ([], 1)


@pytest.mark.parametrize("filters", [{"limit": 9}, {"limit": 0}, {"start": 1}, FILTERS | {"start": 0, "limit": 10**9}])
def test_exports_of_a_part_of_their_interval_fail_the_task_immediately(
    folder: Lake, find_gaps, filters: dict[str, Any]
) -> None:
    folder.store(DAYS[0], DAYS[30], filters=filters)
    with pytest.raises(AirflowFailException, match=r"only a part of their intervals: 1 with {.*}.*without start and l"):
        find_gaps(folder.url)


def test_files_of_other_hosts_do_not_cover_and_are_counted_in_one_warning(
    folder: Lake, find_gaps, connect, logged
) -> None:
    folder.store(DAYS[0], DAYS[10], file="sandbox.csv", host="127.0.0.1:8001")
    folder.store(DAYS[5], DAYS[20], file="production.csv", host="api.cruxconnect.com")
    folder.store(DAYS[10], DAYS[20], file="again.csv", host="127.0.0.1:8001")
    folder.store(DAYS[20], DAYS[30], file="own.csv")
    folder.store(DAYS[0], DAYS[30], file="others.csv", host="elsewhere", filters=FILTERS)
    gaps, coverage = find_gaps(folder.url, max_interval=MONTH)
    assert (gaps, coverage["files"]) == ([(DAYS[0], DAYS[20])], 1)
    warning = (
        "Not counted: 4 files of other hosts ('127.0.0.1:8001', 'api.cruxconnect.com', 'elsewhere'); only files "
        f"from {HOST} count, the host of connection 'crux_default'"
    )
    assert logged().count(warning) == 1
    # the same folder for another host
    connect("sandbox", host="http://127.0.0.1", port=8001, password="token")
    assert find_gaps(folder.url, max_interval=MONTH, crux_conn_id="sandbox")[1]["covered_seconds"] == 20 * 86400


def test_the_port_of_the_scheme_makes_no_other_host(folder: Lake, find_gaps, connect) -> None:
    connect("sandbox", host="http://127.0.0.1:80", password="token")
    folder.store(DAYS[0], DAYS[30], host="127.0.0.1")
    assert find_gaps(folder.url, crux_conn_id="sandbox")[0] == []


def test_the_path_of_a_gateway_makes_another_host(folder: Lake, find_gaps, connect) -> None:
    connect("sandbox", host="http://127.0.0.1:80/sandbox/", password="token")
    folder.store(DAYS[0], DAYS[30], host="127.0.0.1")
    assert find_gaps(folder.url, crux_conn_id="sandbox")[1]["covered_seconds"] == 0


def test_without_its_connection_the_task_fails_immediately(folder: Lake, find_gaps) -> None:
    with pytest.raises(AirflowFailException, match="Connection 'no_such' does not exist"):
        find_gaps(folder.url, crux_conn_id="no_such")


# Gaps that are not worth an e-mail.


def test_days_that_end_one_second_early_are_logged_and_counted_but_not_returned(
    folder: Lake, find_gaps, logged
) -> None:
    for day, next_day in pairwise(DAYS):
        folder.store(day, next_day - timedelta(seconds=1))
    gaps, coverage = find_gaps(folder.url, fail_on_gap=True)
    assert gaps == []
    assert [coverage[name] for name in ("gaps", "short_gaps", "covered_seconds")] == [0, 30, 30 * 86399]
    text = "shorter than a minute: 30 gaps, 30 seconds together: 2026-01-01T23:59:59+00:00 to 2026-01-02T"
    assert text in logged()


def test_a_gap_of_one_minute_is_returned(folder: Lake, find_gaps) -> None:
    minute = timedelta(minutes=1)
    folder.store(DAYS[0] + minute, DAYS[9])
    folder.store(DAYS[9] + minute - timedelta(seconds=1), DAYS[30] - minute + timedelta(seconds=1))
    gaps, coverage = find_gaps(folder.url)
    assert gaps == [(DAYS[0], DAYS[0] + minute)]
    assert [coverage[name] for name in ("gaps", "short_gaps")] == [1, 2]
    with pytest.raises(AirflowFailException, match=r"^1 gap in 'file:.*2026-01-01T00:01:00\+00:00\. Export"):
        find_gaps(folder.url, fail_on_gap=True)


def test_the_seconds_since_the_last_file_are_no_gap_yet(folder: Lake, find_gaps) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    folder.store(DAYS[0], now - timedelta(seconds=9), requested_at=now.isoformat())
    gaps, coverage = find_gaps(folder.url, until=None, fail_on_gap=True)
    assert (gaps, coverage["gaps"], coverage["short_gaps"]) == ([], 0, 1)


@pytest.mark.parametrize(("rest", "count"), [(1, 1), (59, 1), (60, 2)])
def test_some_seconds_more_than_the_longest_interval_are_not_exported_alone(
    folder: Lake, find_gaps, rest: int, count: int
) -> None:
    end = DAYS[1] + timedelta(seconds=rest)
    gaps, _ = find_gaps(folder.url, until=end, max_interval=timedelta(days=1))
    assert (gaps[0][0], gaps[-1][1], len(gaps)) == (DAYS[0], end, count)


# The end of the stretch.


@pytest.mark.parametrize("until", [None, "", "None", "2999-01-01"])
def test_the_future_is_never_checked(folder: Lake, find_gaps, until: str | None) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    gaps, coverage = find_gaps(folder.url, until=until, max_interval=timedelta(days=999_999))
    end = datetime.fromisoformat(coverage["until"])
    assert gaps == [(DAYS[0], end)]
    assert before <= end <= datetime.now(UTC)
    assert end.microsecond == 0


def test_both_ends_are_truncated_to_the_second_in_utc(folder: Lake, find_gaps) -> None:
    gaps, _ = find_gaps(
        folder.url, since="2026-01-01T01:00:00.9+01:00", until=datetime(2026, 1, 1, 0, 1, 59, 999999, tzinfo=UTC)
    )
    assert gaps == [(DAYS[0], DAYS[0] + timedelta(seconds=119))]


def test_a_stretch_without_length_has_no_gap(folder: Lake, find_gaps) -> None:
    assert find_gaps(folder.url, since=UNTIL, until=UNTIL, fail_on_gap=True)[0] == []


# Templates.

PARAMS = {
    "folder": "lake",
    "since": "2026-01-03",
    "until": "2026-01-05",
    "connection": "crux_default",
}


@pytest.mark.parametrize("native", [False, True])
def test_templates_rendered_as_text_or_native_objects_give_the_same(
    tmp_path: Path, folder: Lake, make_context, *, native: bool
) -> None:
    folder.store(DAYS[2], DAYS[3])
    with DAG("d", schedule=None, start_date=DAYS[0], render_template_as_native_obj=native) as dag:
        operator = CruxExportCoverageOperator(
            task_id="find_gaps",
            path=f"{tmp_path.as_uri()}/{{{{ params.folder }}}}",
            since="{{ params.since }}",
            until="{{ params.until }}",
            crux_conn_id="{{ params.connection }}",
        )
    context = make_context(dag=dag, params=PARAMS)
    operator.render_template_fields(context)
    assert operator.execute(context) == [
        {"interval_start": "2026-01-04T00:00:00+00:00", "interval_end": "2026-01-05T00:00:00+00:00"}
    ]


# What the task returns and reports.


def test_more_pieces_than_airflow_maps_are_returned_over_several_runs(
    folder: Lake, find_gaps, monkeypatch, logged
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", "3")
    folder.store(DAYS[1], DAYS[29])
    assert find_gaps(folder.url, max_interval=timedelta(hours=16))[0] == [
        (DAYS[0], DAYS[0] + timedelta(hours=16)),
        (DAYS[0] + timedelta(hours=16), DAYS[1]),
        (DAYS[29], DAYS[29] + timedelta(hours=16)),
    ]
    assert "There are more than 3 intervals to export, the limit of [core] max_map_length" in logged()
    assert len(find_gaps(folder.url, since="2026-01-02", max_interval=timedelta(hours=8))[0]) == 3
    assert "max_map_length" not in logged()


def test_a_gap_can_fail_the_task_without_a_retry(folder: Lake, make_context) -> None:
    folder.store(DAYS[1], DAYS[2])
    context = make_context()
    operator = CruxExportCoverageOperator(
        task_id="check", path=folder.url, since=SINCE, until=UNTIL, fail_on_gap=True, retries=3
    )
    with pytest.raises(AirflowFailException) as caught:
        operator.execute(context)
    assert str(caught.value) == (
        f"2 gaps in '{folder.url}': 2026-01-01T00:00:00+00:00 to 2026-01-02T00:00:00+00:00; "
        "2026-01-03T00:00:00+00:00 to 2026-01-31T00:00:00+00:00. Export these intervals, and store them there with "
        "manifest=True"
    )
    assert context["ti"].pushed["coverage"]["gaps"] == 2
    assert context["ti"].pushed["until"] == "2026-01-31T00:00:00+00:00"


def test_a_message_shows_the_first_of_many_gaps(folder: Lake, find_gaps) -> None:
    for hour in range(1, 60, 2):
        folder.store(DAYS[0] + timedelta(hours=hour), DAYS[0] + timedelta(hours=hour + 1))
    with pytest.raises(AirflowFailException) as caught:
        find_gaps(folder.url, fail_on_gap=True)
    assert "31 gaps in" in str(caught.value)
    assert "2026-01-02T14:00:00+00:00 to 2026-01-02T15:00:00+00:00; and 11 more. Export" in str(caught.value)


def test_no_xcom_is_pushed_if_the_dag_wants_none(folder: Lake, find_gaps) -> None:
    assert find_gaps(folder.url, do_xcom_push=False)[1] == {}


# Invalid arguments.

INVALID = [
    ({"path": None}, "path: None is not a path"),
    ({"path": " "}, "path: ' ' is not a path"),
    ({"path": 7}, "path: 7 is not a path"),
    ({"path": "s3://lake/dt={interval_start:%Y}/"}, "path: {interval_start} is a placeholder, and a folder has none"),
    ({"path": "s3://lake/{dag_id}/"}, "path: {dag_id} is a placeholder, and a folder has none"),
    ({"since": None}, "since: None is not set; use the start"),
    ({"since": ""}, "since: '' is not set; use the start"),
    ({"since": "soon"}, "since: str 'soon' is not an instant"),
    ({"since": 3.5}, "since: float 3.5 is not an instant"),
    ({"since": "0001-01-01T00:00:00+01:00"}, "since: 0001-01-01T00:00:00+01:00 is outside the years 1 to 9999"),
    ({"until": "later"}, "until: str 'later' is not an instant"),
    ({"until": "9999-12-31T23:59:59-01:00"}, "until: 9999-12-31T23:59:59-01:00 is outside the years 1 to 9999"),
    ({"until": "2025-12-31"}, "since: 2026-01-01"),
]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        *INVALID,
        ({"max_interval": timedelta(0)}, "max_interval: datetime.timedelta(0) is not a timedelta of 1 or more"),
        ({"max_interval": timedelta(days=-1)}, "max_interval: "),
        ({"max_interval": timedelta(milliseconds=1500)}, "max_interval: "),
        ({"max_interval": 7}, "max_interval: 7 is not a timedelta"),
        ({"crux_conn_id": ""}, "crux_conn_id: '' is not the id of a connection; use one"),
        ({"since": None, "path": ""}, "path: '' is not a path; use the folder"),
    ],
)
def test_an_invalid_argument_fails_when_the_dag_is_parsed(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(CruxInvalidRequestError) as caught:
        CruxExportCoverageOperator(
            **{"task_id": "find_gaps", "path": "s3://lake/", "since": SINCE, "until": UNTIL} | arguments
        )
    assert f"Task 'find_gaps': {problem}" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        *INVALID,
        ({"path": "nope://lake/"}, "path: 'nope://lake/' cannot be opened"),
        ({"since": "2999-01-01", "until": ""}, "since: 2999-01-01T00:00:00+00:00 is after until"),
    ],
)
def test_a_rendered_value_that_is_invalid_fails_the_task_immediately(
    make_context, arguments: dict[str, Any], problem: str
) -> None:
    operator = CruxExportCoverageOperator(
        **{"task_id": "find_gaps", "path": "file:///no-such-folder", "since": SINCE, "until": UNTIL}
        | dict.fromkeys(arguments, "{{ x }}")
    )
    for name, value in arguments.items():
        setattr(operator, name, value)
    context = make_context()
    with pytest.raises(AirflowFailException) as caught:
        operator.execute(context)
    assert problem in str(caught.value)
    assert context["ti"].pushed == {}


# Its size.

MEASURE = """
import json, sys
from pathlib import Path

import airflow_provider_crux.operators.coverage as module


class TaskInstance:
    def xcom_push(self, key, value):
        setattr(self, key, value)


def peak():
    # not ru_maxrss, which begins with the memory of the parent process
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


listed = []
sys.addaudithook(lambda event, arguments: listed.append(str(arguments[0])) if event == "os.scandir" else None)
ti = TaskInstance()
url, root = sys.argv[1:]
operator = module.CruxExportCoverageOperator(task_id="c", path=url, since="2000-01-01", until="2026-01-01")
gaps = operator.execute({"ti": ti})
print(json.dumps([len(gaps), ti.coverage, [path for path in listed if path.startswith(root)], peak()]))
"""


@pytest.mark.slow
def test_ten_thousand_manifests_are_listed_once_in_little_memory(folder: Lake, tmp_path: Path) -> None:
    # one folder for each day, as the example has it
    count, first = 9_497, datetime(2000, 1, 1, tzinfo=UTC)
    for number in range(count):
        day = first + timedelta(days=number)
        folder.store(day, day + timedelta(days=1))
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, folder.url, str(tmp_path / "lake")],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path / "home")},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    gaps, coverage, listed, peak = json.loads(done.stdout.splitlines()[-1])
    assert (gaps, coverage["files"], coverage["rows"]) == (0, count, 5 * count)
    assert len(listed) == len(set(listed)) == count + 1
    assert peak < 200
