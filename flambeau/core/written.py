"""Pointwise operators on large floats that are computed straight into a tensor's memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flambeau.backends import fused, large
from flambeau.core.derived_kernels import computed
from flambeau.core.inplace import bump
from flambeau.core.modes import MODES
from flambeau.core.node import InferenceVersion
from flambeau.core.op import Op
from flambeau.core.pointwise import is_plain
from flambeau.core.promote import number_array
from flambeau.core.tensor import Tensor

__all__ = ["written"]

ndarray = np.ndarray
F32, F64, BOOL = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.bool_)
COMPLEX = (np.dtype(np.complex64), np.dtype(np.complex128))
NOTHING: dict[str, Any] = {}
_NUMBERS = {"f": (float, int), "c": (float, int, complex)}


def written(op: Op | None, out: Any, operands: Sequence[Any],
            params: Mapping[str, Any] = NOTHING) -> bool:
    """Whether ``op`` on the operands was written into ``out``, by one kernel.

    It is where they are large dense arrays of one floating or complex dtype and numbers, and
    nothing is recorded; ``out`` may be an operand. Where it is not, nothing is changed.
    """
    if op is None or op.kind != "pointwise" or not isinstance(out, Tensor):
        return False
    a = out._a
    if type(a) is not ndarray or a.size < large.MIN_ITEMS or type(out._v) is InferenceVersion:
        return False
    if MODES.grad and not is_plain(out):
        return False
    arrays = _arrays(op, operands)
    if arrays is None or a.dtype is not (BOOL if op.result == "bool" else arrays[0].dtype):
        return False
    formula = getattr(op.forward, "formula", None)
    if formula is not None:
        found = fused.pointwise(formula, arrays, params, out=a)
    else:
        found = computed(op, arrays, dict(params), a.dtype, a)
    if found is None:
        return False
    bump(out)
    return True


def _arrays(op: Op, operands: Sequence[Any]) -> list[ndarray] | None:
    """The operands as arrays of one floating or complex dtype; None where they are anything else.
    """
    dtype = next((x._a.dtype for x in operands if isinstance(x, Tensor)), None)
    refused = "f" if dtype is F32 or dtype is F64 else "c"
    if dtype is None or refused == "c" and dtype not in COMPLEX:
        return None
    if refused in op.refuses or op.result == "any":
        return None
    found = []
    for x in operands:
        if isinstance(x, Tensor):
            a = x._a
            if type(a) is not ndarray or a.dtype is not dtype or MODES.grad and x._node is not None:
                return None
        elif type(x) in _NUMBERS[refused] and op.numbers == "any":
            a = number_array(x, dtype)
        else:
            return None
        found.append(a)
    return found if len(found) == len(op.inputs) else None
