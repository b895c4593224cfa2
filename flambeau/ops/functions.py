"""Elementary functions: exponentials, logarithms, trigonometry, rounding."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.backends.replay import replayed
from flambeau.core.face import in_place_twin, public, show
from flambeau.core.kinds import pointwise
from flambeau.core.tensor import Tensor
from flambeau.ops.arithmetic import PAIR, conj_of, zero_slope
from flambeau.ops.where import choose

ndarray = np.ndarray
F32 = np.dtype(np.float32)
SMALL = 1 << 12
LOG_2, LOG_10 = math.log(2), math.log(10)


def _float(name: str, forward: Callable, grad: Callable, **settings: Any) -> Callable:
    """An operator that gives floats; integers are taken as the default dtype."""
    return pointwise(name, forward, (grad,), result="float", quick=True, **settings)


# Exponentials and logarithms

exp = _float("exp", np.exp, lambda g, out: g * conj_of(out))
exp2 = _float("exp2", np.exp2, lambda g, out: g * conj_of(out * LOG_2))
expm1 = _float("expm1", np.expm1, lambda g, out: g * conj_of(out + 1))
log = _float("log", np.log, lambda g, input: g / conj_of(input))
log2 = _float("log2", np.log2, lambda g, input: g / conj_of(input * LOG_2))
log10 = _float("log10", np.log10, lambda g, input: g / conj_of(input * LOG_10))
log1p = _float("log1p", np.log1p, lambda g, input: g / conj_of(input + 1))


def _logaddexp(x: ndarray, y: ndarray, out: Any = ...) -> ndarray:
    if x.dtype.kind != "c":
        return np.logaddexp(x, y, out=out)
    first = (x.real > y.real) | ((x.real == y.real) & (x.imag > y.imag)) | np.isnan(x)
    high, low = np.where(first, x, y), np.where(first, y, x)
    same = (x == y) & np.isinf(x.real)
    return np.where(same & (x.real < 0), x, high + np.log1p(np.exp(low - high)))


logaddexp = pointwise("logaddexp", _logaddexp,
                      (lambda g, input, other: g / conj_of((other - input).exp() + 1),
                       lambda g, input, other: g / conj_of((input - other).exp() + 1)),
                      inputs=PAIR, inplace=False, quick=True, numbers="none",
                      refuses={"bi": "logaddexp_cpu"})
logaddexp2 = pointwise("logaddexp2", np.logaddexp2,
                       (lambda g, input, other: g / ((other - input).exp2() + 1),
                        lambda g, input, other: g / ((input - other).exp2() + 1)),
                       inputs=PAIR, inplace=False, numbers="none",
                       refuses={"bic": "logaddexp2_cpu"})


# Trigonometry

sin = _float("sin", np.sin, lambda g, input: g * conj_of(input.cos()))
cos = _float("cos", np.cos, lambda g, input: -g * conj_of(input.sin()))
tan = _float("tan", np.tan, lambda g, out: g * conj_of(out * out + 1))
asin = _float("asin", np.arcsin, lambda g, input: g * conj_of((1 - input * input).rsqrt()),
              aliases=("arcsin",))
acos = _float("acos", np.arccos, lambda g, input: -g * conj_of((1 - input * input).rsqrt()),
              aliases=("arccos",))
atan = _float("atan", np.arctan, lambda g, input: g / conj_of(input * input + 1),
              aliases=("arctan",))
sinh = _float("sinh", np.sinh, lambda g, input: g * conj_of(input.cosh()))
cosh = _float("cosh", np.cosh, lambda g, input: g * conj_of(input.sinh()))
tanh: Any = _float("tanh", np.tanh, lambda g, out: g * conj_of(1 - out * out))


def _tanh_slope(g: Any, out: Any) -> Any:
    slope = np.multiply(out, out, out=...)
    np.subtract(_ONE[slope.dtype], slope, out=slope)
    return np.multiply(g, slope, out=slope)


_ONE = {np.dtype(d): np.ones((), d) for d in (np.float32, np.float64)}
tanh.op.on_arrays(_tanh_slope)
asinh = _float("asinh", np.arcsinh, lambda g, input: g * conj_of((input * input + 1).rsqrt()),
               aliases=("arcsinh",))
acosh = _float("acosh", np.arccosh,
               lambda g, input: g * conj_of((input - 1).rsqrt() * (input + 1).rsqrt()),
               aliases=("arccosh",))
atanh = _float("atanh", np.arctanh, lambda g, input: g / conj_of(1 - input * input),
               aliases=("arctanh",))
atan2 = pointwise("atan2", np.arctan2,
                  (lambda g, input, other: g * _turn(other, input, other),
                   lambda g, input, other: g * _turn(-input, input, other)),
                  inputs=PAIR, result="float", aliases=("arctan2",), numbers="none",
                  refuses={"c": "atan2_cpu"})


def _turn(along: Any, input: Any, other: Any) -> Any:
    size = input * input + other * other
    return (along / size).masked_fill(size == 0, 0)


def _no_complex(name: str) -> dict[str, Exception]:
    return {"c": RuntimeError(f"{name} is not supported for complex tensors.")}


def _scale(factor: float) -> Callable:
    return lambda x, out=...: np.multiply(x, x.dtype.type(factor), out=out)


deg2rad = _float("deg2rad", _scale(math.pi / 180), lambda g: g * (math.pi / 180), node="Deg2Rad",
                 refuses=_no_complex("deg2rad"))
rad2deg = _float("rad2deg", _scale(180 / math.pi), lambda g: g * (180 / math.pi), node="Rad2Deg",
                 refuses=_no_complex("rad2deg"))


def _sinc(x: ndarray, out: Any = ...) -> ndarray:
    turned = x * x.dtype.type(np.pi)
    return np.where(x == 0, x.dtype.type(1), np.sin(turned) / turned)


def _sinc_grad(g: Any, input: Any) -> Any:
    turned = input * math.pi
    slope = (turned.cos() * turned - turned.sin()) / (turned * input)
    return (g * conj_of(slope)).masked_fill(turned * turned == 0, 0)


sinc = _float("sinc", _sinc, _sinc_grad)


# Sigmoids


_ONES = {np.dtype(t): np.ones((), t) for t in (np.float32, np.float64, np.complex64,
                                               np.complex128)}


@replayed
def _small_sigmoid(x: ndarray) -> ndarray:
    out = np.exp(np.negative(x), out=...)
    out += 1
    return np.reciprocal(out, out=out)


def _sigmoid(x: ndarray, out: Any = ...) -> ndarray:
    if out is ... and x.size < SMALL and x.dtype is F32:
        return _small_sigmoid(x)
    out = np.negative(x, out=out)
    np.exp(out, out)
    np.add(out, _ONES[x.dtype], out)
    return np.reciprocal(out, out)


sigmoid = _float("sigmoid", _sigmoid, lambda g, out: g * conj_of(out * (1 - out)))


def _logit(x: ndarray, eps: float | None) -> ndarray:
    if eps is not None:
        low, high = x.dtype.type(eps), x.dtype.type(1 - eps)
        x = np.where(x < low, low, np.where(x > high, high, x))
    return np.log(x / (1 - x), out=...)


def _logit_grad(g: Any, input: Any, eps: float | None) -> Any:
    slope = g / (input * (1 - input))
    if eps is None:
        return choose((input < 0) | (input > 1), math.nan, slope)
    return choose((input < eps) | (input > 1 - eps), 0, slope)


_logit_op = pointwise("logit", _logit, (_logit_grad,), params=("eps",), result="float",
                      places=None, refuses={"c": "logit_cpu"})


@public("torch", "Tensor", "special", out=True, inplace=True)
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """``log(x / (1 - x))``, with x first clamped to [eps, 1 - eps] where eps is given."""
    return _logit_op(input, eps=eps)


show(Tensor.logit_, "logit_", "torch")  # type: ignore[attr-defined]


# Rounding


def _rounding(name: str, ufunc: np.ufunc, aliases: tuple[str, ...] = ()) -> Callable:
    refuses: dict[str, Any] = {"b": f"{name}_vml_cpu", "c": NotImplementedError(
        f"{name} is not supported for complex inputs")}
    return pointwise(name, ufunc, (zero_slope,), aliases=aliases, refuses=refuses)


floor = _rounding("floor", np.floor)
ceil = _rounding("ceil", np.ceil)
trunc = _rounding("trunc", np.trunc, ("fix",))


def _frac(x: ndarray, out: Any = ...) -> ndarray:
    return np.subtract(x, np.trunc(x), out=out)


frac = pointwise("frac", _frac, (lambda g: g,), quick=True, refuses={"bic": "frac_cpu"})


def _round_to(x: ndarray, decimals: int) -> ndarray:
    if x.dtype.kind in "iu":
        return x.copy()
    tens = x.dtype.type(10.0 ** abs(decimals))
    if decimals >= 0:
        return np.rint(x * tens) / tens
    return np.rint(x / tens) * tens


def _whole(x: ndarray, out: Any = ...) -> ndarray:
    return x.copy() if x.dtype.kind in "iu" else np.rint(x, out=out)


_REFUSED_BY_ROUND = {"bc": "round_vml_cpu"}
_rint = pointwise("round", _whole, (zero_slope,), places=None, quick=True,
                  refuses=_REFUSED_BY_ROUND)
_round_to_op = pointwise("round_decimals", _round_to, (zero_slope,), node="Round",
                         params=("decimals",), places=None, refuses=_REFUSED_BY_ROUND)


@public("torch", "Tensor", "special", out=True, inplace=True)
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """To the nearest integer, halves to the even one; or to ``decimals`` digits.

    >>> import flambeau as torch
    >>> torch.round(torch.tensor([0.5, 1.5, 2.345]), decimals=2)
    tensor([0.5000, 1.5000, 2.3400])
    """
    if decimals:
        return _round_to_op(input, decimals=decimals)
    return _rint(input)


show(Tensor.round_, "round_", "torch")  # type: ignore[attr-defined]

__all__ = ["acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "ceil", "cos", "cosh",
           "deg2rad", "exp", "exp2", "expm1", "floor", "frac", "in_place_twin", "log", "log10",
           "log1p", "log2", "logaddexp", "logaddexp2", "logit", "rad2deg", "round", "sigmoid",
           "sin", "sinc", "sinh", "tan", "tanh", "trunc"]
