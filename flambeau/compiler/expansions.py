"""Operators as functions of simpler ones, for the graph: what can be fused, written so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.backends import half_products
from flambeau.base.dtypes import FROM_NUMPY
from flambeau.compiler.graph import PRODUCTS
from flambeau.core.dispatch import apply, is_narrow, narrow_of
from flambeau.core.modes import MODES
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.where import where

__all__ = ["expansion_of"]

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
# Composites that are better run whole: their parts are many, or larger than all else.
_WHOLE = frozenset((
    "cdist", "dist", "gru", "gru_backward", "lstm", "lstm_backward",
    "multi_margin_loss", "multi_margin_loss_backward", "multilabel_margin_loss", "pdist", "renorm",
    "rnn_relu", "rnn_relu_backward", "rnn_tanh", "rnn_tanh_backward",
    "scaled_dot_product_attention", "scaled_dot_product_attention_backward"))


def expansion_of(op: Op, inputs: Sequence[Any], params: dict[str, Any]) -> Callable | None:
    """A function of ``inputs`` and ``params`` that does as ``op``; None where it stays whole."""
    tensors = [t for t in inputs if isinstance(t, Tensor)]
    narrow = narrow_of([t._a for t in tensors])
    if narrow is not None and op.widen and op.kind != "pointwise":
        return None if _reads_halves(op, tensors) else _widened(op, narrow)
    for t in tensors:
        if not t._a.size or t._a.dtype.kind in "fcV" and t._a.dtype not in (F32, F64):
            return None
    fits, compose = _EXPANSIONS.get(op.name, (None, None))
    if fits is not None:
        return compose if fits(*inputs, **params) else None
    return None if op.compose is None or op.name in _WHOLE else op.compose


def _reads_halves(op: Op, tensors: Sequence[Tensor]) -> bool:
    """Whether a kernel computes a matrix product of half types as they are."""
    turned = PRODUCTS.get(op.name)
    if turned is None:
        return False
    arrays = [getattr(t._a, "array", t._a) for t in tensors[-2:]]
    a, b = (x.swapaxes(-1, -2) if turn else x for x, turn in zip(arrays, turned))
    return half_products.takes(a, b)


def _widened(op: Op, narrow: np.dtype) -> Callable:
    """An operator on half types as it runs on them: in float32, with its results rounded."""
    def compose(*inputs: Any, **params: Any) -> Any:
        wide = [_converted(t, F32) if isinstance(t, Tensor) and is_narrow(t._a.dtype) else t
                for t in inputs]
        found = apply(op, wide, params)
        if not op.multiple:
            return _narrowed(found, narrow)
        arrays = [t._a if isinstance(t, Tensor) else None for t in inputs]
        kept = () if op.keeps_wide is None else op.keeps_wide(arrays, params)
        return tuple([t if i in kept else _narrowed(t, narrow) for i, t in enumerate(found)])

    return compose


def _narrowed(t: Tensor, narrow: np.dtype) -> Tensor:
    return _converted(t, narrow) if t._a.dtype == F32 else t


def _converted(t: Tensor, to: np.dtype) -> Tensor:
    return t.to(FROM_NUMPY[to])


def _nll_fits(input: Tensor, target: Tensor, weight: Any, **params: Any) -> bool:
    return weight is None and input._a.ndim == 2 and target._a.dtype == np.int64


def _nll_back_fits(grad: Tensor, target: Tensor, weight: Any, shape: tuple,
                   **params: Any) -> bool:
    return weight is None and len(shape) == 2 and target._a.dtype == np.int64


def _at_class(target: Tensor, classes: int, ignored: int) -> Tensor:
    """Where the class of every row that counts is, as a mask (rows, classes)."""
    MODES.tracer.check_range(target, 0, classes, ignored)
    numbers = np.arange(classes)
    # A row that is left out is at no class, also where its number is that of one.
    numbers[numbers == ignored] = classes
    return wrap(numbers) == target.unsqueeze(1)


def _count(target: Tensor, ignored: int, like: Tensor) -> Tensor:
    return (target != ignored).to(like.dtype).sum()


def _nll(input: Tensor, target: Tensor, weight: None, reduction: str,
         ignore_index: int) -> Tensor:
    mask = _at_class(target, input._a.shape[1], ignore_index)
    loss = -where(mask, input, wrap(np.zeros((), input._a.dtype.type))).sum(1)
    if reduction == "none":
        return loss
    total = loss.sum()
    return total if reduction == "sum" else total / _count(target, ignore_index, input)


def _nll_back(grad: Tensor, target: Tensor, weight: None, shape: tuple, reduction: str,
              ignore_index: int) -> Tensor:
    mask = _at_class(target, shape[1], ignore_index)
    if reduction == "mean":
        grad = grad / _count(target, ignore_index, grad)
    slope = -grad.unsqueeze(1) if reduction == "none" else -grad
    return where(mask, slope, wrap(np.zeros((), grad._a.dtype.type)))


_EXPANSIONS: dict[str, tuple[Callable, Callable]] = {
    "nll_loss": (_nll_fits, _nll),
    "nll_loss_backward": (_nll_back_fits, _nll_back),
}
