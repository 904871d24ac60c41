"""Presigned URLs in the manner of S3: the query string opens the file, until it lapses.

The parameters are named as S3 names them, so that a client's redaction meets the real names. The signature is
a plain HMAC, not the algorithm named in them: nobody but this module checks it.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlencode

from airflow_provider_crux.sandbox.clock import Clock

_DATE_FORMAT = "%Y%m%dT%H%M%SZ"
_SIGNATURE = "X-Amz-Signature"


class Denial(NamedTuple):
    """Why a URL is refused.

    :param code: S3's word for it
    :param message: a sentence for people
    """

    code: str
    message: str


class Presigner:
    """Signs paths, and judges what comes back.

    :param lifetime: whole seconds that a URL is accepted
    :param clock: says when it was signed, and when it lapsed
    """

    def __init__(self, lifetime: int, clock: Clock) -> None:
        self._lifetime = lifetime
        self._clock = clock
        self._keys = [secrets.token_bytes(32)]  # newest first

    def sign(self, path: str) -> str:
        """Add a fresh signature to a path.

        :param path: absolute, without a query string
        :return: the path with the query string that opens it
        """
        day = f"{self._clock():%Y%m%d}"
        query = [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", f"SANDBOX/{day}/us-east-1/s3/aws4_request"),
            ("X-Amz-Date", self._clock().strftime(_DATE_FORMAT)),
            ("X-Amz-Expires", str(self._lifetime)),
            ("X-Amz-SignedHeaders", "host"),
        ]
        return f"{path}?{urlencode([*query, (_SIGNATURE, _signature(self._keys[0], path, query))])}"

    def denial(self, path: str, query: Sequence[tuple[str, str]]) -> Denial | None:
        """Judge a request for a file.

        :param path: its path
        :param query: every name and value of its query string
        :return: why it is refused, or None if the file may be served
        """
        given = [value for name, value in query if name == _SIGNATURE]
        if len(given) != 1:
            return Denial("AccessDenied", "The address carries no signature.")
        rest = [(name, value) for name, value in query if name != _SIGNATURE]
        made_by = [given[0] == _signature(key, path, rest) for key in self._keys]
        if not any(made_by):
            return Denial("SignatureDoesNotMatch", "The signature does not belong to this address.")
        # a good signature vouches for the other parameters: they are as sign() wrote them
        signed_at = datetime.strptime(dict(rest)["X-Amz-Date"], _DATE_FORMAT).replace(tzinfo=UTC)
        lapsed = self._clock() >= signed_at + timedelta(seconds=int(dict(rest)["X-Amz-Expires"]))
        if lapsed or not made_by[0]:
            return Denial("AccessDenied", "The address has expired.")
        return None

    def expire(self) -> None:
        """Let every URL lapse that was given out until now."""
        self._keys.insert(0, secrets.token_bytes(32))


def _signature(key: bytes, path: str, query: Sequence[tuple[str, str]]) -> str:
    return hmac.new(key, f"{path}\n{urlencode(sorted(query))}".encode(), hashlib.sha256).hexdigest()
