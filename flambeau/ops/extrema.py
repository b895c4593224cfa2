"""The larger and the smaller of two, clamping, and the structure of numbers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy._core.umath import clip  # type: ignore[attr-defined]

from flambeau.backends import fused
from flambeau.base import dtypes
from flambeau.base.limits import finfo
from flambeau.core import return_types
from flambeau.core.dispatch import apply
from flambeau.core.face import public, show
from flambeau.core.inplace import bump
from flambeau.core.kinds import opaque, pointwise
from flambeau.core.modes import MODES
from flambeau.core.promote import NUMBERS, check_numbers, fits_all, kept_number
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.arithmetic import PAIR, zero_slope
from flambeau.ops.where import choose, quiet

ndarray = np.ndarray
# from so many elements kernels are quicker than NumPy's clip
LARGE = 1 << 15


def _chosen(g: Any, input: Any, other: Any) -> Any:
    """The gradient of what exceeds ``other``, half of it at ties."""
    return choose(input == other, g / 2, g).masked_fill(input < other, 0)


def _extreme(name: str, ufunc: np.ufunc, first: Callable, second: Callable) -> Any:
    return pointwise(name, ufunc, (first, second), inputs=PAIR, inplace=False, numbers="none",
                     refuses={"c": RuntimeError(f"{name} not implemented for complex tensors.")})


maximum = _extreme("maximum", np.maximum,
                   lambda g, input, other: _chosen(g, input, other),
                   lambda g, input, other: _chosen(g, other, input))
minimum = _extreme("minimum", np.minimum,
                   lambda g, input, other: _chosen(g, -input, -other),
                   lambda g, input, other: _chosen(g, -other, -input))


def _takes_first(input: Any, other: Any, larger: bool) -> Any:
    ahead = input >= other if larger else input <= other
    return ahead | other.isnan()


def _fmax_grads(larger: bool) -> tuple[Callable, Callable]:
    return (lambda g, input, other: choose(_takes_first(input, other, larger), g, 0),
            lambda g, input, other: choose(_takes_first(input, other, larger), 0, g))


fmax = _extreme("fmax", np.fmax, *_fmax_grads(True))
fmin = _extreme("fmin", np.fmin, *_fmax_grads(False))


# Clamping


def _within(g: Any, input: Any, min: Any, max: Any) -> Any:
    return choose((input >= min) & (input <= max), g, 0)


def _clip(on: Any, x: Any, low: Any, high: Any) -> Any:
    return on.clip(x, low, high)


def _clamp(x: ndarray, low: ndarray, high: ndarray) -> ndarray:
    if x.size >= LARGE:
        found = fused.pointwise(_clip, (x, low, high))
        if found is not None:
            return found
    elif type(x) is ndarray and (x.dtype is F32 or x.dtype is F64) and (
            low.dtype is x.dtype is high.dtype):
        return clip(x, low, high, out=...)
    out = np.maximum(x, low, out=...)
    if out.ndim < high.ndim:
        return np.minimum(out, high, out=...)
    try:
        return np.minimum(out, high, out=out)
    except ValueError:  # the bound is of a larger shape
        return np.minimum(out, high, out=...)


_NO_COMPLEX = {"c": NotImplementedError("clamp is not supported for complex types")}
_clamp_min = pointwise("clamp_min", np.maximum,
                       (lambda g, input, min: choose(input >= min, g, 0),
                        lambda g, input, min: choose(input < min, g, 0)),
                       inputs=("input", "min"), places=None, numbers="second", scalar="maximum",
                       refuses={"c": "maximum_cpu"})
_clamp_max = pointwise("clamp_max", np.minimum,
                       (lambda g, input, max: choose(input <= max, g, 0),
                        lambda g, input, max: choose(input > max, g, 0)),
                       inputs=("input", "max"), places=None, numbers="second", scalar="minimum",
                       refuses={"c": "minimum_cpu"})
_clamp_both = pointwise(
    "clamp", _clamp,
    (_within,
     lambda g, input, min, max: choose((min < max) & (input < min), g, 0),
     lambda g, input, min, max: choose((max < min) | (input > max), g, 0)),
    inputs=("input", "min", "max"), places=None, quick=True, refuses=_NO_COMPLEX)


_PLAIN = (float, int)
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)


def _are_plain(low: Any, high: Any) -> bool:
    """Whether both are numbers that every floating dtype holds."""
    return type(low) in _PLAIN and type(high) in _PLAIN and fits_all(low) and fits_all(high)


def _is_bound(x: Any) -> bool:
    return x is None or isinstance(x, (Tensor, *NUMBERS))


def _check_bounds(input: Tensor, low: Any, high: Any) -> None:
    if isinstance(low, complex) or isinstance(high, complex):
        raise NotImplementedError(*_NO_COMPLEX["c"].args)
    check_numbers((low, high), (input, low, high))


@public("torch", "Tensor", out=True, inplace=True, aliases=("clip",))
def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """``input`` with smaller values raised to ``min`` and larger ones lowered to ``max``.

    The bounds are numbers, tensors (broadcast) or None; where min exceeds max, max counts.

    >>> import flambeau as torch
    >>> torch.tensor([-2.0, 0.5, 9.0]).clamp(-1, 1)
    tensor([-1.0000,  0.5000,  1.0000])
    """
    if _are_plain(min, max) and type(input._a) is ndarray and (
            input._node is None or not MODES.grad):
        a = input._a
        if a.dtype is F32 or a.dtype is F64:
            return wrap(_clamp(a, kept_number(min, a.dtype), kept_number(max, a.dtype)))
    if not (_is_bound(min) and _is_bound(max)):
        got = ", ".join(type(x).__name__ for x in (input, min, max) if x is not None)
        raise TypeError(f"clamp() received an invalid combination of arguments - got ({got}), "
                        "but expected one of:\n"
                        " * (Tensor input, Tensor min = None, Tensor max = None, *, Tensor out = "
                        "None)\n * (Tensor input, Number min = None, Number max = None, *, Tensor "
                        "out = None)")
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    if input._a.dtype.kind == "c":
        raise NotImplementedError(*_NO_COMPLEX["c"].args)
    _check_bounds(input, min, max)
    if max is None:
        return _clamp_min(input, min)
    if min is None:
        return _clamp_max(input, max)
    return _clamp_both(input, min, max)


@public("torch", "Tensor", out=True, inplace=True)
def clamp_min(input: Tensor, min: Any) -> Tensor:
    """``input`` with smaller values raised to ``min``."""
    _check_bounds(input, min, None)
    return _clamp_min(input, min)


@public("torch", "Tensor", out=True, inplace=True)
def clamp_max(input: Tensor, max: Any) -> Tensor:
    """``input`` with larger values lowered to ``max``."""
    _check_bounds(input, None, max)
    return _clamp_max(input, max)


def _quiet_twin(twin: Callable) -> Callable:
    """``clamp_``, by NumPy where plain numbers bound a small array whose change nobody records."""
    def clamp_(self: Tensor, min: Any = None, max: Any = None) -> Tensor:
        a = self._a
        if _are_plain(min, max) and quiet(self) and a.flags.writeable and (
                a.dtype is F32 or a.dtype is F64) and a.size < LARGE:
            clip(a, kept_number(min, a.dtype), kept_number(max, a.dtype), out=a)
            bump(self)
            return self
        return twin(self, min, max)

    return functools.wraps(twin)(clamp_)


for _name in ("clamp_", "clip_"):
    show(_quiet_twin(getattr(Tensor, _name)), _name, "Tensor")
for _name in ("clamp", "clip", "clamp_min", "clamp_max"):
    public("torch", name=f"{_name}_")(getattr(Tensor, f"{_name}_"))


def _nan_to_num(x: ndarray, nan: float, posinf: float, neginf: float) -> ndarray:
    if x.dtype.kind in "biu":
        return x.copy()
    if x.dtype.kind == "c":
        out = np.empty_like(x)
        out.real = _nan_to_num(x.real, nan, posinf, neginf)
        out.imag = _nan_to_num(x.imag, nan, posinf, neginf)
        return out
    out = np.where(np.isnan(x), np.asarray(nan, x.dtype), x)
    out = np.where(x == np.inf, np.asarray(posinf, x.dtype), out)
    return np.where(x == -np.inf, np.asarray(neginf, x.dtype), out)


_nan_to_num_op = pointwise(
    "nan_to_num", _nan_to_num, (lambda g, input: choose(input.isfinite(), g, 0),),
    params=("nan", "posinf", "neginf"), places=None, quick=True)


@public("torch", "Tensor", out=True, inplace=True)
def nan_to_num(input: Tensor, nan: float | None = 0.0, posinf: float | None = None,
               neginf: float | None = None) -> Tensor:
    """NaN and infinities replaced: by ``nan``, and by the dtype's extremes where None."""
    held = input.dtype
    if held.category >= dtypes.FLOAT:
        limits = finfo(held)
        posinf = limits.max if posinf is None else posinf
        neginf = limits.min if neginf is None else neginf
    return _nan_to_num_op(input, nan=0.0 if nan is None else nan, posinf=posinf, neginf=neginf)


public("torch", name="nan_to_num_")(Tensor.nan_to_num_)  # type: ignore[attr-defined]


# Signs and neighbours


def _need_tensors(name: str, second: str, input: Any, other: Any) -> None:
    for at, (label, x) in enumerate((("input", input), (second, other))):
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}(): argument '{label}' (position {at + 1}) must be Tensor, "
                            f"not {type(x).__name__}")


def _heaviside(x: ndarray, values: ndarray) -> ndarray:
    return np.where(x == 0, values, (x > 0).astype(x.dtype))


def _refuse_derivative(g: Any) -> Any:
    raise RuntimeError("derivative for aten::heaviside is not implemented")


_heaviside_op = pointwise("heaviside", _heaviside, (_refuse_derivative,) * 2, node="NotImplemented",
                          inputs=("input", "values"), places=None)


@public("torch", "Tensor", out=True, inplace=True)
def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0 below zero, 1 above, ``values`` at zero."""
    _need_tensors("heaviside", "values", input, values)
    if "c" in (input._a.dtype.kind, values._a.dtype.kind):
        raise RuntimeError("heaviside is not yet implemented for complex tensors.")
    if input._a.dtype != values._a.dtype:
        raise RuntimeError("heaviside is not yet implemented for tensors with different dtypes.")
    return _heaviside_op(input, values)


def _copysign_grad(g: Any, input: Any, out: Any) -> Any:
    return (g * (out / input)).masked_fill(input == 0, 0)


copysign = pointwise("copysign", np.copysign, (_copysign_grad, zero_slope), inputs=PAIR,
                     result="float", numbers="second", refuses={"c": "copysign_cpu"})
nextafter = pointwise("nextafter", np.nextafter,
                      (lambda g, input, other: g.masked_fill(input == other, 0), zero_slope),
                      inputs=PAIR, numbers="none",
                      refuses={"bic": "nextafter_cpu"})
hypot = pointwise("hypot", np.hypot,
                  (lambda g, input, out: g * (input / out),
                   lambda g, other, out: g * (other / out)),
                  inputs=PAIR, numbers="none", refuses={"bic": "hypot_cpu"})
gcd = pointwise("gcd", np.gcd, inputs=PAIR, numbers="none", refuses={"bfc": "gcd_cpu"})
lcm = pointwise("lcm", np.lcm, inputs=PAIR, numbers="none", refuses={"bfc": "lcm_cpu"})
gcd_ = public("torch", name="gcd_")(Tensor.gcd_)  # type: ignore[attr-defined]
lcm_ = public("torch", name="lcm_")(Tensor.lcm_)  # type: ignore[attr-defined]


@public("torch", "Tensor", out=True, inplace=True)
def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """``input * 2 ** other``."""
    _need_tensors("ldexp", "other", input, other)
    return input * 2.0 ** other


ldexp_ = public("torch", name="ldexp_")(Tensor.ldexp_)  # type: ignore[attr-defined]


def _frexp(a: ndarray) -> list:
    wide = a if a.dtype.kind == "f" else a.astype(np.float32)
    mantissa, exponent = np.frexp(wide)
    return [np.asarray(mantissa).astype(a.dtype), np.asarray(exponent, np.int32)]


def _frexp_grad(gs: Any, out: Any) -> list:
    return [None if gs[0] is None else gs[0] / 2.0 ** out[1]]


FREXP = opaque("frexp", _frexp, joint=_frexp_grad, multiple=True)


@public(out=True)
def frexp(input: Tensor) -> tuple:
    """(mantissa, exponent), with ``input == mantissa * 2 ** exponent`` and 0.5 <= mantissa < 1."""
    if input.dtype.category != dtypes.FLOAT:
        raise RuntimeError("torch.frexp() only supports floating-point dtypes")
    return return_types.ALL["frexp"](apply(FREXP, (input,)))


__all__ = ["clamp", "copysign", "fmax", "fmin", "frexp", "heaviside", "hypot", "maximum",
           "minimum", "nan_to_num"]
