"""Softmax and normalisation of large arrays as kernels by rows, or None to say "use NumPy".

Every function takes arrays of one dtype, float32 or float64, and copies what is not C-contiguous.
None comes back for small arrays, for other dtypes, and where there are no generated kernels.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.backends import large, memory

# fewer items than this are sooner done by NumPy's own loops
MIN_ITEMS = 1 << 13

_KINDS = {np.dtype(np.float32): "f32", np.dtype(np.float64): "f64"}
Formula = Callable[..., Any]
Arrays = Sequence[np.ndarray | None]


def _kind(arrays: Arrays) -> str | None:
    """The kind that all arrays have, where a kernel is worth its while."""
    lead = arrays[0]
    if lead is None or lead.size < MIN_ITEMS:
        return None
    kind = _KINDS.get(lead.dtype)
    if kind is None or any(a is not None and a.dtype != lead.dtype for a in arrays):
        return None
    return None if large.load() is None else kind


@functools.cache
def _kernel(formula: Formula, kind: str, layouts: tuple[str | None, ...], *choices: Any) -> Any:
    """The kernel of a formula: ``formula(on, *symbols, *choices)`` gives what to store.

    layouts: one per operand, None where it is absent and the formula gets None.
    """
    llvm = large.load()
    assert llvm is not None
    b = llvm.expressions.Builder()
    symbols = [None if layout is None else b.input(kind, layout) for layout in layouts]
    results = formula(b.on, *symbols, *choices)
    return llvm.rows.rows_kernel(b.rows(*results))


def _dense(arrays: Arrays) -> list[np.ndarray]:
    return [np.ascontiguousarray(a) for a in arrays if a is not None]


def _along(formula: Formula, dim: int, *arrays: np.ndarray) -> np.ndarray | None:
    """Run a formula of arrays of one shape, whose one result has that shape, along a dimension."""
    kind = _kind(arrays)
    lead = arrays[0]
    if kind is None or any(a.shape != lead.shape for a in arrays):
        return None
    kernel = _kernel(formula, kind, ("array",) * len(arrays))
    out = memory.empty(lead.shape, lead.dtype)
    before, length = math.prod(lead.shape[:dim]), lead.shape[dim]
    after = math.prod(lead.shape[dim + 1 :])
    if after == 1:
        kernel.run((out,), _dense(arrays), before, length)
    else:
        kernel.run_across((out,), _dense(arrays), before, length, after)
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


# normalisation


def _norm(on: Any, x: Any, w: Any, b: Any, eps: float) -> tuple:
    n = on.length(x.kind)
    mean = on.sum(x) / n
    centred = x - mean
    rstd = on.rsqrt(on.sum(centred * centred) / n + eps)
    y = centred * rstd
    if w is not None:
        y = y * w if b is None else on.fma(y, w, b)
    elif b is not None:
        y = y + b
    return y, (mean, "column"), (rstd, "column")


def _norm_slope(
    on: Any, g: Any, x: Any, mean: Any, rstd: Any, w: Any, wanted: tuple[bool, ...], own: bool
) -> tuple:
    """The wanted gradients of x, w, b; `own` says that a row has its own weight and bias."""
    n = on.length(x.kind)
    normal = (x - mean) * rstd
    results: list[Any] = []
    if wanted[0]:
        gw = g if w is None or own else g * w
        slope = gw - on.sum(gw) / n - normal * (on.sum(gw * normal) / n)
        results.append(slope * (rstd * w if w is not None and own else rstd))
    if wanted[1]:
        results.append((on.sum(g * normal), "column") if own else (g * normal, "row"))
    if wanted[2]:
        results.append((on.sum(g), "column") if own else (g, "row"))
    return tuple(results)


Split = tuple[str, int, int, int]


def _run(kernel: Any, outs: Sequence[np.ndarray], ins: Sequence[np.ndarray], split: Split) -> None:
    how, *sizes = split
    if how == "across":
        kernel.run_across(outs, ins, *sizes)
    else:
        kernel.run(outs, ins, *sizes)


def _layout(view: tuple[int, ...], axes: tuple[int, ...]) -> tuple[str, Split] | None:
    """How the parameters lie over a row, and how rows lie in the array; None if not covered.

    view, axes: as `ops.norm` describes what it normalises.
    """
    if len(view) == 2 and axes == (1,):
        return "row", ("rows", view[0], view[1], 1)
    if axes == (0,) and len(view) == 2:
        return "column", ("across", 1, view[0], view[1])
    if axes == (0, *range(2, len(view))):
        return "column", ("rows", view[1], math.prod(view[2:]), view[0])
    return None


def norm(
    x: np.ndarray,
    w: np.ndarray | None,
    b: np.ndarray | None,
    view: tuple[int, ...],
    axes: tuple[int, ...],
    eps: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Layer or batch norm: the result, and per row the mean and 1 / sqrt(variance + eps)."""
    kind = _kind((x, w, b))
    found = None if kind is None else _layout(view, axes)
    if kind is None or found is None:
        return None
    layout, split = found
    layouts = ("array", *[None if a is None else layout for a in (w, b)])
    kernel = _kernel(_norm, kind, layouts, float(eps))
    kept = tuple([1 if axis in axes else n for axis, n in enumerate(view)])
    out = memory.empty(x.shape, x.dtype)
    mean, rstd = np.empty(kept, x.dtype), np.empty(kept, x.dtype)
    _run(kernel, (out, mean, rstd), _dense((x, w, b)), split)
    return out, mean, rstd


def norm_backward(
    g: np.ndarray,
    x: np.ndarray,
    w: np.ndarray | None,
    mean: np.ndarray,
    rstd: np.ndarray,
    wanted: tuple[bool, ...],
    view: tuple[int, ...],
    axes: tuple[int, ...],
) -> list[np.ndarray] | None:
    """The wanted gradients of x, w and b, of layer or batch norm."""
    kind = _kind((g, x, mean, rstd, w))
    found = None if kind is None else _layout(view, axes)
    if kind is None or found is None or not any(wanted):
        return None
    layout, split = found
    own = layout == "column"
    used = w if wanted[0] else None
    layouts = ("array", "array", "column", "column", None if used is None else layout)
    kernel = _kernel(_norm_slope, kind, layouts, tuple(map(bool, wanted)), own)
    size = mean.size if own else split[2]
    outs = [memory.empty(x.shape, x.dtype)] if wanted[0] else []
    outs += [np.empty(size, x.dtype) for want in wanted[1:] if want]
    _run(kernel, outs, _dense((g, x, mean, rstd, used)), split)
    return outs


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
    kind = _kind((x,))
    if kind is None:
        return None
    outs = tuple([np.empty(target.shape, x.dtype) for _ in range(3)])
    _run(_class_kernel(_class_loss, kind, 0), outs, _dense((x, target)), _class_split(x))
    return outs  # type: ignore[return-value]


def class_loss_backward(
    x: np.ndarray, target: np.ndarray, peak: np.ndarray, logs: np.ndarray, factor: np.ndarray
) -> np.ndarray | None:
    """(softmax(x, 1) - one_hot(target)) * factor; factor is shaped like target."""
    kind = _kind((x, peak, logs, factor))
    if kind is None:
        return None
    out = memory.empty(x.shape, x.dtype)
    ins = _dense((x, target, peak, logs, factor))
    _run(_class_kernel(_class_loss_slope, kind, 3), (out,), ins, _class_split(x))
    return out
