"""Fill NumPy arrays in place with PyTorch's CPU random numbers, bit for bit.

Every function draws from an `Engine` exactly the words that PyTorch draws and stores
the values in memory (stride) order. Arguments are taken as valid.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from . import libm, random_kernels
from .memory_order import (
    elements,
    is_reduced_float,
    memory_axes,
    store,
)
from .mt19937 import Engine
from .normal_fill import normal, standard_normals

__all__ = [
    "bernoulli_array",
    "bernoulli_scalar",
    "cauchy",
    "exponential",
    "geometric",
    "log_normal",
    "normal",
    "random_from",
    "random_from_to",
    "random_full",
    "uniform",
]

_F32 = np.dtype(np.float32)
_I64 = np.dtype(np.int64)
_FEW = 24  # up to so many numbers a Python loop beats NumPy's fixed costs
_WIDE_RANGE = 2**28  # from here on an integer takes two words
_ALL_64_BITS = 2**64


def uniform(a: np.ndarray, engine: Engine, low: float = 0.0, high: float = 1.0) -> None:
    """Fill floating or complex `a` with uniforms of [low, high).

    float64 takes two words a number, narrower types one; 16-bit types are drawn as
    float32 and rounded, and a result that rounds up to `high` becomes `low`.

    >>> a = np.zeros(2, np.float32)
    >>> uniform(a, Engine(0))
    >>> a
    array([0.4962566, 0.7682218], dtype=float32)
    """
    if a.dtype is _F32 and low == 0 and high == 1 and a.flags.c_contiguous:
        engine.floats(a.size, a.reshape(-1))
        return
    a = elements(a)
    if a.dtype == np.float64:
        store(a, _stretch(engine.doubles(a.size), float(low), float(high)))
        return
    low32, high32 = np.float32(low), np.float32(high)
    values = engine.floats(a.size)
    if low32 != 0 or high32 != 1:
        # In float64 the product is exact, so this rounds once, as a float32 FMA does.
        wide = values * np.float64(high32 - low32) + np.float64(low32)
        values = wide.astype(np.float32)
    if is_reduced_float(a.dtype):
        values = values.astype(a.dtype)
        values[values == a.dtype.type(high)] = a.dtype.type(low)
    store(a, values)


def _stretch(u: np.ndarray, low: float, high: float) -> np.ndarray:
    if low == 0 and high == 1:
        return u
    return libm.fma(u, high - low, low)


def _modulo(draws: np.ndarray, n: int) -> np.ndarray:
    """Reduce unsigned `draws` modulo `n` in place; NumPy's division is faster than its `%`."""
    divisor = draws.dtype.type(n)
    if n & (n - 1) == 0:
        draws &= divisor - draws.dtype.type(1)
    else:
        draws -= draws // divisor * divisor
    return draws


def _store_offset(a: np.ndarray, draws: np.ndarray, low: int) -> None:
    """Store `draws + low`, wrapped to int64."""
    values = draws.astype(np.uint64, copy=False)
    if low:
        values = values + np.uint64(low % _ALL_64_BITS)
    store(a, values.view(np.int64))


def _store_range(a: np.ndarray, engine: Engine, low: int, span: int) -> None:
    plain = a.dtype.kind in "fi" and a.dtype.itemsize >= 4 and a.flags.c_contiguous
    if a.size <= _FEW and span < _WIDE_RANGE and plain:
        a.reshape(-1)[:] = [low + word % span for word in engine.ints(a.size)]
        return
    if span >= _WIDE_RANGE:
        _store_offset(a, _modulo(engine.random64(a.size), span), low)
        return
    words = engine.words(a.size)
    in_place = a.dtype is _I64 and a.flags.c_contiguous
    found = a if in_place else np.empty(a.size, _I64)
    if not random_kernels.integers(found, words, low, span):
        _store_offset(a, _modulo(words, span), low)
    elif not in_place:
        store(a, found)


def random_from_to(a: np.ndarray, engine: Engine, low: int, high: int) -> None:
    """Fill `a`, of any real type, with integers of [low, high).

    A floating type first moves `low` up and `high` down to integers that it can hold.

    >>> a = np.zeros(4, np.int64)
    >>> random_from_to(a, Engine(0), 0, 10)
    >>> a
    array([4, 9, 3, 0])
    """
    digits = None if a.dtype is _I64 else _mantissa_digits(a.dtype)
    if digits is not None and max(abs(low), abs(high)) >= 2**digits:
        low, high = _first_held(low, a.dtype, digits), _end_held(high, a.dtype, digits)
    _store_range(a, engine, low, high - low)


def random_from(a: np.ndarray, engine: Engine, low: int) -> None:
    """Fill `a` with integers from `low` to the largest that its type holds exactly.

    `low` = -2**63 gives every int64, also to a floating `a`.
    """
    if low == -(2**63):
        _store_offset(a, engine.random64(a.size), 0)
        return
    digits = _mantissa_digits(a.dtype)
    if a.dtype == bool:
        last = 1
    elif digits is None:
        last = int(np.iinfo(a.dtype).max)
    else:
        last = 2**digits
        low = _first_held(low, a.dtype, digits)
    _store_range(a, engine, low, last - low + 1)


def random_full(a: np.ndarray, engine: Engine) -> None:
    """Fill `a` with integers from 0 to the largest that its type holds exactly, inclusive."""
    digits = _mantissa_digits(a.dtype)
    if a.dtype == bool:
        draws = engine.words(a.size) & np.uint32(1)
    elif digits is not None:
        wide = digits > 32
        draws = engine.random64(a.size) if wide else engine.words(a.size)
        _modulo(draws, 2**digits + 1)
    elif a.dtype.itemsize == 8:
        draws = _modulo(engine.random64(a.size), 2**63)
    else:
        draws = _modulo(engine.words(a.size), int(np.iinfo(a.dtype).max) + 1)
    _store_offset(a, draws, 0)


@functools.cache
def _mantissa_digits(dtype: np.dtype) -> int | None:
    """The significant bits of a floating type, or None for an integer type."""
    if dtype.kind in "biu":
        return None
    if dtype.kind == "f":
        return np.finfo(dtype).nmant + 1
    return 8  # bfloat16


def _spacing(value: int, digits: int) -> int:
    """The distance between floating numbers as large as `value`."""
    return 2 ** (abs(value).bit_length() - digits)


def _held(value: int, dtype: np.dtype) -> int:
    """`value` rounded to `dtype` and back to int64, where 2**63 wraps as it does on x86."""
    rounded = np.float32(value) if is_reduced_float(dtype) else value
    held = int(float(np.array(rounded).astype(dtype)))
    return -(2**63) if held >= 2**63 else held


def _first_held(low: int, dtype: np.dtype, digits: int) -> int:
    held = _held(low + 1, dtype)
    return held + _spacing(low + 1, digits) if held < low else low


def _end_held(high: int, dtype: np.dtype, digits: int) -> int:
    held = _held(high - 1, dtype)
    return held - _spacing(high - 1, digits) if held >= high else high


def bernoulli_scalar(a: np.ndarray, engine: Engine, p: float) -> None:
    """Fill `a`, of any type, with 1 where a float64 uniform is below `p`, else 0."""
    store(a, engine.doubles(a.size) < p)


def bernoulli_array(a: np.ndarray, engine: Engine, p: np.ndarray) -> None:
    """Fill `a` with 1 where a uniform is below `p`, a floating array that broadcasts to `a`.

    float64 `p` takes float64 uniforms of two words, narrower `p` float32 ones of one word.
    """
    if p.shape == a.shape and p.dtype is _F32 and p.flags.c_contiguous and a.flags.c_contiguous:
        store(a, engine.floats(a.size) < p.reshape(-1))
        return
    p = np.broadcast_to(p, a.shape).transpose(memory_axes(a)).ravel()
    if p.dtype == np.float64:
        hits = engine.doubles(a.size) < p
    else:
        hits = engine.floats(a.size) < p.astype(np.float32, copy=False)
    store(a, hits)


def exponential(a: np.ndarray, engine: Engine, rate: float = 1.0) -> None:
    """Fill floating `a` with exponentials of the given rate; two words each."""
    store(a, libm.log1p(-engine.doubles(a.size)) * (-1.0 / rate))


def geometric(a: np.ndarray, engine: Engine, p: float) -> None:
    """Fill real `a` with the number of trials up to the first success, probability `p`."""
    logs = libm.log(engine.doubles(a.size))
    store(a, np.ceil(logs / math.log1p(-p)))


def log_normal(a: np.ndarray, engine: Engine, mean: float = 1.0, std: float = 2.0) -> None:
    """Fill floating `a` with exp of normals, which are drawn one by one in float64."""
    store(a, libm.exp(libm.fma(standard_normals(a.size, engine), std, mean)))


def cauchy(a: np.ndarray, engine: Engine, median: float = 0.0, sigma: float = 1.0) -> None:
    """Fill floating `a` with Cauchy variates; two words each."""
    tangents = libm.tan((engine.doubles(a.size) - 0.5) * math.pi)
    store(a, libm.fma(tangents, sigma, median))
