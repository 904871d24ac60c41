"""The proof that stored files leave no hour out, as a task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator, conf

from airflow_provider_crux.api.instants import Period, whole_second
from airflow_provider_crux.api.orders import OrdersExportRequest, describe
from airflow_provider_crux.exceptions import (
    CruxIntervalError,
    CruxInvalidRequestError,
    CruxPermanentError,
    CruxTransientError,
)
from airflow_provider_crux.files.coverage import (
    MAX_SHOWN,
    Coverage,
    Missing,
    common_filters,
    cover,
    find_missing,
    number_text,
    periods_text,
    total,
)
from airflow_provider_crux.files.coverage_checks import CoverageChecks, run_checks
from airflow_provider_crux.files.manifest import Manifest, api_host, described_file, read_manifest
from airflow_provider_crux.hooks.crux import CruxHook
from airflow_provider_crux.task.arguments import is_template, none_if_unset
from airflow_provider_crux.task.failing import InvalidArgumentsError, fail_without_retry
from airflow_provider_crux.task.interval import parse_instant, truncate_instant
from airflow_provider_crux.task.object_storage import file_sizes, open_path, store_errors
from airflow_provider_crux.task.paths import folder_problems
from airflow_provider_crux.task.reporting import folder_dataset, lineage, orders_dataset

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import InputDataset
    from airflow.providers.common.compat.sdk import Context, ObjectStoragePath
    from airflow.providers.openlineage.extractors import OperatorLineage

__all__ = ["CoverageChecks", "CruxExportCoverageOperator"]

_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
_LATEST: Final = datetime.max.replace(tzinfo=UTC)
_FILES_AT_ONCE: Final = 500
_LOG_EVERY: Final = 100
_MAX_LIST_FAILURES: Final = 3


class CruxExportCoverageOperator(BaseOperator):
    """
    Find the intervals that no stored file covers, and return them for ``CruxOrdersExportOperator`` to export.

    It reads the manifests that ``CruxExportToObjectStorageOperator(manifest=True)`` stores beside its files. A manifest
    counts if its file exists below ``path`` with the length that it says, and if its export came from the connection's
    host. It covers its interval, but nothing after its own request. Nothing is sent to Crux Connect, except with
    ``skip_if_no_orders``.

    ``CruxOrdersExportOperator.partial(task_id="export").expand_kwargs(coverage.output)`` exports what is missing, so a
    DAG that runs again fills its own gaps. Let only one run be active at a time.

    **Filters.** Use one folder for each kind of filters, and give ``CruxOrdersExportOperator`` the same ones. The task
    fails if files that count differ in their filters, or have ``start`` or ``limit``, which select a part of the time.

    **Short gaps.** A gap below one minute is only logged and counted: an export of it is not worth an e-mail. Let each
    interval end where the next one begins, because those that end at 23:59:59 leave such gaps.

    **XCom.** ``return_value`` is a list of ``{"interval_start": ..., "interval_end": ...}``, oldest first, in UTC: at
    most ``[core] max_map_length`` (default 1024); the next run returns the rest. ``coverage`` is a dict: ``since``,
    ``until``, ``covered_seconds``, ``gaps`` (before they are cut), ``short_gaps``, ``empty_intervals`` and
    ``empty_seconds`` (without orders, so no gaps), ``overlaps``, the number of ``files`` that count, and their ``rows``
    and ``orders``, ``None`` if those of one file are unknown. ``until`` is also an XCom of its own, for a task that
    checks the same time again: ``until=coverage.output["until"]``.

    :param path: the folder: ``abfs://conn_id@container/folder/``, ``gs://conn_id@bucket/folder/``,
        ``s3://conn_id@bucket/folder/``, ``file:///...``, or an ``ObjectStoragePath``; everything below it is listed
        once. Templated.
    :param since: start of the time to check: ISO 8601 text, a datetime, a date, or a day in eight digits
        (``20260102``), UTC without a time zone. Templated.
    :param until: its end, likewise; default: now. What is in the future is not checked. Templated.
    :param max_interval: length of the longest interval that is returned, one or more whole seconds; default 7 days. The
        last one of a gap is up to a minute longer, if a shorter one would follow.
    :param fail_on_gap: whether to fail the task, without a retry, if there is a gap of a minute or more; default False.
    :param checks: what else to check, from the manifests alone: :class:`.CoverageChecks`; default None. Every check
        that is set is evaluated. What they find, and a gap with ``fail_on_gap``, fails the task without a retry, in one
        message. An inconclusive check, for example of an unknown number of orders, only logs a warning.
    :param skip_if_no_orders: whether to list the orders of each interval first, without an e-mail, and to leave out
        those without orders; default False. The list has the filters of the folder, or none while no file counts. An
        interval whose list cannot be read is a gap; an error that a retry cannot fix fails the task.
    :param crux_conn_id: id of the Airflow connection over which the exports are requested; default ``crux_default``.
        Templated.
    :raises CruxInvalidRequestError: when the DAG is parsed, if an argument that is not a template is invalid.
    :raises AirflowFailException: in a run, for an invalid argument, for exports with different filters or with
        ``start`` or ``limit``, with ``fail_on_gap``, for a gap, and, with ``checks``, for what they find.
    :raises PermissionError: in a run, if the store does not accept the path's connection, or it lacks a permission: a
        retry may help, because keys are rotated, and permissions take minutes to take effect.
    :raises Exception: in a run, what the storage raises.
    """

    template_fields: Sequence[str] = ("path", "since", "until", "crux_conn_id")
    ui_color = "#e4f0e0"

    def __init__(
        self,
        *,
        path: str | ObjectStoragePath,
        since: str | datetime,
        until: str | datetime | None = None,
        max_interval: timedelta = timedelta(days=7),
        fail_on_gap: bool = False,
        checks: CoverageChecks | None = None,
        skip_if_no_orders: bool = False,
        crux_conn_id: str = "crux_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.since = since
        self.until = until
        self.max_interval = max_interval
        self.fail_on_gap = fail_on_gap
        self.checks = checks
        self.skip_if_no_orders = skip_if_no_orders
        self.crux_conn_id = crux_conn_id
        self._check_arguments()

    def execute(self, context: Context) -> list[dict[str, str]]:
        """Return the intervals that no file covers; with ``skip_if_no_orders``, those that may have orders."""
        with fail_without_retry(CruxPermanentError):
            since, until = self._time_to_check(whole_second(datetime.now(UTC)))
            if problems := folder_problems(self.path):
                raise CruxInvalidRequestError("; ".join(problems))
            hook = CruxHook(self.crux_conn_id)
            files = list(self._matching(open_path(self.path), api_host(hook.settings.base_url), since, until))
            filters = common_filters(str(self.path), ((manifest.filters, name) for name, manifest, _ in files))
            coverage = cover(since, until, (period for _, _, period in files))
            # Airflow fails a task whose output has more items than it may map
            most = conf.getint("core", "max_map_length", fallback=1024)
            may_have_orders = _OrdersList(hook, filters, self.log).may_have_orders if self.skip_if_no_orders else None
            missing = find_missing(coverage.long_gaps, self.max_interval, most=most, may_have_orders=may_have_orders)
        if missing.has_more:
            self.log.warning(
                "There are more than %d intervals to export, the limit of [core] max_map_length: this run returns the "
                "oldest, the next run continues; a longer max_interval needs fewer",
                most,
            )
        self._report(context, coverage, missing, [manifest for _, manifest, _ in files])
        problems = []
        if missing.gaps and self.fail_on_gap:
            problems.append(
                f"{number_text(len(missing.gaps), 'gap')} in {str(self.path)!r}: {periods_text(missing.gaps)}. Export "
                "these intervals, and store them there with manifest=True"
            )
        exports = ((manifest, period) for _, manifest, period in files)
        for finding in run_checks(self.checks, coverage, exports, missing.empty) if self.checks else []:
            if finding.conclusive:
                problems.append(finding.text)
            else:
                self.log.warning("%s", finding.text)
        if problems:
            raise AirflowFailException("\n".join(problems))
        return [{"interval_start": start.isoformat(), "interval_end": end.isoformat()} for start, end in missing.pieces]

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any]:
        """Return the folder, and the orders if they are listed. Only OpenLineage's provider calls this."""
        reads: list[Callable[[], InputDataset]] = [partial(folder_dataset, self.path)]
        if self.skip_if_no_orders:
            reads.append(lambda: orders_dataset(CruxHook(self.crux_conn_id).settings.base_url))
        return lineage(reads)

    def get_openlineage_facets_on_complete(self, task_instance: object) -> OperatorLineage[Any, Any]:  # noqa: ARG002
        """Return the same; also of a task that failed."""
        return self.get_openlineage_facets_on_start()

    def _time_to_check(self, latest: datetime, templates: frozenset[str] = frozenset()) -> Period:
        """Return what ``since`` and ``until`` mean; a template means as much time as possible, until ``latest``."""
        since, until = _EARLIEST, latest
        if "since" not in templates:
            if none_if_unset(self.since) is None:
                raise CruxIntervalError(f"since: {self.since!r} is not set; use the start of the time to check")
            since = truncate_instant("since", parse_instant("since", self.since))
        if "until" not in templates and none_if_unset(self.until) is not None:
            until = min(truncate_instant("until", parse_instant("until", self.until)), latest)
        if since > until:
            raise CruxIntervalError(
                f"since: {since.isoformat()} is after until {until.isoformat()}, or after now; use an earlier one"
            )
        return since, until

    def _matching(
        self, folder: ObjectStoragePath, host: str, since: datetime, until: datetime
    ) -> Iterator[tuple[str, Manifest, Period]]:
        """Yield the manifests that count, with their names and what they cover."""
        others: Counter[str] = Counter()
        for name, content, size in _stored(folder):
            try:
                manifest, period = read_manifest(content, size)
            except ValueError as error:
                self.log.warning("%s does not count: %s", name, error)
                continue
            if period[0] < until and period[1] > since:
                if manifest.host == host:
                    if manifest.columns is None:
                        self.log.warning(
                            "%s counts, although its file has none of the columns of an export: check the file", name
                        )
                    yield name, manifest, period
                else:
                    others[manifest.host] += 1
        if others:
            self.log.warning(
                "Not counted: %s of other hosts (%s); only files from %s count, the host of connection %r",
                number_text(others.total(), "file"),
                ", ".join(map(repr, sorted(others)[:MAX_SHOWN])),
                host,
                self.crux_conn_id,
            )

    def _report(self, context: Context, coverage: Coverage, missing: Missing, manifests: Sequence[Manifest]) -> None:
        summary = {
            "since": coverage.since.isoformat(),
            "until": coverage.until.isoformat(),
            "covered_seconds": int(coverage.covered.total_seconds()),
            "gaps": len(missing.gaps),
            "short_gaps": len(coverage.short_gaps),
            "empty_intervals": len(missing.empty),
            "empty_seconds": int(total(missing.empty).total_seconds()),
            "overlaps": len(coverage.overlaps),
            "files": len(manifests),
            "rows": _sum(manifest.rows for manifest in manifests),
            "orders": _sum(manifest.orders for manifest in manifests),
        }
        if self.do_xcom_push:
            context["ti"].xcom_push(key="coverage", value=summary)
            context["ti"].xcom_push(key="until", value=summary["until"])
        self.log.info(
            "%s from %s to %s: %s%s",
            number_text(len(manifests), "file"),
            summary["since"],
            summary["until"],
            number_text(len(missing.gaps), "gap"),
            f": {periods_text(missing.gaps)}" if missing.gaps else "",
        )
        if missing.empty:
            self.log.info(
                "Not returned: %s: %s",
                number_text(len(missing.empty), "interval without orders"),
                periods_text(missing.empty),
            )
        if coverage.short_gaps:
            self.log.warning(
                "Not returned, because each is shorter than a minute: %s, %d seconds together: %s. If orders may be "
                "missing there, let each interval end where the next one begins",
                number_text(len(coverage.short_gaps), "gap"),
                total(coverage.short_gaps).total_seconds(),
                periods_text(coverage.short_gaps),
            )

    def _check_arguments(self) -> None:
        """Reject what is invalid when the DAG is parsed; a template is checked when it is rendered."""
        templates = frozenset(name for name in self.template_fields if is_template(getattr(self, name)))
        problems = [] if "path" in templates else folder_problems(self.path)
        if not self.crux_conn_id:
            problems.append(f"crux_conn_id: {self.crux_conn_id!r} is not the id of a connection; use one")
        longest: Any = self.max_interval
        if not isinstance(longest, timedelta) or longest <= timedelta(0) or longest.microseconds:
            problems.append(f"max_interval: {longest!r} is not a timedelta of 1 or more whole seconds; use one")
        checks: Any = self.checks
        if not isinstance(checks, CoverageChecks | None):
            problems.append(f"checks: {describe(checks)} is not CoverageChecks; use CoverageChecks(max_age=...)")
        try:
            self._time_to_check(_LATEST, templates)
        except CruxIntervalError as error:
            problems.append(str(error))
        if problems:
            raise InvalidArgumentsError(f"Task {self.task_id!r}: {'; '.join(problems)}")


@dataclass
class _OrdersList:
    """The list of orders, which e-mails nobody."""

    hook: CruxHook
    filters: OrdersExportRequest
    log: Any
    listed: int = 0
    failures: int = 0

    def may_have_orders(self, interval: Period) -> bool:
        """Tell whether an interval has orders; also if its list cannot be read, because then nobody knows."""
        if self.failures == _MAX_LIST_FAILURES:
            return True
        start, end = interval
        try:
            has_orders = self.hook.has_orders(replace(self.filters, start_date=start, end_date=end))
        except CruxInvalidRequestError as error:  # the filters are those of the folder
            raise CruxInvalidRequestError(
                f"path: connection {self.hook.crux_conn_id!r} cannot request the filters of the exports stored there: "
                f"{error}"
            ) from error
        except CruxTransientError as error:  # not a permanent one: every run would export what has no orders
            self.failures += 1
            self.log.warning(
                "Could not check whether there are orders from %s to %s, so it is a gap%s: %s",
                start.isoformat(),
                end.isoformat(),
                ", as are all later intervals" if self.failures == _MAX_LIST_FAILURES else "",
                error,
            )
            return True
        self.failures = 0
        self.listed += 1
        if self.listed % _LOG_EVERY == 0:
            self.log.info("Listed the orders of %d intervals so far, up to %s", self.listed, end.isoformat())
        return has_orders


def _stored(folder: ObjectStoragePath) -> Iterator[tuple[str, bytes, int | None]]:
    """Yield each manifest below a folder: its name, its content, and the length of its file."""
    sizes = file_sizes(folder)
    files = {name: file for name in sorted(sizes) if (file := described_file(name)) is not None}
    names = list(files)
    for first in range(0, len(names), _FILES_AT_ONCE):
        some = names[first : first + _FILES_AT_ONCE]
        # several at once, because a request to an object store takes long; not with cat, which expands patterns
        with store_errors(folder):
            contents = folder.fs.cat_ranges(some, None, None, on_error="raise")
        for name, content in zip(some, contents, strict=True):
            yield name, content, sizes.get(files[name])


def _sum(counts: Iterable[int | None]) -> int | None:
    """Return the sum of counts; ``None`` if one of them is unknown."""
    known = list(counts)
    return None if None in known else sum(filter(None, known))
