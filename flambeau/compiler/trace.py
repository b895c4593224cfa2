"""A traced call as data: the graph, what came in, what went out, and what it changed."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from flambeau.base.pytree import TreeSpec
from flambeau.compiler.backward import Ends, follow
from flambeau.compiler.graph import Graph
from flambeau.compiler.history import is_spent
from flambeau.compiler.made_objects import Flattened, flattened
from flambeau.compiler.stand_ins import Capture, Memory, Traced
from flambeau.compiler.tracer import Break, Tracer
from flambeau.compiler.watch import WATCH, get_array, get_grad, set_array, set_grad
from flambeau.core.modes import MODES
from flambeau.core.node import LEAF, Node, Output
from flambeau.core.tensor import Tensor

__all__ = ["Made", "Read", "Trace", "traced"]

ndarray = np.ndarray


class Made:
    """A tensor that the step made: views ``chain`` of ``memory``, whose value is ``value``.

    Where it is a view, with its history, of another one that the step made, that is ``of``.
    """

    __slots__ = ("chain", "edge", "kind", "memory", "of", "strides", "value", "writes")

    def __init__(self, t: Tensor, handle: Traced) -> None:
        self.memory = handle.memory
        self.chain = handle.chain
        self.value = handle.memory.tracer.value_of(Traced(handle.memory.array, handle.memory))
        self.strides = handle.array.strides
        self.edge = t._node
        self.kind = type(t)
        self.of: Made | None = None
        self.writes = 0 if t._v is None else t._v[0]


class Read:
    """A number of the result: the one element of ``memory``."""

    __slots__ = ("memory",)

    def __init__(self, memory: Memory) -> None:
        self.memory = memory


class Trace:
    """What a traced call of a step did.

    ``outputs`` has per leaf of the result a `Capture` (that very tensor), a `Made`, or what else
    it is; ``grads`` maps a capture's number to (gradient before, gradient after), each None, a
    Capture or a Made; ``moved`` maps it to what the tensor's array became where that was set.
    """

    def __init__(self, tracer: Tracer) -> None:
        self.graph: Graph = tracer.graph
        self.breaks: list[Break] = tracer.breaks
        self.captures: list[Capture] = list(tracer.captures.values())
        self.outputs: list[Any] = []
        self.spec: TreeSpec | None = None
        # Objects of the result that a call makes anew, by id.
        self.objects: dict[int, Any] = {}
        self.written: list[Memory] = []
        self.grads: dict[int, tuple[Any, Any]] = {}
        self.moved: dict[int, Made] = {}
        self.engines = [engine for engine, _ in tracer.engines.values()]
        self.ends: Ends | None = None
        self.lives = tracer.lives


def traced(call: Callable[[], Any], code: Any = None, body: Any = None, undoes: bool = True,
           in_vain: Callable[[], bool] = lambda: False) -> tuple[Any, Trace]:
    """Run ``call()`` as a traced step: its result and the trace.

    Where it raises and ``undoes``, the tensors from outside and the generators are as they were
    before. The caller holds WATCH.lock. ``code`` is that of the step's own function, ``body``
    the code in which breaks are placed. ``in_vain`` says, after the call, whether nothing will be
    made of the trace.
    """
    tracer = Tracer()
    tracer.code, tracer.body = code, body
    first = tracer.first
    WATCH.install(tracer)
    MODES.tracer = tracer
    try:
        result = call()
        tree = flattened(result, tracer.has_made)
        ends = _followed(tracer, tree.leaves, first)
        with tracer.unwatched():
            trace = _described(tracer, tree, in_vain)
        trace.ends = ends
    except BaseException:
        if undoes:
            _put_back(tracer)
        raise
    finally:
        MODES.tracer = None
        WATCH.remove()
        with tracer.unwatched():
            _make_plain(tracer, first)
    return result, trace


def _followed(tracer: Tracer, leaves: list, first: int) -> Ends | None:
    """Go back from the outputs that have a history of the step's own, where that can be done."""
    made = [t for t in leaves if isinstance(t, Tensor) and id(t) not in tracer.captures
            and not _is_outside(t)]
    if tracer.breaks or not any(map(_has_history, made)):
        return None
    tracer.bases = _bases(made)
    outputs = [t for t in [tracer.bases.get(id(t), t) for t in made] if _has_history(t)]
    try:
        return follow(tracer, outputs, first)
    except RuntimeError:
        # As going back would fail if the program did it: that is the program's affair.
        return None


def _is_outside(t: Tensor) -> bool:
    """Whether a tensor's memory is from outside."""
    handle = get_array(t)
    return type(handle) is not Traced or bool(handle.memory.captures)


def _has_history(t: Tensor) -> bool:
    edge = t._node
    return edge is not None and edge is not LEAF and not is_spent(edge)


def _bases(made: list[Tensor]) -> dict[int, Tensor]:
    """By id, of results that share memory: what they are views of, with no more history than that.
    """
    sharing: dict[int, dict[int, Tensor]] = {}
    for t in made:
        sharing.setdefault(id(get_array(t).memory), {})[id(t)] = t
    found = {}
    for several in sharing.values():
        whole = next((t for t in several.values() if not get_array(t).chain), None)
        for t in several.values() if len(several) > 1 else ():
            base = _base_of(t, whole)
            if base is not None:
                found[id(t)] = base
    return found


def _base_of(t: Tensor, whole: Tensor | None) -> Tensor | None:
    """The tensor that has all of the memory of which this one is a view, by its history too."""
    handle = get_array(t)
    base = whole if t._x is None or t._x.base is None else t._x.base
    if base is None or base is t or not handle.chain or handle.memory.writes:
        return None
    below = get_array(base)
    if type(below) is not Traced or below.memory is not handle.memory or below.chain:
        return None
    edge = t._node
    if edge is None:
        return base if any([op.name == "detach" for op, _, _ in handle.chain]) else None
    for op, _, _ in reversed(handle.chain):
        node = edge.node if type(edge) is Output else edge
        if not op.view or getattr(node, "op", None) is not op:
            return None
        edge = node.next[0]
    return base if edge is base._node else None


def _put_back(tracer: Tracer) -> None:
    """Undo what the call changed in tensors from outside, their gradients, and generators."""
    tracer.paused = 1
    for capture in tracer.captures.values():
        set_array(capture.tensor, capture.handle)
        capture.tensor._node = capture.node
        memory = capture.memory
        if memory.before is not None:
            memory.array[...] = memory.before
    for meta, before in tracer.grads.values():
        set_grad(meta, before)
    for engine, state in tracer.engines.values():
        engine.set_state(state)


def _make_plain(tracer: Tracer, first: int) -> None:
    """Give every tensor its real array again, and every node what it saved."""
    starts = []
    for capture in tracer.captures.values():
        t = capture.tensor
        handle = get_array(t)
        if handle is capture.handle:
            set_array(t, capture.array)
        elif type(handle) is Traced:
            set_array(t, handle.array)
        capture.memory.before = None
        starts.append(t)
    for ref in tracer.made:
        own = ref()
        if own is not None and type(get_array(own)) is Traced:
            set_array(own, get_array(own).array)
            starts.append(own)
    for t in starts:
        if t._x is not None and type(t._x.root) is Traced:
            t._x.root = _root_of(t._x.root)
    _clean_nodes(starts, first)


def _root_of(handle: Traced) -> ndarray:
    return handle.memory.array if handle.chain else handle.array


def _clean_nodes(tensors: list[Tensor], first: int) -> None:
    """Let the nodes made since ``first`` hold real arrays."""
    stack = [t._node for t in tensors]
    seen: set[int] = set()
    while stack:
        edge = stack.pop()
        node = edge.node if type(edge) is Output else edge
        if not isinstance(node, Node) or node.seq < first or id(node) in seen:
            continue
        seen.add(id(node))
        node.saved = _plain_saved(node.saved)
        if node.dtype is not None and getattr(node.dtype, "metadata", None):
            node.dtype = np.dtype(node.dtype.type)
        if node.outputs is not None:
            node.outputs = [o if o is None else (o[0], np.dtype(o[1].type)) for o in node.outputs]
        stack += [e for e in node.next if e is not None and not isinstance(e, Tensor)]


def _plain_saved(saved: Any) -> Any:
    if type(saved) is Traced:
        return saved.array
    if type(saved) is tuple:
        return tuple([_plain_saved(x) for x in saved])
    if type(saved) is np.dtype and saved.metadata:
        return np.dtype(saved.type)
    return saved


def _described(tracer: Tracer, tree: Flattened, in_vain: Callable[[], bool]) -> Trace:
    """The trace of a call that has returned what ``tree`` is; tensors still hold stand-ins."""
    for t in tree.leaves:
        # Even where only its being there was looked at: a later call returns another one.
        if isinstance(t, Tensor) and type(get_array(t)) is ndarray:
            tracer.capture(t, get_array(t))
    _capture_owners(tracer)
    trace = Trace(tracer)
    trace.spec, trace.objects = tree.spec, tree.objects
    tracer.paused = 1
    described: dict[int, Any] = {}

    def describe(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return next((Read(m) for value, m in tracer.reads if value is x), x)
        if id(x) not in described:
            found = described[id(x)] = _describe(tracer, x)
            if id(x) in tracer.bases and type(found) is Made:
                found.of = describe(tracer.bases[id(x)])
        return described[id(x)]

    trace.outputs = [describe(x) for x in tree.leaves]
    metas = {}
    for capture in trace.captures:
        _describe_capture(tracer, trace, capture, describe)
        if capture.tensor._x is not None:
            metas[id(capture.tensor._x)] = capture.at
    for meta, before in tracer.grads.values():
        after = get_grad(meta)
        at = metas.get(id(meta))
        if at is not None:
            same = before is after
            before = describe(before)
            after = before if same else describe(after)
            if isinstance(after, Tensor) and not same:
                tracer.breaks_at("escape", shape=list(get_array(after).shape))
            # Of a gradient that was not read only its being there counts.
            before = ... if isinstance(before, Tensor) else before
            trace.grads[at] = (before, before if same else after)
    trace.written = [m for m in {id(c.memory): c.memory for c in trace.captures}.values()
                     if m.writes]
    _check_memory(tracer, trace)
    if not in_vain():
        _check_escapes(tracer, described)
    return trace


def _capture_owners(tracer: Tracer) -> None:
    """Tensors of which nothing but the gradient was looked at come in, too."""
    known = {id(c.tensor._x) for c in tracer.captures.values()}
    metas = [meta for meta, _ in tracer.grads.values() if id(meta) not in known]
    for t in gc.get_referrers(*metas) if metas else ():
        if isinstance(t, Tensor) and type(get_array(t)) is ndarray:
            tracer.capture(t, get_array(t))


def _describe(tracer: Tracer, t: Tensor) -> Any:
    capture = tracer.captures.get(id(t))
    if capture is not None:
        return capture
    handle = get_array(t)
    if type(handle) is ndarray:
        # Only its being there was looked at.
        return t
    if type(handle) is not Traced:
        tracer.breaks_at("transformed")
        return t
    picked = handle.memory.picked
    if picked is not None and picked[0].captures:
        tracer.breaks_at("overlap")
    return Made(t, handle)


def _describe_capture(tracer: Tracer, trace: Trace, capture: Capture,
                      describe: Callable[[Any], Any]) -> None:
    t = capture.tensor
    handle = get_array(t)
    if handle is not capture.handle:
        if type(handle) is not Traced:
            tracer.breaks_at("transformed")
            return
        trace.moved[capture.at] = Made(t, handle)
    if t._node is not capture.node:
        tracer.breaks_at("history")


def _check_memory(tracer: Tracer, trace: Trace) -> None:
    """Memory that is written must not overlap with other memory that came in."""
    spans = []
    for memory in tracer.memories.values():
        low, high = np.lib.array_utils.byte_bounds(memory.array)
        spans.append((low, high, memory))
    spans.sort(key=lambda s: s[0])
    for i, (_, high, memory) in enumerate(spans):
        for low, _, other in spans[i + 1:]:
            if low >= high:
                break
            if (memory.writes or other.writes) and np.shares_memory(memory.array, other.array):
                tracer.breaks_at("overlap")
                return


def _check_escapes(tracer: Tracer, described: dict[int, Any]) -> None:
    """A tensor that lives on but is no output has been put somewhere that no call repeats."""
    if _escaped(tracer, described):
        gc.collect()
        for t in _escaped(tracer, described):
            tracer.breaks_at("escape", shape=list(t._a.shape))
            return


def _escaped(tracer: Tracer, described: dict[int, Any]) -> list[Tensor]:
    held = _held_by_history(tracer, described)
    return [t for t in [ref() for ref in tracer.made]
            if t is not None and id(t) not in described and id(t) not in tracer.captures
            and id(t) not in held]


def _held_by_history(tracer: Tracer, described: dict[int, Any]) -> set[int]:
    """The tensors that outputs keep: what they are views of, and what their history saved."""
    found: set[int] = set()
    stack = [m.edge for m in described.values() if type(m) is Made]
    for t in [ref() for ref in tracer.made]:
        if t is not None and id(t) in described:
            found |= _bases_of(t)
    seen: set[int] = set()
    while stack:
        edge = stack.pop()
        if isinstance(edge, Tensor):
            found.add(id(edge))
            continue
        node = edge.node if type(edge) is Output else edge
        if not isinstance(node, Node) or id(node) in seen:
            continue
        seen.add(id(node))
        for x in _tensors_in(node.saved):
            found |= {id(x), *_bases_of(x)}
        stack += node.next
    return found


def _bases_of(t: Tensor) -> set[int]:
    """What a tensor is a view of, and so keeps."""
    return {id(t._x.base)} if t._x is not None and t._x.base is not None else set()


def _tensors_in(saved: Any) -> Iterator[Tensor]:
    if isinstance(saved, Tensor):
        yield saved
    elif isinstance(saved, (tuple, list)):
        for x in saved:
            yield from _tensors_in(x)


