"""What may be shown of a text that came from elsewhere: cut short, on one line, secrets removed."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Collection
from urllib.parse import quote, unquote

SHOWN = 200
"""Characters of a foreign text that an error message shows."""

_SOUGHT = 20 * SHOWN
_MASK = "***"

# A presigned URL is a secret in its query; credentials may stand before the host.
_URL = re.compile(r"(?P<scheme>https?:(?:\\?/){2})[^\s\"'<>]*", re.IGNORECASE)
# "Authorization: Token abc", and "auth_token": "abc" in JSON, in JSON within JSON, or in a Python repr.
_AUTHORIZATION = re.compile(r"\b(token|bearer|basic)(\s+|%20)[^\s\"',;<>]+", re.IGNORECASE)
_NAMED = re.compile(
    r"""(?P<name>(?:token|password|secret|signature|api[_-]?key)[\w-]*(?:\\*["'])?\s*[:=]\s*\\*)"""
    r"""(?P<value>"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[^\s,;&}<>]+)""",
    re.IGNORECASE,
)

_ESCAPE = re.compile(r"(?<!\\)\\++(?:u(?P<code>[0-9a-f]{4})|x(?P<byte>[0-9a-f]{2}))", re.IGNORECASE)
_TELLING = 8
"""Letters and digits that a secret must have to be recognised by them alone; with fewer, any text might have them."""


def _spellings(secret: str) -> set[str]:
    """Return the forms in which a server may echo a secret: as it is, and escaped for JSON, a URL or HTML."""
    return {secret, json.dumps(secret)[1:-1], quote(secret, safe=""), html.escape(secret)}


def _bare(text: str) -> str:
    """Return the letters and digits of a text, whatever it was escaped for, and however often."""
    for _ in range(3):
        text = _ESCAPE.sub(lambda found: chr(int(found["code"], 16)) if found["code"] else f"%{found['byte']}", text)
        text = html.unescape(unquote(text))
    return "".join(c for c in text if c.isascii() and c.isalnum())


def _still_shows(text: str, secrets: Collection[str]) -> bool:
    """Tell whether a secret is left in a text, escaped in a way that is none of its spellings."""
    shown = _bare(text)
    return any(len(bare := _bare(secret)) >= _TELLING and bare in shown for secret in secrets)


def excerpt(text: str, *, secrets: Collection[str] = ()) -> str:
    """
    Return the beginning of a text that came from elsewhere, fit for a log or an error message.

    :param text: what came.
    :param secrets: values that must not be seen, whatever stands around them; empty ones are passed over.
    :returns: one line of at most 200 characters and an ellipsis. URLs lose all but their scheme, and values
        that are named or introduced like a credential are masked even where they are not in ``secrets``. Nothing
        is shown of a text in which a secret stands escaped twice, or in parts.
    """
    spelled = {form for secret in secrets if secret for form in _spellings(secret)}
    # the longest first: a secret that begins another one must not leave the other's tail behind
    for form in sorted(spelled, key=len, reverse=True):
        text = text.replace(form, _MASK)
    if _still_shows(text[: 2 * _SOUGHT], secrets):
        return _MASK
    # patterns are sought only near the beginning: what is cut off in the middle of one still begins like it
    text = text[:_SOUGHT]
    text = _URL.sub(rf"\g<scheme>{_MASK}", text)
    text = _NAMED.sub(rf"\g<name>{_MASK}", text)
    text = _AUTHORIZATION.sub(rf"\1\2{_MASK}", text)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
