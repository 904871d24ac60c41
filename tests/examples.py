"""How many examples Hypothesis tries for a test that needs more or fewer than the others."""

from __future__ import annotations

from typing import Any

from hypothesis import settings


def examples(count: int, **options: Any) -> settings:
    """
    Return the settings of a test.

    :param count: how many examples it tries where the others try 100; make unit tries a tenth of them.
    :param options: other settings.
    """
    return settings(max_examples=max(1, count * settings.default.max_examples // 100), **options)
