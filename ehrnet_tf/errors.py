"""Errors whose message is meant for the user: one line, naming the thing and the remedy.

The command line prints them without a traceback and exits with ``exit_status``.
"""

from __future__ import annotations


class EhrnetError(Exception):
    """Something failed for a reason that the user can act on (exit status 1)."""

    exit_status = 1


class UsageError(EhrnetError, ValueError):
    """An argument, option or configuration value that cannot be used (exit status 2)."""

    exit_status = 2


class DataError(EhrnetError, ValueError):
    """A data set, annotation file or picture that cannot be used."""


class ModelFileError(EhrnetError, ValueError):
    """A model file that cannot be read or is not what it should be."""


class MissingExtraError(EhrnetError, ImportError):
    """A package is missing that an extra of ehrnet-tf installs, or ehrnet-tf itself (extra None)."""

    def __init__(self, package: str, extra: str | None):
        wanted = package if extra is None else f"'ehrnet-tf[{extra}]'"
        super().__init__(f"{package} is not installed: pip install {wanted}")
