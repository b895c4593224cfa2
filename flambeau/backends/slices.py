"""NumPy's ufuncs on large arrays that kernels do not compute: their loops, in slices."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.backends import large, memory

__all__ = ["run"]

# Others may call Python, or are kernels.
_KINDS = "fc"


def run(ufunc: Any, arrays: Sequence[Any], out: np.ndarray | None = None) -> np.ndarray | None:
    """``ufunc(*arrays)``, with the same bits; None where that is not covered.

    arrays: of one floating or complex dtype, 32,768 items or more; each dense and of the result's
    shape, or one item. `out` is written where given: dense, of the result's shape and dtype; it
    may be an operand itself.

    >>> turned = run(np.conjugate, (np.full(40_000, 1j),))
    >>> turned is None or complex(turned[0]) == -1j
    True
    """
    lead = large.lead_of(arrays)
    if type(ufunc) is not np.ufunc or lead is None or lead.size < large.MIN_ITEMS:
        return None
    dtype = lead.dtype
    if dtype.kind not in _KINDS or not dtype.isnative or len(arrays) != ufunc.nin:
        return None
    steps = []
    for a in arrays:
        if type(a) is not np.ndarray or a.dtype is not dtype or a.ndim > lead.ndim:
            return None
        layout = large.dense_layout(a, lead.shape)
        if layout is None:
            return None
        steps.append(dtype.itemsize if layout == "array" else 0)
    found = None if large.load() is None else _loop(ufunc, dtype, len(arrays))
    if found is None:
        return None
    loop, besides, result = found
    if out is None:
        out = memory.empty(lead.shape, result)
    elif not large.usable_out(out, lead.shape, result, arrays):
        return None
    _slices().run(loop, besides, (*arrays, out), (*steps, result.itemsize), lead.size)
    return out


@functools.cache
def _loop(ufunc: np.ufunc, dtype: np.dtype, count: int) -> tuple[int, int, np.dtype] | None:
    # with llvmlite, once kernels are there
    from flambeau.backends.ufunc_loops import Unknown, loop_of

    try:
        return loop_of(ufunc, *(dtype,) * count)
    except Unknown:
        return None


@functools.cache
def _slices() -> Any:
    # as above
    from flambeau.backends.llvm import slices

    return slices
