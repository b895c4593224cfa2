"""Comparisons, tests of values, logic and bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.base import dtypes
from flambeau.core.face import in_place_twin, public
from flambeau.core.kinds import pointwise
from flambeau.core.op import Op
from flambeau.core.pointwise import binary_entry, operator_fallback
from flambeau.core.tensor import Tensor
from flambeau.ops.arithmetic import PAIR, in_place_operator, install_operator, reflected

ndarray = np.ndarray


def _order(name: str, ufunc: np.ufunc, alias: str) -> Callable:
    return pointwise(name, ufunc, inputs=PAIR, result="bool", aliases=(alias,),
                     numbers="second", refuses={"c": f"{name}_cpu"})


eq = pointwise("eq", np.equal, inputs=PAIR, result="bool", numbers="second")
ne = pointwise("ne", np.not_equal, inputs=PAIR, result="bool", aliases=("not_equal",),
               numbers="second")
lt = _order("lt", np.less, "less")
le = _order("le", np.less_equal, "less_equal")
gt = _order("gt", np.greater, "greater")
ge = _order("ge", np.greater_equal, "greater_equal")


def _install_comparisons() -> None:
    for function, ufunc in ((eq, np.equal), (ne, np.not_equal), (lt, np.less),
                            (le, np.less_equal), (gt, np.greater), (ge, np.greater_equal)):
        install_operator(function.__name__, function, ufunc, reflect=False)


_install_comparisons()


# Tests of single values


def _of_floats(test: Callable, otherwise: bool) -> Callable:
    """``test`` of floats; integers, which are all finite, give ``otherwise``."""

    def forward(x: ndarray, out: Any = ...) -> ndarray:
        if x.dtype.kind in "biu":
            return np.full(x.shape, otherwise)
        return test(x, out=out)

    return forward


def _isreal(x: ndarray, out: Any = ...) -> ndarray:
    return np.equal(x.imag, 0, out=out) if x.dtype.kind == "c" else np.full(x.shape, True)


def _signed_infinity(sign: int) -> Callable:
    def forward(x: ndarray, out: Any = ...) -> ndarray:
        return np.equal(x, sign * np.inf, out=out)

    return forward


def _signbit(x: ndarray, out: Any = ...) -> ndarray:
    return np.less(x, 0, out=out) if x.dtype.kind in "biu" else np.signbit(x, out=out)


def _test(name: str, forward: Callable, places: tuple = ("torch", "Tensor"),
          refuses: dict | None = None) -> Callable:
    return pointwise(name, forward, result="bool", quick=True, inplace=False, places=places,
                     refuses=refuses)


def _complex_refused(error: type, text: str) -> dict[str, Exception]:
    return {"c": error(text)}


isnan = _test("isnan", _of_floats(np.isnan, False))
isinf = _test("isinf", _of_floats(np.isinf, False))
isfinite = _test("isfinite", _of_floats(np.isfinite, True))
isreal = _test("isreal", _isreal)
isposinf = _test("isposinf", _of_floats(_signed_infinity(1), False), refuses=_complex_refused(
    RuntimeError, "isposinf does not support complex inputs."))
isneginf = _test("isneginf", _of_floats(_signed_infinity(-1), False), refuses=_complex_refused(
    RuntimeError, "isneginf does not support complex inputs."))
signbit = _test("signbit", _signbit, refuses=_complex_refused(
    NotImplementedError, "signbit is not implemented for complex tensors."))


# Logic and bits


def _logical(name: str, ufunc: np.ufunc) -> Callable:
    return pointwise(name, ufunc, inputs=PAIR, result="bool", numbers="none")


logical_and = _logical("logical_and", np.logical_and)
logical_or = _logical("logical_or", np.logical_or)
logical_xor = _logical("logical_xor", np.logical_xor)
logical_not = pointwise("logical_not", np.logical_not, result="bool")


def _bits(name: str, ufunc: np.ufunc, operator: str, kernel: str, refused: str = "fc") -> Callable:
    function = pointwise(name, ufunc, inputs=PAIR, refuses={refused: kernel}, numbers="one")
    op: Op = function.op  # type: ignore[attr-defined]
    method = binary_entry(op, ufunc, operator_fallback)
    method.__name__ = method.__qualname__ = f"__{operator}__"
    setattr(Tensor, f"__{operator}__", method)
    setattr(Tensor, f"__r{operator}__", reflected(function, operator))
    setattr(Tensor, f"__i{operator}__",
            in_place_operator(in_place_twin(function, operator), operator))
    return function


bitwise_and = _bits("bitwise_and", np.bitwise_and, "and", "bitwise_and_cpu")
bitwise_or = _bits("bitwise_or", np.bitwise_or, "or", "bitwise_or_cpu")
bitwise_xor = _bits("bitwise_xor", np.bitwise_xor, "xor", "bitwise_xor_cpu")
bitwise_left_shift = _bits("bitwise_left_shift", np.left_shift, "lshift", "lshift_cpu", "bfc")
bitwise_right_shift = _bits("bitwise_right_shift", np.right_shift, "rshift", "rshift_cpu", "bfc")
bitwise_not = pointwise("bitwise_not", np.invert, refuses={"fc": "bitwise_not_cpu"})


def _invert(self: Tensor) -> Tensor:
    if self.dtype.category >= dtypes.FLOAT:
        raise TypeError("~ (operator.invert) is only implemented on integer and Boolean-type "
                        "tensors")
    return bitwise_not(self)


_invert.__name__ = _invert.__qualname__ = "__invert__"
Tensor.__invert__ = _invert  # type: ignore[attr-defined]


# Closeness


def _check_tensors(name: str, input: Any, other: Any) -> None:
    for at, (label, x) in enumerate((("input", input), ("other", other))):
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}(): argument '{label}' (position {at + 1}) must be Tensor, "
                            f"not {type(x).__name__}")


def _same_dtype(input: Tensor, other: Tensor) -> None:
    if input._a.dtype != other._a.dtype:
        raise RuntimeError(f"{input.dtype.title} did not match {other.dtype.title}")


@public("torch", "Tensor")
def isclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08,
            equal_nan: bool = False) -> Tensor:
    """Whether ``abs(input - other) <= atol + rtol * abs(other)``, for each element.

    >>> import flambeau as torch
    >>> torch.isclose(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.1]))
    tensor([ True, False])
    """
    _check_tensors("isclose", input, other)
    _same_dtype(input, other)
    for name, value in (("rtol", rtol), ("atol", atol)):
        if value < 0:
            raise RuntimeError(f"{name} must be greater than or equal to zero, but got {value}")
    close = input == other
    floats = input._a.dtype.kind not in "biu"
    if equal_nan and floats:
        close = close | (isnan(input) & isnan(other))
    if rtol == 0 and atol == 0:
        return close
    if input._a.dtype.kind == "b":
        input, other = input.to(dtypes.float32), other.to(dtypes.float32)
    allowed = atol + (rtol * other).abs()
    error = (input - other).abs()
    return close | (isfinite(error) & (error <= allowed))


@public("torch", "Tensor")
def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08,
             equal_nan: bool = False) -> bool:
    """Whether every element is close to the other tensor's, as ``isclose`` says."""
    return bool(isclose(input, other, rtol, atol, equal_nan)._a.all())


@public("torch", "Tensor")
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether both tensors have one shape and equal elements; NaN equals nothing."""
    _check_tensors("equal", input, other)
    return input._a.shape == other._a.shape and bool((input == other)._a.all())


__all__ = ["allclose", "bitwise_and", "bitwise_not", "eq", "equal", "ge", "gt",
           "isclose", "isfinite", "isinf", "isnan", "le", "logical_and", "logical_not",
           "logical_or", "lt", "ne", "signbit"]
