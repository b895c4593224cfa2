"""Whatever accelerator there is, under one name: none here."""

from __future__ import annotations

from typing import Any, NoReturn

from flambeau.base.missing import missing_attribute

__all__ = ["current_accelerator", "current_device_index", "device_count", "empty_cache",
           "is_available", "set_device_index", "synchronize"]


def is_available() -> bool:
    """False."""
    return False


def device_count() -> int:
    """0."""
    return 0


def current_accelerator(check_available: bool = False) -> None:
    """None: there is no accelerator."""


def _refuse(*args: Any, **kwargs: Any) -> NoReturn:
    """Raises RuntimeError: this needs an accelerator."""
    raise RuntimeError("Cannot access accelerator device when none is available.\n"
                       "flambeau computes on the CPU: ask torch.accelerator.is_available() first.")


current_device_index = set_device_index = synchronize = empty_cache = _refuse


def __getattr__(name: str) -> NoReturn:
    raise missing_attribute(__name__, name, globals())
