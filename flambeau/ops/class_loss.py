"""Losses of classes: nll_loss, cross_entropy and the margin losses over classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.backends import axis_kernels
from flambeau.backends.replay import replayed
from flambeau.base import dtypes
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.kinds import composite, linear
from flambeau.core.levels import batch_loop, integers_in
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor
from flambeau.ops.activation import FUNCTIONAL, logsigmoid, not_implemented
from flambeau.ops.class_kernels import declare_cross_entropy, is_large
from flambeau.ops.loss import REDUCTIONS, chosen_reduction, reduced, reduced_array
from flambeau.ops.softmax import LOG_SOFTMAX, log_softmax
from flambeau.ops.where import where

__all__ = ["cross_entropy", "nll_loss"]

ndarray = np.ndarray
F32, I64 = np.dtype(np.float32), np.dtype(np.int64)
SMALL = 1 << 12
_NLL_PARAMS = ("reduction", "ignore_index")


def _class_weights(t: ndarray, w: ndarray | None, ignore_index: int, classes: int,
                   held: np.dtype) -> tuple[ndarray, Any]:
    """The class of every item and its weight: zero, with class 0, where it is ignored."""
    ignored = t == ignore_index
    if ignored.any():
        t = np.where(ignored, 0, t)
        _check_classes(t, classes)
        weights = np.ones(t.shape, held) if w is None else w[t]
        return t, np.where(ignored, held.type(0), weights)
    _check_classes(t, classes)
    return t, None if w is None else w[t]


def _check_classes(t: ndarray, classes: int) -> None:
    if t.size and not axis_kernels.are_inside(t, classes):
        bad = t[(t < 0) | (t >= classes)].flat[0]
        raise IndexError(f"Target {bad} is out of bounds.\n\n  There are {classes} classes, "
                         f"numbered from 0 to {classes - 1}.")


def _cells(t: ndarray) -> tuple:
    """Where the entry of every item's class lies in an input of shape (N, C, ...) or (C,)."""
    if t.ndim == 0:
        return (t,)
    if t.ndim == 1:
        return np.arange(t.size), t
    n, *rest = np.ogrid[tuple([slice(k) for k in t.shape])]
    return (n, t, *rest)


def _plain(t: ndarray, ignore_index: int) -> bool:
    """Whether no class is negative, so that none is ignored."""
    return ignore_index < 0 and t.size > 0 and np.minimum.reduce(t, axis=None) >= 0


def _nll_forward(x: ndarray, t: ndarray, w: ndarray | None, reduction: str,
                 ignore_index: int) -> Any:
    if w is None and x.ndim == 2 and ignore_index < 0 and x.size < SMALL:
        return _small_nll(x, t, reduction=reduction, ignore_index=ignore_index)
    return _any_nll(x, t, w, reduction, ignore_index)


@replayed
def _small_nll(x: ndarray, t: ndarray, reduction: str, ignore_index: int) -> Any:
    # a replay fails where a class is not in range
    if type(t) is ndarray:
        return _any_nll(x, t, None, reduction, ignore_index)
    return reduced_array(np.negative(x[_cells(t)]), reduction)


def _any_nll(x: ndarray, t: ndarray, w: ndarray | None, reduction: str,
             ignore_index: int) -> Any:
    if w is None and _plain(t, ignore_index):
        try:
            return reduced_array(np.negative(x[_cells(t)], out=...), reduction)
        except IndexError:
            _check_classes(t, x.shape[min(1, x.ndim - 1)])
            raise
    t, weights = _class_weights(t, w, ignore_index, x.shape[min(1, x.ndim - 1)], x.dtype)
    loss = np.negative(x[_cells(t)], out=...)
    if weights is None:
        return reduced_array(loss, reduction)
    loss = loss * weights
    if reduction == "mean":
        return np.add.reduce(loss, axis=None) / np.add.reduce(weights, axis=None)
    return reduced_array(np.asarray(loss), reduction)


def _nll_transpose(g: ndarray, t: ndarray, w: ndarray | None, shape: tuple[int, ...],
                   reduction: str, ignore_index: int) -> ndarray:
    if w is None and len(shape) == 2 and ignore_index < 0 and shape[0] * shape[1] < SMALL:
        return _small_slope(g, t, shape=shape, reduction=reduction, ignore_index=ignore_index)
    return _any_slope(g, t, w, shape, reduction, ignore_index)


@replayed
def _small_slope(g: ndarray, t: ndarray, shape: tuple[int, ...], reduction: str,
                 ignore_index: int) -> ndarray:
    # a replay fails where a class is not in range
    if type(t) is ndarray:
        return _any_slope(g, t, None, shape, reduction, ignore_index)
    out = np.zeros_like(g, shape=shape)
    out[_cells(t)] = g / -t.size if reduction == "mean" else -g
    return out


def _any_slope(g: ndarray, t: ndarray, w: ndarray | None, shape: tuple[int, ...],
               reduction: str, ignore_index: int) -> ndarray:
    weights, given = None, t
    if w is not None or not _plain(t, ignore_index):
        t, weights = _class_weights(t, w, ignore_index, shape[min(1, len(shape) - 1)], g.dtype)
    out = np.zeros(shape, g.dtype)
    if weights is None:
        out[_cells(t)] = g / -t.size if reduction == "mean" else -g
        return out
    if reduction == "mean":
        g = g / np.add.reduce(weights, axis=None)
    # Where everything is ignored ``g`` is no number, and the gradients are zeros all the same.
    out[_cells(t)] = np.where(given == ignore_index, g.dtype.type(0), -g * weights)
    return out


def _declare_nll(name: str, node: str) -> Op:
    def batch(op: Op, inputs: Any, dims: Any, reduction: str, ignore_index: int) -> tuple:
        if dims[2] is not None:
            params = {"reduction": reduction, "ignore_index": ignore_index}
            return batch_loop(op, inputs, dims, params), 0
        x, t, w = inputs
        size = next(v._a.shape[d] for v, d in zip(inputs, dims) if d is not None)
        x = _spread(x, dims[0], size)
        t = _spread(t, dims[1], size)
        return _nll_of_batch(op, x, t, w, reduction, ignore_index), 0

    back = linear(f"{name}_backward", _nll_transpose,
                  lambda g, target, weight, reduction, ignore_index: apply(
                      forward, (g, target, weight),
                      {"reduction": reduction, "ignore_index": ignore_index}),
                  inputs=("grad", "target", "weight"), params=("shape", *_NLL_PARAMS),
                  node=f"{node}Backward", widen=True)

    def transpose(g: Tensor, target: Tensor, weight: Tensor, input_shape: tuple, reduction: str,
                  ignore_index: int) -> Tensor:
        return apply(back, (g, target, weight), {
            "shape": input_shape, "reduction": reduction, "ignore_index": ignore_index})

    forward = linear(name, _nll_forward, transpose, inputs=("input", "target", "weight"),
                     params=_NLL_PARAMS, node=node, batch=batch, widen=True)
    return forward


def _spread(t: Tensor, dim: int | None, size: int) -> Tensor:
    """``t`` with its batch dimension first; repeated where it has none."""
    return t.expand(size, *t._a.shape) if dim is None else t.movedim(dim, 0)


def _nll_of_batch(op: Op, x: Tensor, t: Tensor, w: Tensor | None, reduction: str,
                  ignore_index: int) -> Tensor:
    """Per element of the batch: items are folded into one dimension, then reduced apart."""
    shape = t._a.shape
    if t._a.ndim > 1:
        x, t = x.reshape(-1, *x._a.shape[2:]), t.reshape(-1, *shape[2:])
    each = apply(op, (x, t, w), {"reduction": "none", "ignore_index": ignore_index})
    each = each.reshape(shape)
    if reduction == "none" or t._a.ndim == 0 or len(shape) == 1:
        return each
    inner = tuple(range(1, len(shape)))
    total = each.sum(inner)
    if reduction == "sum":
        return total
    kept = t != ignore_index
    weights = kept.to(x.dtype) if w is None else where(kept, w[where(kept, t, 0)], 0.0)
    return total / weights.reshape(shape).sum(inner)


NLL = _declare_nll("nll_loss", "NllLoss")
NLL_2D = _declare_nll("nll_loss2d", "NllLoss2D")


def _fits(input: Tensor, target: Tensor) -> bool:
    """Whether these are floats (N, C) and classes (N,), of which there is nothing to check."""
    x, t = input._a, target._a
    return type(x) is type(t) is ndarray and x.dtype is F32 and t.dtype is I64 and (
        x.ndim == 2 and t.shape == x.shape[:1])


def _check_nll(input: Tensor, target: Tensor, weight: Tensor | None) -> None:
    shape, wanted = input._a.shape, target._a.shape
    if not shape:
        raise ValueError("Expected 1 or more dimensions (got 0)")
    if len(shape) != 1 and (not wanted or shape[0] != wanted[0]):
        found = wanted[0] if wanted else 1
        raise ValueError(f"Expected input batch_size ({shape[0]}) to match target batch_size "
                         f"({found}).")
    if len(shape) <= 2 and len(wanted) > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if target.dtype not in (dtypes.int64, dtypes.uint8):
        raise RuntimeError("expected target dtype to be Long or Byte, but got "
                           f"{target.dtype.title}")
    classes = shape[min(1, len(shape) - 1)]
    if weight is not None and (weight._a.ndim != 1 or weight._a.size != classes):
        raise RuntimeError(f"weight tensor should be defined either for all {classes} classes or "
                           f"no classes but got weight tensor of shape: {list(weight._a.shape)}")
    if input.dtype.category != dtypes.FLOAT:
        raise not_implemented("nll_loss_out_frame", input)
    _check_weight(input, weight)


def _check_weight(input: Tensor, weight: Tensor | None) -> None:
    if weight is not None and weight.dtype is not input.dtype:
        raise RuntimeError(f"expected scalar type {input.dtype.title} but found "
                           f"{weight.dtype.title}")


def _check_images(input: Tensor, target: Tensor) -> None:
    shape, wanted = input._a.shape, target._a.shape
    if len(shape) == 4:
        if len(wanted) != 3:
            raise RuntimeError("only batches of spatial targets supported (3D tensors) but got "
                               f"targets of dimension: {len(wanted)}")
        if shape[2:] != wanted[1:]:
            raise RuntimeError(f"size mismatch (got input: {list(shape)} , target: "
                               f"{list(wanted)}")
    elif shape[2:] != wanted[1:]:
        raise RuntimeError(f"Expected target size {[shape[0], *shape[2:]]}, got {list(wanted)}")


def _nll_images(input: Tensor, target: Tensor, weight: Tensor | None, params: dict) -> Tensor:
    """Of an input of shape (N, C, d1, ...): PyTorch folds all but two dimensions into (1, -1)."""
    _check_images(input, target)
    shape, wanted = input._a.shape, target._a.shape
    if len(shape) == 4:
        return apply(NLL_2D, (input, target, weight), params)
    n, classes = shape[:2]
    flat = int(np.prod(shape[2:]))
    loss = apply(NLL_2D, (input.reshape(n, classes, 1, flat), target.reshape(n, 1, flat), weight),
                 params)
    return loss.reshape(wanted) if params["reduction"] == "none" else loss


@public(FUNCTIONAL)
def nll_loss(input: Tensor, target: Tensor, weight: Tensor | None = None,
             size_average: bool | None = None, ignore_index: int = -100,
             reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """Minus the log-probability of the target class: input (N, C, ...), target (N, ...).

    ``weight`` has a factor per class; the mean is weighted. Targets equal to ``ignore_index``
    do not count.
    """
    reduction = chosen_reduction(size_average, reduce, reduction)
    params = {"reduction": reduction, "ignore_index": ignore_index}
    if weight is None and _fits(input, target):
        return apply(NLL, (input, target, None), params)
    _check_nll(input, target, weight)
    if input._a.ndim <= 2:
        if input._a.ndim == 1 and target._a.ndim == 1:
            target = target.reshape(()) if target._a.size == 1 else target
        return apply(NLL, (input, target, weight), params)
    return _nll_images(input, target, weight, params)


@public(FUNCTIONAL)
def cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None = None,
                  size_average: bool | None = None, ignore_index: int = -100,
                  reduce: bool | None = None, reduction: str = "mean",
                  label_smoothing: float = 0.0) -> Tensor:
    """The cross entropy of logits (N, C, ...) and target classes (N, ...) or probabilities.

    ``label_smoothing`` moves that share of the target's probability to all classes alike.

    >>> import flambeau as torch
    >>> torch.nn.functional.cross_entropy(torch.zeros(1, 2), torch.tensor([1]))
    tensor(0.6931)
    """
    if weight is None and label_smoothing == 0.0 and size_average is None and reduce is None and (
            _fits(input, target) and input._a.size < SMALL and reduction in REDUCTIONS):
        logs = apply(LOG_SOFTMAX, (input,), {"dim": 1})
        return apply(NLL, (logs, target, None),
                     {"reduction": reduction, "ignore_index": ignore_index})
    reduction = chosen_reduction(size_average, reduce, reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError("label_smoothing must be between 0.0 and 1.0. Got: "
                           f"{label_smoothing:g}")
    dim = 0 if input._a.ndim == 1 else 1
    if input._a.shape == target._a.shape:
        return _of_probabilities(input, target, weight, ignore_index, reduction, label_smoothing,
                                 dim)
    if weight is None and label_smoothing == 0.0 and is_large(input, target):
        return _of_large_logits(input, target, reduction, ignore_index)
    logs = log_softmax(input, dim)
    loss = nll_loss(logs, target, weight, None, ignore_index, None, reduction)
    if label_smoothing == 0.0:
        return loss
    smooth = _smooth_part(logs, target, weight, ignore_index, reduction, dim)
    share = label_smoothing / input._a.shape[dim]
    return loss * (1 - label_smoothing) + smooth * share


def _loss_by_parts(input: Tensor, target: Tensor, reduction: str, ignore_index: int) -> Tensor:
    return nll_loss(log_softmax(input, 1), target, None, None, ignore_index, None, reduction)


LARGE = declare_cross_entropy("cross_entropy", "NllLoss", _loss_by_parts, _check_classes)
LARGE_2D = declare_cross_entropy("cross_entropy2d", "NllLoss2D", _loss_by_parts, _check_classes)


def _of_large_logits(input: Tensor, target: Tensor, reduction: str, ignore_index: int) -> Tensor:
    _check_nll(input, target, None)
    if input._a.ndim > 2:
        _check_images(input, target)
    op = LARGE if input._a.ndim == 2 else LARGE_2D
    return apply(op, (input, target), {"reduction": reduction, "ignore_index": ignore_index})[0]


def _of_probabilities(input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int,
                      reduction: str, label_smoothing: float, dim: int) -> Tensor:
    if target.dtype.category != dtypes.FLOAT:
        raise RuntimeError("Expected floating point type for target with class probabilities, got "
                           f"{target.dtype.title}")
    if ignore_index >= 0:
        raise RuntimeError("ignore_index is not supported for floating point target")
    classes = input._a.shape[dim]
    if weight is not None and (weight._a.ndim != 1 or weight._a.size != classes):
        raise RuntimeError(f"cross_entropy: weight tensor should be defined either for all "
                           f"{classes} classes or no classes but got weight tensor of shape: "
                           f"{list(weight._a.shape)}")
    if label_smoothing > 0:
        target = target * (1 - label_smoothing) + label_smoothing / classes
    logs = log_softmax(input, dim)
    terms = logs * target
    if weight is not None:
        terms = terms * _along(weight, dim, input._a.ndim)
    if reduction == "none":
        return -terms.sum(dim)
    if reduction == "sum":
        return -terms.sum()
    items = input._a.size // classes if classes else 0
    return -terms.sum() / items if items else -terms.sum() / 0.0


def _along(weight: Tensor, dim: int, rank: int) -> Tensor:
    return weight.reshape([-1 if i == dim else 1 for i in range(rank)])


def _smooth_part(logs: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int,
                 reduction: str, dim: int) -> Tensor:
    """The loss of a uniform target, with ``reduction`` over the items that count."""
    terms = logs if weight is None else logs * _along(weight, dim, logs._a.ndim)
    ignored = target == ignore_index
    loss = where(ignored, 0.0, -terms.sum(dim))
    if reduction != "mean":
        return reduced(loss, reduction)
    if weight is None:
        return loss.sum() / (~ignored).sum()
    weights = where(ignored, 0.0, weight[where(ignored, 0, target)])
    return loss.sum() / weights.sum()


# Margins between classes


def _hinge(x: ndarray, t: ndarray, margin: float) -> ndarray:
    """``margin - x[target] + x`` where positive, and zero for the target itself: (N, C)."""
    rows = np.arange(len(t))
    z = np.maximum(margin - x[rows, t][:, None] + x, 0)
    z[rows, t] = 0
    return z


def _multi_margin_forward(x: ndarray, t: ndarray, w: ndarray | None, p: int, margin: float,
                          reduction: str) -> Any:
    z = _hinge(x, t, margin) ** p
    if w is not None:
        z = z * w[t][:, None]
    return reduced_array(z.sum(1) / x.shape[1], reduction)


def _multi_margin_slope(g: ndarray, x: ndarray, t: ndarray, w: ndarray | None, p: int,
                        margin: float, reduction: str) -> ndarray:
    z = _hinge(x, t, margin)
    slope = (z > 0).astype(x.dtype) if p == 1 else 2 * z
    slope[np.arange(len(t)), t] = -slope.sum(1)
    if w is not None:
        slope *= w[t][:, None]
    slope /= x.shape[1]
    return slope * (g[:, None] if reduction == "none" else _per_item(g, len(t), reduction))


def _per_item(g: ndarray, count: int, reduction: str) -> ndarray:
    return g / max(count, 1) if reduction == "mean" else g


def _multi_margin_compose(x: Tensor, t: Tensor, w: Tensor | None, p: int, margin: float,
                          reduction: str) -> Tensor:
    index = t.unsqueeze(1)
    z = (margin - x.gather(1, index) + x).clamp(min=0)
    z = z if p == 1 else z * z
    if w is not None:
        z = z * w[t].unsqueeze(1)
    z = z.scatter(1, index, 0.0)
    return reduced(z.sum(1) / x._a.shape[1], reduction)


def _multi_margin_slope_compose(g: Tensor, x: Tensor, t: Tensor, w: Tensor | None, p: int,
                                margin: float, reduction: str) -> Tensor:
    index = t.unsqueeze(1)
    z = (margin - x.gather(1, index) + x).clamp(min=0)
    slope = (z > 0).to(x.dtype) if p == 1 else 2 * z
    slope = slope.scatter(1, index, 0.0)
    slope = slope.scatter(1, index, -slope.sum(1, keepdim=True))
    if w is not None:
        slope = slope * w[t].unsqueeze(1)
    count = x._a.shape[0] if reduction == "mean" else 1
    g = g.unsqueeze(1) if reduction == "none" else g
    return slope / x._a.shape[1] * (g / max(count, 1))


_MARGIN_PARAMS = ("p", "margin", "reduction")
MULTI_MARGIN_BACKWARD = composite(
    "multi_margin_loss_backward", _multi_margin_slope_compose, _multi_margin_slope,
    inputs=("grad", "input", "target", "weight"), params=_MARGIN_PARAMS)
MULTI_MARGIN = composite(
    "multi_margin_loss", _multi_margin_compose, _multi_margin_forward,
    inputs=("input", "target", "weight"), params=_MARGIN_PARAMS,
    grads=(lambda g, input, target, weight, p, margin, reduction: apply(
        MULTI_MARGIN_BACKWARD, (g, input, target, weight),
        {"p": p, "margin": margin, "reduction": reduction}), None, None))


def check_matrix(input: Tensor) -> tuple[int, ...]:
    """The shape of a vector or matrix; RuntimeError for anything else."""
    shape = input._a.shape
    if len(shape) > 2 or (shape and shape[-1] == 0):
        raise RuntimeError("Expected non-empty vector or matrix with optional 0-dim batch size, "
                           f"but got: {list(shape)}")
    return shape


@public(FUNCTIONAL)
def multi_margin_loss(input: Tensor, target: Tensor, p: int = 1, margin: float = 1.0,
                      weight: Tensor | None = None, size_average: bool | None = None,
                      reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """Per item the mean over other classes of ``max(0, margin - x[target] + x)**p``."""
    reduction = chosen_reduction(size_average, reduce, reduction)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.dim() != 1:
        raise ValueError("weight must be one-dimensional")
    shape = check_matrix(input)
    items, classes = (1, shape[0] if shape else 1) if len(shape) < 2 else shape
    if target._a.ndim > 1 or target._a.size != items:
        raise RuntimeError(
            "multi_margin_loss: target tensor should be 1-D with size equal to the number of "
            f"input samples (batch size). Expected target size [{items}], but got "
            f"{list(target._a.shape)}. Input has shape {list(shape)}.")
    if weight is not None and weight._a.size != classes:
        raise RuntimeError(f"inconsistent weight size, expected {classes} but got "
                           f"{list(weight._a.shape)}")
    if input.dtype not in (dtypes.float32, dtypes.float64):
        raise not_implemented("multi_margin_loss", input)
    _check_weight(input, weight)
    labels = integers_in(target, 0, classes)
    if labels is not None and labels.size and (labels.min() < 0 or labels.max() >= classes):
        raise RuntimeError("target out of range")
    params = {"p": p, "margin": margin, "reduction": reduction}
    loss = apply(MULTI_MARGIN, (input.reshape(items, classes), target.reshape(items), weight),
                 params)
    return loss.reshape(()) if reduction == "none" and not target._a.ndim else loss


@public(FUNCTIONAL)
def multilabel_soft_margin_loss(input: Tensor, target: Tensor, weight: Tensor | None = None,
                                size_average: bool | None = None, reduce: bool | None = None,
                                reduction: str = "mean") -> Tensor:
    """The mean over classes of the binary cross entropy of logits."""
    if size_average is not None or reduce is not None:
        reduction = chosen_reduction(size_average, reduce, reduction)
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    dim = input.dim() - 1
    loss = loss.sum(dim) / input.size(dim)
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not valid")
    return reduced(loss, reduction)
