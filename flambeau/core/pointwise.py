"""The pointwise kind: broadcasting, promotion, and short entries for the common case.

An entry tries the case that nearly every call is (plain float32, float64 or int64 arrays of one
dtype, or an array with a Python number) and hands everything else to ``apply_pointwise``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.backends import large, memory
from flambeau.backends.conversions import astype, half_pointwise, in_rows, laid
from flambeau.backends.passing import is_brief
from flambeau.base import dtypes
from flambeau.base.dtypes import dtype, get_default_dtype
from flambeau.base.errors import told
from flambeau.base.shapes import broadcast
from flambeau.core.derived_kernels import computed
from flambeau.core.dispatch import TRANSFORMS, Number, finish, record, saved_hooks
from flambeau.core.modes import INFERENCE, MODES
from flambeau.core.node import LEAF, InferenceVersion, next_sequence
from flambeau.core.op import Op
from flambeau.core.promote import NUMBERS, number_array, result_type
from flambeau.core.tensor import Tensor, mark_inference, new_tensor
from flambeau.core.unsigned import UNSIGNED, refuse_unsigned

__all__ = ["apply_pointwise", "binary_entry", "constant", "in_place_entry", "is_plain",
           "operator_fallback", "refuse_operand", "short_entry", "unary_entry"]

ndarray = np.ndarray
F32, F64, I64 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64)
BOOL = np.dtype(np.bool_)
LARGE = 1 << 15
# What NumPy rounds as kernels do.
EXACT = frozenset(("add", "div", "mul", "neg", "sqrt", "sub"))
_NUMBER_CACHE_LIMIT = 4096
_ZEROS = {(d, sign): np.array(sign * 0.0, d) for d in (F32, F64) for sign in (1.0, -1.0)}
for _zero in _ZEROS.values():
    _zero.flags.writeable = False


def apply_pointwise(op: Op, operands: Sequence[Any], params: dict[str, Any] | None = None) -> Any:
    """A pointwise operator on tensors and Python numbers, by PyTorch's promotion rules."""
    params = params or {}
    if op.rounds_numbers:
        operands = _rounded(operands)
    for at, x in enumerate(operands):
        if isinstance(x, Tensor):
            if type(x._a) is not ndarray:
                return TRANSFORMS.process(op, operands, params)
        elif not isinstance(x, NUMBERS):
            raise refuse_operand(op, at, x)
    if op.numbers != "any":
        _check_numbers(op, operands)
    common = result_type(operands)
    if op.refuses:
        _check_kind(op, common)
    if common in UNSIGNED:
        refuse_unsigned(op.name, common)
    compute, result = computing_dtypes(op, common)
    half = common.is_floating_point and common.itemsize == 2
    out = _half(op, operands, params) if half else None
    if out is not None:
        return finish(op, [x if isinstance(x, Tensor) else Number(x) for x in operands], {}, out)
    arrays = [_operand(x, compute) for x in operands]
    try:
        out = _computed(op, arrays, params, result)
        if out is None:
            out = op.forward(*arrays, **params)
    except ValueError:
        _check_broadcast(arrays, operands)
        raise
    if type(out) is not ndarray:
        out = np.asarray(out)
    if result is not None and out.dtype != result:
        out = astype(out, result)
    out = in_rows(out) if op.in_rows else laid(out, arrays)
    tensors = [x if isinstance(x, Tensor) else Number(x) for x in operands]
    return finish(op, tensors, params, out)


def _rounded(operands: Sequence[Any]) -> Sequence[Any]:
    """The operands, with floats in the precision of the half type that is computed in."""
    if not any([isinstance(x, Tensor) and x._a.dtype.itemsize == 2 for x in operands]) or (
            not any([isinstance(x, float) for x in operands])):
        return operands
    common = result_type(operands)
    if not common.is_floating_point or common.itemsize > 2:
        return operands
    return [float(common.np.type(x)) if isinstance(x, float) else x for x in operands]


def refuse_operand(op: Op, at: int, value: Any) -> TypeError:
    """The error for an operand that is neither a tensor nor a number."""
    return TypeError(f"{op.name}(): argument '{op.inputs[at]}' (position {at + 1}) must be "
                     f"Tensor, not {type(value).__name__}")


def _check_numbers(op: Op, operands: Sequence[Any]) -> None:
    """Raise where a Python number stands for what must be a tensor."""
    at = [i for i, x in enumerate(operands) if not isinstance(x, Tensor)]
    if not at:
        return
    if op.numbers == "none":
        raise refuse_operand(op, at[0], operands[at[0]])
    if len(at) == len(operands) or op.numbers == "second" and at[0] == 0:
        got = ", ".join([type(x).__name__ for x in operands])
        raise TypeError(f"{op.name}() received an invalid combination of arguments - got ({got}), "
                        f"but expected one of:\n * (Tensor {op.inputs[0]}, Tensor "
                        f"{op.inputs[1]})\n * (Tensor {op.inputs[0]}, Number {op.inputs[1]})")


def _check_kind(op: Op, common: dtype) -> None:
    """Raise where the operator is not defined for operands of this kind."""
    error = op.refuses.get("bifc"[common.category])
    if isinstance(error, str):
        raise NotImplementedError(f"\"{error}\" not implemented for '{common.title}'")
    if error is not None:
        raise type(error)(*error.args)


def computing_dtypes(op: Op, common: dtype) -> tuple[np.dtype, np.dtype | None]:
    """The NumPy dtypes an operator computes in and gives, for operands of a common dtype."""
    rule = op.result
    if rule == "float" and common.category < dtypes.FLOAT:
        common = get_default_dtype()
    if rule == "bool":
        return common.compute, dtypes.bool_.np
    if rule == "real":
        return common.compute, common.to_real().np
    if rule == "any":
        return common.compute, None
    return common.compute, common.np


def _half(op: Op, operands: Sequence[Any], params: dict[str, Any]) -> ndarray | None:
    """The result of one kernel, where large arrays are of a half type."""
    arrays = [x._a if isinstance(x, Tensor) else x for x in operands]
    if params or not any(type(a) is ndarray and a.size >= LARGE for a in arrays):
        return None
    return half_pointwise(op.scalar or op.name, arrays)


def _operand(x: Any, compute: np.dtype) -> ndarray:
    if isinstance(x, Tensor):
        a = x._a
        return a if a.dtype is compute else astype(a, compute)
    return number_array(x, compute)


def _check_broadcast(arrays: Sequence[ndarray], operands: Sequence[Any]) -> None:
    shape: tuple[int, ...] = ()
    for a in arrays:
        try:
            shape = broadcast(shape, a.shape)
        except RuntimeError as error:
            raise RuntimeError(told(str(error), "broadcast", operands)) from None


def _computed(op: Op, arrays: Sequence[Any], params: dict[str, Any],
              result: np.dtype | None) -> ndarray | None:
    """What a kernel computes that is made of the operator's forward, for large arrays."""
    for a in arrays:
        if type(a) is ndarray and a.size >= LARGE:
            if is_brief(a) and _is_exact(op, arrays):
                out = memory.empty(np.broadcast_shapes(*[x.shape for x in arrays]), a.dtype)
                return op.forward(*arrays, out=out)
            return computed(op, arrays, params, result)
    return None


def _is_exact(op: Op, arrays: Sequence[Any]) -> bool:
    """Whether NumPy computes just what a kernel does, on arrays that lie row by row."""
    return op.name in EXACT and type(op.forward) is np.ufunc and all(
        [type(a) is ndarray and a.dtype is arrays[0].dtype and a.dtype in (F32, F64)
         and a.flags.c_contiguous for a in arrays])


def _large(op: Op, forward: Callable, *arrays: ndarray) -> ndarray:
    out = computed(op, arrays, {}, BOOL if op.result == "bool" else None)
    return laid(forward(*arrays, out=...), arrays) if out is None else out


def unary_entry(op: Op, forward: Callable) -> Callable[[Tensor], Tensor]:
    """The short entry of a one-input operator whose ``forward`` takes ``out``, as ufuncs do."""
    plan = op.sources
    saves_out = op.saves_out
    differentiable = op.differentiable
    f32, f64, i64, truth = _quick_dtypes(op)
    assert all(s in (0, "out") for s in plan), "a short entry saves its input or its output"

    def entry(input: Tensor) -> Tensor:
        try:
            x = input._a
            d = x.dtype
        except AttributeError:
            raise refuse_operand(op, 0, input) from None
        if d is f32 or d is f64 or d is i64 or d is truth:
            r = forward(x, out=...) if x.size < LARGE else _large(op, forward, x)
        else:
            return apply_pointwise(op, (input,))
        t = new_tensor(Tensor)
        t._a = r
        t._v = None
        t._x = None
        edge = input._node
        if edge is None or not differentiable or not MODES.grad:
            t._node = None
            if INFERENCE:
                mark_inference(t)
            return t
        if saved_hooks or MODES.anomaly:
            record(op, (input,), {}, t)
            return t
        node = op.node_type()
        node.next = (input if edge is LEAF else edge,)
        if plan:
            version = input._v
            if version is not None:
                node.versions = (version[0],) * len(plan)
            if saves_out:
                t._v = node.out_version = [0]
            node.saved = tuple([r if s == "out" else input for s in plan])
        node.seq = next_sequence()
        node.shape = r.shape
        node.dtype = r.dtype
        t._node = node
        return t

    return entry


def operator_fallback(op: Op, operands: Sequence[Any]) -> Any:
    """As ``apply_pointwise``, but NotImplemented for what is no operand, as Python's operators."""
    other = operands[1]
    if isinstance(other, ndarray):
        other = Tensor._from_array(other)  # type: ignore[attr-defined]
    elif not isinstance(other, (Tensor, *NUMBERS)):
        return NotImplemented
    return apply_pointwise(op, (operands[0], other))


def binary_entry(op: Op, forward: Callable,
                 fallback: Callable = apply_pointwise,
                 integers: bool = True) -> Callable[..., Tensor]:
    """The short entry of a two-input operator whose ``forward`` takes ``out``, as ufuncs do.

    ``fallback(op, operands)`` takes every case that is not plain, integers among them where
    not ``integers``.
    """
    differentiable = op.differentiable
    cached: dict[np.dtype, dict] = {F32: {}, F64: {}, I64: {}}
    plans = _binary_plans(op)
    f32, f64, i64, truth = _quick_dtypes(op)
    i64 = i64 if integers else None
    real, whole = (None, None) if op.numbers == "none" else (float, int)

    def entry(input: Tensor, other: Any) -> Tensor:
        kind = type(other)
        try:
            x = input._a
            d: Any = x.dtype
            if kind is real or kind is whole:
                if not (d is f32 or d is f64 or d is i64 and kind is whole):
                    return fallback(op, (input, other))
                known = cached[d]  # type: ignore[index]
                y = known.get(other)
                if y is None:
                    y = _remember(known, other, d)  # type: ignore[arg-type]
                nb = None
            else:
                y = other._a
                if d is not y.dtype:
                    x, y = floats(x, y)
                    if x is None or f32 is None:
                        return fallback(op, (input, other))
                elif not (d is f32 or d is f64 or d is i64 or d is truth):
                    return fallback(op, (input, other))
                nb = other._node
        except AttributeError:
            return fallback(op, (input, other))
        try:
            # what is small broadcast with what is small may be large
            if x.size * y.size < LARGE or x.size < LARGE and x.shape == y.shape:
                r = forward(x, y, out=...)
                if x.ndim > 1 and not x.flags.c_contiguous:
                    r = laid(r, (x, y))
            else:
                r = _large(op, forward, x, y)
        except ValueError:
            return fallback(op, (input, other))
        t = new_tensor(Tensor)
        t._a = r
        t._v = None
        t._x = None
        na = input._node
        if (na is None and nb is None) or not differentiable or not MODES.grad:
            t._node = None
            if INFERENCE:
                mark_inference(t)
            return t
        if saved_hooks or MODES.anomaly:
            record(op, (input, other if nb is not None or kind is not float and kind is not int
                        else Number(other)), {}, t)
            return t
        node = op.node_type()
        node.next = (input if na is LEAF else na, other if nb is LEAF else nb)
        plan = plans[(na is not None) + 2 * (nb is not None)]
        if plan:
            _save_binary(node, plan, input, other, t)
        node.seq = next_sequence()
        node.shape = r.shape
        node.dtype = r.dtype
        t._node = node
        return t

    return entry


def _quick_dtypes(op: Op) -> tuple:
    """The dtypes that a short entry takes, None for those it does not: F32, F64, I64, BOOL."""
    whole = op.result in ("same", "bool")
    real = "f" not in op.refuses
    return (F32 if real else None, F64 if real else None,
            I64 if whole and "i" not in op.refuses else None,
            BOOL if whole and "b" not in op.refuses else None)


def floats(x: Any, y: Any) -> tuple:
    """A floating array and an int64 array as two floating ones; a pair of None for others."""
    if x.dtype is I64 and (y.dtype is F32 or y.dtype is F64):
        return x.astype(y.dtype), y
    if y.dtype is I64 and (x.dtype is F32 or x.dtype is F64):
        return x, y.astype(x.dtype)
    return None, None


def constant(value: float, like: Tensor) -> Any:
    """``value`` as a tensor that a short entry takes beside ``like``; else ``value`` itself."""
    d = like._a.dtype
    if not (d is F32 or d is F64):
        return value
    t = new_tensor(Tensor)
    t._a = number_array(value, d)
    t._node = t._v = t._x = None
    return t


def short_entry(op: Op, forward: Callable) -> Callable[[Sequence, dict], Any]:
    """The short entry for any number of operands and parameters: ``entry(operands, params)``."""
    cached: dict[np.dtype, dict] = {F32: {}, F64: {}}

    def entry(operands: Sequence[Any], params: dict[str, Any]) -> Any:
        d = None
        arrays: list[Any] = []
        tensors: list[Any] = []
        try:
            for x in operands:
                if type(x) is float or type(x) is int:
                    arrays.append(x)
                    tensors.append(Number(x))
                    continue
                a = x._a
                if d is None:
                    d = a.dtype
                elif a.dtype is not d:
                    return apply_pointwise(op, operands, params)
                arrays.append(a)
                tensors.append(x)
        except AttributeError:
            return apply_pointwise(op, operands, params)
        if not (d is F32 or d is F64) or op.numbers != "any" and len(operands) > 1:
            return apply_pointwise(op, operands, params)
        for at, a in enumerate(arrays):
            if type(a) is not ndarray:
                found = cached[d].get(a)
                arrays[at] = _remember(cached[d], a, d) if found is None else found
        try:
            out = _computed(op, arrays, params, BOOL if op.result == "bool" else None)
            if out is None:
                out = forward(*arrays, **params)
        except ValueError:
            return apply_pointwise(op, operands, params)
        if type(out) is not ndarray:
            out = np.asarray(out)
        return finish(op, tensors, params, laid(out, arrays))

    return entry


def in_place_entry(op: Op, forward: Callable, fallback: Callable) -> Callable[..., Tensor]:
    """The short entry of a two-input operator's in-place form, for what needs no history.

    ``forward`` is a ufunc and writes straight into the tensor; ``fallback(self, other)`` takes
    every case that is not plain.
    """
    name = op.scalar or op.name
    cached: dict[np.dtype, dict] = {F32: {}, F64: {}}

    def twin(self: Tensor, other: Any) -> Tensor:
        kind = type(other)
        try:
            x = self._a
            d = x.dtype
            if not (d is F32 or d is F64) or MODES.grad and not is_plain(self):
                return fallback(self, other)
            if kind is float or kind is int:
                y = cached[d].get(other)
                if y is None:
                    y = _remember(cached[d], other, d)
            else:
                y = other._a
                if d is not y.dtype or MODES.grad and other._node is not None:
                    return fallback(self, other)
        except AttributeError:
            return fallback(self, other)
        if x.size < LARGE or large.pointwise(name, x, y, out=x) is None:
            try:
                forward(x, y, out=x)
            except ValueError:
                return fallback(self, other)
        version = self._v
        if version is None:
            self._v = [1]
        else:
            version[0] += 1
        return self

    return twin


def is_plain(t: Tensor) -> bool:
    """Whether neither ``t`` nor what it is a view of has a history to keep."""
    if t._node is not None or type(t._v) is InferenceVersion:
        return False
    meta = t._x
    return meta is None or meta.base is None or meta.base._node is None


def _binary_plans(op: Op) -> list[tuple]:
    """Per combination of inputs that need gradients, what fills each slot: 0, 1, "out", None."""
    plans = []
    for mask in range(4):
        edges = (mask & 1 or None, mask & 2 or None)
        needed = op.needed_slots(edges)
        plans.append(tuple([s if k in needed else None for k, s in enumerate(op.sources)]))
    return plans


def _save_binary(node: Any, plan: tuple, a: Tensor, b: Any, t: Tensor) -> None:
    if plan == (1, 0):
        saved: tuple = (b, a)
    else:
        saved = tuple([a if s == 0 else b if s == 1 else t._a if s == "out" else None
                       for s in plan])
    if a._v is not None or getattr(b, "_v", None) is not None:
        pairs = [a._v if s == 0 else getattr(b, "_v", None) if s == 1 else None for s in plan]
        node.versions = tuple([0 if v is None else v[0] for v in pairs])
    if "out" in plan:
        t._v = node.out_version = [0]
    node.saved = saved


def _remember(cache: dict, value: float, d: np.dtype) -> ndarray:
    if value == 0 and d is not I64:
        return _ZEROS[d, math.copysign(1, value)]  # 0.0 and -0.0 are one key of a dict
    array = number_array(value, d)
    if value == value:
        if len(cache) >= _NUMBER_CACHE_LIMIT:
            cache.clear()
        array.flags.writeable = False
        cache[value] = array
    return array
