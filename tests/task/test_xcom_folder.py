"""Which paths are below the folder of Airflow's XComs. tests/stores tests what Airflow does there, on its own XComs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.task.object_storage import check_outside_of_xcoms, open_path

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("folder", "refused"),
    [
        ("xcoms", True),
        ("xcoms/", True),
        ("", True),
        ("xcoms/orders.csv", True),
        ("xcom", False),
        ("xcoms/orders", False),
        (None, False),
    ],
)
def test_a_path_below_the_folder_of_the_xcoms_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str | None, refused: bool
) -> None:
    setting = "" if folder is None else f"file://{tmp_path}/{folder}"
    monkeypatch.setenv("AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH", setting)
    target = open_path(f"file://{tmp_path}/xcoms/orders.csv")
    if not refused:
        check_outside_of_xcoms(target)
        return
    with pytest.raises(CruxInvalidRequestError) as caught:
        check_outside_of_xcoms(target)
    assert str(caught.value) == (
        f"path: {str(target)!r} is below {setting!r}, where Airflow keeps its XComs ([common.io] "
        "xcom_objectstorage_path), and Airflow would delete the file when the task is cleared; use a path outside of "
        "this folder, or give the XComs a folder of their own"
    )
