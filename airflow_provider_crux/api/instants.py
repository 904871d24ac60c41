"""Instants and stretches of time: how other systems spell them. Inside, they are datetimes with a time zone."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from airflow_provider_crux.api.versions import WITH_ZONE

Period = tuple[datetime, datetime]
"""Start and end of a stretch of time, each with a time zone."""


def whole_second(moment: datetime) -> datetime:
    """
    Return an instant as it is sent: in UTC, truncated to the second, because the milliseconds are always 000.

    Truncating keeps adjoining intervals adjoining: both neighbors truncate their common instant to the same second.

    :param moment: with a time zone, of any subclass of datetime; the result is a plain one.
    :raises OverflowError: if it is outside the years 1 to 9999 in UTC.
    """
    utc = moment.astimezone(UTC)
    return datetime(utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second, tzinfo=UTC)


@lru_cache  # a request is formatted seven times while it is sent, recorded and pushed
def format_instant(moment: datetime, form: str = WITH_ZONE) -> str:
    """Return an instant in UTC as Crux Connect's API spells it; ``form`` has ``{date}`` and ``{time}``."""
    utc = whole_second(moment)
    return form.format(date=utc.date().isoformat(), time=utc.time().isoformat())


def parse_utc(text: object) -> datetime | None:
    """Return the instant in a text, ``None`` for ``None``; raise ValueError if it is not one with a time zone."""
    if text is None:
        return None
    moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    if moment is None or moment.utcoffset() is None:
        raise ValueError(f"{text!r} is not an instant with a time zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is outside the years 1 to 9999 in UTC") from None
