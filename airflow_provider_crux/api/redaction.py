"""What may be shown of foreign text: one short line without secrets."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

if TYPE_CHECKING:
    from airflow_provider_crux.api.requests import ApiResponse

EXCERPT_LENGTH: Final = 200
"""Characters of foreign text in an error message."""

_SCANNED_LENGTH: Final = 20 * EXCERPT_LENGTH
_MASK: Final = "***"

# A presigned URL keeps its secret in the query; a URL may have credentials before the host.
_URL: Final = re.compile(r"(?P<scheme>https?:(?:\\?/){2})[^\s\"'<>]*", re.IGNORECASE)
# "Authorization: Token abc", and "auth_token": "abc" in JSON, in JSON within JSON, or in a Python repr.
_AUTHORIZATION: Final = re.compile(r"\b(token|bearer|basic)(\s+|%20)[^\s\"',;<>]+", re.IGNORECASE)
_NAMED_SECRET: Final = re.compile(
    r"""(?P<name>(?:token|password|secret|signature|api[_-]?key)[\w-]*(?:\\*["'])?\s*[:=]\s*\\*)"""
    r"""(?P<value>"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[^\s,;&}<>]+)""",
    re.IGNORECASE,
)

_ESCAPE: Final = re.compile(r"(?<!\\)\\++(?:u(?P<code>[0-9a-f]{4})|x(?P<byte>[0-9a-f]{2}))", re.IGNORECASE)
_MIN_BARE_LENGTH: Final = 8
"""A secret with fewer letters and digits is not recognized by these alone, because any text might contain them."""

_MIN_URL_SECRET_LENGTH: Final = 16


def _spellings(secret: str) -> set[str]:
    """Return the forms in which a server may echo a secret: unchanged, or escaped for JSON, a URL or HTML."""
    return {secret, json.dumps(secret)[1:-1], quote(secret, safe=""), html.escape(secret)}


def _bare(text: str) -> str:
    """Return the letters and digits of a text without its escapes, up to three levels deep."""
    for _ in range(3):
        text = _ESCAPE.sub(lambda match: chr(int(match["code"], 16)) if match["code"] else f"%{match['byte']}", text)
        text = html.unescape(unquote(text))
    return "".join(c for c in text if c.isascii() and c.isalnum())


def _contains_escaped_secret(text: str, secrets: Collection[str]) -> bool:
    """Tell whether a text still contains a secret, escaped in a way that is none of its spellings."""
    bare_text = _bare(text)
    return any(len(bare := _bare(secret)) >= _MIN_BARE_LENGTH and bare in bare_text for secret in secrets)


def excerpt(text: str, *, secrets: Collection[str] = ()) -> str:
    """
    Return the beginning of a foreign text, fit for a log or an error message.

    It is one line of at most 200 characters and an ellipsis. URLs keep only their scheme. Values that are named or
    introduced like a credential are masked even if they are not in ``secrets``. A text that contains a secret escaped
    twice, or in parts, is masked as a whole.
    """
    spellings = {form for secret in secrets if secret for form in _spellings(secret)}
    # the longest first: a secret that is the beginning of another must not leave the other's tail behind
    for spelling in sorted(spellings, key=len, reverse=True):
        text = text.replace(spelling, _MASK)
    if _contains_escaped_secret(text[: 2 * _SCANNED_LENGTH], secrets):
        return _MASK
    # the patterns see only the beginning: a match that is cut off in the middle still begins like one
    text = text[:_SCANNED_LENGTH]
    text = _URL.sub(rf"\g<scheme>{_MASK}", text)
    text = _NAMED_SECRET.sub(rf"\g<name>{_MASK}", text)
    text = _AUTHORIZATION.sub(rf"\1\2{_MASK}", text)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= EXCERPT_LENGTH else f"{text[:EXCERPT_LENGTH]}…"


def excerpt_of_response(response: ApiResponse, secrets: Collection[str] = ()) -> str:
    """Return the content type and the beginning of a response, fit for an error message."""
    if not response.body:
        return "empty body"
    text = response.body.decode("utf-8", errors="replace")
    return f"{content_type(response, secrets)}: {excerpt(text, secrets=secrets)!r}"


def content_type(response: ApiResponse, secrets: Collection[str] = ()) -> str:
    """Return the content type of a response, fit for an error message."""
    return excerpt(response.headers.get("content-type", "no content type"), secrets=secrets)


def secrets_in_url(url: str) -> tuple[str, ...]:
    """
    Return the secret parts of a presigned URL: its path, its query, and each value of it, decoded and as in the URL.

    Values shorter than 16 characters are left out: the seconds until the URL expires are no secret, and masking them
    would make other texts unreadable.
    """
    parts = urlsplit(url)
    encoded_values = (pair.partition("=")[2] for pair in parts.query.split("&"))
    values = (value for _, value in parse_qsl(parts.query))
    candidates = dict.fromkeys((parts.query, *encoded_values, *values, parts.path.strip("/")))
    return tuple(text for text in candidates if len(text) >= _MIN_URL_SECRET_LENGTH)


def secrets_in_proxy(proxy: str | None) -> tuple[str, ...]:
    """Return what reveals a proxy's credentials: its URL, the password encoded and decoded, and the header sent."""
    if proxy is None:
        return ()
    parts = urlsplit(proxy)
    encoded = parts.password or parts.username
    if not encoded:
        return (proxy,)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    header = base64.b64encode(f"{user}:{password}".encode("latin-1", errors="replace")).decode()
    return proxy, encoded, unquote(encoded), header
