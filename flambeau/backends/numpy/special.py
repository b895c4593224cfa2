"""Special functions: SciPy's ufuncs where SciPy is there, own series and fits for the plain ones.

Each function takes an array of float32 or float64 and ``out``, as ufuncs do.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["special"]

ndarray = np.ndarray
SPECIAL = "special functions need SciPy\n\n  install it: pip install scipy"


@functools.cache
def special(name: str) -> Callable:
    """The function that SciPy calls ``name``, as a ufunc or a stand-in for one."""
    if name in ("j0", "j1", "y0", "y1", "airy_ai"):
        # Few programs need its tables.
        from flambeau.backends.numpy import bessel
        return getattr(bessel, name)
    try:
        # SciPy is optional, and slow to import.
        import scipy.special as scipy_special
    except ImportError:
        found = _OWN.get(name)
        if found is None:
            raise ImportError(f"{name}: {SPECIAL}") from None
        return found
    return getattr(scipy_special, name)


def _mapped(function: Callable[[float], float]) -> Callable:
    """A function of Python floats, applied to each element in double precision."""

    def forward(x: ndarray, out: Any = ...) -> ndarray:
        values = [function(v) for v in x.ravel().tolist()]
        result = np.array(values, np.float64).reshape(x.shape).astype(x.dtype)
        if out is ...:
            return result
        out[...] = result
        return out

    return forward


def _lgamma(x: float) -> float:
    if x == math.inf or x == -math.inf:
        return math.inf
    if x <= 0 and x == math.floor(x):
        return math.inf
    return math.lgamma(x)


def _digamma(x: float) -> float:
    """By the recurrence up to 10 and the asymptotic series beyond, reflected below zero."""
    if x == 0:
        return math.copysign(math.inf, -x)
    if x < 0:
        if x == math.floor(x):
            return math.nan
        return _digamma(1 - x) - math.pi / math.tan(math.pi * math.fmod(x, 1.0))
    if math.isnan(x) or x == math.inf:
        return x
    total = 0.0
    while x < 10:
        total -= 1 / x
        x += 1
    r = 1 / (x * x)
    tail = r * (1 / 12 - r * (1 / 120 - r * (1 / 252 - r * (1 / 240 - r * (1 / 132)))))
    return total + math.log(x) - 0.5 / x - tail


def _erfinv(y: float) -> float:
    """Winitzki's start, then Newton's method on erf (erfc near the ends) to full precision."""
    if not -1 < y < 1:
        return math.copysign(math.inf, y) if abs(y) == 1 else math.nan
    if y == 0:
        return y
    log = math.log1p(-y * y)
    first = 2 / (math.pi * 0.147) + log / 2
    x = math.copysign(math.sqrt(math.sqrt(first * first - log / 0.147) - first), y)
    for _ in range(4):
        error = math.erf(x) - y
        if abs(y) > 0.5:
            error = math.copysign(1, y) * ((1 - abs(y)) - math.erfc(abs(x)))
        step = error / (2 / math.sqrt(math.pi) * math.exp(-x * x))
        x -= step / (1 + x * step)
    return x


def _i0(x: ndarray, out: Any = ...) -> ndarray:
    found = np.i0(x).reshape(x.shape).astype(x.dtype)
    if out is ...:
        return found
    out[...] = found
    return out


_OWN = {"erf": _mapped(math.erf), "erfc": _mapped(math.erfc), "gammaln": _mapped(_lgamma),
        "psi": _mapped(_digamma), "erfinv": _mapped(_erfinv), "i0": _i0}
