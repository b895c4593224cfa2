"""Poisson, binomial, gamma and Dirichlet variates as PyTorch's CPU generator makes them.

How many words a value takes depends on what is drawn, so these go element by element,
in logical order: PyTorch returns them contiguous whatever the strides of the arguments.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .memory_order import store
from .mt19937 import Engine
from .normal_fill import standard_normal

_F32 = np.float32
_THIRD = float(_F32(1 / 3))  # PyTorch has a third in single precision here
_Real = type[np.floating]
# log(k!) - its Stirling approximation, for k = 0..9.
_STIRLING_TAIL = (
    0.0810614667953272, 0.0413406959554092, 0.0276779256849983, 0.02079067210376509,
    0.0166446911898211, 0.0138761288230707, 0.0118967099458917, 0.0104112652619720,
    0.00925546218271273, 0.00833056343336287,
)  # fmt: skip


def poisson(rates: np.ndarray, engine: Engine) -> np.ndarray:
    """Poisson variates of the given rates, contiguous, of the shape and type of `rates`
    (floating, finite, >= 0).

    >>> poisson(np.array([1.0, 20.0]), Engine(0))
    array([ 2., 28.])
    """
    draws = [_poisson(rate, engine) for rate in _numbers(rates)]
    return _array(draws, rates.shape, rates.dtype)


def _numbers(values: np.ndarray) -> list[float]:
    return values.astype(np.float64).ravel().tolist()


def _array(draws: Sequence[float], shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    out = np.empty(shape, dtype)
    store(out, np.array(draws, np.float64))
    return out


def _poisson(rate: float, engine: Engine) -> int:
    if rate >= 10:
        return _poisson_rejection(rate, engine)
    if rate == 0:
        return 0
    # Knuth: multiply uniforms until they fall to exp(-rate).
    end = math.exp(-rate)
    product = engine.double()
    count = 0
    while product > end:
        product *= engine.double()
        count += 1
    return count


def _poisson_rejection(rate: float, engine: Engine) -> int:
    """Hormann's transformed rejection with squeeze (PTRS, 1993)."""
    log_rate = math.log(rate)
    b = 0.931 + 2.53 * math.sqrt(rate)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    squeeze = 0.9277 - 3.6224 / (b - 2)
    while True:
        u = engine.double() - 0.5
        v = engine.double()
        us = 0.5 - abs(u)
        k = _floor((2 * a / us + b) * u + rate + 0.43)
        if us >= 0.07 and v <= squeeze:
            return k
        if k < 0 or (us < 0.013 and v > us):
            continue
        height = math.log(v) + math.log(inverse_alpha) - math.log(a / (us * us) + b)
        if height <= -rate + k * log_rate - math.lgamma(k + 1):
            return k


def _floor(x: float) -> int:
    """The integer below; of an infinity or NaN what PyTorch's conversion to int64 gives."""
    return math.floor(x) if math.isfinite(x) else -(2**63)


def binomial(counts: np.ndarray, p: np.ndarray, engine: Engine) -> np.ndarray:
    """Binomial variates, of the broadcast shape and the type of `counts` (floating)."""
    counts, p = np.broadcast_arrays(counts, p)
    real = np.float64 if counts.dtype == np.float64 else _F32
    pairs = zip(_numbers(counts), _numbers(p), strict=True)
    draws = [float(_binomial(real(n), real(q), real, engine)) for n, q in pairs]
    return _array(draws, counts.shape, counts.dtype)


def _binomial(n: np.floating, p: np.floating, real: _Real, engine: Engine) -> np.floating:
    if n <= 0 or p <= 0:
        return real(0)
    if p >= 1:
        return n
    if p > 0.5:
        return n - _binomial_small(n, real(1) - p, real, engine)
    return _binomial_small(n, p, real, engine)


def _binomial_small(n: np.floating, p: np.floating, real: _Real, engine: Engine) -> np.floating:
    sampler = _binomial_rejection if n * p >= 10 else _binomial_gaps
    return sampler(n, p, real, engine)


def _binomial_gaps(n: np.floating, p: np.floating, real: _Real, engine: Engine) -> np.floating:
    """Counts the geometric gaps between successes that fit in `n` trials."""
    log_miss = real(math.log1p(-p))
    trials = real(0)
    count = 0
    while True:
        u = real(engine.double())
        trials += np.ceil(real(math.log(u) if u else -math.inf) / log_miss)
        if trials > n:
            return real(count)
        count += 1


def _binomial_rejection(n: np.floating, p: np.floating, real: _Real, engine: Engine) -> np.floating:
    """Hormann's transformed rejection with squeeze for the binomial (BTRS, 1993)."""
    deviation = np.sqrt(n * p * (1 - p))
    b = real(1.15 + 2.53 * float(deviation))
    a = real(-0.0873 + 0.0248 * float(b) + 0.01 * float(p))
    c = real(float(n * p) + 0.5)
    squeeze = real(0.92 - 4.2 / float(b))
    odds = p / (1 - p)
    alpha = real((2.83 + 5.1 / float(b)) * float(deviation))
    mode = np.floor((n + 1) * p)
    while True:
        u = real(real(engine.double()) - 0.5)
        v = real(engine.double())
        us = real(0.5 - abs(u))
        k = np.floor((2 * a / us + b) * u + c)
        if us >= 0.07 and v <= squeeze:
            return k
        if k < 0 or k > n:
            continue
        height = real(math.log(v * alpha / (a / (us * us) + b)))
        bound = (
            (mode + 0.5) * math.log((mode + 1) / (odds * (n - mode + 1)))
            + (n + 1) * math.log((n - mode + 1) / (n - k + 1))
            + (k + 0.5) * math.log(odds * (n - k + 1) / (k + 1))
            + _stirling(mode)
            + _stirling(n - mode)
            - _stirling(k)
            - _stirling(n - k)
        )
        if height <= bound:
            return k


def _stirling(k: float) -> float:
    if k <= 9:
        return _STIRLING_TAIL[int(k)]
    square = (k + 1) * (k + 1)
    return (1 / 12 - (1 / 360 - 1 / 1260 / square) / square) / (k + 1)


def standard_gamma(shapes: np.ndarray, engine: Engine) -> np.ndarray:
    """Gamma variates of rate 1, contiguous, like `shapes` (float32 or float64, > 0).

    >>> standard_gamma(np.array([0.5, 3.0]), Engine(0))
    array([7.89358206e-04, 1.27284342e+00])
    """
    real = np.float64 if shapes.dtype == np.float64 else _F32
    return _gammas(shapes, real, engine)


def _gammas(shapes: np.ndarray, real: type[np.floating], engine: Engine) -> np.ndarray:
    """Gamma variates of type `real`, none below its smallest normal number."""
    draws = [_gamma(shape, real, engine) for shape in _numbers(shapes)]
    out = _array(draws, shapes.shape, np.dtype(real))
    return np.maximum(out, np.finfo(real).tiny, out=out)


def _gamma(shape: float, real: _Real, engine: Engine) -> float:
    """Marsaglia and Tsang (2000); shapes below 1 are boosted by one.

    PyTorch rounds what depends on the shape alone to the type of the shapes, `real`.
    """
    scale = 1.0
    if shape < 1:
        if shape == 0:
            return 0.0
        scale = (1 - engine.double()) ** float(real(1 / shape))
        shape = float(real(shape + 1))
    d = float(real(shape - _THIRD))
    c = 1 / math.sqrt(9 * d)
    while True:
        x = standard_normal(engine)
        y = 1 + c * x
        if y <= 0:
            continue
        v = y * y * y
        u = 1 - engine.double()
        square = x * x
        if u < 1 - 0.0331 * square * square:
            return scale * d * v
        if math.log(u) < 0.5 * square + d * (1 - v + math.log(v)):
            return scale * d * v


def dirichlet(shapes: np.ndarray, engine: Engine) -> np.ndarray:
    """Dirichlet variates over the last axis, contiguous, like `shapes` (float32, float64).

    The gamma variates behind them are float64, summed by NumPy: in float64 the last digit
    of rows longer than 3 can differ from PyTorch's.
    """
    gammas = _gammas(shapes, np.float64, engine)
    shares = gammas / gammas.sum(axis=-1, keepdims=True)
    limits = np.finfo(shapes.dtype)
    return np.clip(shares.astype(shapes.dtype), limits.tiny, 1 - limits.epsneg)
