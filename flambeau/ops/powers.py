"""Powers, roots and squares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.backends import fused, slices
from flambeau.base import dtypes
from flambeau.core.face import in_place_twin, public
from flambeau.core.kinds import pointwise
from flambeau.core.op import Op
from flambeau.core.pointwise import apply_pointwise, binary_entry
from flambeau.core.tensor import Tensor
from flambeau.ops.arithmetic import PAIR, conj_of, install_operator, operand

ndarray = np.ndarray
LARGE = 1 << 15


def _rsqrt(x: ndarray, out: Any = ...) -> ndarray:
    out = np.sqrt(x, out=out)
    return np.divide(1, out, out=out)


def _thrice(x: Any) -> Any:
    return x * x * x


def _cube(x: ndarray, out: Any = ...) -> ndarray:
    if x.size >= fused.MIN_ITEMS and out is ...:
        found = fused.pointwise(_thrice, (x,), on=False)
        if found is not None:
            return found
    return np.multiply(np.square(x), x, out=out)


def _inverse_square(x: ndarray, out: Any = ...) -> ndarray:
    out = np.square(x, out=out)
    return np.divide(1, out, out=out)


# What PyTorch computes for these exponents, which are also quicker than a general power.
_POWERS: dict[float, Callable[..., ndarray]] = {
    2.0: np.square, 3.0: _cube, 0.5: np.sqrt, -0.5: _rsqrt, -1.0: np.reciprocal,
    -2.0: _inverse_square}
# Of complex numbers, whose products are rounded otherwise.
_ROOTS: dict[float, Callable[..., ndarray]] = {0.5: np.sqrt, -0.5: _rsqrt}


def _power(x: ndarray, y: ndarray, out: Any = ...) -> ndarray:
    if x.dtype.kind in "iu":
        return _integer_power(x, y)
    if not y.ndim and x.dtype.kind in "fc":
        special = (_POWERS if x.dtype.kind == "f" else _ROOTS).get(y.item())
        if special is not None:
            return special(x, out=out)
    if x.size >= LARGE:
        found = slices.run(np.power, (x, y), None if out is ... else out)
        if found is not None:
            return found
    return np.power(x, y, out=out)


def _integer_power(x: ndarray, y: ndarray) -> ndarray:
    """Integer powers; a negative exponent gives 0, but for the bases 1 and -1."""
    if x.dtype.kind == "u" or not (y < 0).any():
        return np.power(x, y, out=...)
    whole = np.power(x, np.maximum(y, 0))
    sign = np.where(y & 1, x, 1)
    return np.where(y >= 0, whole, np.where(np.abs(x) == 1, sign, 0)).astype(x.dtype)


def _power_base_grad(g: Any, input: Any, other: Any) -> Any:
    if not isinstance(other, Tensor):
        if other == 0:
            return g * 0
        if other == 2:
            return g * (conj_of(input) * 2)
        return g * conj_of(other * input ** (other - 1))
    slope = g * conj_of(other * input ** (other - 1))
    return slope.masked_fill(other == 0, 0)


def _power_exponent_grad(g: Any, out: Any, input: Any, other: Any) -> Any:
    if isinstance(input, Tensor):
        slope, zero = out * input.log(), (input == 0).logical_and(_not_negative(other))
        return (g * conj_of(slope)).masked_fill(zero, 0)
    if input == 0:
        return (g * conj_of(out * -np.inf)).masked_fill(_not_negative(other), 0)
    log = np.log(complex(input)) if out._a.dtype.kind == "c" else np.log(float(input))
    return g * conj_of(out * log.item())


def _not_negative(x: Tensor) -> Tensor:
    return (x.real if x._a.dtype.kind == "c" else x) >= 0


def _pow_fallback(op: Op, operands: tuple) -> Any:
    base, exponent = operands
    if isinstance(exponent, (int, np.integer)) and exponent < 0 and isinstance(base, Tensor):
        if base._a.dtype.kind in "biu":
            raise RuntimeError("Integers to negative integer powers are not allowed.")
    return apply_pointwise(op, operands)


def _pow_operator_fallback(op: Op, operands: tuple) -> Any:
    return _pow_fallback(op, operands) if operand(operands[1]) else NotImplemented


_pow_op = pointwise("pow", _power, (_power_base_grad, _power_exponent_grad), inputs=PAIR,
                    places=None, quick=True, refuses={"b": "pow"}, numbers="one").op


def _power_base_slope(g: ndarray, input: Any, other: ndarray) -> ndarray:
    n = other.item() if other.ndim == 0 else None
    if n == 2:
        return g * (input + input)
    slope = g * (other * _power(np.asarray(input), other - 1))
    return slope if n else np.where(other == 0, 0, slope)


_pow_op.on_arrays(_power_base_slope, None)
_pow = binary_entry(_pow_op, _power, _pow_fallback, integers=False)


@public("torch", "Tensor", out=True, inplace=True)
def pow(input: Any, exponent: Any) -> Tensor:
    """``input ** exponent``, broadcast; one of the two may be a number.

    Integers stay integers; a negative number as exponent of integers is refused.

    >>> import flambeau as torch
    >>> torch.pow(torch.tensor([1.0, 2.0, 3.0]), 2)
    tensor([1., 4., 9.])
    """
    return _pow(input, exponent)


@public("torch", "Tensor", out=True, inplace=True)
def float_power(input: Any, exponent: Any) -> Tensor:
    """``input ** exponent`` in float64 (or complex128)."""
    if not isinstance(input, Tensor) and not isinstance(exponent, Tensor):
        return _pow(input, exponent)
    return _pow(_wide(input), _wide(exponent))


def _wide(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x.to(dtypes.complex128 if x._a.dtype.kind == "c" else dtypes.float64)
    return x if isinstance(x, complex) else float(x)


sqrt = pointwise("sqrt", np.sqrt, (lambda g, out: g / (2 * conj_of(out)),), result="float")
rsqrt = pointwise("rsqrt", _rsqrt, (lambda g, out: g * conj_of(out * out * out * -0.5),),
                  result="float", quick=True)
reciprocal = pointwise("reciprocal", np.reciprocal, (lambda g, out: -g * conj_of(out * out),),
                       result="float")


_square_op = pointwise("square", np.square, (lambda g, input: g * (conj_of(input) * 2),),
                       places=None, node="Pow")


@public("torch", "Tensor", out=True, inplace=True)
def square(input: Tensor) -> Tensor:
    """``input * input``; of bools, as integers."""
    if isinstance(input, Tensor) and input._a.dtype.kind == "b":
        input = input.to(dtypes.int64)
    return _square_op(input)


_pow.op = _pow_op  # type: ignore[attr-defined]
install_operator("pow", _pow, _power, fallback=_pow_operator_fallback, integers=False,
                 twin=in_place_twin(_pow, "pow"))

__all__ = ["float_power", "pow", "reciprocal", "rsqrt", "sqrt", "square"]
