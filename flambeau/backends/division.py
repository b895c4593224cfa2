"""Remainders and rounded quotients of large floats by kernels, or None to say "use NumPy".

A quotient that the dtype holds exactly leaves an exact remainder, by one multiplication and
subtraction that are rounded once; larger quotients are left to NumPy.
"""

from typing import Any

import numpy as np

from flambeau.backends import fused, large

# up to these quotients, rounding moves none further than to the next integer
_BOUNDS = {np.float32: 2.0**22, np.float64: 2.0**51}


def _remains(on: Any, x: Any, y: Any) -> Any:
    """C's fmod: exact, of the sign of x."""
    rest = on.fma(-on.trunc(x / y), y, x)
    # a quotient just below an integer may have been rounded up to it
    apart = ((rest < 0) & (x > 0)) | ((rest > 0) & (x < 0))
    size = on.abs(y)
    rest = on.where(apart, rest + on.where(x < 0, -size, size), rest)
    rest = on.where(rest == 0, x * 0.0, rest)
    return on.where(on.abs(x) < size, x, rest)


def _modulo(on: Any, x: Any, y: Any) -> Any:
    rest = _remains(on, x, y)
    apart = ((y < 0) & (rest > 0)) | ((y > 0) & (rest < 0))
    return on.where(apart, rest + y, rest)


def _floor(on: Any, x: Any, y: Any) -> Any:
    rest = _remains(on, x, y)
    apart = ((y < 0) & (rest > 0)) | ((y > 0) & (rest < 0))
    quotient = (x - rest) / y
    quotient = on.where(apart, quotient - 1.0, quotient)
    floor = on.floor(quotient)
    floor = on.where(quotient - floor > 0.5, floor + 1.0, floor)
    return on.where(y == 0, x / y, on.where(quotient == 0, (x / y) * 0.0, floor))


_FORMULAS = {"fmod": _remains, "remainder": _modulo, "floor": _floor}


def divided(name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    """The "fmod", the "remainder" of the divisor's sign, or the "floor" of a quotient.

    >>> found = divided("remainder", np.full(40_000, -7.5), np.full((), 2.0))
    >>> found is None or float(found[0]) == 0.5
    True
    """
    bound = _BOUNDS.get(x.dtype.type)
    if bound is None or x.dtype != y.dtype or max(x.size, y.size) < large.MIN_ITEMS:
        return None
    if large.load() is None or not _fuses() or not _within(x, y, bound):
        return None
    return fused.pointwise(_FORMULAS[name], (x, y))


def _within(x: np.ndarray, y: np.ndarray, bound: float) -> bool:
    """Whether every quotient is at most so large."""
    if y.size == 1:
        return large.within(x, bound * abs(y.item()))
    quotient = large.pointwise("div", x, y)
    return quotient is not None and large.within(quotient, bound)


def _fuses() -> bool:
    # with llvmlite, once kernels are there
    from flambeau.backends.llvm import host

    return host.fuses()
