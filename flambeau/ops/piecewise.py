"""Activations made of pieces: clipped, shrunk, gated, and with random slopes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau.backends import fused
from flambeau.base.shapes import wrap_dim
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.generator import Generator, engine_of
from flambeau.core.inplace import overwrite
from flambeau.core.kinds import composite, pointwise
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.activation import (
    FUNCTIONAL,
    activation,
    in_place,
    not_implemented,
    require_float,
    require_tensor,
    run,
)
from flambeau.ops.join import cat, joined

__all__ = ["glu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "relu6", "rrelu",
           "softshrink"]

ndarray = np.ndarray


def _inside(on: Any, g: Any, input: Any, low: Any, high: Any) -> Any:
    """``g`` where ``input`` lies strictly between ``low`` and ``high``, else zero."""
    return on.where((input <= low) | (input >= high), 0.0, g)


HARDTANH = activation(
    "hardtanh", lambda on, x, min_val, max_val: on.clip(x, min_val, max_val),
    lambda on, g, input, min_val, max_val: _inside(on, g, input, min_val, max_val),
    ("min_val", "max_val"), straight=True)


@public(FUNCTIONAL, out=True)
def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0,
             inplace: bool = False) -> Tensor:
    """``input`` clipped to [min_val, max_val]."""
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    held = require_tensor("hardtanh", input).dtype
    if held.kind == "b":
        raise RuntimeError("Bool inputs not supported for hardtanh")
    if held.kind == "c":
        raise NotImplementedError("clamp is not supported for complex types")
    if held.kind == "u" and (min_val < 0 or max_val < 0):
        raise RuntimeError("cannot do hardtanh on an unsigned type with negative limits")
    if held.kind in "iu":
        min_val, max_val = int(min_val), int(max_val)
    return run(HARDTANH, input, {"min_val": min_val, "max_val": max_val}, inplace)


in_place(hardtanh, "hardtanh_", FUNCTIONAL)


@public(FUNCTIONAL)
def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """``input`` clipped to [0, 6]."""
    return hardtanh(input, 0, 6, inplace)


HARDSIGMOID = activation("hardsigmoid", lambda on, x: on.clip(x + 3, 0, 6) / 6,
                         lambda on, g, input: _inside(on, g * (1 / 6), input, -3, 3))


@public(FUNCTIONAL)
def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """``relu6(x + 3) / 6``, a sigmoid made of straight lines."""
    require_float("hardsigmoid", "hardsigmoid_cpu", input)
    return run(HARDSIGMOID, input, {}, inplace)


def _hardswish_slope(on: Any, g: Any, input: Any) -> Any:
    middle = g * (input / 3 + 0.5)
    return on.where(input <= -3, 0.0, on.where(input >= 3, g, middle))


HARDSWISH = activation("hardswish", lambda on, x: x * on.clip(x + 3, 0, 6) / 6, _hardswish_slope)


@public(FUNCTIONAL)
def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """``x * relu6(x + 3) / 6`` (arXiv:1905.02244)."""
    require_float("hardswish", "hardswish_cpu", input)
    return run(HARDSWISH, input, {}, inplace)


def _outside(on: Any, g: Any, input: Any, lambd: Any) -> Any:
    return on.where((input >= -lambd) & (input <= lambd), 0.0, g)


# x minus its clipped self keeps NaN, as PyTorch does.
SOFTSHRINK = activation("softshrink", lambda on, x, lambd: x - on.clip(x, -lambd, lambd),
                        _outside, ("lambd",), straight=True)
HARDSHRINK = activation(
    "hardshrink", lambda on, x, lambd: on.where((x >= -lambd) & (x <= lambd), 0.0, x),
    _outside, ("lambd",), straight=True)


@public(FUNCTIONAL, out=True)
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """``input`` moved towards zero by ``lambd``, and zero within ``lambd`` of it."""
    require_float("softshrink", "softshrink_check", input)
    if not 0 <= lambd <= math.inf:
        raise RuntimeError(f"lambda must be in range [0, {_largest(input)}] for input dtype "
                           f"{input.dtype.title}, but found {lambd:g}")
    return apply(SOFTSHRINK, (input,), {"lambd": lambd})


def _largest(input: Tensor) -> str:
    largest = {"Float": 3.40282e+38, "Double": 1.79769e+308, "Half": 65504.0,
               "BFloat16": 3.38953e+38}[input.dtype.title]
    return f"{largest:g}"


@public("torch", "Tensor", FUNCTIONAL, out=True)
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """``input``, but zero within ``lambd`` of zero."""
    require_float("hardshrink", "hardshrink_cpu", input)
    return apply(HARDSHRINK, (input,), {"lambd": lambd})


# glu


def _halves(x: Any, dim: int) -> tuple[Any, Any]:
    half = x.shape[dim] // 2
    first = (slice(None),) * dim
    return x[(*first, slice(None, half))], x[(*first, slice(half, None))]


def _glu_compose(input: Tensor, dim: int) -> Tensor:
    a, b = _halves(input, dim)
    return a * b.sigmoid()


_gated = fused.forward(lambda on, a, b: a / (1 + on.exp(-b)))
_gate_slope = fused.forward(lambda on, g, b: g / (1 + on.exp(-b)))


@fused.forward
def _signal_slope(on: Any, g: Any, a: Any, b: Any) -> Any:
    s = 1 / (1 + on.exp(-b))
    return g * (a * (s * (1 - s)))


def _glu_forward(x: ndarray, dim: int) -> ndarray:
    return _gated(*_halves(x, dim))


def _glu_backward_compose(grad: Tensor, input: Tensor, dim: int) -> Tensor:
    a, b = _halves(input, dim)
    s = b.sigmoid()
    return cat((grad * s, grad * (a * (s * (1 - s)))), dim)


def _glu_backward_forward(g: ndarray, x: ndarray, dim: int) -> ndarray:
    a, b = _halves(x, dim)
    return joined((_gate_slope(g, b), _signal_slope(g, a, b)), dim)


GLU_BACKWARD = composite("glu_backward", _glu_backward_compose, _glu_backward_forward,
                         inputs=("grad", "input"), params=("dim",), node="GluBackward")
GLU = composite("glu", _glu_compose, _glu_forward, inputs=("input",), params=("dim",),
                grads=(lambda g, input, dim: apply(GLU_BACKWARD, (g, input), {"dim": dim}),))


@public(FUNCTIONAL)
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half of ``input`` along ``dim`` times the sigmoid of the second half."""
    a = require_tensor("glu", input)
    if not a.ndim:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    dim = wrap_dim(dim, a.ndim)
    if a.shape[dim] % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {dim} is size "
                           f"{a.shape[dim]}")
    require_float("glu", "glu_cpu", input)
    return apply(GLU, (input,), {"dim": dim})


# rrelu: a leaky relu whose slopes are drawn, one per element that is not positive

RRELU = pointwise(
    "rrelu_with_noise", lambda x, noise: x * noise, (lambda g, noise: g * noise, None),
    inputs=("input", "noise"), places=None).op
RRELU_EVAL = activation(
    "rrelu_eval", lambda on, x, slope: on.where(x > 0, x, x * slope),
    lambda on, g, input, slope: on.where(input > 0, g, g * slope), ("slope",),
    node="RreluWithNoise", straight=True)
RRELU_EVAL.in_rows, RRELU_EVAL.as_operands = True, False


def _drawn_slopes(x: ndarray, lower: float, upper: float, generator: Generator | None) -> Tensor:
    low = x <= 0
    # PyTorch rounds the bounds to the precision it computes in before it draws between them.
    real = np.float64 if x.dtype == np.float64 else np.float32
    lower, upper = float(real(lower)), float(real(upper))
    slopes = np.ones(x.shape, np.float64)
    draws = engine_of("rrelu", generator).doubles(int(np.count_nonzero(low)))
    slopes[low] = draws * (upper - lower) + lower
    return wrap(slopes.astype(x.dtype))


@public("torch", FUNCTIONAL)
def rrelu(input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False,
          inplace: bool = False, *, generator: Generator | None = None) -> Tensor:
    """``input`` where positive, else times a slope: uniform in [lower, upper] in ``training``.

    Otherwise the slope is the middle of the two (arXiv:1505.00853).
    """
    if lower > upper:
        raise RuntimeError("Lower bound should be less than or equal to the upper bound")
    require_float("rrelu", "rrelu_with_noise_out_cpu" if training else "leaky_relu_cpu", input)
    if not training:
        return run(RRELU_EVAL, input, {"slope": (lower + upper) / 2}, inplace)
    if input._a.dtype == np.float16:
        raise not_implemented("rrelu_with_noise_out_cpu", input)
    noise = _drawn_slopes(input._a, lower, upper, generator)
    if inplace:
        return overwrite(input, lambda t: apply(RRELU, (t, noise)), (noise,))
    return apply(RRELU, (input, noise))


in_place(rrelu, "rrelu_", "torch", FUNCTIONAL)
