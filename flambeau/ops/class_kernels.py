"""The cross entropy of large logits and classes as one operator: it never stores log_softmax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.backends import large, row_kernels
from flambeau.core.dispatch import apply
from flambeau.core.kinds import composite
from flambeau.core.modes import MODES
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.compare import eq, ne
from flambeau.ops.create import arange
from flambeau.ops.softmax import softmax
from flambeau.ops.where import where

__all__ = ["declare_cross_entropy", "is_large"]

ndarray = np.ndarray
_PARAMS = ("reduction", "ignore_index")


def is_large(input: Tensor, target: Tensor) -> bool:
    """Whether one kernel is worth its while: plain floats (N, C, ...), plain classes (N, ...)."""
    x, t = input._a, target._a
    if type(x) is not ndarray or type(t) is not ndarray or x.ndim < 2 or not t.size:
        return False
    fits = x.size >= row_kernels.MIN_ITEMS and x.dtype.type in (np.float32, np.float64)
    return fits and large.available()


def _counted(t: ndarray, ignore_index: int, check: Callable, classes: int) -> tuple:
    """The classes with 0 for what is ignored, and what is not ignored (None: all)."""
    ignored = t == ignore_index
    kept = ~ignored if ignored.any() else None
    t = t if kept is None else np.where(ignored, 0, t)
    check(t, classes)
    return t.astype(np.int64, copy=False), kept


def _count(t: ndarray, kept: ndarray | None) -> int:
    return t.size if kept is None else int(np.count_nonzero(kept))


def _factor(g: ndarray, t: ndarray, kept: ndarray | None, reduction: str) -> ndarray:
    """What the slope of every item is multiplied by."""
    if reduction == "mean":
        g = g / _count(t, kept)
    each = np.broadcast_to(g, t.shape)
    return each if kept is None else np.where(kept, each, g.dtype.type(0))


def _slope_of_tensors(g: Tensor, x: Tensor, t: Tensor, peak: Tensor, logs: Tensor,
                      reduction: str, ignore_index: int) -> Tensor:
    """As the kernel does it, from the logits alone, to be differentiated."""
    kept: Any = ne(t, ignore_index)
    each = where(kept, g / kept.sum() if reduction == "mean" else g, 0.0)
    classes = arange(x.shape[1]).reshape(1, -1, *[1] * (x._a.ndim - 2))
    hit = eq(classes, where(kept, t, 0).unsqueeze(1))
    return (softmax(x, 1) - hit.to(x.dtype)) * each.unsqueeze(1)


def declare_cross_entropy(name: str, node: str, compose: Callable, check: Callable) -> Op:
    """The operator of input and target that gives the loss, and two values per item to keep.

    ``compose(input, target, reduction=, ignore_index=)`` is the loss in other operators;
    ``check(target, classes)`` raises where a class is out of range.
    """
    def forward(x: ndarray, t: ndarray, reduction: str, ignore_index: int) -> tuple:
        t, kept = _counted(t, ignore_index, check, x.shape[1])
        found = row_kernels.class_loss(x, t)
        assert found is not None, "asked for where is_large"
        loss, peak, logs = found
        if kept is not None:
            loss = np.where(kept, loss, x.dtype.type(0))
        if reduction != "none":
            loss = np.add.reduce(loss, axis=None)
        if reduction == "mean":
            loss = loss / x.dtype.type(_count(t, kept))
        return loss, peak, logs

    def values(x: Tensor, t: Tensor, reduction: str, ignore_index: int) -> tuple:
        peak = x.detach().amax(1)
        logs = x.detach().logsumexp(1) - peak
        return compose(x, t, reduction=reduction, ignore_index=ignore_index), peak, logs

    def slope(g: ndarray, x: ndarray, t: ndarray, peak: ndarray, logs: ndarray, reduction: str,
              ignore_index: int) -> ndarray:
        t, kept = _counted(t, ignore_index, check, x.shape[1])
        factor = _factor(g, t, kept, reduction)
        found = row_kernels.class_loss_backward(x, t, peak, logs, factor)
        assert found is not None, "asked for where is_large"
        return found

    back = composite(f"{name}_backward", _slope_of_tensors, slope, params=_PARAMS,
                     inputs=("grad", "input", "target", "peak", "logs"), node=f"{node}Backward")

    def joint(g: tuple, needs: tuple, input: Tensor, target: Tensor, out: tuple, reduction: str,
              ignore_index: int) -> list:
        if g[0] is None:
            return [None, None]
        inputs = (g[0], input, target, out[1].detach(), out[2].detach())
        arrays = [t._a for t in inputs]
        if MODES.grad or any(type(a) is not ndarray for a in arrays):
            params = {"reduction": reduction, "ignore_index": ignore_index}
            return [apply(back, inputs, params), None]
        up, x, t, peak, logs = arrays
        return [wrap(slope(up, x, t, peak, logs, reduction, ignore_index)), None]

    op = composite(name, values, forward, inputs=("input", "target"), params=_PARAMS, node=node,
                   joint=joint, multiple=True, widen=False)
    op.node_type.materialize = False
    return op
