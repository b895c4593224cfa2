"""Random permutations and draws from categories, as PyTorch's CPU generator makes them."""

from __future__ import annotations

from math import log1p

import numpy as np

from . import random_kernels
from .mt19937 import Engine
from .random_fill import exponential

_SHUFFLE_END = (2**32 - 1) // 20  # from here on PyTorch takes 64-bit numbers
_FEW = 48  # up to so many numbers a Python loop beats NumPy's fixed costs
_LOOP_MAX = 700  # up to this many numbers swapping one by one is faster than sorting
_CHUNK = 2**16


def randperm(n: int, engine: Engine, dtype: np.dtype | type = np.int64) -> np.ndarray:
    """A random permutation of 0..n-1, shape (n,).

    >>> randperm(5, Engine(0))
    array([4, 0, 1, 3, 2])
    """
    if n >= _SHUFFLE_END:
        return _shuffle_inside_out(n, engine).astype(dtype, copy=False)
    if n < 2:
        return np.arange(n).astype(dtype)
    # Step i swaps the values at i and at its target, one of the n - i places from i on.
    if n <= _FEW:
        few = engine.ints(n - 1)
        return np.array(_swap([i + word % (n - i) for i, word in enumerate(few)]), dtype)
    words = engine.words(n - 1)
    order = np.arange(n)
    if random_kernels.shuffle(order, words):
        return order.astype(dtype, copy=False)
    steps = np.arange(n - 1, dtype=np.uint32)
    targets = words % (np.uint32(n) - steps) + steps
    if n <= _LOOP_MAX:
        return np.array(_swap(targets.tolist()), dtype)
    return _swap_all(targets.astype(np.int64)).astype(dtype, copy=False)


def _swap(targets: list[int]) -> list[int]:
    order = list(range(len(targets) + 1))
    for i, j in enumerate(targets):
        order[i], order[j] = order[j], order[i]
    return order


def _swap_all(targets: np.ndarray) -> np.ndarray:
    """The same swaps without a loop.

    What step i finds at its own place came there in the last earlier step with target i,
    which had found it at its place, and so on: a chain, followed by doubling. What it
    fetches from its target came there in the previous step with that target, if any.
    """
    n = len(targets) + 1
    steps = np.arange(n - 1)
    moved = targets != steps
    found = np.arange(n)
    found[targets[moved]] = steps[moved]
    while True:
        further = found[found]
        if np.array_equal(further, found):
            break
        found = further
    by_target = targets << 32 | steps
    by_target.sort()
    target, step = by_target >> 32, by_target & 0xFFFFFFFF
    repeated = np.flatnonzero(target[1:] == target[:-1])
    order = np.append(targets, found[n - 1])
    order[step[repeated + 1]] = found[step[repeated]]
    return order


def _shuffle_inside_out(n: int, engine: Engine) -> np.ndarray:
    order = np.arange(n)
    for start in range(0, n, _CHUNK):
        stop = min(start + _CHUNK, n)
        sizes = np.arange(start + 1, stop + 1, dtype=np.uint64)
        targets = engine.random64(stop - start) % sizes
        for i, j in enumerate(targets.tolist(), start):
            order[i], order[j] = order[j], i
    return order


def multinomial(p: np.ndarray, n: int, replacement: bool, engine: Engine) -> np.ndarray:
    """`n` category numbers drawn with weights `p`, of shape (k,) or (rows, k).

    `p` is floating, non-negative, finite, with a positive sum in each row; the result is
    int64 of shape (n,) or (rows, n). Without replacement the order among equal ratios,
    such as those of categories of weight 0, is unspecified.

    >>> multinomial(np.array([1.0, 2.0, 3.0]), 2, False, Engine(0))
    array([2, 1])
    """
    if not replacement or n == 1:
        return _largest_ratios(p, n, engine)
    rows = p.reshape(-1, p.shape[-1])
    out = np.stack([_lookup(row, n, engine) for row in rows]) if len(rows) else rows[:, :0]
    return out.astype(np.int64, copy=False).reshape(*p.shape[:-1], n)


def _largest_ratios(p: np.ndarray, n: int, engine: Engine) -> np.ndarray:
    """The `n` largest of p / Exp(1), the largest first."""
    if n == 1 and p.size <= _FEW and p.dtype.itemsize > 2:
        waits = [-log1p(-u) for u in engine.doubles(p.size).tolist()]
        if all(waits):
            return (p / np.array(waits, p.dtype).reshape(p.shape)).argmax(-1, keepdims=True)
    ratios = np.empty_like(p)
    exponential(ratios, engine)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        np.divide(p, ratios, out=ratios)
    if n == 1:
        return np.argmax(ratios, axis=-1, keepdims=True)
    return np.argsort(-ratios, axis=-1, stable=True)[..., :n]


def _lookup(weights: np.ndarray, n: int, engine: Engine) -> np.ndarray:
    """Draws by bisection of the cumulative weights, which are summed in float32 or float64."""
    wide = np.float64 if weights.dtype == np.float64 else np.float32
    total = np.cumsum(weights.astype(wide, copy=False), dtype=wide)
    total = total / total[-1]
    total[-1] = 1
    return np.searchsorted(total.astype(np.float64), engine.doubles(n))
