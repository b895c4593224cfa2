"""Backward on arrays: where nothing is recorded, formulas run without tensors around them.

`array_runner(op)` makes the function that does it for the nodes of one operator: what its formulas
name is known when it is declared, so nothing is looked up per call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.backends import fused
from flambeau.core.node import OpNode
from flambeau.core.promote import number_array

__all__ = ["array_runner"]

ndarray = np.ndarray
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
LARGE = fused.MIN_ITEMS
Runner = Callable[[Any, ndarray], Sequence | None]


class Unfit(Exception):
    """A saved value is not so plain: the formulas need tensors."""


def array_runner(op: Any) -> Runner:
    """``run(node, g)``: the gradients for the node's inputs as arrays, or None.

    None where the operator's formulas need tensors, and where something saved is not a plain
    array of the gradient's dtype or was changed since it was saved.
    """
    formulas: tuple[Any, ...] = op.formulas
    if op.array_formulas is None:
        if not op.bare:
            return _never
    else:
        formulas = tuple([a if a or not f else (_unfit, ())
                          for a, f in zip(op.array_formulas, formulas)])
    picks = tuple([(k, pick) for k in range(len(op.slots)) if (pick := _pick(op, k))])
    if op.joint is not None:
        return _joint_runner(op.joint, op.joint_picks, picks)
    if op.kind == "pointwise" and op.array_formulas is None:
        formulas = tuple([(_large_first(f[0]), f[1]) if f and f[1] else f for f in formulas])
    if len(formulas) == 1:
        formula, slots = formulas[0]
        return _one_runner(formula, slots, picks)
    return _each_runner(formulas, picks)


def _large_first(formula: Callable) -> Callable:
    """The formula as one kernel where the gradient is large; of arrays and numbers."""
    def run(g: ndarray, *values: Any) -> Any:
        if g.size >= LARGE:
            found = fused.pointwise(formula, (g, *values), on=False)
            if found is not None:
                return found
        return formula(g, *values)

    return run


def _never(node: Any, g: ndarray) -> None:
    return None


def _pick(op: Any, k: int) -> Callable | None:
    """How the slot's value becomes what a formula may have; None where it is so already."""
    source = op.sources[k]
    if op.slots[k] == "out":
        return _output
    if type(source) is int:
        return _operand if op.kind == "pointwise" else _input
    return None if source != "inputs" else _refuse


def _unfit(g: ndarray) -> Any:
    raise Unfit


def _refuse(node: Any, at: int, value: Any, d: np.dtype) -> Any:
    raise Unfit


def _output(node: Any, at: int, value: Any, d: np.dtype) -> Any:
    version = node.out_version
    if type(value) is not ndarray or value.dtype is not d or version[0] != node.out_at:
        raise Unfit
    return value


def _input(node: Any, at: int, value: Any, d: np.dtype) -> Any:
    if value is None:
        return None
    try:
        a, version = value._a, value._v
    except AttributeError:
        raise Unfit from None
    if version is not None and version[0] != (node.versions[at] if node.versions else 0):
        raise Unfit
    if a.dtype is not d and (type(a) is not ndarray or a.dtype.kind not in "ib"):
        raise Unfit
    return a


def _operand(node: Any, at: int, value: Any, d: np.dtype) -> Any:
    kind = type(value)
    if kind is float or kind is int:
        return _NUMBERS[d].get(value) or _remember(value, d)
    a = _input(node, at, value, d)
    return a if a is None or a.dtype is d else a.astype(d)


_NUMBERS: dict[np.dtype, dict] = {F32: {}, F64: {}}
_LIMIT = 4096


def _remember(value: float, d: np.dtype) -> ndarray:
    """The number as an array: one is quicker to compute with. Zeros are not kept (-0.0 == 0.0)."""
    array = number_array(value, d)
    array.flags.writeable = False
    if value:
        kept = _NUMBERS[d]
        if len(kept) >= _LIMIT:
            kept.clear()
        kept[value] = array
    return array


def _values(node: Any, picks: tuple, d: np.dtype) -> list | None:
    """What was saved, as arrays of dtype ``d`` and numbers."""
    values = [*node.saved]
    if not values:
        return None  # they were freed
    try:
        for at, pick in picks:
            value = values[at]
            if value is not None:
                values[at] = pick(node, at, value, d)
    except Unfit:
        return None
    return values


def _array(r: Any) -> Any:
    return r if r is None or type(r) is ndarray else np.asarray(r)


def _one_runner(formula: Callable, slots: tuple, picks: tuple) -> Runner:
    if not slots:
        def bare(node: Any, g: ndarray) -> Sequence | None:
            d = g.dtype
            return (_array(formula(g)),) if d is F32 or d is F64 else None
        return bare

    def run(node: Any, g: ndarray) -> Sequence | None:
        d = g.dtype
        if d is not F32 and d is not F64:
            return None
        values: Any = _values(node, picks, d) if picks else node.saved
        if values is None:
            return None
        r = formula(g, *[values[k] for k in slots])
        return (r if type(r) is ndarray else np.asarray(r),)

    return run


def _each_runner(formulas: tuple, picks: tuple) -> Runner:
    def run(node: Any, g: ndarray) -> Sequence | None:
        d = g.dtype
        if d is not F32 and d is not F64:
            return None
        values: Any = _values(node, picks, d) if picks else node.saved
        if values is None:
            return None
        grads: list = []
        try:
            for edge, formula in zip(node.next, formulas):
                if edge is None or formula is None:
                    grads.append(None)
                    continue
                slots = formula[1]
                if len(slots) == 1:
                    r = formula[0](g, values[slots[0]])
                else:
                    r = formula[0](g, *[values[k] for k in slots])
                grads.append(r if type(r) is ndarray else np.asarray(r))
        except Unfit:
            return None
        return grads

    return run


def _joint_runner(joint: Callable, slots: tuple, picks: tuple) -> Runner:
    def run(node: Any, g: ndarray) -> Sequence | None:
        d = g.dtype
        if d is not F32 and d is not F64:
            return None
        values: Any = _values(node, picks, d) if picks else node.saved
        if values is None:
            return None
        needs = tuple([e is not None for e in node.next])
        return [_array(r) for r in joint(g, *[needs if k < 0 else values[k] for k in slots])]

    return run


OpNode.array_runner = staticmethod(array_runner)  # type: ignore[method-assign]
