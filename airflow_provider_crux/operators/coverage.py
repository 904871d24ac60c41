"""The proof that stored files leave no hour out, as a task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator, conf

from airflow_provider_crux.api import orders
from airflow_provider_crux.api.instants import Period
from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.exceptions import (
    CruxIntervalError,
    CruxInvalidRequestError,
    CruxPermanentError,
    CruxTransientError,
)
from airflow_provider_crux.files.coverage import Coverage, Missing, cover, find_missing, same_filters, total
from airflow_provider_crux.files.manifest import SUFFIX, Manifest, api_host
from airflow_provider_crux.hooks.crux import CruxHook
from airflow_provider_crux.task.arguments import coerce_rendered, is_template
from airflow_provider_crux.task.failing import InvalidArgumentsError, fail_without_retry
from airflow_provider_crux.task.interval import parse_instant, truncate_instant
from airflow_provider_crux.task.paths import file_sizes, folder_problems, open_path

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, ObjectStoragePath

_FILTERS: Final = ("start", "limit", "sort", "line_item_status", "status_conjunction")
_INSTANTS: Final = ("since", "until")

_FILES_AT_ONCE: Final = 500
_MAX_SHOWN: Final = 20
_LOG_EVERY: Final = 100
_MAX_LIST_FAILURES: Final = 3


class CruxExportCoverageOperator(BaseOperator):
    """
    Find the intervals that no stored file covers, and return them for ``CruxOrdersExportOperator`` to export.

    It reads the manifests that ``CruxExportToObjectStorageOperator(manifest=True)`` stores beside its files. A manifest
    counts if its file exists below ``path`` with the length that it says, if its export came from the connection's
    host, and if its request has the same filters. It covers its interval, but nothing after its own request: later
    orders are missing from its file. Nothing is sent to Crux Connect, except with ``skip_if_no_orders``.

    A gap below one minute is only logged and counted: an export of it is not worth an e-mail. Intervals that end at
    23:59:59 leave such gaps; let each end where the next one begins.

    ``CruxOrdersExportOperator.partial(task_id="export").expand_kwargs(coverage.output)`` exports what is missing, and
    nothing else. So a DAG that runs again fills its own gaps. Let only one run be active at a time.

    **XCom.** ``return_value`` is a list of ``{"interval_start": ..., "interval_end": ...}``, oldest first, in UTC: at
    most ``[core] max_map_length`` (default 1024); the next run returns the rest.
    ``coverage`` is ``{"since": ..., "until": ..., "covered_seconds": ..., "gaps": ..., "short_gaps": ...,
    "empty_intervals": ..., "empty_seconds": ..., "overlaps": ..., "files": ..., "rows": ..., "orders": ...}``: the time
    that files cover; the numbers of gaps (before they are cut) and of gaps below one minute; the number of intervals
    that Crux Connect lists no orders for, which are no gaps, and their length; the numbers of overlaps and of files
    that count, and the sums over these files; an order in two files counts twice.

    :param path: the folder: ``file:///...``, ``s3://conn_id@bucket/folder/``, ``gs://...``, or an
        ``ObjectStoragePath``; everything below it is listed once. Templated.
    :param since: start of the time to check: ISO 8601 text, a datetime, a date, or a day in eight digits
        (``20260102``), UTC without a time zone. Templated.
    :param until: its end, likewise; default: now. What is in the future is not checked. Templated.
    :param max_interval: length of the longest interval that is returned, one or more whole seconds; default 7 days. The
        last one of a gap is up to a minute longer, if a shorter one would follow.
    :param fail_on_gap: whether to fail the task, without a retry, if there is a gap of a minute or more; default False.
    :param skip_if_no_orders: whether to list the orders of each interval first, without an e-mail, and to leave out
        those without orders; default False. An interval whose list cannot be read is a gap; an error that a
        retry cannot fix fails the task. Nothing remembers the lists: the next run lists again.
    :param start: the filters that the exports have, as :class:`~airflow_provider_crux.operators.orders.\
CruxOrdersExportOperator` accepts them, as the next four; default: none. Templated.
    :param limit: likewise. Templated.
    :param sort: likewise. Templated.
    :param line_item_status: likewise. Templated.
    :param status_conjunction: likewise. Templated.
    :param crux_conn_id: id of the Airflow connection over which the exports are requested; default ``crux_default``.
        Templated.
    :raises CruxInvalidRequestError: when the DAG is parsed, if an argument that is not a template is invalid.
    :raises AirflowFailException: in a run, for an invalid argument or, with ``fail_on_gap``, for a gap.
    :raises Exception: in a run, what the storage raises.
    """

    template_fields: Sequence[str] = ("path", *_INSTANTS, *_FILTERS, "crux_conn_id")
    template_fields_renderers = {"sort": "json", "line_item_status": "json"}  # noqa: RUF012 - as Airflow declares it
    ui_color = "#e4f0e0"

    def __init__(
        self,
        *,
        path: str | ObjectStoragePath,
        since: str | datetime,
        until: str | datetime | None = None,
        max_interval: timedelta = timedelta(days=7),
        fail_on_gap: bool = False,
        skip_if_no_orders: bool = False,
        start: int | str | None = None,
        limit: int | str | None = None,
        sort: orders.Sort | Mapping[str, str] | str | None = None,
        line_item_status: Sequence[str] | str | None = None,
        status_conjunction: str | None = None,
        crux_conn_id: str = "crux_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.since = since
        self.until = until
        self.max_interval = max_interval
        self.fail_on_gap = fail_on_gap
        self.skip_if_no_orders = skip_if_no_orders
        self.start = start
        self.limit = limit
        # a Sort as a mapping, which Airflow renders
        self.sort = asdict(sort) if isinstance(sort, orders.Sort) else sort
        self.line_item_status = line_item_status
        self.status_conjunction = status_conjunction
        self.crux_conn_id = crux_conn_id
        self._check_arguments()

    def execute(self, context: Context) -> list[dict[str, str]]:
        """
        Read the manifests and compare them with the stretch of time.

        :return: the intervals that no file covers; with ``skip_if_no_orders``, those that may have orders.
        :raises AirflowFailException: if there is a gap and ``fail_on_gap`` is set, and for an invalid argument.
        """
        with fail_without_retry(CruxPermanentError):
            since, until = self._stretch()
            request = OrdersExportRequest(**self._known(_FILTERS))
            if problems := folder_problems(self.path):
                raise CruxInvalidRequestError("; ".join(problems))
            hook = CruxHook(self.crux_conn_id)
            host = api_host(hook.settings.base_url)
            manifests = list(self._matching(open_path(self.path), request.as_json(), host, since, until))
            coverage = cover(since, until, [period for _, period in manifests])
            missing = self._missing(coverage, _OrdersList(hook, request, self.log) if self.skip_if_no_orders else None)
        self._report(context, coverage, missing, [manifest for manifest, _ in manifests])
        if missing.gaps and self.fail_on_gap:
            raise AirflowFailException(
                f"{_number(len(missing.gaps), 'gap')} below {str(self.path)!r}: {_text(missing.gaps)}. Export these "
                "intervals, and store them there with manifest=True"
            )
        return [{"interval_start": start.isoformat(), "interval_end": end.isoformat()} for start, end in missing.pieces]

    def _stretch(self) -> Period:
        instants = self._instants()
        if "since" not in instants:
            raise CruxIntervalError(f"since: {self.since!r} is not set; use the start of the time to check")
        now = truncate_instant("until", datetime.now(UTC))
        since, until = instants["since"], min(instants.get("until", now), now)
        if since > until:
            raise CruxIntervalError(
                f"since: {since.isoformat()} is after until {until.isoformat()}, or after now; use an earlier one"
            )
        return since, until

    def _matching(
        self, folder: ObjectStoragePath, request: Mapping[str, Any], host: str, since: datetime, until: datetime
    ) -> Iterator[tuple[Manifest, Period]]:
        """Yield the manifests that count, with what they cover."""
        others: Counter[str] = Counter()
        for name, manifest in self._stored(folder):
            period = manifest.period
            if period is None or manifest.request is None:
                self.log.warning(
                    "%s does not count: the interval of its export is unknown or empty, or the time of its request is "
                    "unknown",
                    name,
                )
            elif same_filters(manifest.request, request) and period[0] < until and period[1] > since:
                if manifest.host == host:
                    yield manifest, period
                else:
                    others[manifest.host] += 1
        if others:
            self.log.warning(
                "Not counted: %s of other hosts (%s); only files from %s count, the host of connection %r",
                _number(others.total(), "file"),
                ", ".join(map(repr, sorted(others)[:_MAX_SHOWN])),
                host,
                self.crux_conn_id,
            )

    def _stored(self, folder: ObjectStoragePath) -> Iterator[tuple[str, Manifest]]:
        """Yield the valid manifests whose files exist."""
        sizes = file_sizes(folder)
        names = sorted(name for name in sizes if name.endswith(SUFFIX))
        for first in range(0, len(names), _FILES_AT_ONCE):
            some = names[first : first + _FILES_AT_ONCE]
            # several at once, because a request to an object store takes long; not with cat, which expands patterns
            contents = folder.fs.cat_ranges(some, None, None, on_error="raise")
            for name, content in zip(some, contents, strict=True):
                file = name.removesuffix(SUFFIX)
                try:
                    manifest = Manifest.from_json(content)
                except ValueError as error:
                    self.log.warning("%s does not count: it is not a manifest of this provider (%s)", name, error)
                    continue
                if sizes.get(file) == manifest.bytes:
                    yield name, manifest
                else:
                    self.log.warning(
                        "%s does not count: its file %s is missing or has another length; it is exported again",
                        name,
                        file,
                    )

    def _missing(self, coverage: Coverage, orders_list: _OrdersList | None) -> Missing:
        """Return the intervals to export, as many as Airflow maps."""
        # Airflow fails a task whose output has more items than it may map
        most = conf.getint("core", "max_map_length", fallback=1024)
        may_have_orders = None if orders_list is None else orders_list.may_have_orders
        missing = find_missing(coverage.long_gaps, self.max_interval, most=most, may_have_orders=may_have_orders)
        if missing.has_more:
            self.log.warning(
                "There are more than %d intervals to export, the limit of [core] max_map_length: this run returns the "
                "oldest, the next run continues; a longer max_interval needs fewer",
                most,
            )
        return missing

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
            "rows": sum(manifest.rows for manifest in manifests),
            "orders": sum(manifest.orders or 0 for manifest in manifests),
        }
        if self.do_xcom_push:
            context["ti"].xcom_push(key="coverage", value=summary)
        self.log.info(
            "%s from %s to %s: %s%s",
            _number(len(manifests), "file"),
            summary["since"],
            summary["until"],
            _number(len(missing.gaps), "gap"),
            f": {_text(missing.gaps)}" if missing.gaps else "",
        )
        if missing.empty:
            self.log.info(
                "Not returned: %s: %s", _number(len(missing.empty), "interval without orders"), _text(missing.empty)
            )
        if coverage.short_gaps:
            self.log.warning(
                "Not returned, because each is shorter than a minute: %s, %d seconds together: %s. If orders may be "
                "missing there, let each interval end where the next one begins",
                _number(len(coverage.short_gaps), "gap"),
                total(coverage.short_gaps).total_seconds(),
                _text(coverage.short_gaps),
            )

    def _instants(self) -> dict[str, datetime]:
        known = self._known(_INSTANTS)
        return {name: truncate_instant(name, parse_instant(name, value)) for name, value in known.items()}

    def _known(self, names: Sequence[str]) -> dict[str, Any]:
        return coerce_rendered({name: getattr(self, name) for name in names if not is_template(getattr(self, name))})

    def _check_arguments(self) -> None:
        """Reject what is invalid when the DAG is parsed; a template is checked when it is rendered."""
        unknown = frozenset(name for name in self.template_fields if is_template(getattr(self, name)))
        problems = [] if is_template(self.path) else folder_problems(self.path)
        problems += orders.request_problems(self._known(_FILTERS), unknown=unknown)
        if not self.crux_conn_id:
            problems.append(f"crux_conn_id: {self.crux_conn_id!r} is not the id of a connection; use one")
        if not _is_whole_seconds(self.max_interval):
            problems.append(
                f"max_interval: {self.max_interval!r} is not a timedelta of 1 or more whole seconds; use one"
            )
        try:
            instants = self._instants()
            if "since" not in {*instants, *unknown}:
                problems.append(f"since: {self.since!r} is not set; use the start of the time to check")
            elif len(instants) == len(_INSTANTS) and instants["since"] > instants["until"]:
                problems.append(f"since: {self.since} is after until {self.until}; use an earlier one")
        except CruxIntervalError as error:
            problems.append(str(error))
        if problems:
            raise InvalidArgumentsError(f"Task {self.task_id!r}: {'; '.join(problems)}")


class _OrdersList:
    """
    The list of orders, which e-mails nobody.

    :param hook: the connection.
    :param request: the filters.
    :param log: the task's log.
    """

    def __init__(self, hook: CruxHook, request: OrdersExportRequest, log: Any) -> None:
        self._hook = hook
        self._request = request
        self._log = log
        self._listed = 0
        self._failures = 0

    def may_have_orders(self, interval: Period) -> bool:
        """
        Tell whether an interval has orders; also if its list cannot be read, because then nobody knows.

        :raises CruxPermanentError: if no list can be read: each run would export the empty intervals too.
        """
        if self._failures == _MAX_LIST_FAILURES:
            return True
        start, end = interval
        try:
            has_orders = self._hook.has_orders(replace(self._request, start_date=start, end_date=end))
        except CruxTransientError as error:
            self._failures += 1
            self._log.warning(
                "Could not check whether there are orders from %s to %s, so it is a gap%s: %s",
                start.isoformat(),
                end.isoformat(),
                ", as are all later intervals" if self._failures == _MAX_LIST_FAILURES else "",
                error,
            )
            return True
        self._failures = 0
        self._listed += 1
        if self._listed % _LOG_EVERY == 0:
            self._log.info("Listed the orders of %d intervals so far, up to %s", self._listed, end.isoformat())
        return has_orders


def _is_whole_seconds(value: object) -> bool:
    return isinstance(value, timedelta) and value > timedelta(0) and not value.microseconds


def _number(count: int, noun: str) -> str:
    first, separator, rest = noun.partition(" ")
    return f"{count:,} {first}{'' if count == 1 else 's'}{separator}{rest}"


def _text(periods: Sequence[Period]) -> str:
    shown = [f"{start.isoformat()} to {end.isoformat()}" for start, end in periods[:_MAX_SHOWN]]
    rest = len(periods) - len(shown)
    return "; ".join(shown) + (f"; and {rest} more" if rest else "")
