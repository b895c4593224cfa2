"""Elementwise nodes: what they compute in, which instructions they are, which of them are alike."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from flambeau.backends.llvm.expressions import Builder
from flambeau.base.dtypes import dtype, get_default_dtype
from flambeau.compiler.graph import Node, Scalar, Value
from flambeau.core.formulas import FLOATING, STORED, instructions_of
from flambeau.core.pointwise import computing_dtypes
from flambeau.core.promote import result_type
from flambeau.core.tensor import wrap

__all__ = ["has_instructions", "is_cheap", "likeness_of", "steps_of"]

# How many answers are remembered.
MOST_KNOWN = 1 << 12
# Operators that are cheaper read from memory than computed again.
_DEAR = frozenset(
    "exp expm1 log log1p tanh sigmoid erf pow sqrt rsqrt silu mish elu softplus sin cos".split())
_ATOMS = (bool, int, float, complex, str, type(None))

# Per likeness what nodes compute in, and whether kernels have instructions for them.
_DTYPES: dict[Hashable, np.dtype] = {}
_HAVE: dict[Hashable, bool] = {}


def likeness_of(node: Node) -> Hashable | None:
    """What the instructions of a node depend on, beside the symbols that they are given.

    Nodes with equal likenesses become equal instructions; None where that cannot be told.
    """
    if node.likeness is None:
        node.likeness = _likeness(node)
    return node.likeness


def _likeness(node: Node) -> Hashable | None:
    operands: list[Hashable] = []
    for x in node.inputs:
        if type(x) is Value:
            operands.append((x.dtype, x.shape == ()))
        elif type(x) is Scalar:
            operands.append((type(x.value), repr(x.value)))
        else:
            operands.append(None)
    params = _settled(tuple(node.params.items()))
    if params is None:
        return None
    outs = tuple([v.dtype for v in node.outputs])
    return node.op, tuple(operands), params, outs, get_default_dtype()


def _settled(value: Any) -> Hashable | None:
    """A parameter as something that is equal where the parameter does the same."""
    kind = type(value)
    if kind in _ATOMS:
        # 0.0 and -0.0 are equal, and True is 1
        return kind.__name__, repr(value)
    if kind in (tuple, list):
        parts = [_settled(v) for v in value]
        return None if None in parts else (kind.__name__, *parts)
    return value if isinstance(value, (dtype, np.dtype)) else None


def is_cheap(node: Node) -> bool:
    """Whether a node is elementwise, and no slower than reading its result."""
    op = node.op
    return op is not None and (op.kind == "pointwise" or op.name == "to_dtype") and (
        op.name not in _DEAR)


def has_instructions(node: Node) -> bool:
    """Whether kernels have instructions for what an elementwise node does."""
    key = likeness_of(node)
    found = None if key is None else _HAVE.get(key)
    if found is None:
        found = _try(node)
        if key is not None:
            _remember(_HAVE, key, found)
    return found


def _remember(known: dict[Hashable, Any], key: Hashable, value: Any) -> None:
    if len(known) >= MOST_KNOWN:
        known.clear()
    known[key] = value


def _try(node: Node) -> bool:
    b = Builder()
    symbols: list[Any] = []
    for x in node.inputs:
        if type(x) is Value:
            if x.dtype not in STORED:
                return False
            symbols.append(b.input(STORED[x.dtype]))
        elif type(x) is Scalar:
            symbols.append(x.value)
        else:
            return False
    try:
        found = steps_of(node, symbols, b)
        return found is not None and b.pointwise(found) is not None
    except ValueError:
        return False


def steps_of(node: Node, symbols: Sequence[Any], b: Builder) -> Any:
    """The result of an elementwise node on symbols and numbers, as steps of ``b``; or None."""
    out = node.outputs[0].dtype
    assert node.op is not None
    if node.op.name == "to_dtype":
        kind, have = STORED.get(out), symbols[0].kind
        if kind is None or have in FLOATING and kind in ("i32", "i64"):
            return None
        return symbols[0].cast(kind)
    return instructions_of(node.op, symbols, _computing(node), out, node.params, b)


def _computing(node: Node) -> np.dtype:
    """What a pointwise node computes in."""
    assert node.op is not None
    key = likeness_of(node)
    found = None if key is None else _DTYPES.get(key)
    if found is None:
        operands = [_stand_for(x) if type(x) is Value else x.value for x in node.inputs]
        found = computing_dtypes(node.op, result_type(operands))[0]
        if key is not None:
            _remember(_DTYPES, key, found)
    return found


def _stand_for(x: Value) -> Any:
    """A tensor that promotes as the value does: its dtype counts, and whether it has dimensions."""
    return wrap(np.zeros((1,) * min(len(x.shape), 1), x.dtype))
