"""Tracing a step: it runs as it always would, and what operators do is noted as a graph.

While a tracer runs in a thread, every array that the thread reads from a tensor is a `Traced`
stand-in: tensors from outside are captured when first read, new ones stand for what made them.
Each operator computes on the real arrays and adds its node, so a traced call gives what an eager
call gives.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from flambeau.backends.conversions import copied
from flambeau.backends.memory import is_owner
from flambeau.backends.mt19937 import Engine
from flambeau.base.dtypes import FROM_NUMPY
from flambeau.base.errors import call_site, place_in, user_frame
from flambeau.compiler.blanks import ValuesNeeded, blank_of, keeps_going
from flambeau.compiler.expansions import expansion_of
from flambeau.compiler.graph import Graph, Scalar, Value
from flambeau.compiler.live import LiveFloat, settled
from flambeau.compiler.live_index import LiveIndex
from flambeau.compiler.repeats import Rows, are_alike, repeat
from flambeau.compiler.returns import goes_to_result
from flambeau.compiler.stand_ins import Capture, Memory, Traced
from flambeau.compiler.watch import get_array, plain_tensor, set_array
from flambeau.core import dispatch, engine
from flambeau.core.dispatch import Number, apply, finish, record
from flambeau.core.inplace import check_writeable
from flambeau.core.modes import MODES
from flambeau.core.node import LEAF, Output, next_sequence
from flambeau.core.op import OPS, Op
from flambeau.core.pointwise import apply_pointwise, computing_dtypes
from flambeau.core.printing import tensor_str
from flambeau.core.promote import result_type
from flambeau.core.tensor import Meta, Tensor

__all__ = ["Break", "Tracer"]

ndarray = np.ndarray


class Break:
    """Why a step is not one graph: what was met, the line that met it, and where in ``body``."""

    def __init__(self, key: str, body: Any, facts: dict[str, Any]) -> None:
        self.key = key
        self.facts = facts
        frame = user_frame()
        self.site = call_site(frame)
        self.place = place_in(frame, body)


class Tracer:
    """One traced call of a step."""

    def __init__(self) -> None:
        self.graph = Graph()
        # History with lower numbers is from before the step.
        self.first = next_sequence()
        self.paused = 0
        # Whether what runs are the parts of an operator whose result is there already.
        self.in_parts = False
        self.captures: dict[int, Capture] = {}
        self.memories: dict[tuple, Memory] = {}
        self.made: list[weakref.ref[Tensor]] = []
        self.grads: dict[int, tuple[Meta, Any]] = {}
        self.breaks: list[Break] = []
        self.checked: set[tuple] = set()
        self.tangents = 0
        # The code of the step's own function, and the numbers that go from tensors to its result.
        self.code: Any = None
        # The code whose statements are told apart where the step is not one graph.
        self.body: Any = None
        self.reads: list[tuple[float, Memory]] = []
        self.lives: list[tuple[Any, ndarray]] = []
        # By number, integers that keep changing as index tensors.
        self.indices: dict[int, Tensor] = {}
        self.engines: dict[int, tuple[Any, Any]] = {}
        # By id, of results that are views of others that the step made: which.
        self.bases: dict[int, Tensor] = {}

    # What is read

    def breaks_at(self, key: str, **facts: Any) -> None:
        """Note that the step is not one graph, and why."""
        self.breaks.append(Break(key, self.body, facts))

    def breaks_at_read(self) -> None:
        """Note that the values of a tensor are read."""
        self.breaks_at("read")

    def goes_back(self, task: Any) -> None:
        """Note where a backward pass leaves the step: what lies before is no part of the graph."""
        if task.wanted is not None:
            nodes = engine.leading_to(task.heap, task.wanted)
        else:
            nodes = engine.behind(task.heap)
        if any([node.seq < self.first for node in nodes]):
            self.breaks_at("outside")

    def hooks(self, owner: Any) -> None:
        """Note a hook on a tensor or node, where it is from before the step: it stays."""
        # What gathers the gradient of a leaf is the leaf's.
        owner = getattr(owner, "variable", owner)
        if isinstance(owner, Tensor):
            node = owner._node.node if type(owner._node) is Output else owner._node
            own = any([ref() is owner for ref in self.made]) if node is LEAF else (
                node.seq >= self.first)
        else:
            own = owner.seq >= self.first
        if not own:
            self.breaks_at("hook")

    def capture(self, t: Tensor, a: ndarray) -> Traced:
        """The stand-in for a tensor from outside, which is an input of the graph from now on."""
        key = (a.__array_interface__["data"][0], a.shape, a.strides, a.dtype)
        memory = self.memories.get(key) if a.size else None
        if memory is None:
            node = self.graph.add("input", None, (), {"at": len(self.captures)}, (a,))
            memory = self.memories[key] = Memory(self, a, node.outputs[0])
        handle = Traced(a, memory)
        found = Capture(len(self.captures), t, a, memory, handle)
        self.captures[id(t)] = found
        memory.captures.append(found)
        set_array(t, handle)
        return handle

    def has_made(self, t: Tensor) -> bool:
        """Whether a tensor was made by the step, and is not one from outside."""
        return id(t) not in self.captures and type(get_array(t)) is Traced

    def constant(self, a: ndarray) -> Traced:
        """The stand-in for an array that was made while tracing, by no operator."""
        return Traced(a, Memory(self, a, None))

    def value_of(self, handle: Traced) -> Value:
        """What a stand-in stands for, as a value of the graph."""
        memory = handle.memory
        if memory.picked is not None and memory.picked[0].writes != memory.picked[1]:
            self.breaks_at("overlap")
        if handle.seen is not None and handle.at == memory.writes:
            return handle.seen
        if memory.value is None:
            params = {"array": memory.array.copy("K")}
            memory.value = self.graph.add("const", None, (), params, (memory.array,)).outputs[0]
        value, array = memory.value, memory.array
        for op, params, nr in handle.chain:
            outs = op.forward(array, **params)
            outs = outs if op.multiple else (outs,)
            value = self.graph.add("op", op, (value,), params, outs).outputs[nr]
            array = outs[nr]
        handle.seen, handle.at = value, memory.writes
        return value

    # What operators do

    def process(self, op: Op, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
        """Run an operator on the real arrays, note it, and give tensors with its history."""
        watching = sys.getprofile()
        if watching is None:
            return self._processed(op, inputs, params)
        # Operators are functions of what they are given: nothing of the program's runs inside.
        sys.setprofile(None)
        try:
            return self._processed(op, inputs, params)
        finally:
            sys.setprofile(watching)

    def _processed(self, op: Op, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
        if op.view:
            return self._view(op, inputs[0], params)
        self._check_params(op, params)
        handles = [t._a if isinstance(t, Tensor) else None for t in inputs]
        made = (self._part if self.in_parts else self._whole)(op, inputs, handles, params)
        own = inputs if op.kind != "pointwise" else [
            t if isinstance(t, Tensor) else Number(getattr(t, "value", t)) for t in inputs]
        return finish(op, own, params, made if op.multiple else made[0])

    def _whole(self, op: Op, inputs: Sequence[Any], handles: Sequence[Any],
               params: dict[str, Any]) -> list[Traced]:
        outs = self._compute(op, self._plain(inputs), params)
        compose = expansion_of(op, inputs, params)
        made = None if compose is None else self._expanded(compose, op, inputs, params, outs)
        return self._noted_op(op, inputs, handles, params, outs) if made is None else made

    def _part(self, op: Op, inputs: Sequence[Any], handles: Sequence[Any],
              params: dict[str, Any]) -> list[Traced]:
        """Results whose values nobody needs: they need not be computed."""
        compose = expansion_of(op, inputs, params)
        if compose is not None:
            found = self._composed(compose, op, inputs, params)
            return [Traced(a.array, self._blank(a.array, self.value_of(a))) for a in found]
        plain = self._plain(inputs)
        with self.pause():
            out = blank_of(op, plain, params)
        outs: Sequence[ndarray] = () if out is None else (out,)
        blank = out is not None or any([h is not None and h.memory.blank for h in handles])
        if out is None:
            if blank and not keeps_going(op, [None if h is None else h.array for h in handles]):
                raise ValuesNeeded
            outs = self._compute(op, plain, params)
        made = self._noted_op(op, inputs, handles, params, outs)
        for a in made:
            a.memory.blank = a.memory.blank or blank
        return made

    def _plain(self, inputs: Sequence[Any]) -> list[Any]:
        """The inputs over real arrays."""
        return [plain_tensor(t._a.array) if isinstance(t, Tensor) and type(t._a) is Traced
                else settled(getattr(t, "value", t)) for t in inputs]

    def _compute(self, op: Op, plain: Sequence[Any], params: dict[str, Any]) -> Sequence[ndarray]:
        before, MODES.grad = MODES.grad, False
        try:
            with self.pause():
                run = apply_pointwise if op.kind == "pointwise" else apply
                out = run(op, plain, params)
        finally:
            MODES.grad = before
        return [get_array(t) for t in (out if op.multiple else (out,))]

    def _noted_op(self, op: Op, inputs: Sequence[Any], handles: Sequence[Any],
                  params: dict[str, Any], outs: Sequence[ndarray]) -> list[Traced]:
        arrays = [None if h is None else h.array for h in handles]
        made = self._shared(op, handles, arrays, params, outs)
        if made is None:
            operands = [self._operand(t, op, inputs) for t in inputs]
            made = self._noted("op", op, operands, params, outs)
        return made

    def _composed(self, compose: Callable, op: Op, inputs: Sequence[Any],
                  params: dict[str, Any]) -> list[Any]:
        before, MODES.grad = MODES.grad, False
        try:
            found = compose(*inputs, **params)
        finally:
            MODES.grad = before
        return [t._a for t in (found if op.multiple else (found,))]

    def _expanded(self, compose: Callable, op: Op, inputs: Sequence[Any], params: dict[str, Any],
                  outs: Sequence[ndarray]) -> list[Traced] | None:
        """The results by simpler operators, which the graph gets in the place of ``op``."""
        self.in_parts = True
        try:
            made = self._composed(compose, op, inputs, params)
        except ValuesNeeded:
            self.in_parts = False
            made = self._composed(compose, op, inputs, params)
        finally:
            self.in_parts = False
        for a, out in zip(made, outs):
            if a.shape != out.shape or a.dtype != out.dtype or type(a) is not Traced:
                return None
        return [Traced(out, Memory(self, out, self.value_of(a))) for a, out in zip(made, outs)]

    def _blank(self, array: ndarray, value: Value) -> Memory:
        memory = Memory(self, array, value)
        memory.blank = True
        return memory

    def item(self, t: Tensor) -> Any:
        """The one element as a number: of the graph's results, where it goes nowhere else."""
        value = self._known(t).item()
        # a new object each time, by which the result shows where it went
        if type(value) is float and goes_to_result(user_frame(), self.code):
            array = t._a.array.reshape(())
            self.reads.append((value, Memory(self, array.copy(), self.value_of(t.reshape(())._a))))
        else:
            self.breaks_at_read()
        return value

    def check_range(self, t: Tensor, low: int, high: int, ignored: int | None = None) -> ndarray:
        """Note that the step is only right where the integers of ``t`` are in [low, high).

        Returns the real array, to look at.
        """
        found = self._known(t)
        key = (self.value_of(t._a).number, low, high, ignored)
        if key not in self.checked:
            self.checked.add(key)
            self.graph.add("check", None, (self.value_of(t._a),),
                           {"low": low, "high": high, "ignored": ignored}, ())
        return found

    def check_test(self, t: Tensor, fails: Callable[[ndarray], Any]) -> ndarray:
        """Note that the step is only right where ``fails(array of t)`` is not true."""
        found = self._known(t)
        self.graph.add("test", None, (self.value_of(t._a),), {"fails": fails}, ())
        return found

    def _known(self, t: Tensor) -> ndarray:
        """The real array, whose values are needed."""
        if t._a.memory.blank:
            raise ValuesNeeded
        return t._a.array

    def _operand(self, t: Any, op: Op, inputs: Sequence[Any]) -> Any:
        if t is None:
            return None
        if isinstance(t, Tensor):
            return self.value_of(t._a)
        number = getattr(t, "value", t)
        return self._live(number, op, inputs) if type(number) is LiveFloat else Scalar(number)

    def _live(self, number: LiveFloat, op: Op, inputs: Sequence[Any]) -> Any:
        """A number that keeps changing, as an input of the dtype that ``op`` computes in."""
        plain = self._plain(inputs)
        with self.pause():
            held = computing_dtypes(op, result_type(plain))[0]
        array = np.asarray(float.__pos__(number), held)
        params = {"at": len(self.lives), "expression": number.expression}
        value = self.graph.add("live", None, (), params, (array,)).outputs[0]
        self.lives.append((number.expression, array))
        return value

    def index(self, t: Tensor, index: Any, value: Any = None) -> Any:
        """An index of ``t``, integers in it that keep changing as index tensors if they can be.

        ``value`` is what is written there.
        """
        items = index if type(index) is tuple else (index,)
        if not any([type(x) is LiveIndex for x in items]):
            return index
        live = type(t._a) is Traced and not t._a.memory.blank and all(
            [x is None or x is Ellipsis or type(x) in (int, slice, LiveIndex) for x in items])
        if isinstance(value, Tensor) and value._a.dtype != t._a.dtype:
            live = False
        found = tuple([(self._index_tensor(x) if live else x.plain()) if type(x) is LiveIndex else x
                       for x in items])
        return found if type(index) is tuple else found[0]

    def _index_tensor(self, number: LiveIndex) -> Any:
        """An integer as an index tensor, which is an input; as it is where it is too large."""
        if not number.fits:
            return number.plain()
        if number.number not in self.indices:
            array = np.asarray(number.value, np.int64)
            params = {"at": len(self.lives), "expression": number.expression}
            node = self.graph.add("live", None, (), params, (array,))
            self.lives.append((number.expression, array))
            t = self.indices[number.number] = plain_tensor(array)
            set_array(t, Traced(array, Memory(self, array, node.outputs[0])))
        return self.indices[number.number]

    def _noted(self, kind: str, op: Op | None, operands: Sequence[Any], params: dict[str, Any],
               outs: Sequence[ndarray]) -> list[Traced]:
        node = self.graph.add(kind, op, operands, params, outs)
        return [Traced(a, Memory(self, a, v)) for a, v in zip(outs, node.outputs)]

    def _shared(self, op: Op, handles: Sequence[Any], arrays: Sequence[Any],
                params: dict[str, Any], outs: Sequence[ndarray]) -> list[Traced] | None:
        """The results where the operator gave memory of its input, though it is no view."""
        if all(a.base is None for a in outs) and not any(a is b for a in outs for b in arrays):
            return None
        at = [i for i, a in enumerate(arrays) if a is not None and a.size
              and any(np.may_share_memory(a, o) for o in outs)]
        if not at:
            return None
        if at != [0] or len(handles) > 1:
            self.breaks_at("shared", name=op.name)
            return None
        source = handles[0]
        return [Traced(o, source.memory, (*source.chain, (op, params, i)))
                for i, o in enumerate(outs)]

    def _check_params(self, op: Op, params: dict[str, Any]) -> None:
        for name, value in params.items():
            if isinstance(value, (Tensor, Traced, ndarray)):
                self.breaks_at("hidden", name=op.name, param=name)
            elif type(value) is LiveFloat:
                value.watched.leaked = True
            elif name == "engine":
                self.remember(value)

    def remember(self, engine: Any) -> None:
        """Keep the state of a generator from before the step."""
        if id(engine) not in self.engines:
            self.engines[id(engine)] = (engine, engine.get_state())

    def _view(self, op: Op, source: Tensor, params: dict[str, Any]) -> Any:
        handle = source._a
        outs = op.forward(handle.array, **params)
        made = [Traced(a, handle.memory, (*handle.chain, (op, params, i)))
                for i, a in enumerate(outs if op.multiple else (outs,))]
        if not op.multiple:
            return dispatch.make_view(op, source, made[0], params)  # type: ignore[arg-type]
        views = []
        for one in made:
            view = dispatch.make_view(op, source, one, params, False)  # type: ignore[arg-type]
            view._x.multi_view = op.node_name  # type: ignore[union-attr]
            views.append(view)
        if source._node is not None and MODES.grad:
            record(op, (source,), params, tuple(views))
        return tuple(views)

    def draw(self, array: ndarray, fill: Callable[[ndarray], None]) -> Traced:
        """What stands for ``array`` once ``fill`` has put random numbers into it."""
        if self.in_parts:
            raise ValuesNeeded
        for source in _engines_in(fill):
            self.remember(source)
        fill(array)
        return self._noted("draw", None, (), {"draw": fill}, (array,))[0]

    def tangent(self, shape: tuple[int, ...], held: np.dtype) -> Tensor:
        """A tensor that stands for the gradient of an output: an input of the graph."""
        array = np.zeros(shape, held)
        self.tangents += 1
        node = self.graph.add("input", None, (), {"at": -self.tangents}, (array,))
        t = plain_tensor(array)
        set_array(t, Traced(array, Memory(self, array, node.outputs[0])))
        return t

    def owned(self, g: Tensor, leaf: Tensor, shared: bool) -> Tensor:
        """A gradient as a leaf keeps it: in memory of its own that lies as the leaf's does."""
        handle, like = g._a, leaf._a
        if type(handle) is not Traced or type(like) is not Traced:
            return g
        a = handle.array
        if not (shared or handle.chain) and a.strides == like.array.strides and is_owner(a):
            return g
        copy = engine.copy_like(a, like.array)
        t = plain_tensor(copy)
        t._a = Traced(copy, Memory(self, copy, self.value_of(handle)))
        return t

    def text_of(self, t: Tensor) -> str:
        """What ``repr`` shows: it reads the values."""
        self.breaks_at("print")
        shown = plain_tensor(t._a.array)
        shown._node, shown._x = t._node, t._x
        with self.pause():
            return tensor_str(shown)

    @contextmanager
    def unwatched(self) -> Iterator[None]:
        """Let the Python code that runs meanwhile go unnoticed."""
        before = sys.getprofile()
        sys.setprofile(None)
        try:
            yield
        finally:
            sys.setprofile(before)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Note nothing meanwhile: arrays are plain."""
        self.paused += 1
        before, MODES.tracer = MODES.tracer, None
        try:
            yield
        finally:
            MODES.tracer = before
            self.paused -= 1

    def store(self, t: Tensor, result: Tensor) -> None:
        """Write ``result`` into ``t``."""
        target, source = t._a, result._a
        check_writeable(target.array)
        memory = target.memory
        if source.memory.blank:
            if memory.captures:
                raise ValuesNeeded
            memory.blank = True
        value = self._fitting(target, source)
        self.keep(memory)
        if memory.picked is not None:
            self.keep(memory.picked[0])
        if target.chain:
            base = Traced(memory.array, memory)
            node = self.graph.add("write", None, (self.value_of(base), value),
                                  {"chain": target.chain}, (memory.array,))
            memory.value = node.outputs[0]
        else:
            memory.value = value
        target.array[...] = source.array
        self._count_write(target, value)

    def keep(self, memory: Memory) -> None:
        """Keep what a memory held when the step began: it is about to be written."""
        if not memory.writes and memory.captures and memory.before is None:
            memory.before = copied(memory.array)

    def wrote(self, target: Traced, value: Value) -> None:
        """Note that all of a memory, whose real array was changed already, is ``value`` now."""
        target.memory.value = value
        self._count_write(target, value)

    def picked(self, t: Tensor, source: Tensor, key: tuple) -> None:
        """Note that ``t`` is a view of ``source`` in eager mode, and a copy in the graph.

        ``key`` has the indices, tensors among them. The real array is the view.
        """
        handle, whole = t._a, source._a
        if type(handle) is not Traced or type(whole) is not Traced or whole.memory.blank or (
                handle.memory.blank):
            return
        at = tuple([int(get_array(i).array if type(get_array(i)) is Traced else get_array(i))
                    if isinstance(i, Tensor) else i for i in key])
        handle.array = handle.memory.array = whole.array[(*at, ...)]
        handle.memory.picked = whole.memory, whole.memory.writes

    def _count_write(self, target: Traced, value: Value) -> None:
        if target.memory.picked is not None:
            self.breaks_at("overlap")
        target.memory.writes += 1
        target.seen, target.at = value, target.memory.writes

    def plain(self, x: Any) -> Any:
        """A tensor over the real array, or a number that keeps changing as it is now."""
        if isinstance(x, Tensor):
            return plain_tensor(get_array(x).array)
        return tuple(map(self.plain, x)) if type(x) is tuple else settled(x)

    def repeat(self, rows: Rows, call: Callable[[], None],
               compute: Callable[[Rows], None]) -> int:
        """See `repeats.repeat`; returns how many rows are done, 0 where they are not alike."""
        return repeat(self, rows, call, compute) if are_alike(rows) else 0

    def _fitting(self, target: Traced, source: Traced) -> Value:
        """The value of ``source`` in the shape and dtype of ``target``."""
        value = self.value_of(source)
        array = source.array
        if array.dtype != target.array.dtype:
            params: dict[str, Any] = {"dtype": FROM_NUMPY[np.dtype(target.array.dtype.type)]}
            array = OPS["to_dtype"].forward(array, **params)
            value = self.graph.add("op", OPS["to_dtype"], (value,), params, (array,)).outputs[0]
        if array.shape != target.array.shape:
            params = {"shape": target.array.shape}
            array = np.broadcast_to(array, target.array.shape)
            value = self.graph.add("op", OPS["expand"], (value,), params, (array,)).outputs[0]
        return value


def _engines_in(draw: Callable) -> Iterator[Engine]:
    """The random engines that a closure holds."""
    for cell in draw.__closure__ or ():
        held = cell.cell_contents
        if isinstance(held, Engine):
            yield held
        elif callable(held) and getattr(held, "__closure__", None):
            yield from _engines_in(held)
