"""Addition, multiplication, division, powers and their operators on tensors and numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.base import dtypes
from flambeau.core.face import in_place_twin, public, show, with_out
from flambeau.core.kinds import pointwise
from flambeau.core.op import OPS, Op
from flambeau.core.pointwise import (
    apply_pointwise,
    binary_entry,
    in_place_entry,
    operator_fallback,
)
from flambeau.core.promote import NUMBERS, result_type
from flambeau.core.tensor import Tensor

ndarray = np.ndarray
PAIR = ("input", "other")


def conj_of(x: Any) -> Any:
    """The conjugate of a saved tensor or number; real ones as they are."""
    if isinstance(x, Tensor):
        return x.conj() if x._a.dtype.kind == "c" else x
    return x.conjugate() if isinstance(x, complex) else x


_add = pointwise("add", np.add, (lambda g: g, lambda g: g), inputs=PAIR, places=None)
_sub = pointwise("sub", np.subtract, (lambda g: g, lambda g: -g), inputs=PAIR, places=None)
_mul = pointwise("mul", np.multiply,
                 (lambda g, other: g * conj_of(other), lambda g, input: g * conj_of(input)),
                 inputs=PAIR, places=None)
_div = pointwise("div", np.true_divide,
                 (lambda g, other: g / conj_of(other),
                  lambda g, out, other: -g * conj_of(out / other)),
                 inputs=PAIR, result="float", places=None)


def _is_bool(x: Any) -> bool:
    return isinstance(x, bool) or isinstance(x, Tensor) and x._a.dtype.kind == "b"


def _refuse_bool(input: Any, other: Any) -> None:
    if _is_bool(input) and _is_bool(other):
        raise RuntimeError("Subtraction, the `-` operator, with two bool tensors is not "
                           "supported. Use the `^` or `logical_xor()` operator instead.")
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


def _scaled(input: Any, other: Any, alpha: Any) -> Any:
    if alpha == 1 and type(alpha) is int:
        return other
    held = result_type([input, other])
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
    return _add(input, _scaled(input, other, alpha))


@public("torch", "Tensor", out=True, aliases=("subtract",))
def sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """``input - alpha * other``, broadcast; bool tensors are refused."""
    return _sub(input, _scaled(input, other, alpha))


@public("torch")
def rsub(input: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """``other - alpha * input``, broadcast."""
    return _sub(other, _scaled(other, input, alpha))


@public("torch", "Tensor", out=True, aliases=("multiply",))
def mul(input: Any, other: Any) -> Tensor:
    """``input * other``, broadcast."""
    return _mul(input, other)


# Division and its remainders


def _refuse_zero(y: ndarray) -> None:
    if not y.all():
        raise RuntimeError("ZeroDivisionError\n\n  integers have no infinity: divide by a "
                           "tensor without zeros, or divide floats.")


def _floor_quotient(x: ndarray, y: ndarray, out: Any = ...) -> ndarray:
    if x.dtype.kind in "iu":
        _refuse_zero(y)
    return np.floor_divide(x, y, out=out)


def _trunc_quotient(x: ndarray, y: ndarray, out: Any = ...) -> ndarray:
    if x.dtype.kind in "iu":
        _refuse_zero(y)
        return np.floor_divide(x - np.fmod(x, y), y, out=out)
    return np.trunc(np.true_divide(x, y, out=out), out=out)


def _remainder(x: ndarray, y: ndarray, out: Any = ...) -> ndarray:
    if x.dtype.kind in "iu":
        _refuse_zero(y)
    return np.remainder(x, y, out=out)


def _fmod(x: ndarray, y: ndarray, out: Any = ...) -> ndarray:
    if x.dtype.kind in "iu":
        _refuse_zero(y)
    return np.fmod(x, y, out=out)


def _no_slope(g: Any) -> Any:
    return g * 0


_div_floor = pointwise("div_floor", _floor_quotient, (_no_slope, _no_slope), inputs=PAIR,
                       places=None, quick=True, node="Div", refuses={"bc": "div_floor_cpu"})
_div_trunc = pointwise("div_trunc", _trunc_quotient, (_no_slope, _no_slope), inputs=PAIR,
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
                      inputs=PAIR, quick=True, refuses={"bc": "remainder_cpu"})
fmod = pointwise("fmod", _fmod,
                 (lambda g: g, lambda g, input, other: -g * _div_trunc(input, other)),
                 inputs=PAIR, quick=True, refuses={"bc": "fmod_cpu"})


# Powers


def _rsqrt(x: ndarray, out: Any = ...) -> ndarray:
    out = np.sqrt(x, out=out)
    return np.divide(1, out, out=out)


def _cube(x: ndarray, out: Any = ...) -> ndarray:
    return np.multiply(np.square(x), x, out=out)


def _inverse_square(x: ndarray, out: Any = ...) -> ndarray:
    out = np.square(x, out=out)
    return np.divide(1, out, out=out)


# What PyTorch computes for these exponents, which are also quicker than a general power.
_POWERS: dict[float, Callable[..., ndarray]] = {
    2.0: np.square, 3.0: _cube, 0.5: np.sqrt, -0.5: _rsqrt, -1.0: np.reciprocal,
    -2.0: _inverse_square}


def _power(x: ndarray, y: ndarray, out: Any = ...) -> ndarray:
    if x.dtype.kind in "iu":
        return _integer_power(x, y)
    if not y.ndim and x.dtype.kind == "f":
        special = _POWERS.get(y.item())
        if special is not None:
            return special(x, out=out)
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
                    places=None, quick=True, refuses={"b": "pow"}).op
_pow = binary_entry(_pow_op, _power, _pow_fallback)


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
    return _pow(_wide(input), _wide(exponent))


def _wide(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x.to(dtypes.complex128 if x._a.dtype.kind == "c" else dtypes.float64)
    return x if isinstance(x, complex) else float(x)


# One input


def _refuse_bool_sign(name: str, text: str) -> dict[str, Exception]:
    return {"b": RuntimeError(f"{name}, on a bool tensor is not supported.{text}")}


neg = pointwise("neg", np.negative, (lambda g: -g,), aliases=("negative",), refuses=_refuse_bool_sign(
    "Negation, the `-` operator", " If you are trying to invert a mask, use the `~` or "
    "`logical_not()` operator instead."))
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
        return function(_as_operand(other), self) if operand(other) else NotImplemented

    method.__name__ = method.__qualname__ = f"__r{name}__"
    return method


def in_place_operator(twin: Callable, name: str) -> Callable:
    """``__iname__``: ``twin`` where the other side is an operand, else NotImplemented."""

    def method(self: Tensor, other: Any) -> Any:
        return twin(self, _as_operand(other)) if operand(other) else NotImplemented

    method.__name__ = method.__qualname__ = f"__i{name}__"
    return method


def install_operator(name: str, function: Callable, forward: Callable, *,
                     fallback: Callable = operator_fallback, twin: Callable | None = None,
                     reflect: bool = True) -> None:
    """Install ``__name__``, its reflected and its in-place form, of a two-operand operator.

    ``forward`` takes ``out``, as ufuncs do; ``twin`` is the in-place function.
    """
    method = binary_entry(function.op, forward, fallback)  # type: ignore[attr-defined]
    method.__name__ = method.__qualname__ = f"__{name}__"
    setattr(Tensor, f"__{name}__", method)
    if reflect:
        setattr(Tensor, f"__r{name}__", reflected(function, name))
    if twin is not None:
        setattr(Tensor, f"__i{name}__", in_place_operator(twin, name))


def _with_alpha(function: Callable, short: Callable, name: str) -> Callable:
    """The in-place form of ``add`` or ``sub``."""
    scaled = in_place_twin(function, name)

    def twin(self: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
        if alpha == 1 and type(alpha) is int:
            return short(self, other)
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
    add_ = _with_alpha(add, short["add"], "add")
    sub_ = _with_alpha(sub, short["sub"], "sub")
    div_ = _with_rounding(short["div"])
    for function, names in ((add_, ("add_",)), (sub_, ("sub_", "subtract_")),
                            (short["mul"], ("mul_", "multiply_")), (div_, ("div_", "divide_"))):
        for name in names:
            show(function, name, "Tensor")
    install_operator("add", _add, np.add, twin=short["add"])
    install_operator("mul", _mul, np.multiply, twin=short["mul"])
    install_operator("truediv", _div, np.true_divide, twin=short["div"])
    _sub.op = OPS["sub"]  # type: ignore[attr-defined]
    install_operator("sub", _sub, np.subtract, fallback=_sub_operator_fallback, twin=short["sub"])


def _install_division() -> None:
    _pow.op = _pow_op  # type: ignore[attr-defined]
    install_operator("pow", _pow, _power, fallback=_pow_operator_fallback,
                     twin=in_place_twin(_pow, "pow"))
    install_operator("floordiv", floor_divide, _floor_quotient,
                     twin=in_place_twin(floor_divide, "floor_divide"))
    install_operator("mod", remainder, _remainder, twin=in_place_twin(remainder, "remainder"))


_install_arithmetic()
_install_division()
Tensor.__rdiv__ = Tensor.__rtruediv__  # type: ignore[attr-defined]
Tensor.__div__ = Tensor.__truediv__  # type: ignore[attr-defined]
Tensor.__neg__ = neg  # type: ignore[attr-defined]
Tensor.__pos__ = positive  # type: ignore[attr-defined]


# Products added


def _addcmul(x: ndarray, a: ndarray, b: ndarray, value: Any) -> ndarray:
    product = np.multiply(a, b, out=...)
    if value != 1:
        product = np.multiply(product, _as_scalar(value, x.dtype), out=...)
    return np.add(x, product, out=...)


def _addcdiv(x: ndarray, a: ndarray, b: ndarray, value: Any) -> ndarray:
    scaled = a if value == 1 else np.multiply(a, _as_scalar(value, a.dtype), out=...)
    return np.add(x, np.divide(scaled, b, out=...), out=...)


def _as_scalar(value: Any, held: np.dtype) -> ndarray:
    return np.asarray(value).astype(held)


_TRIPLE = ("input", "tensor1", "tensor2")
_addcmul_op = pointwise(
    "addcmul", _addcmul,
    (lambda g: g, lambda g, tensor2, value: g * conj_of(tensor2 * value),
     lambda g, tensor1, value: g * conj_of(tensor1 * value)),
    inputs=_TRIPLE, params=("value",), places=None, refuses={"b": "addcmul_cpu_out"})
_addcdiv_op = pointwise(
    "addcdiv", _addcdiv,
    (lambda g: g, lambda g, tensor2, value: g * conj_of(value / tensor2),
     lambda g, tensor1, tensor2, value: -g * conj_of(value * tensor1 / (tensor2 * tensor2))),
    inputs=_TRIPLE, params=("value",), places=None)


@public("torch", "Tensor", out=True, inplace=True)
def addcmul(input: Tensor, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Tensor:
    """``input + value * tensor1 * tensor2``, broadcast."""
    return _addcmul_op(input, tensor1, tensor2, value=value)


@public("torch", "Tensor", out=True, inplace=True)
def addcdiv(input: Tensor, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Tensor:
    """``input + value * tensor1 / tensor2``, broadcast; of floating tensors."""
    if result_type([tensor1, tensor2]).category < dtypes.FLOAT:
        raise RuntimeError(
            "Integer division with addcdiv is no longer supported, and in a future  release "
            "addcdiv will perform a true division of tensor1 and tensor2. The historic addcdiv "
            "behavior can be implemented as (input + value * torch.trunc(tensor1 / tensor2))"
            ".to(input.dtype) for integer inputs and as (input + value * tensor1 / tensor2) for "
            "float inputs. The future addcdiv behavior is just the latter implementation: (input "
            "+ value * tensor1 / tensor2), for all dtypes.")
    return _addcdiv_op(input, tensor1, tensor2, value=value)


def _lerp(start: ndarray, end: ndarray, weight: ndarray) -> ndarray:
    # From the nearer end, so that weights 0 and 1 give exactly the ends.
    step = np.subtract(end, start, out=...)
    if not weight.ndim:
        if abs(weight) < 0.5:
            return np.add(start, weight * step, out=...)
        return np.subtract(end, step * (1 - weight), out=...)
    near = np.abs(weight) < 0.5
    return np.where(near, start + weight * step, end - step * (1 - weight))


_lerp_op = pointwise(
    "lerp", _lerp,
    (lambda g, weight: g * conj_of(1 - weight), lambda g, weight: g * conj_of(weight),
     lambda g, input, end: g * conj_of(end - input)),
    inputs=("input", "end", "weight"), places=None, refuses={"bi": "lerp_kernel_scalar"})


@public("torch", "Tensor", out=True, inplace=True)
def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """``input + weight * (end - input)``; all tensors of one dtype.

    >>> import flambeau as torch
    >>> torch.lerp(torch.zeros(2), torch.ones(2), 0.25)
    tensor([0.2500, 0.2500])
    """
    for name, t in (("end", end), ("weight", weight)):
        if isinstance(t, Tensor) and t._a.dtype != input._a.dtype:
            have, want = (str(x.dtype).split(".")[-1].replace("32", "").replace("float64", "double")
                          for x in (t, input))
            raise RuntimeError(f"expected dtype {want} for `{name}` but got dtype {have}")
    return _lerp_op(input, end, weight)


__all__ = ["PAIR", "add", "conj_of", "div", "in_place_operator", "install_operator", "mul", "neg",
           "operand", "reflected", "show", "sub", "with_out"]
