"""A package of its own, because another distribution installs ``tests.integration``."""
