"""Calling modules on several GPUs at once, which needs GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

__all__ = ["parallel_apply"]


def parallel_apply(modules: Sequence[Any], inputs: Sequence[Any], kwargs_tup: Any = None,
                   devices: Any = None) -> NoReturn:
    """Each module of its inputs, each on its GPU; RuntimeError where there is none."""
    for what, given in (("inputs", inputs), ("kwargs_tup", kwargs_tup), ("devices", devices)):
        if given is not None and len(given) != len(modules):
            raise AssertionError(f"The number of modules {len(modules)} is not equal to the number "
                                 f"of {what} {len(given)}")
    raise RuntimeError("Cannot access accelerator device when none is available.")
