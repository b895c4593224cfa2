"""Running a graph node by node with the operators' own NumPy kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.backends import large
from flambeau.backends.conversions import (
    HALVES,
    astype,
    copied,
    half_pointwise,
    write,
)
from flambeau.backends.memory_order import empty_in_order
from flambeau.compiler.graph import Graph, Node, Scalar, Value
from flambeau.core.dispatch import run_forward
from flambeau.core.op import Op
from flambeau.core.pointwise import LARGE, computing_dtypes
from flambeau.core.promote import number_array, result_type
from flambeau.core.tensor import Tensor, wrap

__all__ = ["Interpreter", "OtherSizes", "OutOfRange", "blank", "laid_out", "stand_for", "step_of"]

ndarray = np.ndarray
Step = Callable[[Any], None]


def stand_for(value: Value) -> Tensor:
    """A tensor of a value's shape and dtype that takes no memory."""
    return wrap(np.broadcast_to(np.zeros((), value.dtype), value.shape))


def blank(shape: tuple[int, ...], strides: tuple[int, ...], held: np.dtype) -> ndarray:
    """A new array whose dimensions lie in memory in the order that ``strides`` tell."""
    return empty_in_order(shape, held, _order_of(strides))


def _order_of(strides: tuple[int, ...]) -> list[int] | None:
    """The order in which dimensions of these strides lie in memory; None where it is their own."""
    own = list(range(len(strides)))
    order = sorted(own, key=lambda i: (-strides[i], i))
    return None if order == own else order


def laid_out(a: ndarray, strides: tuple[int, ...], own: bool) -> ndarray:
    """``a`` with these strides: itself where it has them and is ``own``, else a copy."""
    if own and a.flags.writeable and (
            a.strides == strides or a.size <= 1
            or all(s == t or n == 1 for s, t, n in zip(a.strides, strides, a.shape))):
        return a
    made = blank(a.shape, strides, a.dtype)
    # in the order of its memory
    order = sorted(range(a.ndim), key=lambda i: (-strides[i], i))
    if not write(made.transpose(order), a.transpose(order)):
        made[...] = a
    return made


class Interpreter:
    """A graph as a list of calls. ``run(arrays)`` takes the inputs, gives values by number."""

    def __init__(self, graph: Graph, wanted: Sequence[Value]) -> None:
        self.count = graph.count
        self.inputs: list[tuple[int, int]] = []
        self.steps: list[Step] = []
        keep = {v.number for v in wanted}
        last: dict[int, int] = {}
        for at, node in enumerate(graph.nodes):
            for v in node.values():
                last[v.number] = at
        dying: dict[int, list[int]] = {}
        for number, at in last.items():
            if number not in keep:
                dying.setdefault(at, []).append(number)
        for at, node in enumerate(graph.nodes):
            if node.kind == "input":
                self.inputs.append((node.outputs[0].number, node.params["at"]))
                continue
            self.steps.append(step_of(node))
            if at in dying:
                self.steps.append(_forget(dying[at]))

    def run(self, arrays: Sequence[ndarray]) -> PlainResult:
        """Compute the values that are wanted."""
        values: list = [None] * self.count
        for number, at in self.inputs:
            values[number] = arrays[at]
        for step in self.steps:
            step(values)
        return PlainResult(values)


class PlainResult:
    """What a run computed, nothing of it written yet."""

    def __init__(self, values: list) -> None:
        self.values = values

    def is_written(self, value: Value, input: int) -> bool:
        """Whether a value was computed in the array of an input: never."""
        return False

    def array(self, value: Value) -> ndarray:
        """The array of a value, which others may have too."""
        return self.values[value.number]

    def new(self, target: int) -> ndarray | None:
        """The new array of a target: there is none."""
        return None


def _forget(numbers: list[int]) -> Step:
    def step(values: list) -> None:
        for n in numbers:
            values[n] = None

    return step


def step_of(node: Node) -> Step:
    if node.kind == "const":
        return _constant(node)
    if node.kind == "draw":
        return _draw(node)
    if node.kind == "write":
        return _write(node)
    if node.kind == "check":
        return _check(node)
    if node.kind == "test":
        return _test(node)
    assert node.op is not None
    return _pointwise(node) if node.op.kind == "pointwise" else _general(node)


def _constant(node: Node) -> Step:
    number, array = node.outputs[0].number, node.params["array"]
    array.flags.writeable = False

    def step(values: list) -> None:
        values[number] = array

    return step


def _draw(node: Node) -> Step:
    out, draw = node.outputs[0], node.params["draw"]
    order = _order_of(out.strides)

    def step(values: list) -> None:
        array = empty_in_order(out.shape, out.dtype, order)
        draw(array)
        values[out.number] = array

    return step


def _write(node: Node) -> Step:
    base, new = (v.number for v in node.values())
    number, chain = node.outputs[0].number, node.params["chain"]

    def step(values: list) -> None:
        whole = copied(values[base])
        part = whole
        for op, params, nr in chain:
            part = op.forward(part, **params)
            part = part[nr] if op.multiple else part
        if not write(part, values[new]):
            part[...] = values[new]
        values[number] = whole

    return step


class OutOfRange(Exception):
    """A value is not what the step's graph was made for; eager mode says what is wrong."""


class OtherSizes(OutOfRange):
    """The values of tensors give a result of another size than the step's graph was made for."""


def _check(node: Node) -> Step:
    at = node.inputs[0].number
    low, high, ignored = (node.params[k] for k in ("low", "high", "ignored"))

    def step(values: list) -> None:
        a = values[at]
        wrong = (a < low) | (a >= high)
        if ignored is not None:
            wrong &= a != ignored
        if wrong.any():
            raise OutOfRange

    return step


def _test(node: Node) -> Step:
    at, fails = node.inputs[0].number, node.params["fails"]

    def step(values: list) -> None:
        if fails(values[at]):
            raise OutOfRange

    return step


def _general(node: Node) -> Step:
    op, params = node.op, node.params
    assert op is not None
    if op.name in _BY_LAYOUT:
        return _strided(node, op)
    at = [x.number if type(x) is Value else None for x in node.inputs]
    outs = [(v.number, v.shape) for v in node.outputs]

    def step(values: list) -> None:
        arrays = [None if n is None else values[n] for n in at]
        found = run_forward(op, arrays, params)
        for (n, shape), a in zip(outs, found if op.multiple else (found,)):
            if a.shape != shape:
                raise OtherSizes
            values[n] = a

    return step


# Views that depend on how their input lies, which need not be as it lay in the trace.
_BY_LAYOUT = frozenset(("as_strided", "view", "view_dtype"))


def _strided(node: Node, op: Op) -> Step:
    (x,), (out,), params = node.values(), node.outputs, node.params

    def step(values: list) -> None:
        a = values[x.number]
        if op.name == "view":
            values[out.number] = a.reshape(out.shape)
        else:
            values[out.number] = op.forward(laid_out(a, x.strides, True), **params)

    return step


def _pointwise(node: Node) -> Step:
    op, params = node.op, node.params
    assert op is not None
    operands = [stand_for(x) if type(x) is Value else x.value for x in node.inputs]
    common = result_type(operands)
    compute, result = computing_dtypes(op, common)
    numbers = [(x.number, None) if type(x) is Value else (-1, _number(x, compute))
               for x in node.inputs]
    out = node.outputs[0].number
    name = op.scalar or op.name if not params else ""
    forward = op.forward

    # Python numbers as they are, for a kernel that computes half types in float32.
    halves = None
    if name and common.np.name in HALVES:
        halves = [None if type(x) is Value else x.value for x in node.inputs]

    def step(values: list) -> None:
        arrays: list[Any] = [values[n] if n >= 0 else fixed for n, fixed in numbers]
        if halves is not None:
            found = half_pointwise(name, [a if x is None else x for a, x in zip(arrays, halves)])
            if found is not None:
                values[out] = found
                return
        arrays = [a if a.dtype == compute else astype(a, compute) for a in arrays]
        found = None
        if name and any([a.size >= LARGE for a in arrays]):
            found = large.pointwise(name, *arrays)
        if found is None:
            found = np.asarray(forward(*arrays, **params))
        values[out] = found if result is None or found.dtype == result else astype(
            found, result)

    return step


def _number(x: Scalar, compute: np.dtype) -> ndarray:
    return number_array(x.value, compute)
