"""
The errors of this provider.

A subclass exists only where a caller acts differently::

    CruxError
    ├── CruxPermanentError                 a retry fails in the same way: the task fails immediately
    │   ├── CruxInvalidRequestError        an argument is invalid; nothing was sent (also a ValueError)
    │   ├── CruxIntervalError              the interval is missing, empty or reversed (also a ValueError)
    │   ├── CruxInvalidConnectionError     the Airflow connection is unusable (also a ValueError)
    │   ├── CruxAuthenticationError        HTTP 401
    │   ├── CruxPermissionDeniedError      HTTP 403
    │   ├── CruxNotFoundError              HTTP 404
    │   ├── CruxUnsupportedMediaTypeError  HTTP 415
    │   ├── CruxRequestRejectedError       HTTP 400 and every other rejection
    │   └── CruxInvalidResponseError       a response that Crux Connect does not send
    ├── CruxTransientError                 not processed: the same request may be sent again
    │   ├── CruxRateLimitError             HTTP 429
    │   ├── CruxUnavailableError           HTTP 503 with Retry-After, or no connection
    │   └── CruxUrlExpiredError            the presigned URL has expired: request a new one
    ├── CruxAmbiguousError                 the export may have been started: a resend may send a second e-mail
    ├── CruxExportFailedError              the export failed: only a new export can help
    └── CruxExportTimeoutError             the export is not done within timeout: wait for it again

No message contains a secret: foreign text passes :mod:`airflow_provider_crux.api.redaction` first.
"""

from __future__ import annotations


class CruxError(Exception):
    """Base class of every error that this provider raises. It is never raised itself."""


class CruxPermanentError(CruxError):
    """A person must change something; a retry fails in the same way, so a task fails immediately."""


class CruxInvalidRequestError(CruxPermanentError, ValueError):
    """An argument is invalid, or the file at ``path`` exists. Nothing was requested or stored: correct the argument."""


class CruxIntervalError(CruxPermanentError, ValueError):
    """
    The interval is missing, empty or reversed, the run's period has not ended, or the DAG's timetable raises an error.

    Nothing was sent. Set ``interval_start`` and ``interval_end``, or ``lookback``.
    """


class CruxInvalidConnectionError(CruxPermanentError, ValueError):
    """
    The Airflow connection does not exist or is unusable, or the server's certificate is not trusted.

    Nothing was processed. Create the connection, or correct the field that the message names; for a certificate, the
    host or ``ca_bundle``.
    """


class CruxAuthenticationError(CruxPermanentError):
    """HTTP 401. Correct the token, or the login and its password."""


class CruxPermissionDeniedError(CruxPermanentError):
    """HTTP 403. Request the permission that the message names for the user from Crux Connect."""


class CruxNotFoundError(CruxPermanentError):
    """HTTP 404. Check the host and the connection's ``api_version``; while waiting, check the export's UUID."""


class CruxUnsupportedMediaTypeError(CruxPermanentError):
    """HTTP 415: the server did not understand the body. Check the host and the proxy."""


class CruxRequestRejectedError(CruxPermanentError):
    """HTTP 400, a redirect, or another status that rejects the request. Read the response that the message shows."""


class CruxInvalidResponseError(CruxPermanentError):
    """
    The response is not one that Crux Connect sends, or the URL of the file must not be opened. Check the host.

    Such a URL is not encrypted, or leads to the worker's own machine although the API does not. Permanent on purpose:
    the export may have been started, and a retry would request a second one.
    """


class CruxTransientError(CruxError):
    """The same request may succeed later, without a second export. Airflow retries the task."""


class CruxRateLimitError(CruxTransientError):
    """HTTP 429, also after up to ``max_retries`` resends. Run fewer tasks at once, for example in a pool."""


class CruxUnavailableError(CruxTransientError):
    """
    HTTP 503 with ``Retry-After``, or no connection. Try again later.

    Except for an export request, also a lost response or any status of 500 or above.

    For a file, also every other status, an export without a URL, and a file that is empty, is no CSV file, or
    whose length is unknown: storage may return anything in passing, and a download e-mails nobody.
    """


class CruxUrlExpiredError(CruxTransientError):
    """The presigned URL of the file has expired, and so has the new one that the provider requested."""


class CruxAmbiguousError(CruxError):
    """
    The response to an export request was lost, or had a status such as 500, 502, 504, or 503 without ``Retry-After``.

    The export may have been started, and the provider has **not** sent the request again. Check for the e-mail before
    you clear the task. Airflow retries the task, which may send a second e-mail; with ``on_ambiguous="fail"`` it does
    not.
    """


class CruxExportFailedError(CruxError):
    """
    Crux Connect reports that the export failed.

    Not permanent: a retry of ``CruxOrdersExportOperator`` requests another export. The sensor and the transfers, which
    only wait, fail immediately instead.
    """


class CruxExportTimeoutError(CruxError):
    """
    The export was not done within ``timeout``. It continues at Crux Connect.

    If the message says that it has no file, it may hold no orders: check its interval and its filters. Otherwise,
    increase ``timeout``. A retry of ``CruxOrdersExportOperator`` waits for the same export.
    """
