"""Elementwise float64 functions that equal the C library's, and a fused multiply-add."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
from numpy.lib.introspect import opt_func_info

_SPLIT = 2.0**27 + 1


@functools.cache
def _elementwise(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """NumPy's function, or a map of Python's where NumPy runs its own AVX-512 approximation."""
    kernel = opt_func_info(func_name=f"^{name}$")[name]["dd"]["current"]
    if not kernel.startswith(("AVX512", "X86_V4")):
        return getattr(np, name)
    scalar = _UNLIMITED.get(name, getattr(math, name))

    def mapped(x: np.ndarray) -> np.ndarray:
        flat = np.fromiter(map(scalar, x.ravel().tolist()), np.float64, x.size)
        return flat.reshape(x.shape)

    return mapped


def _log_or_minus_inf(x: float) -> float:
    return math.log(x) if x else -math.inf


def _exp_or_inf(x: float) -> float:
    return math.exp(x) if x < 709.782712893384 else math.inf


# Python's raise where C and NumPy give an infinity.
_UNLIMITED = {"log": _log_or_minus_inf, "exp": _exp_or_inf}


def log(x: np.ndarray) -> np.ndarray:
    """log of a float64 array; log(0) is -inf without a warning."""
    with np.errstate(divide="ignore"):
        return _elementwise("log")(x)


def log1p(x: np.ndarray) -> np.ndarray:
    """log(1 + x) of a float64 array with x > -1."""
    return _elementwise("log1p")(x)


def exp(x: np.ndarray) -> np.ndarray:
    """exp of a float64 array; too large an argument gives inf without a warning."""
    with np.errstate(over="ignore"):
        return _elementwise("exp")(x)


def sin(x: np.ndarray) -> np.ndarray:
    """sin of a float64 array."""
    return _elementwise("sin")(x)


def cos(x: np.ndarray) -> np.ndarray:
    """cos of a float64 array."""
    return _elementwise("cos")(x)


def tan(x: np.ndarray) -> np.ndarray:
    """tan of a float64 array."""
    return _elementwise("tan")(x)


def _two_sum(a: np.ndarray, b: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """(s, e) with s = fl(a + b) and s + e = a + b exactly (Knuth)."""
    s = a + b
    part = s - a
    return s, (a - (s - part)) + (b - part)


def _two_product(a: np.ndarray, b: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """(p, e) with p = fl(a * b) and p + e = a * b exactly (Dekker)."""
    p = a * b
    scaled = a * _SPLIT
    a_high = scaled - (scaled - a)
    a_low = a - a_high
    b_high = b * _SPLIT - (b * _SPLIT - b)
    b_low = b - b_high
    return p, ((a_high * b_high - p) + a_high * b_low + a_low * b_high) + a_low * b_low


def fma(x: np.ndarray, scale: float, shift: float) -> np.ndarray:
    """x * scale + shift rounded once, for a float64 array and float64 numbers.

    >>> fma(np.array([0.1]), 10.0, -1.0)
    array([5.55111512e-17])
    """
    if shift == 0 or abs(math.frexp(scale)[0]) == 0.5:
        return x * scale + shift  # one of the two roundings is exact
    if not math.isfinite(scale) or not math.isfinite(shift):
        return x * scale + shift
    return fused(x, scale, shift)


def fused(x: np.ndarray, y: np.ndarray | float, z: np.ndarray | float) -> np.ndarray:
    """x * y + z rounded once, for float64 arrays or numbers.

    Boldo and Melquiond's emulation: the last but one sum is rounded to odd. Exact while
    nothing overflows or underflows; NaN and infinities are left to the plain formula.
    """
    product, product_error = _two_product(x, y)
    low, low_error = _two_sum(product_error, z)
    high, high_error = _two_sum(product, low)
    rest, lost = _two_sum(low_error, high_error)
    even = (rest.view(np.int64) & 1) == 0
    to_odd = np.nextafter(rest, np.copysign(np.inf, lost))
    rest = np.where((lost != 0) & even, to_odd, rest)
    result = high + rest
    return np.where(np.isfinite(result), result, x * y + z)
