"""oneDNN as a backend: it is not used here. The switches are kept and change nothing."""

from __future__ import annotations

from typing import NoReturn

from flambeau.base.missing import missing_attribute

__all__ = ["allow_tf32", "deterministic", "enabled", "is_acl_available", "is_available"]

enabled = True
deterministic = False
allow_tf32 = True


def is_available() -> bool:
    """False."""
    return False


def is_acl_available() -> bool:
    """False."""
    return False


def __getattr__(name: str) -> NoReturn:
    raise missing_attribute(__name__, name, globals())
