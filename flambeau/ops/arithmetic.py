"""Addition, multiplication, powers and their operators on tensors and numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.base import dtypes
from flambeau.core.face import in_place_twin, public, show, with_out
from flambeau.core.kinds import pointwise
from flambeau.core.pointwise import binary_entry, operator_fallback
from flambeau.core.promote import NUMBERS, result_type
from flambeau.core.tensor import Tensor

PAIR = ("input", "other")


def conj_of(x: Any) -> Any:
    """The conjugate of a saved tensor or number; real ones as they are."""
    if isinstance(x, Tensor):
        return x.conj() if x._a.dtype.kind == "c" else x
    return x.conjugate() if isinstance(x, complex) else x


def _refuse_bool(input: Any, other: Any) -> None:
    if _is_bool(input) and _is_bool(other):
        raise RuntimeError("Subtraction, the `-` operator, with two bool tensors is not "
                           "supported. Use the `^` or `logical_xor()` operator instead.")
    if _is_bool(input) or _is_bool(other):
        raise RuntimeError("Subtraction, the `-` operator, with a bool tensor is not supported. "
                           "If you are trying to invert a mask, use the `~` or `logical_not()` "
                           "operator instead.")


def _is_bool(x: Any) -> bool:
    return isinstance(x, Tensor) and x._a.dtype == np.bool_


def _subtract(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.dtype == np.bool_:
        _refuse_bool_arrays()
    return np.subtract(x, y)


def _refuse_bool_arrays() -> None:
    raise RuntimeError("Subtraction, the `-` operator, with two bool tensors is not supported. "
                       "Use the `^` or `logical_xor()` operator instead.")


_add = pointwise("add", np.add, (lambda g: g, lambda g: g), inputs=PAIR, places=None)
_sub = pointwise("sub", np.subtract, (lambda g: g, lambda g: -g), inputs=PAIR, places=None)
_mul = pointwise("mul", np.multiply,
                 (lambda g, other: g * conj_of(other), lambda g, input: g * conj_of(input)),
                 inputs=PAIR, places=None)
_div = pointwise("div", np.true_divide,
                 (lambda g, other: g / conj_of(other),
                  lambda g, out, other: -g * conj_of(out / other)),
                 inputs=PAIR, result="float", places=None)


def _scaled(other: Any, alpha: Any) -> Any:
    if alpha == 1 and type(alpha) is int:
        return other
    held = result_type([other])
    if isinstance(alpha, bool) and held is not dtypes.bool_:
        raise RuntimeError("Boolean alpha only supported for Boolean results.")
    if isinstance(alpha, float) and held.category < dtypes.FLOAT:
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating "
                           "point number.")
    if isinstance(alpha, complex) and held.category < dtypes.COMPLEX:
        raise RuntimeError("For non-complex input tensors, argument alpha must not be a complex "
                           "number.")
    return other * alpha


@public("torch", "Tensor", out=True, inplace=True)
def add(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """``input + alpha * other``, broadcast.

    >>> import flambeau as torch
    >>> torch.add(torch.tensor([1, 2]), torch.tensor([3, 4]), alpha=10)
    tensor([31, 42])
    """
    return _add(input, _scaled(other, alpha))


@public("torch", "Tensor", out=True, inplace=True, aliases=("subtract",))
def sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """``input - alpha * other``, broadcast."""
    _refuse_bool(input, other)
    return _sub(input, _scaled(other, alpha))


@public("torch", "Tensor", out=True, inplace=True, aliases=("multiply",))
def mul(input: Any, other: Any) -> Tensor:
    """``input * other``, broadcast."""
    return _mul(input, other)


@public("torch", "Tensor", out=True, inplace=True, aliases=("divide",))
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """``input / other``, broadcast; ``rounding_mode`` "trunc" or "floor" rounds the quotient."""
    if rounding_mode is None:
        return _div(input, other)
    raise RuntimeError("div expected rounding_mode to be one of None, 'trunc', or 'floor' but "
                       f"found '{rounding_mode}'")


def _power_exponent_grad(g: Any, out: Any, input: Any, other: Any) -> Any:
    return g * conj_of(out * input.log()) if isinstance(input, Tensor) else g * conj_of(out) * 1


def _power_base_grad(g: Any, input: Any, other: Any) -> Any:
    if not isinstance(other, Tensor):
        if other == 0:
            return g * 0
        if other == 2:
            return g * (conj_of(input) * 2)
    return g * conj_of(other * input ** (other - 1))


def _refuse_negation(input: Tensor) -> None:
    if _is_bool(input):
        raise RuntimeError("Negation, the `-` operator, on a bool tensor is not supported. If you "
                           "are trying to invert a mask, use the `~` or `logical_not()` operator "
                           "instead.")


neg = pointwise("neg", np.negative, (lambda g: -g,))
_pow = pointwise("pow", np.power, (_power_base_grad, _power_exponent_grad), inputs=PAIR,
                 places=None)


def install_operator(name: str, function: Any, ufunc: Any = None) -> None:
    """Install ``__name__``, its reflected and its in-place form, of a two-operand function."""
    op = getattr(function, "op", None)
    if ufunc is not None:
        forward = binary_entry(op, ufunc, operator_fallback)
    else:
        def forward(self: Tensor, other: Any) -> Any:
            return function(self, _as_operand(other)) if operand(other) else NotImplemented

    def reflected(self: Tensor, other: Any) -> Any:
        return function(_as_operand(other), self) if operand(other) else NotImplemented

    forward.__name__ = f"__{name}__"
    setattr(Tensor, f"__{name}__", forward)
    setattr(Tensor, f"__r{name}__", reflected)
    setattr(Tensor, f"__i{name}__", in_place_twin(function, name))


def _as_operand(x: Any) -> Any:
    return Tensor._from_array(x) if isinstance(x, np.ndarray) else x  # type: ignore[attr-defined]


def operand(x: Any) -> bool:
    """Whether ``x`` may stand beside a tensor in arithmetic."""
    return isinstance(x, (Tensor, np.ndarray, *NUMBERS))


install_operator("add", _add, np.add)
install_operator("mul", _mul, np.multiply)
install_operator("truediv", _div, np.true_divide)
install_operator("sub", sub)
install_operator("pow", _pow)
Tensor.__neg__ = neg  # type: ignore[attr-defined]

__all__ = ["PAIR", "add", "conj_of", "div", "install_operator", "mul", "neg", "operand", "show",
           "sub", "with_out"]
