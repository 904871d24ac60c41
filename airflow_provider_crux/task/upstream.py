"""What the task that requested an export pushed about it: the record that belongs to a UUID."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import XComArg, XComNotFound

from airflow_provider_crux.api.exports import SubmittedExport
from airflow_provider_crux.api.requests import canonical_uuid

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

_KEY: Final = "export_interval"


def source_task_ids(argument: object) -> list[str]:
    """Return the tasks whose output an argument is; none if it is a text, as every argument is once it is rendered."""
    return [operator.task_id for operator, _ in XComArg.iter_xcom_references(argument)]


def submitted_export(
    context: Context, export_uuid: str, *, task_id: str, sources: Sequence[str], upstream: Iterable[str]
) -> SubmittedExport:
    """
    Return what is known of an export that the task ``task_id`` uses: its UUID alone, if no task upstream requested it.

    An argument ``export.output`` knows its task, so that task is read first: ``sources``, from :func:`source_task_ids`
    when the DAG was parsed. A template, or a value that another task has changed, hides it: then the other tasks
    directly upstream are searched.
    """
    uuid = canonical_uuid(export_uuid)
    first = sources or _mapped_source_task_ids(context, task_id)
    for source in dict.fromkeys([*first, *sorted(upstream)]):
        for record in _records(context, source):
            if isinstance(record, Mapping) and record.get("export_uuid") == uuid:
                return SubmittedExport.from_xcom(record)
    return SubmittedExport(export_uuid, None, None)


def _mapped_source_task_ids(context: Context, task_id: str) -> list[str]:
    """Return the source of a mapped task, which Airflow creates with a value; its DAG has the argument."""
    is_mapped = context["ti"].map_index not in {None, -1}
    mapped = context["dag"].get_task(task_id) if is_mapped else None
    expanded = getattr(getattr(mapped, "expand_input", None), "value", None)
    return source_task_ids(expanded.get("export_uuid") if isinstance(expanded, Mapping) else expanded)


def _records(context: Context, source: str) -> Iterator[object]:
    """Yield what the instances of a task pushed, first what the instance for this map index did."""
    export: Any = context["dag"].get_task(source)
    try:
        # not ti.xcom_pull(), which reads all instances of a mapped task; this is lazy, and knows mapped task groups
        pushed = export.output[_KEY].resolve(context)
    except XComNotFound:
        return
    if isinstance(pushed, Mapping):
        yield pushed
    elif isinstance(pushed, Sequence):
        # Airflow expands a mapped task over what was pushed, which is not the map index if an instance was skipped.
        # Both lists lack the same instances, so this is the record, unless several arguments are expanded.
        index = max(0, context["ti"].map_index or 0)
        yield from pushed[index : index + 1]
        yield from pushed[:]
