"""Normal variates as PyTorch's CPU generator makes them: Box-Muller, one pair or 16 at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import cos, log1p, sin, sqrt

import numpy as np

from . import libm, random_kernels
from .memory_order import elements, is_reduced_float, store
from .mt19937 import Engine, unit_floats

_GROUP = 16  # elements that PyTorch fills together: 8 cosines, then 8 sines
_CHUNK = 512  # groups per pass over the float32 kernel, so that its arrays stay in cache
_LOOP_MAX = 24  # below this many values a Python loop beats NumPy's fixed costs

_F32 = np.float32
_TURN = 2 * math.pi


def _constants(*values: float) -> tuple[float, ...]:
    return tuple(float(_F32(v)) for v in values)


# Cephes logf and sinf/cosf polynomials, highest power first.
_LOG = _constants(
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
    -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)  # fmt: skip
_LN2_LOW, _LN2_HIGH = _constants(-2.12194440e-4, 0.693359375)
_SQRT_HALF, _FOUR_OVER_PI, _TWO_PI = _constants(math.sqrt(0.5), 4 / math.pi, 2 * math.pi)
_QUARTER_PI = _constants(-0.78515625, -2.4187564849853515625e-4, -3.77489497744594108e-8)
_COS_SIN = [
    np.array(_constants(cos, sin)).reshape(2, 1, 1)
    for cos, sin in (
        (2.443315711809948e-5, -1.9515295891e-4),
        (-1.388731625493765e-3, 8.3321608736e-3),
        (4.166664568298827e-2, -1.6666654611e-1),
    )
]


def standard_normal(engine: Engine) -> float:
    """One float64 normal: the engine's cached one, or a new pair whose second is cached."""
    cached = engine.cached_normal
    if cached is not None:
        engine.cached_normal = None
        return cached
    theta = 2 * math.pi * engine.double()
    radius = math.sqrt(-2 * math.log1p(-engine.double()))
    engine.cached_normal = radius * math.sin(theta)
    return radius * math.cos(theta)


def _few_normals(n: int, engine: Engine) -> list[float]:
    """As ``standard_normal``, ``n`` times."""
    found = [] if engine.cached_normal is None or not n else [standard_normal(engine)]
    pairs = (n - len(found) + 1) // 2
    uniforms = iter(engine.doubles(2 * pairs).tolist())
    for turn, below in zip(uniforms, uniforms):
        theta = _TURN * turn
        radius = sqrt(-2 * log1p(-below))
        found.append(radius * cos(theta))
        found.append(radius * sin(theta))
    if len(found) > n:
        engine.cached_normal = found.pop()
    return found


def standard_normals(n: int, engine: Engine) -> np.ndarray:
    """`n` float64 normals, shape (n,), drawn one by one: the cache is used and left filled."""
    if n < _LOOP_MAX:
        return np.array(_few_normals(n, engine), np.float64)
    out = np.empty(n)
    first = 0
    if engine.cached_normal is not None:
        out[0] = standard_normal(engine)
        first = 1
    pairs = (n - first) // 2
    uniforms = engine.doubles(2 * pairs)
    theta = uniforms[0::2] * (2 * math.pi)
    radius = np.sqrt(-2 * libm.log1p(-uniforms[1::2]))
    last = first + 2 * pairs
    out[first:last:2] = radius * libm.cos(theta)
    out[first + 1 : last : 2] = radius * libm.sin(theta)
    if last < n:
        out[last] = standard_normal(engine)
    return out


def _single(x: np.ndarray) -> np.ndarray:
    """Round a float64 array to float32 values, still held as float64."""
    return x.astype(_F32).astype(np.float64)


def _fused(x: np.ndarray, y: np.ndarray | float, z: np.ndarray | float) -> np.ndarray:
    """float32 x * y + z rounded once; the float64 product of two float32 numbers is exact."""
    total = x * y
    total += z
    return _single(total)


def _horner(x: np.ndarray, coefficients: Sequence[float | np.ndarray]) -> np.ndarray:
    y = coefficients[0]
    for c in coefficients[1:]:
        y = _fused(x, y, c)
    return np.asarray(y)


def _log32(x: np.ndarray) -> np.ndarray:
    mantissa, exponent = np.frexp(x)
    small = mantissa < _SQRT_HALF
    exponent = exponent - small.astype(np.float64)
    x = np.where(small, mantissa + mantissa, mantissa) - 1
    square = _single(x * x)
    y = _single(_horner(x, _LOG) * x)
    y = _fused(y, square, _single(exponent * _LN2_LOW))
    y = _fused(square, -0.5, y)
    return _fused(exponent, _LN2_HIGH, _single(x + y))


def _cos_sin32(x: np.ndarray) -> np.ndarray:
    """cos(x) and sin(x), shape (2, *x.shape), for x >= 0."""
    octant = _single(x * _FOUR_OVER_PI).astype(np.int32)
    octant += 1
    octant &= -2
    turns = octant.astype(np.float64)
    for part in _QUARTER_PI:
        x = _fused(turns, part, x)
    square = _single(x * x)
    both = _single(_horner(square, _COS_SIN) * square)
    both[0] = _single(_fused(both[0], square, -0.5 * square) + 1)
    both[1] = _fused(both[1], x, x)
    out = np.where((octant & 2) != 0, both[::-1], both)
    np.negative(out[0], out=out[0], where=((octant - 2) & 4) == 0)
    np.negative(out[1], out=out[1], where=(octant & 4) != 0)
    return out


def _pairs32(u1: np.ndarray, u2: np.ndarray, mean: float, std: float) -> np.ndarray:
    """PyTorch's AVX2 Box-Muller: every step rounded to float32, in float64 arithmetic."""
    log = _log32(1 - u1)
    radius = np.sqrt((-2 * log).astype(_F32)).astype(np.float64)
    normals = _single(_cos_sin32(_single(u2 * _TWO_PI)) * radius)
    if mean == 0 and std == 1:
        return normals
    return _fused(normals, std, mean)


def _pairs64(u1: np.ndarray, u2: np.ndarray, mean: float, std: float) -> np.ndarray:
    radius = np.sqrt(-2 * libm.log(1 - u1))
    theta = u2 * (2 * math.pi)
    normals = np.stack([radius * libm.cos(theta), radius * libm.sin(theta)])
    return libm.fma(normals, std, mean)


def _transform(flat: np.ndarray, mean: float, std: float) -> None:
    """Turn uniforms into normals in place; the length is a multiple of 16."""
    groups = flat.reshape(-1, 2, _GROUP // 2)
    pairs = _pairs64 if flat.dtype == np.float64 else _pairs32
    for start in range(0, len(groups), _CHUNK):
        part = groups[start : start + _CHUNK]
        u = part.astype(np.float64)
        part[:, 0], part[:, 1] = pairs(u[:, 0], u[:, 1], mean, std)


def _grouped_normals(a: np.ndarray, engine: Engine, mean: float, std: float) -> np.ndarray:
    """`a.size` >= 16 normals, flat, as PyTorch fills contiguous memory."""
    draw = engine.doubles
    if a.dtype != np.float64:
        draw = engine.floats
        mean, std = float(_F32(mean)), float(_F32(std))
    n = a.size
    whole = n - n % _GROUP
    if a.dtype != np.float64 and random_kernels.worth(n):
        return _many_normals(n, engine, mean, std, 0 if is_reduced_float(a.dtype) else n - whole)
    if whole == n:
        flat = draw(n)
        _transform(flat, mean, std)
        return flat
    # The last 16 are drawn afresh, over some that were already made. float32 and float64
    # have drawn the incomplete group too.
    unused = 0 if is_reduced_float(a.dtype) else n - whole
    uniforms = draw(whole + unused + _GROUP)
    flat = np.concatenate([uniforms[:whole], uniforms[-_GROUP:]])
    _transform(flat, mean, std)
    return np.concatenate([flat[: n - _GROUP], flat[whole:]])


def _many_normals(n: int, engine: Engine, mean: float, std: float, unused: int,
                  out: np.ndarray | None = None) -> np.ndarray:
    """As `_grouped_normals`, float32 and by kernels; into `out` where `n` is whole groups."""
    whole = n - n % _GROUP
    if whole == n:
        words = engine.words(n, None if out is None else out.view(np.uint32))
    else:
        drawn = engine.words(whole + unused + _GROUP)
        words = np.concatenate([drawn[:whole], drawn[-_GROUP:]])
    flat = words.view(_F32)
    if not random_kernels.normals(words, mean, std):
        _transform(unit_floats(words), mean, std)
    return flat if whole == n else np.concatenate([flat[: n - _GROUP], flat[whole:]])


def normal(a: np.ndarray, engine: Engine, mean: float = 0.0, std: float = 1.0) -> None:
    """Fill `a` with normals of the given mean and standard deviation.

    `a` is float16, bfloat16, float32, float64 or complex (its real and imaginary parts are
    filled as neighbours, each with `mean` and `std / sqrt(2)`). Memory order; fewer than 16
    numbers, or not contiguous, are drawn in double precision one by one.

    >>> a = np.zeros(2, np.float32)
    >>> normal(a, Engine(0))
    >>> a
    array([ 1.5409961, -0.2934289], dtype=float32)
    """
    if a.size < _GROUP and mean == 0 and std == 1 and a.dtype.kind == "f":
        if a.flags.c_contiguous and a.dtype.itemsize > 2:
            a.reshape(-1)[:] = _few_normals(a.size, engine)
            return
        store(a, standard_normals(a.size, engine))
        return
    if a.dtype.kind == "c":
        std /= math.sqrt(2)
    a = elements(a)
    whole = a.size >= _GROUP and a.size % _GROUP == 0 and a.dtype == _F32
    if whole and a.flags.c_contiguous and random_kernels.worth(a.size):
        mean, std = _constants(mean, std)
        _many_normals(a.size, engine, mean, std, 0, a.reshape(-1))
        return
    if a.size >= _GROUP and a.flags.c_contiguous:
        store(a, _grouped_normals(a, engine, mean, std))
    else:
        store(a, libm.fma(standard_normals(a.size, engine), std, mean))
