"""The error function on NumPy arrays, from the polynomials of the generated kernels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau.backends.llvm import coefficients as table

__all__ = ["erf"]

ndarray = np.ndarray
# Python's math.erf, item by item, is the faster up to so many.
FEW = 200


def erf(x: ndarray, out: Any = None) -> ndarray:
    """erf of a float32 or float64 array, to 2 ulp.

    >>> erf(np.array([0.0, 1.0]))
    array([0.        , 0.84270079])
    """
    found = _one_by_one(x) if x.size <= FEW else _all_at_once(x)
    if out is None or out is ...:
        return found
    out[...] = found
    return out


def _one_by_one(x: ndarray) -> ndarray:
    flat = np.fromiter(map(math.erf, x.ravel().tolist()), np.float64, x.size)
    return flat.reshape(x.shape).astype(x.dtype, copy=False)


def _all_at_once(x: ndarray) -> ndarray:
    kind = "f32" if x.dtype == np.float32 else "f64"
    start, end = table.ERF_NEAR[kind], table.ERF_ONE[kind]
    size = np.abs(x)
    z = np.minimum(size, start)
    z *= z
    near = _polynomial(z, table.ERF[kind])
    near *= x
    near += x
    size = np.clip(size, start, end)
    far = np.copysign(1.0 - _erfc_far(size, kind), x)
    return np.where(size > start, far, near)


def _erfc_far(size: ndarray, kind: str) -> ndarray:
    """erfc from ERF_NEAR to ERF_ONE."""
    if kind == "f32":
        return np.exp(_polynomial(size, table.ERFC[kind]))
    low, high = 2.0 / (2.0 + table.ERF_ONE[kind]), 2.0 / (2.0 + table.ERF_NEAR[kind])
    t = 2.0 / (size + 2.0)
    u = (t - (low + high) / 2) * (2.0 / (high - low))
    return t * np.exp(_polynomial(u, table.ERFC[kind]) - size * size)


def _polynomial(z: ndarray, coefficients: tuple[float, ...]) -> ndarray:
    total = np.full(z.shape, coefficients[-1], z.dtype)
    for c in coefficients[-2::-1]:
        total *= z
        total += c
    return total
