"""Losses of pairs, triplets and label sets: ranking, embeddings, distances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.base import dtypes
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.kinds import composite
from flambeau.core.levels import integers_in
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.activation import FUNCTIONAL, not_implemented
from flambeau.ops.class_loss import check_matrix
from flambeau.ops.distance import pairwise_distance
from flambeau.ops.extrema import minimum
from flambeau.ops.loss import REDUCTIONS, chosen_reduction, reduced, reduced_array
from flambeau.ops.where import where

__all__ = ["cosine_embedding_loss", "hinge_embedding_loss", "margin_ranking_loss",
           "multilabel_margin_loss", "triplet_margin_loss", "triplet_margin_with_distance_loss"]

ndarray = np.ndarray
Distance = Callable[[Tensor, Tensor], Tensor]


@public("torch", FUNCTIONAL)
def margin_ranking_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0,
                        size_average: bool | None = None, reduce: bool | None = None,
                        reduction: str = "mean") -> Tensor:
    """``max(0, -target * (input1 - input2) + margin)``: target 1 ranks input1 higher."""
    reduction = chosen_reduction(size_average, reduce, reduction)
    if not input1.dim() == input2.dim() == target.dim():
        raise RuntimeError("margin_ranking_loss : All input tensors should have same dimension "
                           f"but got sizes: input1: {input1.size()}, input2: {input2.size()}, "
                           f"target: {target.size()} ")
    return reduced((-target * (input1 - input2) + margin).clamp_min(0), reduction)


@public("torch", FUNCTIONAL)
def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0,
                         size_average: bool | None = None, reduce: bool | None = None,
                         reduction: str = "mean") -> Tensor:
    """``input`` where target is 1, ``max(0, margin - input)`` where it is -1."""
    reduction = chosen_reduction(size_average, reduce, reduction)
    held = wrap(np.asarray(margin, input._a.dtype))  # PyTorch rounds the margin, too
    apart = where(target == 1, 0, (held - input).clamp_min(0))
    together = where(target == -1, 0, input)
    return reduced(apart + together, reduction)


@public("torch", FUNCTIONAL)
def cosine_embedding_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0,
                          size_average: bool | None = None, reduce: bool | None = None,
                          reduction: str = "mean") -> Tensor:
    """``1 - cos`` where target is 1, ``max(0, cos - margin)`` where it is -1."""
    reduction = chosen_reduction(size_average, reduce, reduction)
    rank = target.dim()
    if rank > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if not input1.dim() == input2.dim() == rank + 1:
        raise RuntimeError(f"{rank}D target tensor expects {rank + 1}D input tensors, but found "
                           f"inputs with sizes {list(input1.shape)} and {list(input2.shape)}.")
    eps = 1e-12  # keeps the square roots of zero vectors differentiable
    product = (input1 * input2).sum(rank)
    size1 = (input1 * input1).sum(rank) + eps
    size2 = (input2 * input2).sum(rank) + eps
    cosine = product / (size1 * size2).sqrt()
    together = where(target == 1, 1 - cosine, 0)
    apart = where(target == -1, (cosine - margin).clamp_min(0), 0)
    return reduced(together + apart, reduction)


def _check_triplet(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float) -> None:
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    a, p, n = anchor.dim(), positive.dim(), negative.dim()
    if not a == p == n:
        raise RuntimeError("The anchor, positive, and negative tensors are expected to have the "
                           f"same number of dimensions, but got: anchor {a}D, positive {p}D, and "
                           f"negative {n}D inputs")


def _triplet(distance: Distance, anchor: Tensor, positive: Tensor, negative: Tensor,
             margin: float, swap: bool, reduction: str) -> Tensor:
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = minimum(far, distance(positive, negative))
    return reduced((margin + near - far).clamp_min(0), reduction)


@public("torch", FUNCTIONAL)
def triplet_margin_loss(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0,
                        p: float = 2, eps: float = 1e-6, swap: bool = False,
                        size_average: bool | None = None, reduce: bool | None = None,
                        reduction: str = "mean") -> Tensor:
    """``max(0, d(anchor, positive) - d(anchor, negative) + margin)``, d the p-norm distance.

    ``swap`` takes the positive's distance to the negative where that is smaller.
    """
    reduction = chosen_reduction(size_average, reduce, reduction)
    _check_triplet(anchor, positive, negative, margin)
    return _triplet(lambda x, y: pairwise_distance(x, y, p, eps), anchor, positive, negative,
                    margin, swap, reduction)


@public(FUNCTIONAL)
def triplet_margin_with_distance_loss(
        anchor: Tensor, positive: Tensor, negative: Tensor, *,
        distance_function: Distance | None = None, margin: float = 1.0, swap: bool = False,
        reduction: str = "mean") -> Tensor:
    """As ``triplet_margin_loss``, with any distance function of two tensors."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"{reduction} is not a valid value for reduction")
    _check_triplet(anchor, positive, negative, margin)
    return _triplet(distance_function or pairwise_distance, anchor, positive, negative, margin,
                    swap, reduction)


# Sets of labels: each row of targets lists class numbers, up to the first -1


def _label_terms(x: ndarray, t: ndarray) -> tuple[ndarray, ndarray, ndarray]:
    """max(0, 1 - x[label] + x[other]) as (N, labels, C), the labels used, the members."""
    used = np.logical_and.accumulate(t >= 0, axis=1)
    safe = np.where(used, t, 0)
    member = np.zeros(x.shape, bool)
    rows = np.broadcast_to(np.arange(len(t))[:, None], t.shape)
    member[rows[used], safe[used]] = True
    z = 1 - np.take_along_axis(x, safe, 1)[:, :, None] + x[:, None, :]
    return np.where(used[:, :, None] & ~member[:, None, :], np.maximum(z, 0), 0), used, safe


def _label_forward(x: ndarray, t: ndarray, reduction: str) -> Any:
    z, _, _ = _label_terms(x, t)
    return reduced_array(z.sum((1, 2)) / x.shape[1], reduction)


def _label_slope(x: ndarray, t: ndarray) -> ndarray:
    z, used, safe = _label_terms(x, t)
    on = (z > 0).astype(x.dtype)
    slope = on.sum(1)
    rows = np.broadcast_to(np.arange(len(t))[:, None], t.shape)
    np.add.at(slope, (rows[used], safe[used]), -on.sum(2)[used])
    return slope / x.shape[1]


def _label_grad(g: Tensor, input: Tensor, target: Tensor, reduction: str) -> Tensor:
    slope = wrap(_label_slope(input._a, target._a))
    if reduction == "none":
        return slope * g.unsqueeze(1)
    return slope * (g / input._a.shape[0]) if reduction == "mean" else slope * g


def _label_compose(x: Tensor, t: Tensor, reduction: str) -> Tensor:
    used = (t >= 0).to(dtypes.int64).cumprod(1) > 0
    safe = where(used, t, 0)
    member = x.new_zeros(x.shape).scatter_add(1, safe, used.to(x.dtype)) > 0
    z = (1 - x.gather(1, safe).unsqueeze(2) + x.unsqueeze(1)).clamp_min(0)
    z = where(used.unsqueeze(2) & ~member.unsqueeze(1), z, 0.0)
    return reduced(z.sum((1, 2)) / x._a.shape[1], reduction)


MULTILABEL = composite("multilabel_margin_loss", _label_compose, _label_forward,
                       inputs=("input", "target"), params=("reduction",),
                       grads=(_label_grad, None))


@public(FUNCTIONAL)
def multilabel_margin_loss(input: Tensor, target: Tensor, size_average: bool | None = None,
                           reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """``max(0, 1 - x[label] + x[other])`` summed over labels and non-labels, over C.

    Each row of ``target``, of the input's shape, lists its labels up to the first -1.
    """
    reduction = chosen_reduction(size_average, reduce, reduction)
    shape = check_matrix(input)
    if target._a.shape != shape and not (len(shape) == 0 and target._a.size == 1):
        raise RuntimeError(f"inconsistent target size: {list(target._a.shape)} for input of "
                           f"size: {list(shape)}")
    if input.dtype not in (dtypes.float32, dtypes.float64):
        raise not_implemented("multilabel_margin_loss_forward_out_frame", input)
    classes = shape[-1] if shape else 1
    labels = integers_in(target, -1, classes)
    if labels is not None and labels.size:
        if labels.min() < -1 or labels.max() >= classes:
            raise RuntimeError("argument #2 'target' is out of range")
    loss = apply(MULTILABEL, (input.reshape(-1, classes), target.reshape(-1, classes)),
                 {"reduction": reduction})
    return loss.reshape(()) if reduction == "none" and len(shape) < 2 else loss
