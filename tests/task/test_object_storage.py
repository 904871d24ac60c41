"""
What a task makes of a store's responses, where no emulator is: that of S3 is one, the other stands for adlfs.

tests/stores has the same on the emulator of each store.
"""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException, ObjectStoragePath

from airflow_provider_crux.exceptions import CruxInvalidConnectionError, CruxInvalidRequestError
from airflow_provider_crux.task.object_storage import file_sizes, find_entry
from tests.object_store import running_s3, s3

if TYPE_CHECKING:
    from tests.object_store import ObjectStore

__all__ = ["running_s3", "s3"]


class AzureError(Exception):
    """An error of Azure's library, with what our code reads."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"The store says no.\n<Error><Code>{code}</Code></Error>")
        self.status_code, self.error_code = status, code


class Store:
    """A file system of Azure that is empty, and whose listing raises an error."""

    def __init__(self, error: BaseException | None = None, behind: BaseException | None = None) -> None:
        self.error, self.behind = error, behind

    def __str__(self) -> str:
        return "abfs://azure_lake@orders/lake"

    protocol, path = "abfs", "orders/lake"

    @property
    def fs(self) -> Any:
        return SimpleNamespace(invalidate_cache=lambda: None, find=self.find, info=self.info, ls=self.ls)

    def find(self, root: str, detail: bool) -> dict[str, Any]:
        if self.error is not None and self.behind is None:
            raise self.error
        return {}

    def info(self, path: str) -> dict[str, Any]:
        raise FileNotFoundError(path)

    def ls(self, path: str) -> list[str]:
        raise FileNotFoundError(path) from self.behind


def test_a_bucket_that_does_not_exist_is_an_error_and_an_empty_folder_is_none(s3: ObjectStore) -> None:
    for call in (file_sizes, find_entry):
        with pytest.raises(CruxInvalidRequestError, match="the bucket 'none' does not exist; create it"):
            call(ObjectStoragePath("s3://aws_loopback@none/lake"))
    assert file_sizes(ObjectStoragePath("s3://aws_loopback@exports/lake")) == {}
    assert find_entry(ObjectStoragePath("s3://aws_loopback@exports/lake")) is None


def test_adlfs_hides_a_missing_container_and_any_other_404_except_when_it_lists() -> None:
    for call, nothing in ((file_sizes, {}), (find_entry, None)):
        assert call(Store()) == nothing
        with pytest.raises(CruxInvalidRequestError, match="the container 'orders' does not exist; create it"):
            call(Store(behind=AzureError(404, "ContainerNotFound")))
        with pytest.raises(OSError, match="orders/lake"):
            call(Store(behind=AzureError(404, "")))


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (AirflowNotFoundException("The conn_id `azure_lake` isn't defined"), CruxInvalidConnectionError, "create this"),
        (json.JSONDecodeError("Expecting value", "<html>", 0), OSError, "the store's response is unreadable"),
        (AzureError(503, "ServerBusy"), OSError, "the store failed .The store says no.; HTTP 503 ServerBusy"),
        (AzureError(403, "AuthorizationFailure"), PermissionError, "does not accept connection 'azure_lake'"),
    ],
    ids=["no connection", "a proxy's page", "busy", "a wrong key"],
)
def test_an_error_says_what_to_do(error: Exception, expected: type[Exception], message: str) -> None:
    with pytest.raises(expected, match=message) as caught:
        file_sizes(Store(error))
    assert "abfs://azure_lake@orders/lake" in str(caught.value)
    assert "<" not in str(caught.value)
