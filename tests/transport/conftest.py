"""Fixtures of the transport's tests."""

from tests.hooks.conftest import delays

__all__ = ["delays"]
