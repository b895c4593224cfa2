"""Going back through a compiled step from outside: its gradients as a second program.

Where a step returns tensors that have a history, the trace goes on through that history with
gradients of the outputs as inputs. What the second part needs of the first is kept: values that
the first part writes to memory anyway, or that are dear; cheap elementwise ones are computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from flambeau.base.errors import told
from flambeau.compiler.access import is_view
from flambeau.compiler.elementwise import is_cheap
from flambeau.compiler.graph import Graph, Value
from flambeau.compiler.interpreter import blank, laid_out
from flambeau.compiler.simplify import trimmed
from flambeau.compiler.stand_ins import Traced
from flambeau.core import engine
from flambeau.core.dispatch import edge_of
from flambeau.core.modes import MODES
from flambeau.core.node import LEAF, TWICE, Output, changed_in_place, next_sequence
from flambeau.core.node import Node as History
from flambeau.core.tensor import Tensor, wrap

__all__ = ["Backward", "CompiledBackward", "Ends", "Split", "follow", "split"]

ndarray = np.ndarray
REPLACED = ("the data of a tensor that a compiled step used was replaced (x.data = ...) before "
            "backward(), which has to read what is there now")
DOUBLE = "torch.compile with aot_autograd does not currently support double backward"


class Ends:
    """Where a backward pass starts and ends: outputs with their gradients, inputs with theirs.

    ``starts`` has (the output's edge, its gradient as a value), ``ends`` (the capture that the
    gradient is for, the gradient or None).
    """

    def __init__(self) -> None:
        self.starts: list[tuple[Any, Value]] = []
        self.ends: list[tuple[int, Value | None]] = []
        # Per start: which captures and which nodes a backward pass from there would look at.
        self.looked_at: list[set[int]] = []
        self.met: list[frozenset[int]] = []
        # The captures that are saved themselves, so that their data of later is looked at.
        self.read_late: set[int] = set()


def follow(tracer: Any, outputs: Iterable[Tensor], first: int) -> Ends | None:
    """Go back from ``outputs`` while tracing; None where hooks would have to run."""
    ends = Ends()
    roots, seen = [], set()
    for t in outputs:
        edge = edge_of(t)
        key = (id(edge.node), edge.nr) if type(edge) is Output else id(edge)
        if key in seen:
            continue
        seen.add(key)
        seed = tracer.tangent(t._a.shape, np.dtype(t._a.dtype.type))
        roots.append((edge, seed))
        ends.starts.append((edge, tracer.value_of(seed._a)))
    wanted = _inputs_of(tracer, [edge for edge, _ in roots], first)
    if wanted is None:
        return None
    _note_saved(ends, tracer, [edge for edge, _ in roots])
    with _ending_at([edge for _, edge in wanted]):
        grads = engine.run(roots, False, True, [w for _, w in wanted], accumulate=False)
    for (at, _), g in zip(wanted, grads):
        ends.ends.append((at, None if g is None else tracer.value_of(g._a)))
    return ends


def _note_saved(ends: Ends, tracer: Any, edges: list) -> None:
    """Note what the histories behind each of ``edges`` save."""
    for start in edges:
        captures: set[int] = set()
        met: set[int] = set()
        stack, seen = [start], set()
        while stack:
            edge = stack.pop()
            node = edge.node if type(edge) is Output else edge
            if edge is None or isinstance(edge, Tensor) or id(node) in seen or (
                    node.seq < tracer.first):
                continue
            seen.add(id(node))
            stack += node.next
            op = getattr(node, "op", None)
            if node.saved and (op is None or op.saved_tensors):
                met.add(node.seq)
            ends.read_late |= _saved_themselves(op, node.saved)
            for x in _flat(node.saved):
                handle = x._a if isinstance(x, Tensor) else x
                if type(handle) is Traced:
                    captures.update([c.at for c in handle.memory.captures])
        ends.looked_at.append(captures)
        ends.met.append(frozenset(met))


def _saved_themselves(op: Any, saved: Any) -> set[int]:
    """The captures that an operator saves as they are, not as views of them."""
    found = set()
    for slot, x in zip(op.slots if op is not None and saved else (), saved or ()):
        if not isinstance(x, Tensor) or type(x._a) is not Traced:
            continue
        # A linear layer saves its transposed weight, and a matrix of rows for its input.
        if op.name != "linear" or slot != "weight" and x.ndim == 2:
            found.update([c.at for c in x._a.memory.captures if c.tensor is x])
    return found


def _flat(saved: Any) -> Iterator[Any]:
    if isinstance(saved, (tuple, list)):
        for x in saved:
            yield from _flat(x)
    else:
        yield saved


@contextmanager
def _ending_at(edges: Iterable[Any]) -> Iterator[None]:
    """No hooks and no history where the backward pass of the step ends.

    They have their turn when gradients arrive there.
    """
    before: list[tuple[Any, str, Any]] = []
    for edge in edges:
        holder: Any = edge._x if isinstance(edge, Tensor) else (
            edge.node if type(edge) is Output else edge)
        nothing = {"hooks": None} if isinstance(edge, Tensor) else {
            "tensor_hooks": None, "retained": None, "next": ()}
        for name, value in nothing.items():
            found = getattr(holder, name, None)
            if found:
                before.append((holder, name, found))
                setattr(holder, name, value)
    try:
        yield
    finally:
        for holder, name, value in reversed(before):
            setattr(holder, name, value)


def _inputs_of(tracer: Any, edges: list, first: int) -> list[tuple[int, Any]] | None:
    """The captures that histories lead to, each with its edge; None where there are hooks."""
    by_edge: dict[Any, int] = {}
    for capture in tracer.captures.values():
        if capture.node is LEAF:
            by_edge[id(capture.tensor)] = capture.at
        elif type(capture.node) is Output:
            by_edge[id(capture.node.node), capture.node.nr] = capture.at
        elif capture.node is not None:
            by_edge[id(capture.node)] = capture.at
    found: dict[int, Any] = {}
    stack, seen = list(edges), set()
    while stack:
        edge = stack.pop()
        if edge is None:
            continue
        key = (id(edge.node), edge.nr) if type(edge) is Output else id(edge)
        if key in by_edge:
            found[by_edge[key]] = edge
            continue
        node = edge.node if type(edge) is Output else edge
        if isinstance(edge, Tensor):
            continue
        if node.seq < first or node.hooked:
            return None
        if id(node) not in seen:
            seen.add(id(node))
            stack += node.next
    return sorted(found.items())


class Split:
    """A graph in two: the step itself, and what computes its gradients from ``kept`` values.

    The second graph's inputs are the step's, then the kept values, then the gradients.
    """

    def __init__(self, forward: Graph, kept: list[Value], back: Graph, grads: list) -> None:
        self.forward = forward
        self.kept = kept
        self.back = back
        self.grads = grads


def split(graph: Graph, inputs: int, tangents: Sequence[Value], outputs: Iterable[Value],
          grads: Sequence[Value | None], written: set[int], loose: set[int]) -> Split:
    """Part a simplified graph at the gradients of its outputs.

    ``written`` are the inputs that the step changes: what they held before has to be kept.
    ``loose`` are those that may be changed before going back: nothing is computed from them then.
    """
    late = _depending(graph, tangents)
    wanted = {v.number for v in outputs}
    stored = _stored(graph, late, wanted)
    kept: dict[int, Value] = {}
    again: set[int] = set()

    def need(v: Value) -> None:
        node = v.node
        if v.number in late or node.kind == "const" or v.number in kept or id(node) in again:
            return
        if node.kind == "input":
            if node.params["at"] in written or node.params["at"] in loose:
                kept[v.number] = v
        elif is_view(v) or is_cheap(node) and v.number not in stored and not any(
                [x.node.kind == "input" and x.node.params["at"] in loose
                 for x in node.values()]):
            again.add(id(node))
            for x in node.values():
                need(x)
        else:
            kept[v.number] = v

    for node in graph.nodes:
        if any([v.number in late for v in node.outputs]) and node.kind != "input":
            for x in node.values():
                need(x)
    for g in grads:
        if g is not None:
            need(g)
    back, found = _back_graph(graph, inputs, tangents, list(kept.values()), late, again)
    forward = Graph()
    forward.count = graph.count
    forward.nodes = [n for n in graph.nodes if not any([v.number in late for v in n.outputs])]
    return Split(forward, list(kept.values()), back,
                 [None if g is None else found[g.number] for g in grads])


def _depending(graph: Graph, tangents: Sequence[Value]) -> set[int]:
    late = {v.number for v in tangents}
    for node in graph.nodes:
        if any([x.number in late for x in node.values()]):
            late.update([v.number for v in node.outputs])
    return late


def _stored(graph: Graph, late: set[int], wanted: set[int]) -> set[int]:
    """The values that the step writes to memory whatever happens."""
    found = set(wanted)
    for node in graph.nodes:
        if any([v.number in late for v in node.outputs]):
            continue
        if not is_cheap(node) and not (node.op is not None and node.op.kind == "pointwise"):
            for x in node.values():
                found.add(x.number)
    return found


def _back_graph(graph: Graph, inputs: int, tangents: Sequence[Value], kept: list[Value],
                late: set[int], again: set[int]) -> tuple[Graph, dict[int, Value]]:
    back = Graph()
    found: dict[int, Value] = {}
    laid = [blank(v.shape, v.strides, v.dtype) for v in kept]
    for at, (v, like) in enumerate(zip((*kept, *tangents), (*laid, *tangents))):
        found[v.number] = back.add("input", None, (), {"at": inputs + at}, (like,)).outputs[0]
    for node in graph.nodes:
        is_late = any([v.number in late for v in node.outputs])
        if node.kind == "input" and node.outputs[0].number in found:
            continue
        if not (is_late or id(node) in again or node.kind in ("input", "const")):
            continue
        operands = [found[x.number] if type(x) is Value else x for x in node.inputs]
        made = back.add(node.kind, node.op, operands, node.params, node.outputs)
        for old, new in zip(node.outputs, made.outputs):
            found[old.number] = new
    return back, found


class Backward:
    """The second program of a step, and what it is given.

    ``executor(graph, inputs, values)`` makes what runs a graph.
    """

    def __init__(self, parts: Split, ends: Ends, inputs: int, executor: Callable) -> None:
        self.kept = parts.kept
        # How the second program expects what is kept row by row.
        self.strides = [blank(v.shape, v.strides, v.dtype).strides for v in parts.kept]
        self.looked_at, self.met = ends.looked_at, ends.met
        self.read_late = ends.read_late
        self.all_met = frozenset().union(*self.met)
        self.ends = [at for at, _ in ends.ends]
        self.grads = parts.grads
        self.shapes = [(v.shape, v.dtype) for _, v in ends.starts]
        self.keys = [(id(e.node), e.nr) if type(e) is Output else id(e) for e, _ in ends.starts]
        names = {type(e.node if type(e) is Output else e).__name__ for e, _ in ends.starts}
        name = names.pop() if len(names) == 1 else "CompiledFunctionBackward"
        self.node_type = type(name, (CompiledBackward,), {"program": self})
        self.read = {n.params["at"] for n in parts.back.nodes
                     if n.kind == "input" and n.params["at"] < inputs
                     and any([n.outputs[0] in m.inputs for m in parts.back.nodes])}
        self.used = sorted(self.read | self.read_late)
        wanted = [g for g in self.grads if g is not None]
        self.first = inputs + len(self.kept)
        self.count = self.first + len(self.shapes)
        self.make = executor
        self.graph = trimmed(parts.back, wanted)
        # As the graph is before it is made into kernels.
        self.nodes = list(self.graph.nodes)
        self.executor = executor(self.graph, self.count, wanted)
        self.variants = {(True,) * len(self.shapes): (self.executor, self.grads)}

    def number_of(self, edge: Any) -> int | None:
        """Which output of the node an edge of the trace was."""
        key = (id(edge.node), edge.nr) if type(edge) is Output else id(edge)
        return self.keys.index(key) if key in self.keys else None

    def variant(self, there: tuple[bool, ...]) -> tuple[Any, list[Value | None]]:
        """What runs where only some outputs have a gradient, and the gradients that it gives."""
        if there not in self.variants:
            graph, grads = self._without(there)
            wanted = [g for g in grads if g is not None]
            self.variants[there] = (self.make(trimmed(graph, wanted), self.count, wanted), grads)
        return self.variants[there]

    def _without(self, there: tuple[bool, ...]) -> tuple[Graph, list[Value | None]]:
        """The graph where some gradients that come in are missing; so are those they lead to."""
        made = Graph()
        found: dict[int, Value] = {}
        late: set[int] = set()
        missing: set[int] = set()
        for node in self.nodes:
            late_inputs = [x for x in node.values() if x.number in late]
            numbers = [v.number for v in node.outputs]
            at = node.params["at"] - self.first if node.kind == "input" else -1
            if late_inputs or at >= 0:
                late.update(numbers)
            if at >= 0 and not there[at] or late_inputs and all(
                    [x.number in missing for x in late_inputs]):
                missing.update(numbers)
                continue
            operands = [x if type(x) is not Value else found[x.number] if x.number not in missing
                        else made.add("const", None, (), {"array": np.zeros(x.shape, x.dtype)},
                                      (x,)).outputs[0] for x in node.inputs]
            new = made.add(node.kind, node.op, operands, node.params, node.outputs)
            found.update(zip(numbers, new.outputs))
        return made, [None if g is None or g.number in missing else found[g.number]
                      for g in self.grads]


class CompiledBackward(History):
    """The history of what a compiled step returned."""

    program: Any = None
    # An output without a gradient takes no part in going back.
    materialize = False

    def __init__(self, tensors: Sequence[Tensor], arrays: Sequence[ndarray],
                 kept: Sequence[ndarray]) -> None:
        program = self.program
        self.next = tuple([edge_of(tensors[at]) for at in program.ends])
        self.saved = (tuple(arrays), tuple(kept))
        self.inputs = [(at, tensors[at], _version(tensors[at])) for at in program.used]
        self.seq = next_sequence()
        self.outputs = program.shapes
        # The step's own nodes that the last backward pass met, and that are freed.
        self.met: frozenset[int] = frozenset()
        self.spent: frozenset[int] = frozenset()

    def release(self) -> None:
        self.spent |= self.met
        # Results whose history saves nothing may be gone back from again.
        if self.spent >= self.program.all_met and all(self.program.met):
            self.inputs = []
            super().release()

    def run(self, grads: Any) -> list[Tensor | None]:
        program = self.program
        there = tuple([g is not None for g in grads])
        self.met = frozenset().union(*[m for m, g in zip(program.met, there) if g])
        if self.met & self.spent:
            raise RuntimeError(told(TWICE, "twice"))
        if MODES.grad:
            raise RuntimeError(DOUBLE)
        looked_at = set().union(*[c for c, g in zip(program.looked_at, there) if g])
        for at, t, version in self.inputs:
            if at in program.read & looked_at and _version(t) != version:
                raise changed_in_place(t, self, _version(t), version)
            replaced = type(t._a) is ndarray and t._a is not self.saved[0][at]
            if replaced and at in looked_at and at in program.read_late:
                raise RuntimeError(told(REPLACED, "compile_data"))
        executor, wanted = program.variant(there)
        return self._run(executor, wanted, grads)

    def _run(self, executor: Any, wanted: Sequence[Value | None], grads: Any
             ) -> list[Tensor | None]:
        arrays, kept = self.saved
        program = self.program
        seeds = [_dense(g, shape, held) for g, (shape, held) in zip(grads, program.shapes)]
        kept = [laid_out(a, strides, True) for a, strides in zip(kept, program.strides)]
        result = executor.run([*arrays, *kept, *seeds])
        found: list[Tensor | None] = []
        at = 0
        for g in wanted:
            if g is None:
                found.append(None)
                continue
            array = result.new(at)
            if array is None:
                array = laid_out(result.array(g), _strides(g), False)
            found.append(wrap(array))
            at += 1
        return found


def _version(t: Tensor) -> int:
    return 0 if t._v is None else t._v[0]


def _strides(v: Value) -> tuple[int, ...]:
    return np.empty(v.shape, v.dtype).strides if v.size < 1 << 20 else tuple(
        [int(s) for s in np.cumprod((v.dtype.itemsize, *v.shape[:0:-1]))[::-1]])


def _dense(g: Any, shape: tuple[int, ...], held: np.dtype) -> ndarray:
    if g is None:
        return np.zeros(shape, held)
    a = g._a
    if type(a) is Traced:
        # The trace has noted that it went back to before the step.
        a = a.array
    if type(a) is not ndarray:
        raise RuntimeError("the gradient of a compiled step stands in for an array")
    return a if a.flags.c_contiguous else a.copy("C")


