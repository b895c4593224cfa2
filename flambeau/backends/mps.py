"""Apple's Metal as a backend: it is not there."""

from __future__ import annotations

from typing import NoReturn

from flambeau.base.missing import missing_attribute

__all__ = ["is_available", "is_built", "is_macos13_or_newer", "is_macos_or_newer"]


def is_available() -> bool:
    """False."""
    return False


def is_built() -> bool:
    """False."""
    return False


def is_macos_or_newer(major: int, minor: int) -> bool:
    """False: the question is whether Metal of that release can be used."""
    return False


def is_macos13_or_newer(minor: int = 0) -> bool:
    """False."""
    return False


def __getattr__(name: str) -> NoReturn:
    raise missing_attribute(__name__, name, globals())
