"""Addition, multiplication, division and their operators on tensors and numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.backends import division, fused
from flambeau.base import dtypes
from flambeau.base.device import strided
from flambeau.core.face import in_place_twin, public, show, with_out
from flambeau.core.inplace import bump, check_inplace
from flambeau.core.kinds import pointwise
from flambeau.core.modes import MODES
from flambeau.core.op import OPS, Op
from flambeau.core.pointwise import (
    apply_pointwise,
    binary_entry,
    constant,
    in_place_entry,
    is_plain,
    operator_fallback,
)
from flambeau.core.promote import NUMBERS, result_type
from flambeau.core.tensor import Tensor

ndarray = np.ndarray
LARGE = 1 << 15
PAIR = ("input", "other")
TWO_BOOLS = ("Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` "
             "or `logical_xor()` operator instead.")


def conj_of(x: Any) -> Any:
    """The conjugate of a saved tensor or number; real ones as they are."""
    if type(x) is float or type(x) is ndarray:
        return x
    if isinstance(x, Tensor):
        return x.conj() if x._a.dtype.kind == "c" else x
    return x.conjugate() if isinstance(x, complex) else x


def zero_slope(g: Any) -> Any:
    """The gradient of what is flat: zeros, also where ``g`` is infinite."""
    return _zeros(g)


_zeros = pointwise("zero", lambda a, out=...: np.zeros(a.shape, a.dtype), (zero_slope,), quick=True,
                   places=None)
_add = pointwise("add", np.add, (lambda g: g, lambda g: g), inputs=PAIR, places=None)
_sub = pointwise("sub", np.subtract, (lambda g: g, lambda g: -g), inputs=PAIR, places=None,
                 refuses={"b": RuntimeError(TWO_BOOLS)})
_mul = pointwise("mul", np.multiply,
                 (lambda g, other: g * conj_of(other), lambda g, input: g * conj_of(input)),
                 inputs=PAIR, places=None)
_div = pointwise("div", np.true_divide,
                 (lambda g, other: g / conj_of(other),
                  lambda g, input, other: -g * conj_of(input / other / other)),
                 inputs=PAIR, result="float", places=None)


def _is_bool(x: Any) -> bool:
    return isinstance(x, bool) or isinstance(x, Tensor) and x._a.dtype.kind == "b"


def _refuse_bool(input: Any, other: Any) -> None:
    if _is_bool(input) and _is_bool(other):
        raise RuntimeError(TWO_BOOLS)
    if _is_bool(input) or _is_bool(other):
        raise RuntimeError("Subtraction, the `-` operator, with a bool tensor is not supported. "
                           "If you are trying to invert a mask, use the `~` or `logical_not()` "
                           "operator instead.")


def _sub_fallback(op: Op, operands: tuple) -> Any:
    _refuse_bool(*operands)
    return apply_pointwise(op, operands)


def _sub_operator_fallback(op: Op, operands: tuple) -> Any:
    _refuse_bool(*operands)
    return operator_fallback(op, operands)


_sub = binary_entry(_sub.op, np.subtract, _sub_fallback)


# The products of floats are not rounded before they are added.
def _plus(on: Any, input: Any, other: Any, alpha: Any) -> Any:
    return on.fma(other, alpha, input)


def _minus(on: Any, input: Any, other: Any, alpha: Any) -> Any:
    return on.fma(other, -alpha, input)


_add_scaled = pointwise("add_scaled", fused.forward(_plus),
                        (lambda g: g, lambda g, alpha: g * alpha), inputs=PAIR, params=("alpha",),
                        places=None, quick=True, node="Add")
_sub_scaled = pointwise("sub_scaled", fused.forward(_minus),
                        (lambda g: g, lambda g, alpha: g * -alpha), inputs=PAIR, params=("alpha",),
                        places=None, quick=True, node="Sub")


def _has_strides(x: Any) -> bool:
    """Whether ``x`` is a tensor, and not a sparse one."""
    return isinstance(x, Tensor) and x.layout is strided


def _with_scaled(plain: Callable, scaled: Callable, input: Any, other: Any, alpha: Any) -> Tensor:
    """``plain(input, alpha * other)``; floats by ``scaled``, which does both at once."""
    if alpha == 1 and type(alpha) is int:
        return plain(input, other)
    held = result_type([input, other])
    if held.category == dtypes.FLOAT and isinstance(alpha, (int, float)) and (
            _has_strides(input) and _has_strides(other)):
        if held.itemsize < 4:
            alpha = held.np.type(alpha)
        return scaled(input, other, alpha=float(alpha))
    return plain(input, _scaled(held, other, alpha))


def _scaled(held: dtypes.dtype, other: Any, alpha: Any) -> Any:
    if isinstance(alpha, bool) and held is not dtypes.bool_:
        raise RuntimeError("Boolean alpha only supported for Boolean results.")
    if isinstance(alpha, float) and held.category < dtypes.FLOAT:
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating "
                           "point number.")
    if isinstance(alpha, complex) and held.category < dtypes.COMPLEX:
        raise RuntimeError("For non-complex input tensors, argument alpha must not be a complex "
                           "number.")
    if held is dtypes.bool_:
        alpha = bool(alpha)
    return other * alpha


@public("torch", "Tensor", out=True)
def add(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """``input + alpha * other``, broadcast.

    >>> import flambeau as torch
    >>> torch.add(torch.tensor([1, 2]), torch.tensor([3, 4]), alpha=10)
    tensor([31, 42])
    """
    return _with_scaled(_add, _add_scaled, input, other, alpha)


@public("torch", "Tensor", out=True, aliases=("subtract",))
def sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """``input - alpha * other``, broadcast; bool tensors are refused."""
    return _with_scaled(_sub, _sub_scaled, input, other, alpha)


@public("torch")
def rsub(input: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """``other - alpha * input``, broadcast."""
    if not isinstance(input, Tensor):
        got = f"({type(input).__name__}, {type(other).__name__})"
        raise TypeError(f"rsub() received an invalid combination of arguments - got {got}, but "
                        "expected one of:\n * (Tensor input, Tensor other, *, Number alpha = 1)"
                        "\n * (Tensor input, Number other, Number alpha = 1)")
    return _with_scaled(_sub, _sub_scaled, other, input, alpha)


@public("torch", "Tensor", out=True, aliases=("multiply",))
def mul(input: Any, other: Any) -> Tensor:
    """``input * other``, broadcast."""
    return _mul(input, other)


# Division and its remainders


def _refuse_zero(y: ndarray) -> None:
    if not y.all():
        raise RuntimeError("ZeroDivisionError\n\n  integers have no infinity: divide by a "
                           "tensor without zeros, or divide floats.")


def _refusing_zero(divide: Callable) -> Callable:
    """``divide``, which refuses to divide integers by 0: ``unchecked`` is what it then does."""
    def forward(x: ndarray, y: ndarray, out: Any = ...) -> ndarray:
        if x.dtype.kind in "iu":
            _refuse_zero(y)
        return divide(x, y, out)  # type: ignore[no-any-return]

    forward.unchecked = divide  # type: ignore[attr-defined]
    return forward


@_refusing_zero
def _floor_quotient(x: ndarray, y: ndarray, out: Any = ...) -> ndarray:
    found = division.divided("floor", x, y) if out is ... else None
    return np.floor_divide(x, y, out=out) if found is None else found


@_refusing_zero
def _trunc_quotient(x: ndarray, y: ndarray, out: Any = ...) -> ndarray:
    if x.dtype.kind in "iu":
        return np.floor_divide(x - np.fmod(x, y), y, out=out)
    return np.trunc(np.true_divide(x, y, out=out), out=out)


@_refusing_zero
def _remainder(x: ndarray, y: ndarray, out: Any = ...) -> ndarray:
    if x.dtype.kind in "iu":
        return np.remainder(x, y, out=out)
    found = division.divided("remainder", x, y) if out is ... else None
    if found is not None:
        return found
    found = np.remainder(x, y, out=out)
    # a zero has the sign of x, where NumPy's has that of y
    if type(found) is not ndarray:
        return np.where(found == 0, np.copysign(found, x), found)
    return np.copysign(found, x, out=found, where=found == 0)


@_refusing_zero
def _fmod(x: ndarray, y: ndarray, out: Any = ...) -> ndarray:
    found = division.divided("fmod", x, y) if out is ... else None
    return np.fmod(x, y, out=out) if found is None else found


_div_floor = pointwise("div_floor", _floor_quotient, (zero_slope, zero_slope), inputs=PAIR,
                       places=None, quick=True, node="Div", refuses={"bc": "div_floor_cpu"})
_div_trunc = pointwise("div_trunc", _trunc_quotient, (zero_slope, zero_slope), inputs=PAIR,
                       places=None, quick=True, node="Div", refuses={"bc": "div_trunc_cpu"})


@public("torch", "Tensor", out=True, aliases=("divide",))
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """``input / other``, broadcast; ``rounding_mode`` "trunc" or "floor" rounds the quotient.

    Without rounding the quotient of integers is in the default dtype; with it, it stays integer.

    >>> import flambeau as torch
    >>> torch.div(torch.tensor([-7, 7]), 2, rounding_mode="floor")
    tensor([-4,  3])
    """
    if rounding_mode is None:
        return _div(input, other)
    if rounding_mode == "floor":
        return _div_floor(input, other)
    if rounding_mode == "trunc":
        return _div_trunc(input, other)
    raise RuntimeError("div expected rounding_mode to be one of None, 'trunc', or 'floor' but "
                       f"found '{rounding_mode}'")


@public("torch", "Tensor", out=True, inplace=True)
def true_divide(input: Any, other: Any) -> Tensor:
    """``input / other``, as ``div`` without rounding."""
    return _div(input, other)


def _refuse_derivative(g: Any) -> Any:
    raise RuntimeError("derivative for aten::floor_divide is not implemented")


floor_divide = pointwise("floor_divide", _floor_quotient, (_refuse_derivative,) * 2, inputs=PAIR,
                         quick=True, node="NotImplemented", refuses={"bc": "div_floor_cpu"})
remainder = pointwise("remainder", _remainder,
                      (lambda g: g, lambda g, input, other: -g * _div_floor(input, other)),
                      inputs=PAIR, quick=True, refuses={"bc": "remainder_cpu"},
                      numbers="one")
fmod = pointwise("fmod", _fmod,
                 (lambda g: g, lambda g, input, other: -g * _div_trunc(input, other)),
                 inputs=PAIR, quick=True, refuses={"bc": "fmod_cpu"},
                 numbers="second")
for _name in ("add", "sub", "remainder", "fmod"):
    OPS[_name].rounds_numbers = True


# One input


neg = pointwise("neg", np.negative, (lambda g: -g,), aliases=("negative",), refuses={
    "b": RuntimeError("Negation, the `-` operator, on a bool tensor is not supported. If you are "
                      "trying to invert a mask, use the `~` or `logical_not()` operator "
                      "instead.")})
@public("torch", "Tensor")
def positive(input: Tensor) -> Tensor:
    """The tensor itself; bool tensors are refused."""
    if _is_bool(input):
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


# Operators


def operand(x: Any) -> bool:
    """Whether ``x`` may stand beside a tensor in arithmetic."""
    return isinstance(x, (Tensor, ndarray, *NUMBERS))


def _as_operand(x: Any) -> Any:
    return Tensor._from_array(x) if isinstance(x, ndarray) else x  # type: ignore[attr-defined]


def reflected(function: Callable, name: str) -> Callable:
    """The method that computes ``function(other, self)``, for numbers and arrays on the left."""

    def method(self: Tensor, other: Any) -> Any:
        if type(other) is float or type(other) is int:
            return function(constant(other, self), self)
        return function(_as_operand(other), self) if operand(other) else NotImplemented

    method.__name__ = method.__qualname__ = f"__r{name}__"
    return method


def in_place_operator(twin: Callable, name: str) -> Callable:
    """``__iname__``: ``twin`` where the other side is an operand, else NotImplemented."""

    def method(self: Tensor, other: Any) -> Any:
        if type(other) is Tensor:
            return twin(self, other)
        return twin(self, _as_operand(other)) if operand(other) else NotImplemented

    method.__name__ = method.__qualname__ = f"__i{name}__"
    return method


def install_operator(name: str, function: Callable, forward: Callable, *,
                     fallback: Callable = operator_fallback, twin: Callable | None = None,
                     reflect: bool = True, integers: bool = True) -> None:
    """Install ``__name__``, its reflected and its in-place form, of a two-operand operator.

    ``forward`` takes ``out``, as ufuncs do; ``twin`` is the in-place function; ``fallback`` and
    ``integers`` are those of ``binary_entry``.
    """
    method = binary_entry(function.op, forward, fallback, integers)  # type: ignore[attr-defined]
    method.__name__ = method.__qualname__ = f"__{name}__"
    setattr(Tensor, f"__{name}__", method)
    if name in ("add", "mul"):
        setattr(Tensor, f"__r{name}__", method)
    elif reflect:
        setattr(Tensor, f"__r{name}__", reflected(function, name))
    if twin is not None:
        setattr(Tensor, f"__i{name}__", in_place_operator(twin, name))


def _writes_scaled(formula: Callable, t: Tensor, other: Any, alpha: Any) -> bool:
    """Write a formula of large arrays into the first of them, where that needs no history."""
    if not isinstance(other, Tensor) or not isinstance(alpha, (int, float)):
        return False
    a, b = t._a, other._a
    if type(a) is not ndarray or type(b) is not ndarray or a.shape != b.shape or (
            a.size < LARGE or MODES.grad and not (is_plain(t) and other._node is None)):
        return False
    check_inplace(t)
    if fused.pointwise(formula, (a, b), {"alpha": float(alpha)}, out=a) is None:
        return False
    bump(t)
    return True


def _with_alpha(function: Callable, short: Callable, name: str, formula: Callable) -> Callable:
    """The in-place form of ``add`` or ``sub``."""
    scaled = in_place_twin(function, name)

    def twin(self: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
        if alpha == 1 and type(alpha) is int:
            return short(self, other)
        if _writes_scaled(formula, self, other, alpha):
            return self
        return scaled(self, other, alpha=alpha)

    twin.__name__ = twin.__qualname__ = f"{name}_"
    twin.__doc__ = scaled.__doc__
    return twin


def _with_rounding(short: Callable) -> Callable:
    """The in-place form of ``div``."""
    rounded = in_place_twin(div, "div")

    def twin(self: Tensor, other: Any, *, rounding_mode: str | None = None) -> Tensor:
        if rounding_mode is None:
            return short(self, other)
        return rounded(self, other, rounding_mode=rounding_mode)

    twin.__name__ = twin.__qualname__ = "div_"
    twin.__doc__ = rounded.__doc__
    return twin


def _install_arithmetic() -> None:
    short = {name: in_place_entry(OPS[name], ufunc, in_place_twin(function, name))
             for name, ufunc, function in (("add", np.add, _add), ("sub", np.subtract, _sub),
                                           ("mul", np.multiply, _mul),
                                           ("div", np.true_divide, _div))}
    add_ = _with_alpha(add, short["add"], "add", _plus)
    sub_ = _with_alpha(sub, short["sub"], "sub", _minus)
    div_ = _with_rounding(short["div"])
    for function, names in ((add_, ("add_",)), (sub_, ("sub_", "subtract_")),
                            (short["mul"], ("mul_", "multiply_")), (div_, ("div_", "divide_"))):
        for name in names:
            show(function, name, "Tensor")
    install_operator("add", _add, np.add, twin=short["add"])
    install_operator("mul", _mul, np.multiply, twin=short["mul"])
    install_operator("truediv", _div, np.true_divide, twin=short["div"])
    for function, name in ((add, "add"), (sub, "sub"), (mul, "mul"), (div, "div")):
        function.op = OPS[name]  # type: ignore[attr-defined]
    _sub.op = OPS["sub"]  # type: ignore[attr-defined]
    install_operator("sub", _sub, np.subtract, fallback=_sub_operator_fallback, twin=short["sub"])


def _install_division() -> None:
    install_operator("floordiv", floor_divide, _floor_quotient,
                     twin=in_place_twin(floor_divide, "floor_divide"))
    install_operator("mod", remainder, _remainder, twin=in_place_twin(remainder, "remainder"))


_install_arithmetic()
_install_division()
Tensor.__rdiv__ = Tensor.__rtruediv__  # type: ignore[attr-defined]
Tensor.__div__ = Tensor.__truediv__  # type: ignore[attr-defined]
Tensor.__neg__ = neg  # type: ignore[attr-defined]
Tensor.__pos__ = positive  # type: ignore[attr-defined]

__all__ = ["PAIR", "add", "conj_of", "div", "in_place_operator", "install_operator", "mul", "neg",
           "operand", "reflected", "show", "sub", "with_out", "zero_slope"]
