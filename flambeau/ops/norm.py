"""Normalisation to mean 0 and variance 1: layer, batch, group, instance."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from flambeau.backends import norm_kernels
from flambeau.backends.conversions import in_format_of
from flambeau.backends.replay import replayed
from flambeau.backends.row_kernels import MIN_ITEMS
from flambeau.base import dtypes
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.inplace import store
from flambeau.core.kinds import composite
from flambeau.core.modes import MODES
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.activation import FUNCTIONAL, not_implemented, require_tensor
from flambeau.ops.copy import clone

__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm"]

ndarray = np.ndarray
F32 = np.dtype(np.float32)
LARGE = MIN_ITEMS

# Every kind normalises the input seen in the shape `view` over its dimensions `axes`, then
# multiplies and adds the weight and bias seen in the shape `affine`.
_PARAMS = ("view", "axes", "affine", "eps")


def _forward(x: ndarray, w: ndarray | None, b: ndarray | None, view: tuple, axes: tuple,
             affine: tuple, eps: float) -> tuple[ndarray, ndarray, ndarray]:
    """The normalised values, the mean and 1 / sqrt(variance + eps)."""
    if x.size >= LARGE and (found := norm_kernels.norm(x, w, b, view, axes, eps)) is not None:
        return in_format_of(found[0], x), *found[1:]
    y, mean, rstd = _small_forward(x, w, b, view=view, axes=axes, affine=affine, eps=eps)
    return in_format_of(y, x), mean, rstd


@replayed
def _small_forward(x: ndarray, w: ndarray | None, b: ndarray | None, view: tuple, axes: tuple,
                   affine: tuple, eps: float) -> tuple[ndarray, ndarray, ndarray]:
    v = x.reshape(view)
    count = math.prod([view[i] for i in axes])
    mean = np.add.reduce(v, axis=axes, keepdims=True) / count
    y = v - mean
    var = np.add.reduce(y * y, axis=axes, keepdims=True) / count
    rstd = 1 / np.sqrt(var + eps)
    y *= rstd
    if w is not None:
        y *= w.reshape(affine)
    if b is not None:
        y += b.reshape(affine)
    return y.reshape(x.shape), mean, rstd


def _moments(v: Tensor, axes: tuple, eps: float) -> tuple[Tensor, Tensor]:
    mean = v.mean(axes, keepdim=True)
    centred = v - mean
    return mean, ((centred * centred).mean(axes, keepdim=True) + eps).rsqrt()


def _compose(x: Tensor, w: Tensor | None, b: Tensor | None, view: tuple, axes: tuple,
             affine: tuple, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    v = x.reshape(view)
    mean, rstd = _moments(v, axes, eps)
    y = (v - mean) * rstd
    if w is not None:
        y = y * w.reshape(affine)
    if b is not None:
        y = y + b.reshape(affine)
    return y.reshape(x.shape), mean, rstd


def _over(affine: tuple) -> tuple[int, ...]:
    """The dimensions that the weight is shared over."""
    return tuple([i for i, n in enumerate(affine) if n == 1])


def _backward(g: ndarray, x: ndarray, w: ndarray | None, mean: ndarray, rstd: ndarray,
              wanted: tuple, view: tuple, axes: tuple, affine: tuple, eps: float) -> list:
    if g.size >= LARGE:
        grads = norm_kernels.norm_backward(g, x, w, mean, rstd, wanted, view, axes)
        if grads is not None:
            return grads
    return list(_small_backward(g, x, w, mean, rstd, wanted=wanted, view=view, axes=axes,
                                affine=affine))


@replayed
def _small_backward(g: ndarray, x: ndarray, w: ndarray | None, mean: ndarray, rstd: ndarray,
                    wanted: tuple, view: tuple, axes: tuple, affine: tuple) -> list:
    g = g.reshape(view)
    xhat = (x.reshape(view) - mean) * rstd
    shared = _over(affine)
    found = []
    if wanted[0]:
        count = math.prod([view[i] for i in axes])
        gw = g if w is None else g * w.reshape(affine)
        d = gw - np.add.reduce(gw, axis=axes, keepdims=True) / count
        d -= xhat * (np.add.reduce(gw * xhat, axis=axes, keepdims=True) / count)
        d *= rstd
        found.append(d.reshape(x.shape))
    if wanted[1]:
        found.append(np.add.reduce(g * xhat, axis=shared).reshape(-1))
    if wanted[2]:
        found.append(np.add.reduce(g, axis=shared).reshape(-1))
    return found


def _backward_compose(g: Tensor, x: Tensor, w: Tensor | None, mean: Tensor, rstd: Tensor,
                      wanted: tuple, view: tuple, axes: tuple, affine: tuple,
                      eps: float) -> tuple:
    """As ``_backward``, with the moments as functions of ``x``, to be differentiated."""
    g, v = g.reshape(view), x.reshape(view)
    mean, rstd = _moments(v, axes, eps)
    xhat = (v - mean) * rstd
    shared = _over(affine)
    found = []
    if wanted[0]:
        gw = g if w is None else g * w.reshape(affine)
        slope = gw.mean(axes, keepdim=True) + xhat * (gw * xhat).mean(axes, keepdim=True)
        found.append(((gw - slope) * rstd).reshape(x.shape))
    if wanted[1]:
        found.append((g * xhat).sum(shared).reshape(-1))
    if wanted[2]:
        found.append(g.sum(shared).reshape(-1))
    return tuple(found)


NORM_BACKWARD = composite(
    "norm_backward", _backward_compose, _backward, multiple=True,
    inputs=("grad", "input", "weight", "mean", "rstd"), params=("wanted", *_PARAMS))


def _keeps_gradients(arrays: Sequence[Any], params: dict[str, Any]) -> Collection[int]:
    """Gradients of a weight and a bias in float32 stay so."""
    return range(int(params["wanted"][0]), 3) if _is_wide(arrays[2]) else ()


def _keeps_moments(arrays: Sequence[Any], params: dict[str, Any]) -> Collection[int]:
    """So do the moments of an input in half precision, with such a weight."""
    return (1, 2) if _is_wide(arrays[1]) else ()


def _is_wide(w: ndarray | None) -> bool:
    return w is not None and w.dtype.itemsize >= 4


NORM_BACKWARD.keeps_wide = _keeps_gradients


def _moments_grad(g: tuple, input: Tensor, out: tuple, view: tuple, axes: tuple) -> Tensor | None:
    """The gradient by way of the mean and of 1 / sqrt(variance + eps), where they were used."""
    count = math.prod([view[i] for i in axes])
    total = None
    if g[1] is not None:
        total = (g[1] / count).expand(view)
    if g[2] is not None:
        mean, rstd = out[1], out[2]
        slope = (input.reshape(view) - mean) * (g[2] * rstd**3 * (-1 / count))
        total = slope if total is None else total + slope
    return None if total is None else total.reshape(input._a.shape)


def _joint(g: tuple, needs: tuple, input: Tensor, weight: Tensor | None, out: tuple,
           bias_shape: Any, view: tuple, axes: tuple, affine: tuple, eps: float) -> list:
    params = {"wanted": needs, "view": view, "axes": axes, "affine": affine, "eps": eps}
    moments = _moments_grad(g, input, out, view, axes) if needs[0] else None
    if g[0] is None:
        return [moments, None, None]
    found = _parameter_grads(g[0], input, weight, out, params)
    grads = [found.pop(0) if need else None for need in needs]
    if moments is not None:
        grads[0] = grads[0] + moments
    if weight is not None and grads[1] is not None and grads[1]._a.shape != weight._a.shape:
        grads[1] = grads[1].reshape(weight._a.shape)
    if grads[2] is not None and grads[2]._a.shape != bias_shape:
        grads[2] = grads[2].reshape(bias_shape)
    return grads


def _parameter_grads(g: Tensor, input: Tensor, weight: Tensor | None, out: tuple,
                     params: dict[str, Any]) -> list[Tensor]:
    """The wanted gradients; straight from the arrays where nothing records."""
    a, x = g._a, input._a
    w = None if weight is None else weight._a
    if MODES.grad or type(a) is not ndarray or type(x) is not ndarray or a.dtype.itemsize < 4 or (
            w is not None and type(w) is not ndarray):
        inputs = (g, input, weight, out[1].detach(), out[2].detach())
        return list(apply(NORM_BACKWARD, inputs, params))
    return [wrap(d) for d in _backward(a, x, w, out[1]._a, out[2]._a, **params)]


def _declare(name: str) -> Op:
    op = composite(name, _compose, _forward, inputs=("input", "weight", "bias"),
                   params=_PARAMS, joint=_joint, multiple=True)
    op.node_type.materialize = False  # the moments seldom have a gradient
    op.keeps_wide = _keeps_moments
    return op


NATIVE_LAYER_NORM = _declare("native_layer_norm")
NATIVE_BATCH_NORM = _declare("native_batch_norm")
NATIVE_GROUP_NORM = _declare("native_group_norm")
NATIVE_LAYER_NORM.in_rows = True


def _check_float(input: Tensor, kernel: str) -> None:
    if input.dtype.category != dtypes.FLOAT:
        raise not_implemented(kernel, input)


def _check_parameters(input: Tensor, *parameters: Tensor | None) -> None:
    """Parameters have the input's dtype, or float32 beside a half input."""
    own = input._a.dtype
    for p in parameters:
        if p is not None and p._a.dtype != own:
            if not (own.itemsize < 4 and p._a.dtype == np.float32):
                raise RuntimeError("mixed dtype (CPU): expect parameter to have scalar type of "
                                   "Float" if own == np.float32 or own.itemsize < 4 else
                                   "mixed dtype (CPU): all the parameters should have the same "
                                   "dtype as the input")


# Layer norm


@public("torch")
def native_layer_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None,
                      bias: Tensor | None, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """``layer_norm`` with the means and reciprocal standard deviations that it used."""
    a = require_tensor("native_layer_norm", input)
    shape = check_normalized("layer_norm", "*, ", a.shape, normalized_shape, weight, bias)
    _check_float(input, "LayerNormKernelImpl")
    _check_parameters(input, weight, bias)
    lead = a.shape[:a.ndim - len(shape)]
    size = math.prod(shape)
    params = {"view": (math.prod(lead), size), "axes": (1,), "affine": (1, size), "eps": eps}
    y, mean, rstd = apply(NATIVE_LAYER_NORM, (input, weight, bias), params)
    kept = (*lead, *(1,) * len(shape))
    return y, mean.detach().reshape(kept), rstd.detach().reshape(kept)


def check_normalized(name: str, star: str, have: tuple, normalized_shape: Sequence[int],
                      weight: Tensor | None, bias: Tensor | None = None) -> tuple[int, ...]:
    if isinstance(normalized_shape, int):
        raise TypeError(f"{name}(): argument 'normalized_shape' (position 2) must be tuple of "
                        "ints, not int")
    shape = tuple(normalized_shape)
    if not shape:
        raise RuntimeError("Expected normalized_shape to be at least 1-dimensional, i.e., "
                           "containing at least one element, but got normalized_shape = []")
    for what, p in (("weight", weight), ("bias", bias)):
        if p is not None and tuple(p._a.shape) != shape:
            raise RuntimeError(f"Expected {what} to be of same shape as normalized_shape, but got "
                               f"{what} of shape {list(p._a.shape)} and normalized_shape = "
                               f"{list(shape)}")
    if tuple(have[-len(shape):]) != shape:
        text = ", ".join(map(str, shape))
        raise RuntimeError(f"Given normalized_shape={list(shape)}, expected input with shape "
                           f"[{star}{text}], but got input of size{list(have)}")
    return shape


def _is_row(p: Tensor | None, a: ndarray) -> bool:
    """Whether a parameter is absent, or of the last dimension of ``a`` and its dtype."""
    return p is None or p._a.dtype is a.dtype and p._a.shape == a.shape[-1:]


@public("torch", FUNCTIONAL)
def layer_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None,
               bias: Tensor | None = None, eps: float = 1e-5,
               cudnn_enable: bool = True) -> Tensor:
    """Normalise over the last dimensions, which are ``normalized_shape`` (arXiv:1607.06450).

    >>> import flambeau as torch
    >>> torch.nn.functional.layer_norm(torch.tensor([1.0, 3.0]), (2,))
    tensor([-1.0000,  1.0000])
    """
    a = require_tensor("layer_norm", input)
    if type(a) is ndarray and a.dtype is F32 and isinstance(normalized_shape, tuple) and (
            a.size and normalized_shape == a.shape[-1:] and _is_row(weight, a)
            and _is_row(bias, a)):
        n = a.shape[-1]
        rows = a.size // n
        return apply(NATIVE_LAYER_NORM, (input, weight, bias), {
            "view": (rows, n), "axes": (1,), "affine": (1, n), "eps": eps})[0]
    shape = check_normalized("layer_norm", "*, ", a.shape, normalized_shape, weight, bias)
    _check_float(input, "LayerNormKernelImpl")
    _check_parameters(input, weight, bias)
    size = math.prod(shape)
    rows = math.prod(a.shape[:a.ndim - len(shape)])
    return apply(NATIVE_LAYER_NORM, (input, weight, bias),
                 {"view": (rows, size), "axes": (1,), "affine": (1, size), "eps": eps})[0]


# Batch norm


def _eval_forward(x: ndarray, w: ndarray | None, b: ndarray | None, mean: ndarray, var: ndarray,
                  affine: tuple, eps: float) -> ndarray:
    if x.size >= LARGE:
        scale = _scale(var, w, eps)
        shift = -mean * scale if b is None else b - mean * scale
        if (found := norm_kernels.scale_channels(x, scale, shift)) is not None:
            return in_format_of(found, x)
    return in_format_of(_small_eval(x, w, b, mean, var, affine=affine, eps=eps), x)


def _scale(var: ndarray, w: ndarray | None, eps: float) -> ndarray:
    scale = 1 / np.sqrt(var + eps)
    return scale if w is None else scale * w


@replayed
def _small_eval(x: ndarray, w: ndarray | None, b: ndarray | None, mean: ndarray, var: ndarray,
                affine: tuple, eps: float) -> ndarray:
    y = (x - mean.reshape(affine)) * _scale(var, w, eps).reshape(affine)
    return y if b is None else y + b.reshape(affine)


def _eval_compose(x: Tensor, w: Tensor | None, b: Tensor | None, mean: Tensor, var: Tensor,
                  affine: tuple, eps: float) -> Tensor:
    scale = (var + eps).rsqrt()
    y = (x - mean.reshape(affine)) * (scale if w is None else scale * w).reshape(affine)
    return y if b is None else y + b.reshape(affine)


def _eval_joint(g: Tensor, needs: tuple, input: Tensor, weight: Tensor | None, mean: Tensor,
                var: Tensor, affine: tuple, eps: float) -> list:
    scale = (var + eps).rsqrt()
    shared = tuple([i for i in range(len(affine)) if i != 1])
    found: list[Tensor | None] = [None] * 5
    if needs[0]:
        found[0] = g * (scale if weight is None else scale * weight).reshape(affine)
    if needs[1]:
        found[1] = ((input - mean.reshape(affine)) * g).sum(shared) * scale
    if needs[2]:
        # a weight, and so a bias, may be of a wider dtype
        found[2] = g.sum(shared, dtype=None if weight is None else weight.dtype)
    return found


BATCH_NORM_EVAL = composite(
    "batch_norm_eval", _eval_compose, _eval_forward, node="NativeBatchNorm", joint=_eval_joint,
    inputs=("input", "weight", "bias", "mean", "var"), params=("affine", "eps"))


def _check_channels(input: Tensor, tensors: dict[str, Tensor | None]) -> int:
    shape = input._a.shape
    channels = shape[1] if len(shape) > 1 else 0
    for what, t in tensors.items():
        if t is not None and t._a.size != channels:
            raise RuntimeError(f"{what} should contain {channels} elements not {t._a.size}")
    return channels


def _running(t: Tensor | None) -> Any:
    if t is None:
        return None
    a = t._a
    return a.astype(np.float32) if a.dtype.itemsize < 4 else a


@replayed
def _moved(mean: ndarray | None, var: ndarray | None, batch: ndarray, rstd: ndarray,
           momentum: float, eps: float, grow: float) -> list:
    """The running mean and variance after a batch; ``grow`` is n / (n - 1)."""
    found = []
    if mean is not None:
        found.append((1 - momentum) * mean + momentum * batch.reshape(-1))
    if var is not None:
        wide = rstd.astype(np.float64)
        spread = ((1 / (wide * wide) - eps) * grow).reshape(-1)
        found.append(((1 - momentum) * var + momentum * spread).astype(var.dtype))
    return found


def _update_tensors(mean: Tensor | None, var: Tensor | None, results: tuple, momentum: float,
                    eps: float, count: int) -> None:
    """As ``_update`` of both, where values stand in for arrays."""
    before, MODES.grad = MODES.grad, False
    try:
        rstd = results[2].detach().double().reshape(-1)
        spread_ = (1 / (rstd * rstd) - eps) * (count / max(count - 1, 1))
        for running, value in ((mean, results[1].detach().reshape(-1)), (var, spread_)):
            if running is not None:
                running.copy_(running * (1 - momentum) + value * momentum)
    finally:
        MODES.grad = before


def _train(input: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor | None,
           var: Tensor | None, momentum: float, eps: float) -> tuple:
    shape = input._a.shape
    affine = (1, shape[1], *(1,) * (len(shape) - 2))
    axes = (0, *range(2, len(shape)))
    params = {"view": shape, "axes": axes, "affine": affine, "eps": eps}
    results = apply(NATIVE_BATCH_NORM, (input, weight, bias), params)
    if mean is not None or var is not None:
        count = math.prod([shape[i] for i in axes])
        if type(results[1]._a) is not ndarray:
            _update_tensors(mean, var, results, momentum, eps, count)
            return results
        grow = count / max(count - 1, 1)
        found = _moved(_running(mean), _running(var), results[1]._a, results[2]._a,
                       momentum=momentum, eps=eps, grow=grow)
        for t, values in zip([t for t in (mean, var) if t is not None], found):
            store(t, values)
    return results


@public("torch", name="batch_norm")
def _batch_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None,
                running_mean: Tensor | None, running_var: Tensor | None, training: bool,
                momentum: float, eps: float, cudnn_enabled: bool = True) -> Tensor:
    """``nn.functional.batch_norm`` with its arguments in another order."""
    for what, t in (("running_mean", running_mean), ("running_var", running_var)):
        if t is None and not training:
            raise RuntimeError(f"{what} must be defined in evaluation mode")
    _check_channels(input, {"running_mean": running_mean, "running_var": running_var,
                            "weight": weight, "bias": bias})
    _check_float(input, "batch_norm")
    _check_parameters(input, weight, bias, running_mean, running_var)
    if not input._a.size:
        out = clone(input)
        out = out if weight is None else out * weight[0]
        return out if bias is None else out + bias[0]
    if training:
        return _train(input, weight, bias, running_mean, running_var, momentum, eps)[0]
    affine = (1, -1, *(1,) * (input._a.ndim - 2))
    return apply(BATCH_NORM_EVAL, (input, weight, bias, running_mean, running_var),
                 {"affine": affine, "eps": eps})


@public("torch", out=True)
def native_batch_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None,
                      running_mean: Tensor | None, running_var: Tensor | None, training: bool,
                      momentum: float, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """``batch_norm`` with the means and reciprocal deviations of the batch; empty in evaluation."""
    if not training:
        out = _batch_norm(input, weight, bias, running_mean, running_var, False, momentum, eps)
        return out, input.new_zeros((0,)), input.new_zeros((0,))
    _check_channels(input, {"running_mean": running_mean, "running_var": running_var,
                            "weight": weight, "bias": bias})
    _check_float(input, "batch_norm")
    out, mean, rstd = _train(input, weight, bias, running_mean, running_var, momentum, eps)
    return out, mean.detach().reshape(-1), rstd.detach().reshape(-1)


@public(FUNCTIONAL)
def batch_norm(input: Tensor, running_mean: Tensor | None, running_var: Tensor | None,
               weight: Tensor | None = None, bias: Tensor | None = None, training: bool = False,
               momentum: float = 0.1, eps: float = 1e-5) -> Tensor:
    """Normalise every channel (dimension 1) over the batch (arXiv:1502.03167).

    In ``training`` the batch's moments serve, and the running ones, where given, move towards
    them by ``momentum`` in place (the variance with n - 1); else the running ones serve.
    """
    if eps < 0 and not training:
        raise ValueError(f"batch_norm eps must be non-negative, but got {eps}")
    if training:
        if eps <= 0:
            raise ValueError(f"batch_norm eps must be positive during training, but got {eps}")
        shape = input.size()
        values = math.prod(shape) // shape[1] if len(shape) > 1 and shape[1] else 2
        if values == 1:
            raise ValueError("Expected more than 1 value per channel when training, got input "
                             f"size {shape}")
    return _batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)


def _repeated(t: Tensor | None, times: int) -> Tensor | None:
    return None if t is None else t.repeat(times)


@public("torch", name="instance_norm")
def _instance_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None,
                   running_mean: Tensor | None, running_var: Tensor | None,
                   use_input_stats: bool, momentum: float, eps: float,
                   cudnn_enabled: bool = True) -> Tensor:
    """``nn.functional.instance_norm`` with its arguments in another order."""
    if not use_input_stats and (running_mean is None or running_var is None):
        raise RuntimeError("Expected running_mean and running_var to be defined when "
                           "use_input_stats is false")
    n, channels, *rest = input._a.shape
    mean, var = _repeated(running_mean, n), _repeated(running_var, n)
    out = _batch_norm(input.reshape(1, n * channels, *rest), _repeated(weight, n),
                      _repeated(bias, n), mean, var, use_input_stats, momentum, eps)
    if use_input_stats:
        for running, found in ((running_mean, mean), (running_var, var)):
            if running is not None and found is not None:
                store(running, found._a.reshape(n, channels).mean(0))
    return out.reshape(input._a.shape)


@public(FUNCTIONAL)
def instance_norm(input: Tensor, running_mean: Tensor | None = None,
                  running_var: Tensor | None = None, weight: Tensor | None = None,
                  bias: Tensor | None = None, use_input_stats: bool = True,
                  momentum: float = 0.1, eps: float = 1e-5) -> Tensor:
    """Normalise every channel of every item by itself (arXiv:1607.08022)."""
    if use_input_stats and math.prod(input._a.shape[2:]) == 1:
        raise ValueError("Expected more than 1 spatial element when training, got input size "
                         f"{input.size()}")
    return _instance_norm(input, weight, bias, running_mean, running_var, use_input_stats,
                          momentum, eps)


# Group norm


@public("torch")
def native_group_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None, N: int, C: int,
                      HxW: int, group: int, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """``group_norm`` of ``N * C * HxW`` elements with the moments that it used, (N, group)."""
    each = C // group
    y, mean, rstd = apply(NATIVE_GROUP_NORM, (input, weight, bias), {
        "view": (N, group, each, HxW), "axes": (2, 3), "affine": (1, group, each, 1), "eps": eps})
    return y, mean.reshape(N, group), rstd.reshape(N, group)


@public("torch", name="group_norm")
def _group_norm(input: Tensor, num_groups: int, weight: Tensor | None = None,
                bias: Tensor | None = None, eps: float = 1e-5,
                cudnn_enabled: bool = True) -> Tensor:
    """``nn.functional.group_norm``."""
    shape = input._a.shape
    n, channels = shape[:2]
    if num_groups <= 0:
        raise RuntimeError(f"Expected num groups to be greater than 0, got {num_groups}")
    if channels % num_groups:
        raise RuntimeError("Expected number of channels in input to be divisible by num_groups, "
                           f"but got input of shape {list(shape)} and num_groups={num_groups}")
    for what, p in (("weight", weight), ("bias", bias)):
        if p is not None and (p._a.ndim != 1 or p._a.size != channels):
            raise RuntimeError(f"Expected {what} to be a vector of size equal to the number of "
                               f"channels in input, but got {what} of shape "
                               f"{list(p._a.shape)} and input of shape {list(shape)}")
    _check_float(input, "GroupNormKernelImpl")
    _check_parameters(input, weight, bias)
    each, area = channels // num_groups, math.prod(shape[2:])
    return apply(NATIVE_GROUP_NORM, (input, weight, bias), {
        "view": (n, num_groups, each, area), "axes": (2, 3), "affine": (1, num_groups, each, 1),
        "eps": eps})[0]


@public(FUNCTIONAL)
def group_norm(input: Tensor, num_groups: int, weight: Tensor | None = None,
               bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Normalise groups of channels (dimension 1) of every item (arXiv:1803.08494)."""
    shape = input.size()
    if len(shape) < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received "
                           f"{len(shape)}")
    size = [shape[0] * shape[1] // num_groups, num_groups, *shape[2:]]
    if size[0] * math.prod(size[2:]) == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size "
                         f"{size}")
    return _group_norm(input, num_groups, weight, bias, eps)
