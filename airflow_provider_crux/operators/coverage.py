"""The proof that stored files leave no hour out, as a task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator, conf

from airflow_provider_crux.api import orders
from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.arguments import coerce_rendered, is_template
from airflow_provider_crux.coverage import Coverage, Period, cover, cut, same_filters
from airflow_provider_crux.deferral import InvalidArgumentsError, fail_without_retry
from airflow_provider_crux.exceptions import CruxIntervalError, CruxInvalidRequestError, CruxPermanentError
from airflow_provider_crux.interval import parse_instant, truncate_instant
from airflow_provider_crux.manifest import SUFFIX, Manifest
from airflow_provider_crux.paths import file_sizes, folder_problems, open_path

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, ObjectStoragePath

_FILTERS: Final = ("start", "limit", "sort", "line_item_status", "status_conjunction")
_INSTANTS: Final = ("since", "until")

_FILES_AT_ONCE: Final = 500
_MAX_SHOWN: Final = 20


class CruxExportCoverageOperator(BaseOperator):
    """
    Find the intervals that no stored file covers, and return them for ``CruxOrdersExportOperator`` to export.

    It reads the manifests that ``CruxExportToObjectStorageOperator(manifest=True)`` stores beside its files. It needs
    no connection of the type ``crux``, and sends nothing to Crux Connect. A manifest counts if its file exists below
    ``path`` with the length that it says, and if its request has the same filters. It covers its interval, but nothing
    after its own request: later orders are missing from its file.

    ``CruxOrdersExportOperator.partial(task_id="export").expand_kwargs(coverage.output)`` exports what is missing, and
    nothing else. So a DAG that runs again fills its own gaps. Let only one run be active at a time.

    **XCom.** ``return_value`` is a list of ``{"interval_start": ..., "interval_end": ...}``, oldest first, in UTC: at
    most ``[core] max_map_length`` (default 1024); the next run returns the rest.
    ``coverage`` is ``{"since": ..., "until": ..., "covered_seconds": ..., "gaps": ..., "overlaps": ..., "files": ...,
    "rows": ..., "orders": ...}``: the numbers of gaps (before they are cut), of overlaps and of files that count, and
    the sums over these files; an order in two files counts twice.

    :param path: the folder: ``file:///...``, ``s3://conn_id@bucket/folder/``, ``gs://...``, or an
        ``ObjectStoragePath``; everything below it is listed once. Templated.
    :param since: start of the time to check: ISO 8601 text, a datetime, a date, or a day in eight digits
        (``20260102``), UTC without a time zone. Templated.
    :param until: its end, likewise; default: now. What is in the future is not checked. Templated.
    :param max_interval: length of the longest interval that is returned, one or more whole seconds; default 7 days.
    :param fail_on_gap: whether to fail the task, without a retry, if there is a gap; default False.
    :param start: the filters that the exports have, as :class:`~airflow_provider_crux.operators.orders.\
CruxOrdersExportOperator` accepts them, as the next four; default: none. Templated.
    :param limit: likewise. Templated.
    :param sort: likewise. Templated.
    :param line_item_status: likewise. Templated.
    :param status_conjunction: likewise. Templated.
    :raises CruxInvalidRequestError: when the DAG is parsed, if an argument that is not a template is invalid.
    :raises AirflowFailException: in a run, for an invalid argument or, with ``fail_on_gap``, for a gap.
    :raises Exception: in a run, what the storage raises.
    """

    template_fields: Sequence[str] = ("path", *_INSTANTS, *_FILTERS)
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
        start: int | str | None = None,
        limit: int | str | None = None,
        sort: orders.Sort | Mapping[str, str] | str | None = None,
        line_item_status: Sequence[str] | str | None = None,
        status_conjunction: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.since = since
        self.until = until
        self.max_interval = max_interval
        self.fail_on_gap = fail_on_gap
        self.start = start
        self.limit = limit
        # a Sort as a mapping, which Airflow renders
        self.sort = asdict(sort) if isinstance(sort, orders.Sort) else sort
        self.line_item_status = line_item_status
        self.status_conjunction = status_conjunction
        self._check_arguments()

    def execute(self, context: Context) -> list[dict[str, str]]:
        """
        Read the manifests and compare them with the stretch of time.

        :return: the intervals that no file covers.
        :raises AirflowFailException: if there is a gap and ``fail_on_gap`` is set, and for an invalid argument.
        """
        with fail_without_retry(CruxPermanentError):
            since, until = self._stretch()
            request = OrdersExportRequest(**self._known(_FILTERS)).as_json()
            if problems := folder_problems(self.path):
                raise CruxInvalidRequestError("; ".join(problems))
            manifests = list(self._matching(open_path(self.path), request, since, until))
        coverage = cover(since, until, [period for _, period in manifests])
        self._report(context, coverage, [manifest for manifest, _ in manifests])
        if coverage.gaps and self.fail_on_gap:
            raise AirflowFailException(
                f"{_number(len(coverage.gaps), 'gap')} below {str(self.path)!r}: {_text(coverage.gaps)}. Export these "
                "intervals, and store them there with manifest=True"
            )
        return self._pieces(coverage)

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
        self, folder: ObjectStoragePath, request: Mapping[str, Any], since: datetime, until: datetime
    ) -> Iterator[tuple[Manifest, Period]]:
        """Yield the manifests that count, with what they cover."""
        for name, manifest in self._stored(folder):
            period = manifest.period
            if period is None or manifest.request is None:
                self.log.warning("%s does not count: the interval of its export is unknown or empty", name)
            elif same_filters(manifest.request, request) and period[0] < until and period[1] > since:
                yield manifest, period

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

    def _report(self, context: Context, coverage: Coverage, manifests: Sequence[Manifest]) -> None:
        summary = {
            "since": coverage.since.isoformat(),
            "until": coverage.until.isoformat(),
            "covered_seconds": int(coverage.covered.total_seconds()),
            "gaps": len(coverage.gaps),
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
            _number(len(coverage.gaps), "gap"),
            f": {_text(coverage.gaps)}" if coverage.gaps else "",
        )

    def _pieces(self, coverage: Coverage) -> list[dict[str, str]]:
        # Airflow fails a task whose output has more items than it may map
        most = conf.getint("core", "max_map_length", fallback=1024)
        pieces = list(islice(cut(coverage.gaps, self.max_interval), most + 1))
        if len(pieces) > most:
            self.log.warning(
                "There are more than %d intervals to export, the limit of [core] max_map_length: this run returns the "
                "oldest, the next run continues; a longer max_interval needs fewer",
                most,
            )
        return [{"interval_start": start.isoformat(), "interval_end": end.isoformat()} for start, end in pieces[:most]]

    def _instants(self) -> dict[str, datetime]:
        known = self._known(_INSTANTS)
        return {name: truncate_instant(name, parse_instant(name, value)) for name, value in known.items()}

    def _known(self, names: Sequence[str]) -> dict[str, Any]:
        return coerce_rendered({name: getattr(self, name) for name in names if not is_template(getattr(self, name))})

    def _check_arguments(self) -> None:
        """Reject what is invalid when the DAG is parsed; a template is checked when it is rendered."""
        unknown = frozenset(name for name in self.template_fields if is_template(getattr(self, name)))
        problems = [] if is_template(self.path) else folder_problems(self.path)
        problems += orders.violations(self._known(_FILTERS), unknown=unknown)
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


def _is_whole_seconds(value: object) -> bool:
    return isinstance(value, timedelta) and value > timedelta(0) and not value.microseconds


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _text(periods: Sequence[Period]) -> str:
    shown = [f"{start.isoformat()} to {end.isoformat()}" for start, end in periods[:_MAX_SHOWN]]
    rest = len(periods) - len(shown)
    return "; ".join(shown) + (f"; and {rest} more" if rest else "")
