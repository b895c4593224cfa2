"""Softmax and cross entropy of large arrays as kernels by rows, or None to say "use NumPy".

Every function takes arrays of one dtype, float32 or float64, and copies what is not C-contiguous.
None comes back for small arrays, for other dtypes, and where there are no generated kernels.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.backends import conversions, large, memory

# fewer items than this are sooner done by NumPy's own loops
MIN_ITEMS = 1 << 12

_KINDS = {np.dtype(np.float32): "f32", np.dtype(np.float64): "f64"}
Formula = Callable[..., Any]
Arrays = Sequence[np.ndarray | None]


def kind_of(arrays: Arrays) -> str | None:
    """The kind that all arrays have, where a kernel is worth its while."""
    lead = arrays[0]
    if lead is None or lead.size < MIN_ITEMS:
        return None
    kind = _KINDS.get(lead.dtype)
    if kind is None or any(a is not None and a.dtype != lead.dtype for a in arrays):
        return None
    return None if large.load() is None else kind


@functools.cache
def kernel_of(formula: Formula, kind: str, layouts: tuple[str | None, ...], *choices: Any) -> Any:
    """The kernel of a formula: ``formula(on, *symbols, *choices)`` gives what to store.

    layouts: one per operand, None where it is absent and the formula gets None.
    """
    llvm = large.load()
    assert llvm is not None
    b = llvm.expressions.Builder()
    symbols = [None if layout is None else b.input(kind, layout) for layout in layouts]
    results = formula(b.on, *symbols, *choices)
    return llvm.rows.rows_kernel(b.rows(*results))


def dense(arrays: Arrays) -> list[np.ndarray]:
    """Those that are there, C-contiguous."""
    return [a if a.flags.c_contiguous else conversions.dense(a) for a in arrays if a is not None]


def _along(formula: Formula, dim: int, *arrays: np.ndarray) -> np.ndarray | None:
    """Run a formula of arrays of one shape, whose one result has that shape, along a dimension."""
    kind = kind_of(arrays)
    lead = arrays[0]
    if kind is None or any(a.shape != lead.shape for a in arrays):
        return None
    kernel = kernel_of(formula, kind, ("array",) * len(arrays))
    out = memory.empty(lead.shape, lead.dtype)
    before, length = math.prod(lead.shape[:dim]), lead.shape[dim]
    after = math.prod(lead.shape[dim + 1 :])
    if after == 1:
        kernel.run((out,), dense(arrays), before, length)
    else:
        kernel.run_across((out,), dense(arrays), before, length, after)
    return out


def _softmax(on: Any, x: Any) -> tuple:
    powers = on.decay(x - on.peak(x))
    return (powers * on.reciprocal(on.sum(powers)),)


def _log_softmax(on: Any, x: Any) -> tuple:
    shifted = x - on.peak(x)
    return (shifted - on.log(on.sum(on.decay(shifted))),)


def _softmax_slope(on: Any, g: Any, out: Any) -> tuple:
    return (out * (g - on.sum(g * out)),)


def _log_softmax_slope(on: Any, g: Any, out: Any) -> tuple:
    return (g - on.decay(out) * on.sum(g),)


def softmax(x: np.ndarray, dim: int) -> np.ndarray | None:
    """exp(x) / sum(exp(x)) along a dimension counted from the front."""
    return _along(_softmax, dim, x)


def log_softmax(x: np.ndarray, dim: int) -> np.ndarray | None:
    """The logarithm of softmax."""
    return _along(_log_softmax, dim, x)


def softmax_backward(g: np.ndarray, out: np.ndarray, dim: int) -> np.ndarray | None:
    """The gradient of softmax's input, for a gradient and softmax's result."""
    return _along(_softmax_slope, dim, g, out)


def log_softmax_backward(g: np.ndarray, out: np.ndarray, dim: int) -> np.ndarray | None:
    """The gradient of log_softmax's input, for a gradient and log_softmax's result."""
    return _along(_log_softmax_slope, dim, g, out)


Split = tuple[str, int, int, int]


def run_split(
    kernel: Any, outs: Sequence[np.ndarray], ins: Sequence[np.ndarray], split: Split
) -> None:
    """Run a kernel by rows, in segments or not, or over rows that lie side by side."""
    how, *sizes = split
    if how == "across":
        kernel.run_across(outs, ins, *sizes)
    else:
        kernel.run(outs, ins, *sizes)


# cross entropy of classes


def _class_loss(on: Any, x: Any, target: Any) -> tuple:
    peak = on.peak(x)
    shifted = x - peak
    logs = on.log(on.sum(on.decay(shifted)))
    picked = on.sum(on.where(on.column("i32") == target.cast("i32"), shifted, 0.0))
    return (logs - picked, "column"), (peak, "column"), (logs, "column")


def _class_loss_slope(on: Any, x: Any, target: Any, peak: Any, logs: Any, factor: Any) -> tuple:
    share = on.decay((x - peak) - logs)
    hit = on.column("i32") == target.cast("i32")
    return (on.where(hit, share - 1.0, share) * factor,)


def _class_split(x: np.ndarray) -> Split:
    """How the classes, dimension 1, lie in the array."""
    after = math.prod(x.shape[2:])
    if after == 1:
        return "rows", x.shape[0], x.shape[1], 1
    return "across", x.shape[0], x.shape[1], after


@functools.cache
def _class_kernel(formula: Formula, kind: str, columns: int) -> Any:
    llvm = large.load()
    assert llvm is not None
    b = llvm.expressions.Builder()
    symbols = [b.input(kind), b.input("i64", "column")]
    symbols += [b.input(kind, "column") for _ in range(columns)]
    return llvm.rows.rows_kernel(b.rows(*formula(b.on, *symbols)))


def class_loss(
    x: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Minus log_softmax(x, 1) at the target class, shaped like target, and what it was made of.

    x: (N, C, ...); target: (N, ...) int64, in range. Also returns the greatest logit of every
    item, and the logarithm of the sum of the powers of the others less it.
    """
    kind = kind_of((x,))
    if kind is None:
        return None
    outs = tuple([np.empty(target.shape, x.dtype) for _ in range(3)])
    run_split(_class_kernel(_class_loss, kind, 0), outs, dense((x, target)), _class_split(x))
    return outs  # type: ignore[return-value]


def class_loss_backward(
    x: np.ndarray, target: np.ndarray, peak: np.ndarray, logs: np.ndarray, factor: np.ndarray
) -> np.ndarray | None:
    """(softmax(x, 1) - one_hot(target)) * factor; factor is shaped like target."""
    kind = kind_of((x, peak, logs, factor))
    if kind is None:
        return None
    out = memory.empty(x.shape, x.dtype)
    ins = dense((x, target, peak, logs, factor))
    run_split(_class_kernel(_class_loss_slope, kind, 3), (out,), ins, _class_split(x))
    return out
