"""Arrays without values, for parts of an operator whose result is known: they only have a shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.core.op import Op
from flambeau.core.pointwise import computing_dtypes
from flambeau.core.promote import result_type

__all__ = ["ValuesNeeded", "blank_of", "keeps_going"]

ndarray = np.ndarray
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_REDUCTIONS = frozenset(("amax", "amin", "mean", "mean_all", "sum", "sum_all"))
_PRODUCTS: dict[str, Callable[[tuple, tuple], tuple]] = {
    "bmm": lambda a, b: (a, b),
    "matmul": lambda a, b: (a, b),
    "mm": lambda a, b: (a, b),
    "mm_nt": lambda a, b: (a, b[::-1]),
    "mm_tn": lambda a, b: (a[::-1], b),
}


class ValuesNeeded(Exception):
    """Values are needed of an array that has none."""


def blank_of(op: Op, plain: Sequence[Any], params: dict[str, Any]) -> ndarray | None:
    """An array like the result of ``op`` on tensors and numbers; None where only running it tells.
    """
    if op.kind == "pointwise":
        return _elementwise(op, plain)
    if op.name not in _REDUCTIONS and op.name not in _PRODUCTS:
        return None
    arrays = [t._a for t in plain]
    if any([a.dtype not in _FLOATS or a.dtype != arrays[0].dtype for a in arrays]):
        return None
    if op.name in _REDUCTIONS:
        return _reduced(arrays[0], **params)
    a, b = _PRODUCTS[op.name](arrays[0].shape, arrays[1].shape)
    if len(a) < 2 or len(b) < 2:
        return None
    return np.empty((*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1]), arrays[0].dtype)


def _elementwise(op: Op, plain: Sequence[Any]) -> ndarray | None:
    held = computing_dtypes(op, result_type(plain))[1]
    if held is None:
        return None
    shapes = [t._a.shape for t in plain if hasattr(t, "_a")]
    return np.empty(np.broadcast_shapes(*shapes), held)


def _reduced(a: ndarray, dims: tuple[int, ...] | None = None, keepdim: bool = False,
             dtype: Any = None) -> ndarray | None:
    if dtype is not None:
        return None
    gone = range(a.ndim) if dims is None else dims
    shape = [1 if d in gone else n for d, n in enumerate(a.shape) if keepdim or d not in gone]
    return np.empty(tuple(shape), a.dtype)


def keeps_going(op: Op, arrays: Sequence[Any]) -> bool:
    """Whether an operator can run on whatever is in memory: no values decide what it does."""
    return op.kind in ("linear", "bilinear", "reduction") and all(
        [a.dtype in _FLOATS for a in arrays if a is not None])
