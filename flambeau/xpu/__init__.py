"""Intel GPUs, as programs ask for them: there is no such backend here, and all of it says so."""

from __future__ import annotations

from typing import Any, NoReturn

from flambeau.base.missing import missing_attribute

__all__ = ["current_device", "device_count", "empty_cache", "is_available", "manual_seed",
           "manual_seed_all", "synchronize"]


def is_available() -> bool:
    """False."""
    return False


def device_count() -> int:
    """0."""
    return 0


def manual_seed(seed: int) -> None:
    """Nothing to seed."""


def manual_seed_all(seed: int) -> None:
    """Nothing to seed."""


def empty_cache() -> None:
    """Nothing to empty."""


def _refuse(*args: Any, **kwargs: Any) -> NoReturn:
    """Raises AssertionError: this needs an Intel GPU."""
    raise AssertionError("Torch not compiled with XPU enabled\n"
                         "flambeau computes on the CPU: ask torch.xpu.is_available() first.")


current_device = synchronize = _refuse


def __getattr__(name: str) -> NoReturn:
    raise missing_attribute(__name__, name, globals())
