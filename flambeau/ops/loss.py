"""Losses between numbers: squared, absolute, Huber, cross entropy of probabilities, divergences."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from flambeau.backends import fused, spread_kernels
from flambeau.backends.replay import replayed
from flambeau.base import dtypes
from flambeau.base.errors import warn_user
from flambeau.base.shapes import broadcast
from flambeau.core.dispatch import apply, finish
from flambeau.core.face import public
from flambeau.core.kinds import composite
from flambeau.core.levels import tested
from flambeau.core.op import Op
from flambeau.core.promote import result_type
from flambeau.core.tensor import Tensor
from flambeau.ops.activation import (
    FUNCTIONAL,
    ON_ARRAYS,
    ON_TENSORS,
    logsigmoid,
    not_implemented,
)
from flambeau.ops.arithmetic import neg
from flambeau.ops.copy import cast
from flambeau.ops.where import where

__all__ = ["chosen_reduction", "reduced"]

ndarray = np.ndarray
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
LARGE = 1 << 15
REDUCTIONS = ("none", "mean", "sum")


def chosen_reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """The reduction asked for; the two older flags win, with PyTorch's warning."""
    if size_average is None and reduce is None:
        if reduction not in REDUCTIONS:
            raise ValueError(f"{reduction} is not a valid value for reduction")
        return reduction
    average = True if size_average is None else size_average
    if reduce is False:
        found = "none"
    else:
        found = "mean" if average else "sum"
    warn_user("size_average and reduce args will be deprecated, please use "
              f"reduction='{found}' instead.")
    return found


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """The mean or the sum of ``loss``, or ``loss`` itself."""
    if reduction == "mean":
        return loss.mean()
    return loss.sum() if reduction == "sum" else loss


def reduced_array(loss: ndarray, reduction: str) -> Any:
    """As ``reduced``, of an array."""
    if reduction == "none":
        return loss
    total = np.add.reduce(loss, axis=None)
    return total / loss.size if reduction == "mean" else total


def warn_of_sizes(input: Tensor, target: Tensor) -> None:
    """Warn where two tensors that should be of one shape will be broadcast."""
    if input._a.shape != target._a.shape:
        warn_user(
            f"Using a target size ({target.size()}) that is different to the input size "
            f"({input.size()}). This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size.")
        broadcast(input._a.shape, target._a.shape)


# Losses of the difference input - target, one node each


def _difference_loss(name: str, value: Callable, slope: Callable,
                     params: tuple[str, ...] = ()) -> Op:
    """An operator of ``value(difference)``, reduced.

    ``slope(difference, norm)`` is the derivative times ``norm``, 1 / n for a mean of n.
    """
    params = ("reduction", *params)

    def loss(on: Any, x: Any, t: Any, **more: Any) -> Any:
        return value(x - t, on, **more)

    def weighed(on: Any, g: Any, x: Any, t: Any, norm: Any, **more: Any) -> Any:
        return slope(x - t, norm, on, **more) * g

    @replayed
    def small_loss(x: ndarray, t: ndarray, reduction: str, **more: Any) -> Any:
        return reduced_array(loss(ON_ARRAYS, x, t, **more), reduction)

    def on_arrays(x: ndarray, t: ndarray, reduction: str, **more: Any) -> Any:
        if x.size >= LARGE:
            found = _large_loss(loss, x, t, reduction, more)
            if found is not None:
                return found
        return small_loss(x, t, reduction=reduction, **more)

    def slope_of(on: Any, x: Any, t: Any, reduction: str, **more: Any) -> Any:
        d = x - t
        norm = 1 / max(math.prod(d.shape), 1) if reduction == "mean" else 1.0
        return slope(d, norm, on, **more)

    small_slope = replayed(partial(slope_of, ON_ARRAYS))

    def backward(on: SimpleNamespace) -> Callable:
        def run(g: Any, x: Any, t: Any, reduction: str, **more: Any) -> Any:
            if type(x) is ndarray and x.size >= LARGE and x.shape == t.shape:
                norm = 1 / x.size if reduction == "mean" else 1.0
                found = fused.pointwise(weighed, (g, x, t, norm), more)
                if found is not None:
                    return found
            if type(x) is ndarray and type(t) is ndarray:
                found = small_slope(x, t, reduction=reduction, **more)
            else:
                found = slope_of(on, x, t, reduction, **more)
            if type(g) is ndarray and not g.ndim and g.item() == 1.0:
                return found  # as in most programs: the loss is what backward() starts from
            return found * g
        return run

    back = composite(f"{name}_backward", backward(ON_TENSORS), backward(ON_ARRAYS),
                     inputs=("grad", "input", "target"), params=params)

    def joint(g: Tensor, needs: tuple, input: Tensor, target: Tensor, *values: Any) -> tuple:
        d = apply(back, (g, input, target), dict(zip(params, values)))
        return d if needs[0] else None, -d if needs[1] else None

    joint.names = ("needs", "input", "target", *params)  # type: ignore[attr-defined]
    op = composite(
        name, lambda x, t, reduction, **more: reduced(value(x - t, ON_TENSORS, **more), reduction),
        on_arrays, inputs=("input", "target"), joint=joint, params=params)
    op.bare = True
    return op


def _large_loss(
    formula: Callable, x: ndarray, t: ndarray, reduction: str, params: dict[str, float]
) -> ndarray | None:
    """A loss of every element, reduced, by one kernel; None where there is none."""
    if reduction == "none":
        return fused.pointwise(formula, (x, t), params)
    total = spread_kernels.total(formula, (x, t), params)
    if total is None:
        return None
    return np.asarray(total / x.size if reduction == "mean" else total, x.dtype)


def _smooth_l1_value(d: Any, on: SimpleNamespace, beta: float) -> Any:
    size = abs(d)
    if beta == 0:
        return size
    return on.where(size < beta, d * d * (0.5 / beta), size - 0.5 * beta)


def _smooth_l1_slope(d: Any, norm: float, on: SimpleNamespace, beta: float) -> Any:
    return (on.sign(d) if beta == 0 else on.clip(d / beta, -1.0, 1.0)) * norm


def _huber_value(d: Any, on: SimpleNamespace, delta: float) -> Any:
    size = abs(d)
    return on.where(size <= delta, d * d * 0.5, delta * (size - 0.5 * delta))


MSE = _difference_loss("mse_loss", lambda d, on: d * d, lambda d, norm, on: d * (2 * norm))
SMOOTH_L1 = _difference_loss("smooth_l1_loss", _smooth_l1_value, _smooth_l1_slope, ("beta",))
HUBER = _difference_loss("huber_loss", _huber_value,
                         lambda d, norm, on, delta: on.clip(d, -delta, delta) * norm, ("delta",))


def _of_difference(op: Op, kernel: str, input: Tensor, target: Tensor, params: dict) -> Tensor:
    x, y = input._a, target._a
    if type(x) is type(y) is ndarray and x.dtype is y.dtype and x.shape == y.shape:
        if x.dtype is F32 or x.dtype is F64:
            return finish(op, (input, target), params, np.asarray(op.forward(x, y, **params)))
    warn_of_sizes(input, target)
    if input._a.dtype is not target._a.dtype or input._a.dtype.kind != "f":
        held = result_type((input, target))
        input, target = cast(input, held), cast(target, held)
        if held.category != dtypes.FLOAT:
            raise not_implemented(kernel, input)
    return apply(op, (input, target), params)


def _weighted(loss: Tensor, weight: Tensor, input: Tensor, reduction: str) -> Tensor:
    """``loss`` times ``weight``; the mean is the weighted one."""
    if weight.size() != input.size():
        raise ValueError("Weights and input must have the same size.")
    loss = loss * weight
    if reduction == "mean":
        return loss.sum() / weight.sum()
    return loss.sum() if reduction == "sum" else loss


@public(FUNCTIONAL)
def mse_loss(input: Tensor, target: Tensor, size_average: bool | None = None,
             reduce: bool | None = None, reduction: str = "mean",
             weight: Tensor | None = None) -> Tensor:
    """The squared error ``(input - target)**2``: its mean, its sum or every one ("none").

    >>> import flambeau as torch
    >>> torch.nn.functional.mse_loss(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    tensor(2.)
    """
    reduction = chosen_reduction(size_average, reduce, reduction)
    if weight is None:
        return _of_difference(MSE, "mse_cpu", input, target, {"reduction": reduction})
    warn_of_sizes(input, target)
    return _weighted((input - target) ** 2, weight, input, reduction)


@public(FUNCTIONAL)
def l1_loss(input: Tensor, target: Tensor, size_average: bool | None = None,
            reduce: bool | None = None, reduction: str = "mean",
            weight: Tensor | None = None) -> Tensor:
    """The absolute error ``|input - target|``."""
    reduction = chosen_reduction(size_average, reduce, reduction)
    warn_of_sizes(input, target)
    loss = (input - target).abs()
    return reduced(loss, reduction) if weight is None else _weighted(loss, weight, input, reduction)


@public(FUNCTIONAL)
def smooth_l1_loss(input: Tensor, target: Tensor, size_average: bool | None = None,
                   reduce: bool | None = None, reduction: str = "mean",
                   beta: float = 1.0) -> Tensor:
    """Squared error over ``2 * beta`` below ``beta``, absolute error less ``beta / 2`` above."""
    reduction = chosen_reduction(size_average, reduce, reduction)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    if beta == 0:
        return l1_loss(input, target, reduction=reduction)
    return _of_difference(SMOOTH_L1, "smooth_l1_cpu", input, target,
                          {"reduction": reduction, "beta": beta})


@public(FUNCTIONAL)
def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0,
               weight: Tensor | None = None) -> Tensor:
    """Half the squared error below ``delta``, ``delta * (|error| - delta / 2)`` above."""
    reduction = chosen_reduction(None, None, reduction)
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    if weight is not None and weight.size() != input.size():
        raise ValueError("Weights and input must have the same size.")
    params = {"reduction": reduction if weight is None else "none", "delta": delta}
    loss = _of_difference(HUBER, "huber_cpu", input, target, params)
    return loss if weight is None else reduced(loss * weight, reduction)


# Cross entropy of probabilities


def _bce_loss(on: Any, x: Any, t: Any) -> Any:
    return (t - 1) * on.maximum(on.log1p(-x), -100.0) - t * on.maximum(on.log(x), -100.0)


def _bce_value(x: ndarray, t: ndarray, w: ndarray | None, reduction: str) -> Any:
    if x.size >= LARGE and w is None:
        found = _large_loss(_bce_loss, x, t, reduction, {})
        if found is not None:
            return found
    return _small_bce(x, t, w, reduction=reduction)


@replayed
def _small_bce(x: ndarray, t: ndarray, w: ndarray | None, reduction: str) -> Any:
    loss = (t - 1) * np.maximum(np.log1p(-x), -100) - t * np.maximum(np.log(x), -100)
    return reduced_array(loss if w is None else loss * w, reduction)


def _bce_compose(x: Tensor, t: Tensor, w: Tensor | None, reduction: str) -> Tensor:
    loss = (t - 1) * (-x).log1p().clamp(min=-100) - t * x.log().clamp(min=-100)
    return reduced(loss if w is None else loss * w, reduction)


def _share(g: Tensor, weight: Tensor | None, count: int, reduction: str) -> Tensor:
    """The gradient of every element's unweighted loss."""
    g = g if weight is None else g * weight
    return g * (1 / max(count, 1)) if reduction == "mean" else g


def _bce_slope(input: Tensor, target: Tensor, share: Tensor) -> Tensor:
    return share * ((input - target) / ((1 - input) * input).clamp(min=1e-12))


BCE_SLOPE = composite(
    "binary_cross_entropy_slope", _bce_slope,
    fused.forward(lambda on, input, target, share: share * (
        (input - target) / on.clip((1 - input) * input, 1e-12, None))),
    inputs=("input", "target", "share"))


def _one_slope(op: Op, compose: Callable, input: Tensor, target: Tensor, share: Tensor) -> Tensor:
    """A slope by one operator; half types are rounded at each step, as PyTorch's are."""
    if input.dtype in (dtypes.float32, dtypes.float64):
        return apply(op, (input, target, share))
    return compose(input, target, share)


def _bce_input_grad(g: Tensor, input: Tensor, target: Tensor, weight: Tensor | None,
                    reduction: str) -> Tensor:
    share = _share(g, weight, input._a.size, reduction)
    return _one_slope(BCE_SLOPE, _bce_slope, input, target, share)


def _bce_target_grad(g: Tensor, input: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    return _share(g, weight, input._a.size, reduction) * ((-input).log1p() - input.log())


BCE = composite("binary_cross_entropy", _bce_compose, _bce_value,
                inputs=("input", "target", "weight"), params=("reduction",),
                grads=(_bce_input_grad, _bce_target_grad, None))


def _outside(a: ndarray) -> bool:
    """Whether anything is not in [0, 1]."""
    if not a.size:
        return False
    return not (np.minimum.reduce(a, axis=None) >= 0 and np.maximum.reduce(a, axis=None) <= 1)


def _any_negative(a: ndarray) -> bool:
    return bool((a < 0).any())


@public(FUNCTIONAL)
def binary_cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None = None,
                         size_average: bool | None = None, reduce: bool | None = None,
                         reduction: str = "mean") -> Tensor:
    """``-(t * log(p) + (1 - t) * log(1 - p))`` of probabilities; logarithms end at -100."""
    reduction = chosen_reduction(size_average, reduce, reduction)
    if target._a.shape != input._a.shape:
        raise ValueError(f"Using a target size ({target.size()}) that is different to the input "
                         f"size ({input.size()}) is deprecated. Please ensure they have the same "
                         "size.")
    if input.dtype.category != dtypes.FLOAT:
        raise not_implemented("binary_cross_entropy", input)
    if target.dtype is not input.dtype:
        raise RuntimeError(f"Found dtype {target.dtype.title} but expected {input.dtype.title}")
    a = tested(input, _outside)
    if a is not None and _outside(a):
        raise RuntimeError("all elements of input should be between 0 and 1")
    if weight is not None:
        weight = cast(weight, input.dtype).expand(broadcast(weight._a.shape, a.shape))
    return apply(BCE, (input, target, weight), {"reduction": reduction})


def _logits_loss(on: Any, x: Any, t: Any) -> Any:
    return (1 - t) * x + (on.log1p(on.exp(-on.abs(x))) + on.maximum(-x, 0.0))


def _logits_value(x: ndarray, t: ndarray, w: ndarray | None, p: ndarray | None,
                  reduction: str) -> Any:
    if x.size >= LARGE and w is None and p is None:
        found = _large_loss(_logits_loss, x, t, reduction, {})
        if found is not None:
            return found
    return _small_logits(x, t, w, p, reduction=reduction)


@replayed
def _small_logits(x: ndarray, t: ndarray, w: ndarray | None, p: ndarray | None,
                  reduction: str) -> Any:
    soft = np.log1p(np.exp(-abs(x))) + np.maximum(-x, 0)
    loss = (1 - t) * x + (soft if p is None else ((p - 1) * t + 1) * soft)
    return reduced_array(loss if w is None else loss * w, reduction)


def _logits_compose(x: Tensor, t: Tensor, w: Tensor | None, p: Tensor | None,
                    reduction: str) -> Tensor:
    soft = -logsigmoid(x)
    loss = (1 - t) * x + (soft if p is None else ((p - 1) * t + 1) * soft)
    return reduced(loss if w is None else loss * w, reduction)


def _logits_slope(input: Tensor, target: Tensor, share: Tensor) -> Tensor:
    return (input.sigmoid() - target) * share


LOGITS_SLOPE = composite(
    "binary_cross_entropy_with_logits_slope", _logits_slope,
    fused.forward(lambda on, input, target, share: (on.sigmoid(input) - target) * share),
    inputs=("input", "target", "share"))


def _logits_input_grad(g: Tensor, input: Tensor, target: Tensor, weight: Tensor | None,
                       pos_weight: Tensor | None, reduction: str) -> Tensor:
    share = _share(g, weight, input._a.size, reduction)
    if pos_weight is None:
        return _one_slope(LOGITS_SLOPE, _logits_slope, input, target, share)
    t = pos_weight * target
    return ((t + 1 - target) * input.sigmoid() - t) * share


def _logits_target_grad(g: Tensor, input: Tensor, weight: Tensor | None,
                        pos_weight: Tensor | None, reduction: str) -> Tensor:
    share = _share(g, weight, input._a.size, reduction)
    if pos_weight is None:
        return -input * share
    return (logsigmoid(-input) - pos_weight * logsigmoid(input)) * share


BCE_LOGITS = composite(
    "binary_cross_entropy_with_logits", _logits_compose, _logits_value,
    inputs=("input", "target", "weight", "pos_weight"), params=("reduction",),
    grads=(_logits_input_grad, _logits_target_grad, None, None))


@public(FUNCTIONAL)
def binary_cross_entropy_with_logits(
        input: Tensor, target: Tensor, weight: Tensor | None = None,
        size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
        pos_weight: Tensor | None = None) -> Tensor:
    """``binary_cross_entropy(sigmoid(input), target)`` without loss of digits.

    ``pos_weight`` weighs the part of the positive targets.
    """
    reduction = chosen_reduction(size_average, reduce, reduction)
    if target._a.shape != input._a.shape:
        raise ValueError(f"Target size ({target.size()}) must be the same as input size "
                         f"({input.size()})")
    if input.dtype.category != dtypes.FLOAT:
        raise not_implemented("log_sigmoid_cpu", input)
    held, factors = result_type((input, target)), []
    for factor in (weight, pos_weight):
        if factor is not None:
            broadcast(factor._a.shape, input._a.shape)
            factor = cast(factor, held)
        factors.append(factor)
    return apply(BCE_LOGITS, (input, target, *factors), {"reduction": reduction})


@replayed
def _margin_value(x: ndarray, t: ndarray, reduction: str) -> Any:
    return reduced_array(np.log1p(np.exp(-t * x)), reduction)


def _margin_grad(g: Tensor, input: Tensor, target: Tensor, reduction: str) -> Tensor:
    share = _share(g, None, input._a.size, reduction)
    return -target * (-target * input).sigmoid() * share


SOFT_MARGIN = composite(
    "soft_margin_loss", lambda x, t, reduction: reduced((-t * x).exp().log1p(), reduction),
    _margin_value, inputs=("input", "target"), params=("reduction",), grads=(_margin_grad, None))


@public(FUNCTIONAL)
def soft_margin_loss(input: Tensor, target: Tensor, size_average: bool | None = None,
                     reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """``log(1 + exp(-target * input))`` for targets of 1 and -1."""
    reduction = chosen_reduction(size_average, reduce, reduction)
    broadcast(input._a.shape, target._a.shape)
    if target._a.dtype.kind == "b":
        neg(target)  # raises: bool tensors have no negative
    if input.dtype.category < dtypes.FLOAT and target.dtype.category < dtypes.FLOAT:
        raise RuntimeError("result type Float can't be cast to the desired output type "
                           f"{input.dtype.title}")
    held = result_type((input, target))
    return apply(SOFT_MARGIN, (cast(input, held), cast(target, held)), {"reduction": reduction})


@public("torch", FUNCTIONAL)
def kl_div(input: Tensor, target: Tensor, size_average: bool | None = None,
           reduce: bool | None = None, reduction: str = "mean",
           log_target: bool = False) -> Tensor:
    """The Kullback-Leibler divergence of ``target`` from the log-probabilities ``input``.

    "batchmean" divides the sum by the size of the first dimension, as the definition has it.
    """
    for t in (input, target):
        if t.dtype.category != dtypes.FLOAT:
            kind = "Complex" if t.dtype.is_complex else "Integral"
            raise RuntimeError(f"kl_div: {kind} inputs not supported.")
    batch_mean = reduction == "batchmean"
    if not batch_mean:
        reduction = chosen_reduction(size_average, reduce, reduction)
    if log_target:
        loss = target.exp() * (target - input)
    else:
        loss = target.xlogy(target) - target * input
    if batch_mean:
        return loss.sum() / input.size(0) if input.dim() else loss.sum()
    if reduction == "mean" and size_average is None and reduce is None:
        warn_user(
            "reduction: 'mean' divides the total loss by both the batch size and the support size."
            "'batchmean' divides only by the batch size, and aligns with the KL div math "
            "definition.'mean' will be changed to behave the same as 'batchmean' in the next "
            "major release.")
    return reduced(loss, reduction)


@public("torch", FUNCTIONAL)
def poisson_nll_loss(input: Tensor, target: Tensor, log_input: bool = True, full: bool = False,
                     size_average: bool | None = None, eps: float = 1e-8,
                     reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """The negative log likelihood of Poisson counts ``target`` of rate (or its log) ``input``.

    ``full`` adds Stirling's approximation of ``log(target!)`` for targets above 1.
    """
    reduction = chosen_reduction(size_average, reduce, reduction)
    if log_input:
        loss = input.exp() - target * input
    else:
        loss = input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        loss = loss + where(target <= 1, 0.0, stirling)
    return reduced(loss, reduction)


@public(FUNCTIONAL)
def gaussian_nll_loss(input: Tensor, target: Tensor, var: Tensor | float, full: bool = False,
                      eps: float = 1e-6, reduction: str = "mean") -> Tensor:
    """The negative log likelihood of ``target`` under normals of mean ``input``, variance ``var``.

    Variances are held at ``eps`` or more, without an effect on gradients.
    """
    if isinstance(var, (int, float)):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = var * input.new_ones(input.shape)
    else:
        variances = tested(var, _any_negative)
        if variances is not None and _any_negative(variances):
            raise ValueError("var has negative entry/entries")
    spread: Any = _as_wide(var, input)  # type: ignore[arg-type]
    if reduction not in REDUCTIONS:
        raise ValueError(f"{reduction} is not valid")
    spread = spread.clone() + (spread.detach().clamp(min=eps) - spread.detach())
    loss = 0.5 * (spread.log() + (input - target) ** 2 / spread)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduced(loss, reduction)


def _as_wide(var: Tensor, input: Tensor) -> Tensor:
    """``var`` with a last dimension of size 1 where only that is missing."""
    have, want = tuple(var._a.shape), tuple(input._a.shape)
    if have == want:
        return var
    if want and have == want[:-1]:
        return var.unsqueeze(-1)
    same_rank = len(have) == len(want)
    if same_rank and sum(a != b for a, b in zip(have, want)) == 1 and (
            1 in [a for a, b in zip(have, want) if a != b]):
        return var
    raise ValueError("var is of incorrect size")
