"""The package opt_einsum as a backend: einsum contracts from left to right without it."""

from __future__ import annotations

from typing import NoReturn

from flambeau.base.missing import missing_attribute

__all__ = ["enabled", "get_opt_einsum", "is_available", "strategy"]

enabled = False
strategy: str | None = None


def is_available() -> bool:
    """False."""
    return False


def get_opt_einsum() -> None:
    """None: the package is not used."""


def __getattr__(name: str) -> NoReturn:
    raise missing_attribute(__name__, name, globals())
