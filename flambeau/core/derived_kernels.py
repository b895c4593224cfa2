"""Pointwise operators on large arrays as one kernel, made of what their own forwards do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.backends import large, slices
from flambeau.core.op import Op

__all__ = ["computed"]

# Values of an operator's parameters for which kernels are made: they are constants there.
MOST_VALUES = 16

ndarray = np.ndarray
# Per operator the kernels of what it was called with.
_kernels: dict[Op, dict[tuple, Any]] = {}
# Operators whose forwards are no instructions, on operands of a dtype.
_unknown: set[tuple[Op, np.dtype]] = set()


def computed(
    op: Op, arrays: Sequence[Any], params: dict[str, Any], result: np.dtype | None = None,
    out: ndarray | None = None,
) -> ndarray | None:
    """``op`` on arrays of one dtype; None where they are small, or kernels do not compute it.

    ``result`` is the dtype of the result, where it is not that of the arrays. ``out``, where
    given, is what it is written into; it may be one of the arrays.
    """
    found = _by_kernel(op, arrays, params, result, out)
    return slices.run(op.forward, arrays, out) if found is None and not params else found


def _by_kernel(op: Op, arrays: Sequence[Any], params: dict[str, Any], result: np.dtype | None,
               out: ndarray | None) -> ndarray | None:
    """As `computed`, by a kernel made of instructions."""
    name = op.scalar or op.name
    if large.knows(name):
        # what it refuses is better computed otherwise
        return None if params else large.pointwise(name, *arrays, out=out)
    lead = large.lead_of(arrays)
    if lead is None or lead.size < large.MIN_ITEMS or hasattr(op.forward, "formula"):
        return None
    if op.result == "any" or (op, lead.dtype) in _unknown or large.load() is None:
        return None
    ins, layouts = [], []
    for x in arrays:
        array, layout = large.place(x, lead)
        if type(array) is not ndarray or array.dtype != lead.dtype:
            return None
        ins.append(array)
        layouts.append(layout)
    whole = large.walks_rows(layouts, lead)
    if not whole:
        layouts = ["array"] * len(ins)
    kernel = _kernel(op, lead.dtype, tuple(layouts), params, result or lead.dtype)
    if kernel is None:
        return None
    if not whole:
        return None if out is not None else large.anyhow(kernel.program, ins, kernel.outputs[0])
    return large.run(kernel, lead.shape, ins, out)


def _kernel(op: Op, held: np.dtype, layouts: tuple, params: dict[str, Any],
            result: np.dtype) -> Any:
    known = _kernels.setdefault(op, {})
    key = (held, layouts, result, *[(k, type(v), repr(v)) for k, v in params.items()])
    if key in known:
        return known[key]
    if len(known) >= MOST_VALUES:
        return None
    found = _made(op, held, layouts, params, result)
    if found is None:
        _unknown.add((op, held))
    else:
        known[key] = found
    return found


def _made(op: Op, held: np.dtype, layouts: tuple, params: dict[str, Any],
          result: np.dtype) -> Any:
    # with llvmlite, once kernels are there
    from flambeau.backends.llvm import calls
    from flambeau.backends.llvm.expressions import Builder
    from flambeau.core.formulas import KINDS, instructions_of

    kind = KINDS.get(held)
    if kind is None or not held.isnative:
        return None
    b = Builder()
    symbols = [b.input(kind, layout) for layout in layouts]
    found = instructions_of(op, symbols, held, result, params, b)
    return None if found is None else calls.pointwise_kernel(b.pointwise(found))
