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
    │   ├── CruxUnavailableError           HTTP 503, or no connection
    │   └── CruxUrlExpiredError            the presigned URL has expired: request a new one
    ├── CruxAmbiguousError                 the export may have been started: a resend may send a second e-mail
    ├── CruxExportFailedError              the export failed: only a new export can help
    └── CruxExportTimeoutError             the export is late: wait for it again

No message contains a secret: foreign text passes :mod:`airflow_provider_crux.api.redaction` first.
"""

from __future__ import annotations


class CruxError(Exception):
    """Base class of every error that this provider raises."""


class CruxPermanentError(CruxError):
    """A person must change something; a retry fails in the same way."""


class CruxInvalidRequestError(CruxPermanentError, ValueError):
    """A request or an argument violates a rule of the API. Nothing was sent."""


class CruxIntervalError(CruxPermanentError, ValueError):
    """The interval to export is missing, empty or reversed. Nothing was sent."""


class CruxInvalidConnectionError(CruxPermanentError, ValueError):
    """A field of the Airflow connection is unusable. Nothing was sent."""


class CruxAuthenticationError(CruxPermanentError):
    """HTTP 401: the token, or the user name and password, are wrong."""


class CruxPermissionDeniedError(CruxPermanentError):
    """HTTP 403: the user lacks a permission."""


class CruxNotFoundError(CruxPermanentError):
    """HTTP 404: this host has no such path, or Crux Connect has no such export."""


class CruxUnsupportedMediaTypeError(CruxPermanentError):
    """HTTP 415: the server did not understand the body."""


class CruxRequestRejectedError(CruxPermanentError):
    """HTTP 400, or any other response that rejects the request."""


class CruxInvalidResponseError(CruxPermanentError):
    """
    The response to a successful request is not one that Crux Connect sends.

    Permanent on purpose: the export may have been started, and a retry would request a second one.
    """


class CruxTransientError(CruxError):
    """The request was not processed; later it may succeed."""


class CruxRateLimitError(CruxTransientError):
    """HTTP 429: too many requests."""


class CruxUnavailableError(CruxTransientError):
    """HTTP 503, or no connection could be made."""


class CruxUrlExpiredError(CruxTransientError):
    """The presigned URL of a file has expired; a new one opens the file."""


class CruxAmbiguousError(CruxError):
    """The request was sent, but nobody knows whether it was processed."""


class CruxExportFailedError(CruxError):
    """
    Crux Connect reports that the export failed.

    Not permanent: the task that requested the export may request another one. A task that only waits fails immediately.
    """


class CruxExportTimeoutError(CruxError):
    """The export was not done before the deadline. It continues at Crux Connect."""
