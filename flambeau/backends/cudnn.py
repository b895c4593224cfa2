"""cuDNN as a backend: it is not there.

Programs set its switches whether they have a GPU or not. They are kept, and change nothing: the
CPU's convolutions are deterministic and choose no algorithm by timing.

>>> import flambeau as torch
>>> torch.backends.cudnn.deterministic = True
>>> torch.backends.cudnn.is_available(), torch.backends.cudnn.deterministic
(False, True)
>>> torch.backends.cudnn.deterministic = False
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from flambeau.base.missing import missing_attribute

__all__ = ["allow_tf32", "benchmark", "benchmark_limit", "deterministic", "enabled", "flags",
           "is_acceptable", "is_available", "version"]

enabled = True
benchmark = False
benchmark_limit: int | None = None
deterministic = False
allow_tf32 = True


def is_available() -> bool:
    """False."""
    return False


def version() -> None:
    """None."""


def is_acceptable(tensor: object) -> bool:
    """False: no tensor is cuDNN's to work on."""
    return False


@contextmanager
def flags(enabled: bool = False, benchmark: bool = False, benchmark_limit: int = 10,
          deterministic: bool = False, allow_tf32: bool = True) -> Iterator[None]:
    """Set the switches for a while."""
    chosen: dict[str, Any] = {
        "enabled": enabled, "benchmark": benchmark, "benchmark_limit": benchmark_limit,
        "deterministic": deterministic, "allow_tf32": allow_tf32,
    }
    module = globals()
    before = {name: module[name] for name in chosen}
    module.update(chosen)
    try:
        yield
    finally:
        module.update(before)


def __getattr__(name: str) -> NoReturn:
    raise missing_attribute(__name__, name, globals())
