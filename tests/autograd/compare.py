"""Run a case with flambeau and with PyTorch and compare all that it tells."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import flambeau
from flambeau.base import naming

__all__ = ["assert_same", "close", "told"]


def _plain(value: Any) -> Any:
    """A value as numbers, texts, lists: what two packages can agree on."""
    if hasattr(value, "grad_fn"):
        held = value.detach()
        return str(held.dtype), tuple(held.shape), held.requires_grad, held.tolist()
    if isinstance(value, dict):
        return [(key, _plain(one)) for key, one in value.items()]
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, bool | int | float | complex | str):
        return value
    return type(value).__name__


def told(case: Callable[[Any], Any], package: Any) -> Any:
    """What ``case(package)`` returns, or its error, and the warnings on the way."""
    package.manual_seed(0)
    # Else what is warned of once a process depends on the tests before.
    package.set_warn_always(True)
    prefix = naming.prefix()
    naming.set_prefix("torch")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                found = _plain(case(package))
            except Exception as error:
                found = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    finally:
        naming.set_prefix(prefix)
        package.set_warn_always(False)
    return [found, [str(w.message)[:50] for w in caught if w.category is UserWarning]]


def close(a: Any, b: Any, within: float = 1e-6) -> bool:
    """Equal, numbers up to rounding."""
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(close(x, y, within) for x, y in zip(a, b))
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        same = a == b or math.isnan(a) and math.isnan(b)
        return same or abs(a - b) <= within * max(1.0, abs(b))
    if isinstance(a, complex):
        return close([a.real, a.imag], [b.real, b.imag], within)
    return bool(a == b)


def assert_same(case: Callable[[Any], Any], torch: ModuleType) -> None:
    """The case tells the same with flambeau and with PyTorch."""
    here, there = told(case, flambeau), told(case, torch)
    assert close(here, there), f"flambeau: {here}\nPyTorch:  {there}"
