"""The pointwise kind: broadcasting, promotion, and short entries for the common case.

An entry tries the case that nearly every call is (plain float32, float64 or int64 arrays of one
dtype, or an array with a Python number) and hands everything else to ``apply_pointwise``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.backends import large
from flambeau.base import dtypes
from flambeau.base.dtypes import FROM_NUMPY, dtype, get_default_dtype
from flambeau.base.shapes import broadcast
from flambeau.core.dispatch import TRANSFORMS, Number, finish, record, saved_hooks
from flambeau.core.modes import MODES
from flambeau.core.node import LEAF, next_sequence
from flambeau.core.op import Op
from flambeau.core.promote import NUMBERS, number_array, result_type
from flambeau.core.tensor import Tensor, new_tensor

__all__ = ["apply_pointwise", "binary_entry", "in_place_entry", "operator_fallback",
           "refuse_operand", "unary_entry"]

ndarray = np.ndarray
F32, F64, I64 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64)
LARGE = 1 << 15
_NUMBER_CACHE_LIMIT = 4096


def apply_pointwise(op: Op, operands: Sequence[Any], params: dict[str, Any] | None = None) -> Any:
    """A pointwise operator on tensors and Python numbers, by PyTorch's promotion rules."""
    params = params or {}
    for at, x in enumerate(operands):
        if isinstance(x, Tensor):
            if type(x._a) is not ndarray:
                return TRANSFORMS.process(op, operands, params)
        elif not isinstance(x, NUMBERS):
            raise refuse_operand(op, at, x)
    common = result_type(operands)
    if op.refuses:
        _check_kind(op, common)
    compute, result = computing_dtypes(op, common)
    arrays = [_operand(x, compute) for x in operands]
    try:
        out = op.forward(*arrays, **params)
    except ValueError:
        _check_broadcast(arrays)
        raise
    if type(out) is not ndarray:
        out = np.asarray(out)
    if result is not None and out.dtype != result:
        out = out.astype(result)
    tensors = [x if isinstance(x, Tensor) else Number(x) for x in operands]
    return finish(op, tensors, params, out)


def refuse_operand(op: Op, at: int, value: Any) -> TypeError:
    """The error for an operand that is neither a tensor nor a number."""
    return TypeError(f"{op.name}(): argument '{op.inputs[at]}' (position {at + 1}) must be "
                     f"Tensor, not {type(value).__name__}")


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


def _operand(x: Any, compute: np.dtype) -> ndarray:
    if isinstance(x, Tensor):
        a = x._a
        return a if a.dtype is compute else a.astype(compute)
    return number_array(x, compute)


def _check_broadcast(arrays: Sequence[ndarray]) -> None:
    shape: tuple[int, ...] = ()
    for a in arrays:
        shape = broadcast(shape, a.shape)


def _large(name: str, forward: Callable, *arrays: ndarray) -> ndarray:
    out = large.pointwise(name, *arrays)
    return forward(*arrays, out=...) if out is None else out


def unary_entry(op: Op, forward: Callable) -> Callable[[Tensor], Tensor]:
    """The short entry of a one-input operator whose ``forward`` takes ``out``, as ufuncs do."""
    name = op.scalar or op.name
    plan = op.sources
    saves_out = op.saves_out
    differentiable = op.differentiable
    assert all(s in (0, "out") for s in plan), "a short entry saves its input or its output"

    def entry(input: Tensor) -> Tensor:
        try:
            x = input._a
            d = x.dtype
        except AttributeError:
            raise refuse_operand(op, 0, input) from None
        if d is F32 or d is F64:
            r = forward(x, out=...) if x.size < LARGE else _large(name, forward, x)
        else:
            return apply_pointwise(op, (input,))
        t = new_tensor(Tensor)
        t._a = r
        t._v = None
        t._x = None
        edge = input._node
        if edge is None or not differentiable or not MODES.grad:
            t._node = None
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
                 fallback: Callable = apply_pointwise) -> Callable[..., Tensor]:
    """The short entry of a two-input operator whose ``forward`` takes ``out``, as ufuncs do.

    ``fallback(op, operands)`` takes every case that is not plain.
    """
    name = op.scalar or op.name
    differentiable = op.differentiable
    cached: dict[np.dtype, dict] = {F32: {}, F64: {}}
    plans = _binary_plans(op)
    integers = op.result in ("same", "bool") and "i" not in op.refuses

    def entry(input: Tensor, other: Any) -> Tensor:
        kind = type(other)
        try:
            x = input._a
            d = x.dtype
            if kind is float or kind is int:
                if d is F32 or d is F64:
                    y = cached[d].get(other)
                    if y is None:
                        y = _remember(cached[d], other, d)
                elif d is I64 and integers and kind is int:
                    y = number_array(other, d)
                else:
                    return fallback(op, (input, other))
                nb = None
            else:
                y = other._a
                if d is not y.dtype or not (d is F32 or d is F64 or (d is I64 and integers)):
                    return fallback(op, (input, other))
                nb = other._node
        except AttributeError:
            return fallback(op, (input, other))
        try:
            if x.size < LARGE and y.size < LARGE:
                r = forward(x, y, out=...)
            else:
                r = _large(name, forward, x, y)
        except ValueError:
            return fallback(op, (input, other))
        t = new_tensor(Tensor)
        t._a = r
        t._v = None
        t._x = None
        na = input._node
        if (na is None and nb is None) or not differentiable or not MODES.grad:
            t._node = None
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
            if not (d is F32 or d is F64) or MODES.grad and not _plain(self):
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


def _plain(t: Tensor) -> bool:
    """Whether neither ``t`` nor what it is a view of has a history to keep."""
    if t._node is not None:
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
        saved = (b, a)
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
    array = number_array(value, d)
    if value != 0 and value == value:
        if len(cache) >= _NUMBER_CACHE_LIMIT:
            cache.clear()
        array.flags.writeable = False
        cache[value] = array
    return array
