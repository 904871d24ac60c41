"""
What can go wrong between Airflow and Crux Connect.

A class of its own exists only where a caller would act differently::

    CruxError
    ├── CruxPermanentError              trying again changes nothing: the task fails at once
    │   ├── CruxInvalidRequestError     refused here, before anything was sent (also a ValueError)
    │   ├── CruxIntervalError           no interval, an empty one, or a reversed one (also a ValueError)
    │   ├── CruxInvalidConnectionError  the Airflow connection cannot be used as it stands (also a ValueError)
    │   ├── CruxBadCredentialsError     401
    │   ├── CruxPermissionDeniedError   403
    │   ├── CruxNotFoundError           404
    │   ├── CruxUnsupportedMediaTypeError  415
    │   ├── CruxRequestRefusedError     400 and every other answer that refuses the request
    │   └── CruxMalformedAnswerError    an answer that Crux Connect does not give
    ├── CruxTransientError              surely not processed: the same call may be sent again
    │   ├── CruxThrottledError          429
    │   ├── CruxUnavailableError        503, or no connection was made
    │   └── CruxUrlLapsedError          the presigned URL of a file opens it no longer: ask for a fresh one
    ├── CruxAmbiguousError              the export may have been started: sending again may be a second e-mail
    ├── CruxExportFailedError           Crux Connect gave the export up: only a new export can help
    └── CruxExportTimeoutError          the export was not done in time: it may still be, so wait for it again

No message holds a secret: what is put into one has passed :mod:`airflow_provider_crux.api.redaction`.
"""

from __future__ import annotations


class CruxError(Exception):
    """Base class of everything that this provider raises itself."""


class CruxPermanentError(CruxError):
    """Nothing but a change by a person will help; a retry would fail in the same way."""


class CruxInvalidRequestError(CruxPermanentError, ValueError):
    """A request, or an argument, breaks a rule of the API; nothing was sent."""


class CruxIntervalError(CruxPermanentError, ValueError):
    """The stretch of time to export is missing, empty or reversed; nothing was sent."""


class CruxInvalidConnectionError(CruxPermanentError, ValueError):
    """A field of the Airflow connection cannot be used; nothing was sent."""


class CruxBadCredentialsError(CruxPermanentError):
    """401: the token, or the user name and password, are not accepted."""


class CruxPermissionDeniedError(CruxPermanentError):
    """403: the user is known but may not do this."""


class CruxNotFoundError(CruxPermanentError):
    """404: no such path on this host, or no such export."""


class CruxUnsupportedMediaTypeError(CruxPermanentError):
    """415: the body was not understood."""


class CruxRequestRefusedError(CruxPermanentError):
    """400, or any other answer by which the request was surely refused."""


class CruxMalformedAnswerError(CruxPermanentError):
    """
    The answer to a call that succeeded is not what Crux Connect answers.

    Permanent on purpose: the export may well have been started, and a retry would ask for a second one.
    """


class CruxTransientError(CruxError):
    """The call was surely not processed; later it may go through."""


class CruxThrottledError(CruxTransientError):
    """429: too many calls."""


class CruxUnavailableError(CruxTransientError):
    """503, or no connection could be made at all."""


class CruxUrlLapsedError(CruxTransientError):
    """403 to a presigned URL: it opens the file no longer, but a fresh one will."""


class CruxAmbiguousError(CruxError):
    """The request went out and nobody knows whether it was processed."""


class CruxExportFailedError(CruxError):
    """
    Crux Connect says that the export failed.

    Not permanent: whoever asked for the export may ask for another. Whoever only waits for it may not hope.
    """


class CruxExportTimeoutError(CruxError):
    """The export was not done before the deadline; it goes on at Crux Connect."""
