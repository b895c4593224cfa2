"""A compiled step: the checks that say whether it may run, and running it."""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from flambeau.backends import large
from flambeau.backends.conversions import copied, write
from flambeau.base.config import debug_level
from flambeau.base.device import CHOSEN
from flambeau.base.dtypes import get_default_dtype
from flambeau.base.pytree import TreeSpec, tree_flatten, tree_unflatten
from flambeau.base.settings import FILLING
from flambeau.compiler import stages
from flambeau.compiler.access import dense, overlapping
from flambeau.compiler.backward import Backward, split
from flambeau.compiler.graph import Graph, Value
from flambeau.compiler.history import Live, Spent, spent_like
from flambeau.compiler.interpreter import Interpreter, laid_out
from flambeau.compiler.live import Place, now, place_of, signature
from flambeau.compiler.simplify import simplified, trimmed
from flambeau.compiler.stand_ins import Capture, Memory
from flambeau.compiler.state import Entry, State, same_value
from flambeau.compiler.trace import Made, Read, Trace
from flambeau.compiler.views import seen_through, viewed
from flambeau.compiler.words import version_word
from flambeau.core.inplace import bump
from flambeau.core.modes import MODES
from flambeau.core.node import LEAF, Output
from flambeau.core.tensor import Tensor, new_tensor, wrap

__all__ = ["Mismatch", "Program", "environment", "expect_native", "has_no_hooks"]

ndarray = np.ndarray


def environment() -> tuple:
    """What of this thread's and the program's settings changes what operators do."""
    return (MODES.grad, MODES.inference, MODES.anomaly, MODES.lower, get_default_dtype(),
            tuple(CHOSEN), bool(FILLING))


class Mismatch(Exception):
    """Why a program does not fit a call."""


class Slot:
    """Where a captured tensor is found at a call, and what it must be like."""

    __slots__ = ("array", "capture", "dtype", "grad", "kind", "node", "shape", "source", "strides",
                 "tensor", "where")

    def __init__(self, capture: Capture, source: str, where: Any) -> None:
        a = capture.array
        self.capture = capture.at
        self.source = source
        self.where = where
        self.tensor = capture.tensor if source == "held" else None
        self.array = a if source == "held" else None
        self.shape, self.strides, self.dtype = a.shape, a.strides, a.dtype
        self.node = _node_kind(capture.node)
        self.kind = type(capture.tensor)
        self.grad: Any = ...

    def fits(self, t: Any) -> bool:
        """Whether a tensor is like the one of the trace."""
        if type(t) is not self.kind or _node_kind(t._node) != self.node:
            return False
        if self.source != "held" and self.node == 1 and not has_no_hooks(t):
            return False
        a = t._a
        return (type(a) is ndarray and a.shape == self.shape and a.strides == self.strides
                and a.dtype == self.dtype)


def has_no_hooks(t: Tensor) -> bool:
    """Whether no hooks are called with the gradient of a leaf."""
    return t._x is None or not (t._x.hooks or t._x.post_hooks)


def _node_kind(node: Any) -> int:
    return 0 if node is None else 1 if node is LEAF else 2


def _plain_spec(count: int) -> TreeSpec:
    """The nesting of a call's arguments where all are leaves and none comes by name."""
    return tree_flatten(((None,) * count, {}), lambda x: x is None)[1]


class Program:
    """One trace of a step, ready to run on calls that look like the one it was made from."""

    def __init__(self, trace: Trace, state: State, env: tuple, leaves: Sequence[Any],
                 spec: Any, places: Sequence[Place] = (), checks: Sequence[tuple] = ()) -> None:
        self.trace = trace
        self.places = list(places)
        self.checks = list(checks)
        self.lives = trace.lives
        self.print = signature(trace.graph)
        self.values = now(self.places, leaves)
        self.state = state
        # Where libraries have the numbers of their changes, those numbers, and what has none.
        self.versions = {at: ctypes.c_int64.from_address(at) for at in
                         [version_word(e.of) for e in state.entries] if at}
        self.seen = [v.value for v in self.versions.values()]
        self.looked = [e for e in state.entries if version_word(e.of) not in self.versions]
        self._place_lives()
        self.env = env
        self.spec = spec
        # Whether every argument is a leaf, given by its place.
        self.plain = spec == _plain_spec(len(leaves))
        self.constants = [None if isinstance(x, Tensor) else x for x in leaves]
        self.slots = self._find_slots(leaves)
        self.mutated = [m.captures[0].at for m in trace.written]
        self.fresh = _fresh_memories(trace)
        memories = list({id(m): m for m in (*trace.written, *self.fresh.values())}.values())
        self.targets = {id(m): i for i, m in enumerate(memories)}
        self.back: Backward | None = None
        stages.show_graph(stages.OPERATORS, trace.graph)
        kept = self._simplify(memories)
        stages.show_graph(stages.GRAPH, trace.graph)
        targets = [(m.value, m.captures[0].at if m.captures else -1, m.strides) for m in memories]
        targets += [(v, -1, dense_strides(v)) for v in kept]
        self.wanted = len(trace.captures) + len(self.lives), targets
        self.executor = _executor(trace.graph, *self.wanted, recomputes=True)
        stages.show_kernels(self.executor)
        self.lock = threading.Lock()
        self.stale = False
        # How many calls had results of other sizes.
        self.misfits = 0
        self.same = _same(leaves)
        self.order = sorted(range(len(self.slots)), key=lambda i: self.slots[i].source == "grad")
        firsts = {id(c.memory): c.memory.captures[0].at for c in trace.captures}
        self.groups = [firsts[id(c.memory)] for c in trace.captures]
        self.mutated_groups = {self.groups[at] for at in self.mutated}
        self.looks = [(type(x), _node_kind(x._node)) if isinstance(x, Tensor) else None
                      for x in leaves]
        self._let_go()
        self.fast: Callable[..., Any] | None = None
        self.gate: Any = None
        self.earlier = 0
        # What is told of another quick way.
        self.renewed: Callable[[], Callable[[], None] | None] = lambda: None
        self.open_gate()

    def open_gate(self) -> None:
        """Make the quick way anew: from what the checks expect now."""
        if not isinstance(self.executor, Interpreter):
            from flambeau.compiler.fast import fast_call  # loads llvmlite
            self.executor.settle()
            self.earlier = self.runs
            self.fast, self.gate = fast_call(self) or (None, None)

    def plan_anew(self) -> None:
        """Plan it anew, now that it is known which ways to compute its products are faster."""
        planned = _executor(self.trace.graph, *self.wanted)
        if isinstance(planned, Interpreter):
            return
        self.executor = planned
        self.open_gate()
        choose = self.renewed()
        if choose is not None:
            choose()

    @property
    def runs(self) -> int:
        """How often the quick way was taken."""
        return self.earlier + (0 if self.gate is None else self.gate.runs)

    def _place_lives(self) -> None:
        """Numbers that keep changing come in behind the tensors."""
        for node in self.trace.graph.nodes:
            if node.kind == "live":
                node.kind = "input"
                node.params = {"at": len(self.trace.captures) + node.params["at"]}
        marks = {p.mark for p in self.places}
        self.loose: set[tuple[int, int]] = set()
        for entry in self.state.entries if marks else ():
            for i in range(len(entry.held)):
                place = place_of(entry, i)
                if place is not None and place.mark in marks:
                    self.loose.add((id(entry), i))
        self.moving = {p.key for p in self.places if p.kind == "argument"}

    def _update_lives(self, leaves: Sequence[Any]) -> list[ndarray]:
        """The arrays of the numbers that keep changing, at this call."""
        values = now(self.places, leaves)
        if values is None:
            raise Mismatch("a number that changed before is of another class now")
        for left, right, compare, found in self.checks:
            if compare(left(values), right(values)) is not found:
                raise Mismatch("a comparison of a number that changed before has another outcome")
        return [np.asarray(expression(values), a.dtype) for expression, a in self.lives]

    def _simplify(self, memories: Sequence[Memory]) -> list[Value]:
        """Make the graph smaller, and part it where its gradients are a program of their own.

        Returns the values that the second part needs.
        """
        trace, ends = self.trace, self.trace.ends
        wanted = [_value_of(m) for m in memories]
        more = [] if ends is None else [v for _, v in (*ends.starts, *ends.ends) if v is not None]
        smaller = simplified(trace.graph, [*wanted, *more])
        for m in memories:
            m.value = smaller[_value_of(m)]
        kept: list[Value] = []
        trace.graph = smaller.graph
        if ends is not None:
            tangents = [smaller[v] for _, v in ends.starts]
            grads = [None if g is None else smaller[g] for _, g in ends.ends]
            written = {c.at for m in trace.written for c in m.captures}
            count = len(trace.captures)
            loose = {c.at for c in trace.captures}.difference(*ends.looked_at)
            parts = split(smaller.graph, count, tangents, [_value_of(m) for m in memories], grads,
                          written, loose)
            trace.graph, kept = parts.forward, parts.kept
            self.back = Backward(parts, ends, count, lambda graph, inputs, values: _executor(
                graph, inputs, [(v, -1, dense_strides(v)) for v in values]))
        trace.graph = trimmed(trace.graph, [*[_value_of(m) for m in memories], *kept])
        return kept

    def _let_go(self) -> None:
        """Keep no tensor of the traced call alive."""
        made = [*self.trace.outputs, *[g for _, g in self.trace.grads.values()]]
        made += [x.of for x in made if type(x) is Made and x.of is not None]
        for x in {id(x): x for x in made}.values():
            if type(x) is Made and not (x.edge is None or x.edge is LEAF):
                nr = None if self.back is None else self.back.number_of(x.edge)
                x.edge = spent_like(x.edge) if nr is None else Live(nr)
        self.trace.ends = None
        for capture in self.trace.captures:
            del capture.tensor, capture.node, capture.array, capture.handle
        for memory in {id(m): m for m in self._memories()}.values():
            memory.strides = memory.strides
            del memory.array, memory.before, memory.tracer

    def _memories(self) -> Iterator[Memory]:
        yield from [c.memory for c in self.trace.captures]
        for x in [*self.trace.outputs, *self.trace.moved.values(),
                  *[g for pair in self.trace.grads.values() for g in pair]]:
            if type(x) in (Made, Read):
                yield x.memory

    def _find_slots(self, leaves: Sequence[Any]) -> list[Slot]:
        args = {id(t): i for i, t in reversed(list(enumerate(leaves))) if isinstance(t, Tensor)}
        grads = {before.at: k for k, (before, _) in self.trace.grads.items()
                 if type(before) is Capture}
        slots = []
        for capture in self.trace.captures:
            if id(capture.tensor) in args:
                slot = Slot(capture, "arg", args[id(capture.tensor)])
            elif capture.at in grads:
                slot = Slot(capture, "grad", grads[capture.at])
            else:
                slot = Slot(capture, "held", None)
            if capture.at in self.trace.grads:
                slot.grad = self.trace.grads[capture.at][0] is None
            elif capture.tensor._x is None:
                slot.grad = True
            slots.append(slot)
        return slots

    # Whether it fits

    def bind(self, leaves: Sequence[Any], spec: Any) -> tuple[list[Tensor], list[ndarray]]:
        """The tensors of the slots and their arrays; raises Mismatch."""
        if self.env != environment():
            raise Mismatch("a setting (grad mode, default dtype ...) has changed")
        if spec != self.spec or len(leaves) != len(self.constants):
            raise Mismatch("the arguments are nested in another way")
        for i, (x, fixed) in enumerate(zip(leaves, self.constants)):
            if not isinstance(x, Tensor) and i not in self.moving and not same_value(fixed, x):
                raise Mismatch(f"argument {i} was {fixed!r} and is {x!r}")
        self.stale = False
        seen = [v.value for v in self.versions.values()]
        self._check_state(self.state.entries if seen != self.seen else self.looked)
        tensors: list[Any] = [None] * len(self.slots)
        arrays: list[Any] = [None] * len(self.slots)
        for at in self.order:
            t = self._find(self.slots[at], leaves, tensors)
            tensors[at], arrays[at] = t, t._a
        self._check_arguments(leaves, tensors)
        self._check_overlap(arrays)
        arrays += self._update_lives(leaves)
        patched, self.seen = seen != self.seen, seen
        if self.stale:
            self.open_gate()
        elif patched and self.gate is not None:
            self.gate.expect(seen)
        return tensors, arrays

    def _check_state(self, entries: Sequence[Entry]) -> None:
        """Raise where the program's state has changed; equal constants take the old one's place."""
        for entry in entries:
            if entry.holds():
                continue
            for i, old, new in entry.changes():
                if (id(entry), i) in self.loose and type(new) is float:
                    continue
                if not same_value(old, new):
                    raise Mismatch(f"{entry.place(i)} was {_short(old)} and is {_short(new)}")
            entry.held = tuple(entry.read(entry.owner, entry.key))
            self.stale = True

    def _find(self, slot: Slot, leaves: Sequence[Any], tensors: list[Any]) -> Tensor:
        if slot.source == "arg":
            t = leaves[slot.where]
        elif slot.source == "grad":
            meta = tensors[slot.where]._x
            t = None if meta is None else meta.grad
        else:
            t = slot.tensor
        if not slot.fits(t):
            raise Mismatch(f"a tensor has changed its shape, dtype or history: {slot.shape}")
        if slot.grad is not ...:
            meta = t._x
            if (meta is None or meta.grad is None) != slot.grad:
                raise Mismatch("a gradient is there that was not, or the other way round")
        return t

    def _check_arguments(self, leaves: Sequence[Any], tensors: list[Any]) -> None:
        """Arguments that the trace never read, and which arguments are one tensor."""
        for t, look in zip(leaves, self.looks):
            if look is not None and (type(t) is not look[0] or _node_kind(t._node) != look[1]):
                raise Mismatch("an argument has another class or history")
        if _same(leaves) != self.same:
            raise Mismatch("other arguments are one tensor")

    def _check_overlap(self, arrays: list[ndarray]) -> None:
        """What is written shares memory with nothing but what it shared it with in the trace."""
        own = {at: {c.at for c in self.trace.captures[at].memory.captures} for at in self.mutated}
        for at, others in own.items():
            start = arrays[at].__array_interface__["data"]
            if any([arrays[i].__array_interface__["data"] != start for i in others]):
                raise Mismatch("tensors no longer share their memory")
            if not arrays[at].flags.writeable:
                raise Mismatch("what is written is read-only now")
        for i, j in overlapping(arrays):
            if i in own and j not in own[i] or j in own and i not in own[j]:
                raise Mismatch("tensors share memory")

    # Running

    def run(self, tensors: list[Tensor], arrays: list[ndarray]) -> Any:
        """The step's result, once everything it changes is written."""
        marks = [(e, e.mark()) for e in self.trace.engines]
        with self.lock:
            try:
                result = self.executor.run(arrays)
            except BaseException:
                for engine, mark in marks:
                    engine.go_back(mark)
                raise
            return _Commit(self, tensors, arrays, result).result()


def _value_of(memory: Memory) -> Value:
    assert memory.value is not None
    return memory.value


def dense_strides(v: Value) -> tuple[int, ...]:
    """The strides of a value's array where it lies row by row."""
    return tuple([s * v.dtype.itemsize for s in dense(v.shape)])


def _executor(graph: Graph, inputs: int, targets: Sequence[tuple],
              recomputes: bool = False) -> Any:
    """What computes a graph: native code where there can be any, else NumPy.

    With ``recomputes`` nodes may be put into the graph that make values once more.
    """
    if not large.available():
        return Interpreter(graph, [value for value, _, _ in targets])
    expect_native()
    from flambeau.compiler.plan import Plan, Target  # loads llvmlite
    try:
        return Plan(graph, inputs, [Target(*t) for t in targets], recomputes)
    except (ValueError, RuntimeError, ArithmeticError, LookupError):
        # A kernel that cannot be made is no reason for the program to fail.
        if debug_level():
            raise
        return Interpreter(graph, [value for value, _, _ in targets])


@functools.cache
def expect_native() -> None:
    """Have ready, while other things are compiled, what every native program runs by."""
    from flambeau.backends.llvm import ahead  # loads llvmlite

    ahead.expect(_load_native)


def _load_native() -> None:
    # they load llvmlite
    from flambeau.backends.llvm import chores
    from flambeau.compiler.gate import native_step

    native_step()
    chores.run_table()
    for name in ("zero", "several", "sum_f32"):
        chores.chore(name)


def _same(leaves: Sequence[Any]) -> list[int]:
    """Per argument that is a tensor: the number of the first one that is this tensor."""
    seen: dict[int, int] = {}
    return [seen.setdefault(id(t), i) if isinstance(t, Tensor) else -1
            for i, t in enumerate(leaves)]


def _short(value: Any) -> str:
    shown = repr(value) if not isinstance(value, Tensor) else f"a tensor at {id(value):#x}"
    return shown if len(shown) < 60 else shown[:57] + "..."


def _fresh_memories(trace: Trace) -> dict[int, Memory]:
    """The memories that the step makes and something outside keeps."""
    found = {}
    for x in [*trace.outputs, *trace.moved.values(), *[g for _, g in trace.grads.values()]]:
        if type(x) is Read or type(x) is Made and not x.memory.captures:
            found[id(x.memory)] = x.memory
    return found


class _Commit:
    """What a run changes outside, and its result."""

    def __init__(self, program: Program, tensors: list[Tensor], arrays: list[ndarray],
                 computed: Any) -> None:
        self.program = program
        self.trace = program.trace
        self.tensors = tensors
        self.arrays = arrays
        self.computed = computed
        self.made: dict[int, Tensor] = {}
        self.seen: dict[tuple, tuple] = {}
        self.bases: dict[int, ndarray] = {}
        self.node: Any = None

    def result(self) -> Any:
        """Write, then build the outputs."""
        trace = self.trace
        # What is written alone can change nothing that is yet to be written.
        alone = len(trace.written) == 1
        finals = [self._final(m, alone) for m in trace.written]
        for memory in self.program.fresh.values():
            self._base(memory)
        kept = self._kept()
        for (target, new), memory in zip(finals, trace.written):
            if new is not None and not write(target, new):
                target[...] = new
            self._count(memory)
        if self.program.back is not None:
            used = self.program.back.used
            arrays = [a if at in used else None for at, a in enumerate(self.arrays)]
            self.node = self.program.back.node_type(self.tensors, arrays, kept)
        for at, moved in trace.moved.items():
            self.tensors[at]._a = self._array(moved)
        for at, (before, after) in trace.grads.items():
            t = self.tensors[at]
            if after is before:
                continue
            if after is not None or t._x is not None:
                t._meta().grad = None if after is None else self._tensor(after)
        assert trace.spec is not None
        return tree_unflatten([self._leaf(x) for x in trace.outputs], trace.spec)

    def _kept(self) -> list[ndarray]:
        """The values that going back will need, in memory of their own."""
        back = self.program.back
        found = []
        for i, v in enumerate(() if back is None else back.kept):
            new = self.computed.new(len(self.program.targets) + i)
            found.append(laid_out(self.computed.array(v), dense_strides(v), False)
                         if new is None else new)
        return found

    def _count(self, memory: Memory) -> None:
        seen: list[Any] = []
        for capture in memory.captures:
            t = self.tensors[capture.at]
            if t._v is None or not any(t._v is v for v in seen):
                for _ in range(memory.writes):
                    bump(t)
                seen.append(t._v)

    def _leaf(self, x: Any) -> Any:
        if type(x) is Read:
            return self._base(x.memory).item()
        return self._tensor(x) if type(x) in (Capture, Made) else x

    def _final(self, memory: Memory, alone: bool) -> tuple[ndarray, ndarray | None]:
        """The array of a written memory and what it shall hold, None where it does so already."""
        value, at = memory.value, memory.captures[0].at
        assert value is not None
        if self.computed.is_written(value, at):
            return self.arrays[at], None
        new = self.computed.array(value)
        shared = not alone and any([np.may_share_memory(new, a) for a in self.arrays])
        return self.arrays[at], copied(new) if shared else new

    def _base(self, memory: Memory) -> ndarray:
        """The array of a memory, new at every run."""
        found = self.bases.get(id(memory))
        if found is None:
            assert memory.value is not None
            found = self.computed.new(self.program.targets[id(memory)])
            if found is None:
                found = laid_out(self.computed.array(memory.value), memory.strides, False)
            self.bases[id(memory)] = found
        return found

    def _array(self, made: Made) -> ndarray:
        memory = made.memory
        a = self.arrays[memory.captures[0].at] if memory.captures else self._base(memory)
        return viewed(a, made.chain)

    def _tensor(self, x: Any) -> Tensor:
        if type(x) is Capture:
            return self.tensors[x.at]
        found = self.made.get(id(x))
        if found is None:
            found = self.made[id(x)] = self._make(x)
        return found

    def _make(self, x: Made) -> Tensor:
        if x.memory.captures and x.chain:
            return seen_through(self.tensors[x.memory.captures[0].at], x.chain, self.seen)
        if x.of is not None:
            return seen_through(self._tensor(x.of), x.chain, self.seen)
        array = self._array(x)
        t = wrap(array) if x.kind is Tensor else new_tensor(x.kind)
        if x.kind is not Tensor:
            t._a, t._v, t._x = array, None, None
        edge = x.edge
        if type(edge) is Live:
            t._node = Output(self.node, edge.nr)
            return t
        t._node = spent_like(edge) if isinstance(edge, (Spent, Output)) else edge
        return t


