"""Apple's Metal, as programs ask for it: there is no such backend here, and all of it says so."""

from __future__ import annotations

from typing import NoReturn

from flambeau.base.missing import missing_attribute

__all__ = ["current_allocated_memory", "device_count", "empty_cache", "is_available",
           "manual_seed", "seed", "synchronize"]


def is_available() -> bool:
    """False."""
    return False


def device_count() -> int:
    """0."""
    return 0


def manual_seed(seed: int) -> None:
    """Nothing to seed."""


def seed() -> NoReturn:
    """Raises RuntimeError: this needs a Metal device."""
    _refuse("getDefaultGenerator()")


def synchronize() -> NoReturn:
    """Raises RuntimeError: this needs a Metal device."""
    _refuse("deviceSynchronize()")


def empty_cache() -> NoReturn:
    """Raises RuntimeError: this needs a Metal device."""
    _refuse("emptyCache()")


def current_allocated_memory() -> NoReturn:
    """Raises RuntimeError: this needs a Metal device."""
    _refuse("getCurrentAllocatedMemory()")


def _refuse(call: str) -> NoReturn:
    raise RuntimeError(f"Cannot execute {call} without MPS backend.\n"
                       "flambeau computes on the CPU: ask torch.mps.is_available() first.")


def __getattr__(name: str) -> NoReturn:
    raise missing_attribute(__name__, name, globals())
