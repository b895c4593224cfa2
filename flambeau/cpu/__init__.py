"""The CPU under the names that the accelerators' modules use, for code that takes either."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from flambeau.base.missing import missing_attribute

__all__ = ["current_device", "device_count", "is_available", "is_initialized", "set_device",
           "synchronize"]


def is_available() -> bool:
    """True."""
    return True


def is_initialized() -> bool:
    """True."""
    return True


def device_count() -> int:
    """1: all cores together are one device."""
    return 1


def current_device() -> str:
    """'cpu'."""
    return "cpu"


def set_device(device: object) -> None:
    """Nothing to choose."""


def synchronize(device: object = None) -> None:
    """Nothing to wait for: every operator has its result when it returns."""


def __getattr__(name: str) -> ModuleType:
    if name == "amp":
        return import_module("flambeau.cpu.amp")
    raise missing_attribute(__name__, name, globals())
