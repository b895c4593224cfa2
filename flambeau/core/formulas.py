"""Scalar instructions of pointwise operators, from their own forwards.

An operator's forward is a Python function on NumPy arrays. Given symbols instead of arrays it
writes down the instructions that a kernel needs; one that does more than arithmetic raises, and
stays with NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from flambeau.backends.llvm.expressions import Builder, Symbol
from flambeau.backends.llvm.program import INSTRUCTIONS, LIMITED, SINGLE
from flambeau.core.op import Op
from flambeau.core.promote import number_array

__all__ = ["KINDS", "DTYPES", "FLOATING", "STORED", "instructions_of"]

KINDS: dict[np.dtype, str] = {
    np.dtype(np.float32): "f32", np.dtype(np.float64): "f64", np.dtype(np.int32): "i32",
    np.dtype(np.int64): "i64", np.dtype(np.bool_): "bool"}
DTYPES: dict[str, np.dtype] = {kind: held for held, kind in KINDS.items()}
# With what kernels read and write, but do not compute in.
STORED: dict[np.dtype, str] = {
    **KINDS, np.dtype(np.float16): "f16", np.dtype(ml_dtypes.bfloat16): "bf16"}
FLOATING = ("f32", "f64", "f16", "bf16")
_UFUNCS = {
    "add": "add", "subtract": "sub", "multiply": "mul", "divide": "div", "true_divide": "div",
    "negative": "neg", "absolute": "abs", "fabs": "abs", "square": "square",
    "maximum": "maximum", "minimum": "minimum", "sqrt": "sqrt", "reciprocal": "reciprocal",
    "floor": "floor", "ceil": "ceil", "trunc": "trunc", "rint": "round", "exp": "exp",
    "expm1": "expm1", "log": "log", "log1p": "log1p", "tanh": "tanh", "power": "pow",
    "copysign": "copysign", "equal": "eq", "not_equal": "ne", "less": "lt", "less_equal": "le",
    "greater": "gt", "greater_equal": "ge"}
_LOGICAL = {"logical_and": "logical_and", "logical_or": "logical_or", "bitwise_and": "logical_and",
            "bitwise_or": "logical_or"}
_NOT = frozenset(("logical_not", "invert", "bitwise_not"))


_FILLS: dict[Any, Any] = {np.full_like: None, np.zeros_like: 0, np.ones_like: 1}


class Unknown(Exception):
    """The forward does something that kernels have no instruction for."""


def instructions_of(op: Op, operands: Sequence[Any], compute: np.dtype, result: np.dtype,
                    params: dict[str, Any], b: Builder) -> Symbol | None:
    """The result of ``op`` on symbols and Python numbers, as steps of ``b``; None if unknown.

    ``compute`` is the dtype that the operands are brought to, ``result`` the result's.
    """
    kind, wanted = KINDS.get(compute), STORED.get(result)
    if kind is None or wanted is None:
        return None
    try:
        symbols = [_brought(b, x, kind) for x in operands]
        found = _direct(op, symbols, params, b)
        formula = getattr(op.forward, "formula", None)
        if found is None and formula is not None and kind in ("f32", "f64"):
            found = _symbol_of(formula(b.on, *symbols, **params), b, kind)
        elif found is None:
            given = [_Array(b, s) if isinstance(x, Symbol) else number_array(x, compute)
                     for x, s in zip(operands, symbols)]
            found = _symbol_of(op.forward(*given, **params), b, kind)
        return _converted(found, wanted)
    except (Unknown, TypeError, AttributeError, ValueError, NotImplementedError):
        return None


def _brought(b: Builder, x: Any, kind: str) -> Symbol:
    if isinstance(x, Symbol):
        return _converted(x, kind)
    if kind in ("i32", "i64") and not isinstance(x, (bool, int)):
        raise Unknown
    return b.lift(x, kind)


def _converted(x: Symbol, kind: str) -> Symbol:
    if x.kind == kind:
        return x
    if x.kind in FLOATING and kind in ("i32", "i64"):
        raise Unknown
    return x.cast(kind)


def _direct(op: Op, symbols: list[Symbol], params: dict[str, Any], b: Builder) -> Symbol | None:
    """The instruction that is named as the operator, where there is one."""
    name = op.scalar or op.name
    if name == "where" and not params:
        return _chosen(b, *symbols)
    signature = INSTRUCTIONS.get(name)
    if params or signature is None or signature.arity != len(symbols) or name == "select":
        return None
    kind = symbols[0].kind
    if signature.domain == "bool":
        symbols = [_converted(s, "bool") for s in symbols]
    elif kind == "bool" or signature.domain == "float" and kind not in ("f32", "f64"):
        return None
    return _checked(b, name, symbols)


def _chosen(b: Builder, mask: Symbol, yes: Symbol, no: Symbol) -> Symbol:
    mask = _converted(mask, "bool")
    if yes.kind == "bool":
        return (mask & yes) | (~mask & no)
    return b.on.where(mask, yes, no)


def _checked(b: Builder, name: str, symbols: Sequence[Symbol]) -> Symbol:
    # these hold for small arguments only, or not in float64
    if name in LIMITED or name in SINGLE and symbols[0].kind != "f32":
        raise Unknown
    return b.step(name, *symbols)


def _symbol_of(x: Any, b: Builder, kind: str) -> Symbol:
    if isinstance(x, Symbol):
        return x
    if isinstance(x, _Array):
        return x.symbol
    if isinstance(x, (bool, int, float, np.generic, np.ndarray)) and np.ndim(x) == 0:
        return b.lift(_number(x), kind)
    raise Unknown


def _number(x: Any) -> Any:
    return x.item() if isinstance(x, (np.generic, np.ndarray)) else x


class _Array(NDArrayOperatorsMixin):
    """What a forward takes for an array: NumPy's functions on it append instructions."""

    __hash__ = None  # type: ignore[assignment]
    # As of one element: forwards ask how large an array is.
    shape, ndim, size = (), 0, 1

    def __init__(self, b: Builder, symbol: Symbol) -> None:
        self.b = b
        self.symbol = symbol

    @property
    def dtype(self) -> np.dtype:
        return DTYPES[self.symbol.kind]

    def astype(self, held: Any, **kwargs: Any) -> _Array:
        kind = KINDS.get(np.dtype(held))
        if kind is None:
            raise Unknown
        return _Array(self.b, _converted(self.symbol, kind))

    def copy(self) -> _Array:
        return _Array(self.b, self.symbol)

    def __bool__(self) -> bool:
        raise Unknown

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise Unknown

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.pop("out", None)
        if method != "__call__" or kwargs.keys() - {"where", "casting", "dtype"} or kwargs:
            raise Unknown
        found = _ufunc(self.b, ufunc.__name__, [_operand(self.b, x) for x in inputs])
        if isinstance(out, tuple) and isinstance(out[0], _Array):
            out[0].symbol = _converted(found, out[0].symbol.kind)
            return out[0]
        return _Array(self.b, found)

    def __array_function__(self, function: Callable, types: Any, args: tuple,
                           kwargs: dict[str, Any]) -> Any:
        if function is np.where and len(args) == 3 and not kwargs:
            symbols = _common(self.b, [_operand(self.b, x) for x in args[1:]])
            mask = _operand(self.b, args[0])
            if not isinstance(mask, Symbol):
                raise Unknown
            return _Array(self.b, _chosen(self.b, mask, *symbols))
        if function is np.clip and len(args) == 3 and not kwargs.keys() - {"out"}:
            x = _operand(self.b, args[0])
            for bound, name in zip(args[1:], ("maximum", "minimum")):
                if bound is not None:
                    x = _ufunc(self.b, name, [x, _operand(self.b, bound)])
            return _Array(self.b, x)
        if function in _FILLS and args and isinstance(args[0], _Array) and not kwargs:
            value = args[1] if function is np.full_like else _FILLS[function]
            return _Array(self.b, self.b.lift(_number(value), self.symbol.kind))
        raise Unknown


def _operand(b: Builder, x: Any) -> Any:
    if isinstance(x, _Array):
        return x.symbol
    if isinstance(x, (bool, int, float)):
        return x
    if isinstance(x, (np.generic, np.ndarray)) and x.ndim == 0 and x.dtype in KINDS:
        kind = KINDS[x.dtype]
        return b.make("const", (), kind, x.item())
    raise Unknown


def _common(b: Builder, operands: Sequence[Any]) -> list[Symbol]:
    """Operands as symbols of one kind, by NumPy's promotion."""
    held = np.result_type(*[DTYPES[x.kind] if isinstance(x, Symbol) else x for x in operands])
    kind = KINDS.get(held)
    if kind is None:
        raise Unknown
    return [_converted(x, kind) if isinstance(x, Symbol) else b.lift(x, kind) for x in operands]


def _ufunc(b: Builder, name: str, operands: list[Any]) -> Symbol:
    if name in _NOT or name in _LOGICAL:
        symbols = _common(b, operands)
        if symbols[0].kind != "bool":
            if not name.startswith("logical"):
                raise Unknown
            symbols = [_converted(s, "bool") for s in symbols]
        return b.step("logical_not" if name in _NOT else _LOGICAL[name], *symbols)
    if name in _SELECTS:
        return _SELECTS[name](b, *_common(b, operands))
    if name in ("isnan", "isfinite", "isinf", "sign", "signbit"):
        return _test(b, name, operands[0])
    if name not in _UFUNCS:
        raise Unknown
    symbols = _common(b, operands)
    signature = INSTRUCTIONS[_UFUNCS[name]]
    if symbols[0].kind == "bool":
        raise Unknown
    if signature.domain == "float" and symbols[0].kind not in ("f32", "f64"):
        if _UFUNCS[name] != "div":
            raise Unknown
        symbols = [_converted(s, "f64") for s in symbols]
    if _UFUNCS[name] == "pow" and isinstance(operands[1], (int, float)) and operands[1] == 2:
        return b.step("square", symbols[0])
    return _checked(b, _UFUNCS[name], symbols)


def _present(step: str) -> Callable[..., Symbol]:
    """The larger or smaller of two, the other one where one is NaN."""

    def emit(b: Builder, x: Symbol, y: Symbol) -> Symbol:
        if x.kind not in ("f32", "f64"):
            return b.step(step, x, y)
        missing = [b.step("ne", v, v) for v in (x, y)]
        return b.on.where(missing[0], y, b.on.where(missing[1], x, b.step(step, x, y)))

    return emit


def _log_add_exp(b: Builder, x: Symbol, y: Symbol) -> Symbol:
    if x.kind not in ("f32", "f64"):
        raise Unknown
    below = b.step("exp", -b.step("abs", x - y))
    usual = b.step("maximum", x, y) + b.step("log1p", below)
    return b.on.where(b.step("eq", x, y), x + math.log(2), usual)


def _log_add_exp2(b: Builder, x: Symbol, y: Symbol) -> Symbol:
    if x.kind not in ("f32", "f64"):
        raise Unknown
    below = b.step("exp2", -b.step("abs", x - y))
    usual = b.step("maximum", x, y) + b.step("log1p", below) * (1 / math.log(2))
    return b.on.where(b.step("eq", x, y), x + 1, usual)


def _hypot(b: Builder, x: Symbol, y: Symbol) -> Symbol:
    if x.kind != "f32":
        raise Unknown
    # squares of float32 numbers are exact in float64, and none overflows
    wide = [v.cast("f64") for v in (x, y)]
    root = b.step("sqrt", wide[0] * wide[0] + wide[1] * wide[1]).cast("f32")
    inf = b.lift(math.inf, x.kind)
    endless = b.step("eq", b.step("abs", x), inf) | b.step("eq", b.step("abs", y), inf)
    return b.on.where(endless, inf, root)


def _exclusive(b: Builder, x: Symbol, y: Symbol) -> Symbol:
    if x.kind != "bool":
        raise Unknown
    return (x | y) & ~(x & y)


def _differ_in_truth(b: Builder, x: Symbol, y: Symbol) -> Symbol:
    return _exclusive(b, _converted(x, "bool"), _converted(y, "bool"))


_SELECTS: dict[str, Callable[..., Symbol]] = {
    "fmax": _present("maximum"), "fmin": _present("minimum"), "logaddexp": _log_add_exp,
    "logaddexp2": _log_add_exp2, "hypot": _hypot,
    "logical_xor": _differ_in_truth, "bitwise_xor": _exclusive}


def _test(b: Builder, name: str, x: Symbol) -> Symbol:
    if x.kind not in ("f32", "f64"):
        raise Unknown
    if name == "isnan":
        return b.step("ne", x, x)
    if name == "sign":
        return b.on.sign(x)
    if name == "signbit":
        return b.step("lt", b.step("copysign", b.lift(1.0, x.kind), x), b.lift(0.0, x.kind))
    inf = b.lift(float("inf"), x.kind)
    return b.step("eq" if name == "isinf" else "lt", b.step("abs", x), inf)
