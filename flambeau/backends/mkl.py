"""Intel MKL as a backend: it is not used here."""

from __future__ import annotations

from typing import NoReturn

from flambeau.base.missing import missing_attribute

__all__ = ["is_available"]


def is_available() -> bool:
    """False: matrix products go to the BLAS that NumPy brings."""
    return False


def __getattr__(name: str) -> NoReturn:
    raise missing_attribute(__name__, name, globals())
