"""Running backward: nodes by falling sequence number, without recursion."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from math import prod
from typing import Any

import numpy as np

from flambeau.backends import large
from flambeau.backends.conversions import dense_copy
from flambeau.backends.memory import is_owner
from flambeau.backends.small import ORDERED, sum_of
from flambeau.base import naming
from flambeau.base.device import contiguous_format
from flambeau.base.dtypes import FROM_NUMPY
from flambeau.core import bare  # noqa: F401 (makes nodes run on arrays)
from flambeau.core.dispatch import TRANSFORMS, apply, run_forward
from flambeau.core.modes import MODES
from flambeau.core.node import F32, F64, Node, Output
from flambeau.core.op import OPS
from flambeau.core.tensor import Tensor, wrap

__all__ = ["run"]

ndarray = np.ndarray
LARGE = 1 << 15
_add = np.add.reduce
# Threads that go backward at once may share leaves.
ONE_AT_A_TIME = threading.Lock()


def run(roots: Sequence[tuple[Any, Tensor]], create_graph: bool = False, retain: bool = False,
        wanted: Sequence[Any] | None = None, accumulate: bool = True) -> list:
    """Send gradients from ``roots``, pairs (edge, gradient), back through the graph.

    Leaves gather them in ``.grad`` where ``accumulate``; with ``wanted``, a sequence of edges,
    only nodes that lead to those run, and the list returned has their gradients (or None).
    """
    before, outer = MODES.grad, MODES.task
    MODES.grad = create_graph
    try:
        task = MODES.task = _Task(create_graph, retain, wanted, accumulate)
        for edge, g in roots:
            task.send(edge, g, True)
        if MODES.tracer is not None:
            MODES.tracer.goes_back(task)
        if create_graph or wanted is not None or MODES.anomaly:
            task.loop()
        else:
            task.plain_loop()
        task.finish()
        for call in task.done:
            call()
        return task.captured
    finally:
        MODES.grad, MODES.task = before, outer


def _key(edge: Any) -> Any:
    return (edge.node, edge.nr) if type(edge) is Output else (edge, 0)


class _Task:
    """One backward pass."""

    wanted: dict | None = None
    useful: set | None = None

    def __init__(self, create_graph: bool, retain: bool, wanted: Sequence[Any] | None,
                 accumulate: bool) -> None:
        self.create_graph = create_graph
        self.retain = retain
        self.accumulate = accumulate
        self.heap: list[tuple[int, Node]] = []
        self.pending: dict[Node, Any] = {}
        # A leaf gets the sum of all that arrives, once: its hooks see it whole.
        self.leaves: dict[Tensor, tuple[Tensor, bool]] = {}
        self.captured: list = []
        self.done: list[Callable] = []
        if wanted is not None:
            self.captured = [None] * len(wanted)
            self.wanted = {}
            for i, edge in enumerate(wanted):
                self.wanted.setdefault(_key(edge), []).append(i)

    def when_done(self, call: Callable) -> None:
        """Call ``call()`` when this pass has ended."""
        self.done.append(call)

    def send(self, edge: Any, g: Any, shared: bool) -> None:
        """Add ``g`` to what ``edge`` has; ``shared`` says that others hold ``g`` too."""
        if type(edge) is Output:
            self._send_output(edge, g)
        elif isinstance(edge, Tensor):
            self._send_leaf(edge, g, shared)
        else:
            if g._a.shape != edge.shape or g._a.dtype is not edge.dtype:
                g = fit(g, edge.shape, edge.dtype)
            pending = self.pending
            old = pending.get(edge)
            if old is None:
                pending[edge] = g
                heappush(self.heap, (-edge.seq, edge))
            else:
                pending[edge] = add(wrap(old) if type(old) is ndarray else old, g)

    def _send_output(self, edge: Output, g: Tensor) -> None:
        node, nr = edge.node, edge.nr
        shape, held = node.outputs[nr]  # type: ignore[index]
        if g._a.shape != shape or g._a.dtype is not held:
            g = fit(g, shape, held)
        grads = self.pending.get(node)
        if grads is None:
            grads = self.pending[node] = [None] * len(node.outputs)  # type: ignore[arg-type]
            heappush(self.heap, (-node.seq, node))
        grads[nr] = g if grads[nr] is None else add(grads[nr], g)

    def _send_leaf(self, leaf: Tensor, g: Tensor, shared: bool) -> None:
        if g._a.shape != leaf._a.shape or g._a.dtype is not leaf._a.dtype:
            g = fit(g, leaf._a.shape, leaf._a.dtype)
        if self.wanted is not None and (leaf, 0) not in self.wanted:
            return
        leaves = self.leaves
        old = leaves.get(leaf)
        leaves[leaf] = (g, shared) if old is None else (add(old[0], g), False)

    def finish(self) -> None:
        """Give the leaves what arrived for them."""
        for leaf, (g, shared) in self.leaves.items():
            meta = leaf._x
            if meta is None:
                meta = leaf._meta()
            elif meta.hooks:
                g, shared = run_hooks(meta.hooks, g), True
            if not self.accumulate:
                for i in self.wanted[leaf, 0]:  # type: ignore[index]
                    self.captured[i] = g
            elif meta.accumulator is None:
                gather(leaf, meta, g, shared, self.create_graph)
            else:
                gather_hooked(leaf, meta, g, self.create_graph)

    def loop(self) -> None:
        heap, pending, useful = self.heap, self.pending, None
        if self.wanted is not None:
            useful = self.useful = leading_to(heap, self.wanted)
        hooked = MODES.anomaly
        while heap:
            node = heappop(heap)[1]
            g = arrived = pending.pop(node)
            if node.tensor_hooks is not None or node.retained is not None:
                g = run_tensor_hooks(node, g)
            if useful is not None:
                if node not in useful:
                    self._capture(node, g)
                    continue
                # As in PyTorch, where more follows, hooks change only what goes on.
                self._capture(node, arrived)
            if node.outputs is not None and node.materialize:
                g = [zeros_for(node, i) if v is None else v for i, v in enumerate(g)]
            if hooked or node.pre_hooks or node.post_hooks:
                grads = run_with_hooks(node, g)
            else:
                grads = run_plain(node, g, None if useful is None else self._needed(node))
            if not self.retain:
                node.release()
            for edge, gi in zip(node.next, grads):
                if gi is None or edge is None or useful is not None and not self._leads(edge):
                    continue
                if isinstance(edge, Node):
                    array = gi._a
                    if array.shape != edge.shape or array.dtype is not edge.dtype:
                        gi = fit(gi, edge.shape, edge.dtype)
                    old = pending.get(edge)
                    if old is None:
                        pending[edge] = gi
                        heappush(heap, (-edge.seq, edge))
                    else:
                        pending[edge] = add(old, gi)
                else:
                    self.send(edge, gi, gi is g or node.may_share)

    def plain_loop(self) -> None:
        """As ``loop`` where nothing is recorded or picked out: gradients go on as arrays."""
        heap, pending, leaves, retain = self.heap, self.pending, self.leaves, self.retain
        while heap:
            node = heappop(heap)[1]
            g = pending.pop(node)
            if node.hooked or node.outputs is not None:
                grads: Any = run_hooked(node, g)
            else:
                if type(g) is not ndarray and type(g._a) is ndarray:
                    g = g._a
                grads = node.run_arrays(g) if type(g) is ndarray else None
                if grads is None:
                    g = wrap(g) if type(g) is ndarray else g
                    grads = node.run(g)
            if not retain:
                node.release()
            for edge, gi in zip(node.next, grads):
                if gi is None or edge is None:
                    continue
                shared = gi is g or node.may_share
                if type(gi) is not ndarray:
                    if type(gi._a) is not ndarray:
                        self.send(edge, gi, shared)
                        continue
                    gi = gi._a
                if isinstance(edge, Node):
                    if gi.shape != edge.shape or gi.dtype is not edge.dtype:
                        gi = fit_array(gi, edge.shape, edge.dtype)
                    old = pending.get(edge)
                    if old is None:
                        pending[edge] = gi
                        heappush(heap, (-edge.seq, edge))
                    else:
                        pending[edge] = add_gradients(old, gi)
                elif type(edge) is Output:
                    self._send_output(edge, wrap(gi))
                else:
                    own = edge._a
                    if gi.shape != own.shape or gi.dtype is not own.dtype:
                        given, gi = gi, fit_array(gi, own.shape, own.dtype)
                        shared = shared and gi is given
                    old = leaves.get(edge)
                    leaves[edge] = ((wrap(gi), shared) if old is None else
                                    (add(old[0], wrap(gi)), False))

    def _needed(self, node: Node) -> tuple | None:
        """The node's edges with None where nothing wanted follows; None where all are needed."""
        found = tuple([e if e is None or self._leads(e) else None for e in node.next])
        return found if any([a is not b for a, b in zip(found, node.next)]) else None

    def _leads(self, edge: Any) -> bool:
        if isinstance(edge, Tensor):
            return (edge, 0) in self.wanted  # type: ignore[operator]
        node = edge.node if type(edge) is Output else edge
        return node in self.useful or self._is_wanted(node)  # type: ignore[operator]

    def _is_wanted(self, node: Node) -> bool:
        count = len(node.outputs) if node.outputs is not None else 1
        return any((node, i) in self.wanted for i in range(count))  # type: ignore[operator]

    def _capture(self, node: Node, g: Any) -> None:
        grads = [g] if node.outputs is None else g
        for nr, one in enumerate(grads):
            for i in self.wanted.get((node, nr), ()):  # type: ignore[union-attr]
                self.captured[i] = one


def leading_to(heap: Sequence[tuple[int, Node]], wanted: dict) -> set:
    """The nodes reached from those in ``heap`` through which a wanted edge is reached."""
    useful: set = set()
    seen: set = set()
    stack = [(node, False) for _, node in heap]
    while stack:
        node, done = stack.pop()
        if done:
            for edge in node.next:
                if edge is not None and _reaches(edge, wanted, useful):
                    useful.add(node)
                    break
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            for edge in node.next:
                if edge is not None and not isinstance(edge, Tensor):
                    stack.append((edge.node if type(edge) is Output else edge, False))
    return useful


def behind(heap: Sequence[tuple[int, Node]]) -> set:
    """The nodes in ``heap`` and all that they lead to."""
    seen: set = set()
    stack = [node for _, node in heap]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack += [edge.node if type(edge) is Output else edge for edge in node.next
                      if edge is not None and not isinstance(edge, Tensor)]
    return seen


def _reaches(edge: Any, wanted: dict, useful: set) -> bool:
    if _key(edge) in wanted:
        return True
    return (edge.node if type(edge) is Output else edge) in useful


def gather(leaf: Tensor, meta: Any, g: Tensor, shared: bool, create_graph: bool) -> None:
    """Add ``g`` to the leaf's ``.grad``."""
    with ONE_AT_A_TIME:
        old = meta.grad
        array = g._a
        if old is None:
            if meta.gathered_at:
                meta.gathered_at = meta.gathered = 0
            if create_graph:
                meta.grad = recorded_copy(g, leaf._a)
            elif MODES.tracer is not None:
                meta.grad = MODES.tracer.owned(g, leaf, shared)
            elif type(array) is np.ndarray and (
                    shared or array.strides != leaf._a.strides or not is_owner(array)):
                meta.grad = wrap(copy_like(array, leaf._a))
            else:
                meta.grad = g
        elif create_graph or type(old._a) is not np.ndarray or type(array) is not np.ndarray:
            if MODES.tracer is None or create_graph:
                meta.grad = add(old, g)
            else:
                TRANSFORMS.store(old, add(old, g))
                count_gathered(meta, old)
        else:
            if array.size < LARGE or large.pointwise("add", old._a, array, out=old._a) is None:
                np.add(old._a, array, out=old._a)
            count_gathered(meta, old)
    if meta.post_hooks:
        for hook in list(meta.post_hooks.values()):
            hook(leaf)


def recorded_copy(g: Tensor, like: Any) -> Tensor:
    """A differentiable copy; row by row where ``like`` lies so."""
    array = g._a
    if type(array) is type(like) is ndarray:
        if like.flags.c_contiguous and not array.flags.c_contiguous:
            return apply(OPS["contiguous"], (g,), {"order": contiguous_format})
    return apply(OPS["clone"], (g,), {"memory_format": None})


def copy_like(array: ndarray, like: Any) -> ndarray:
    """A copy that lies in memory as ``like`` does; row by row where that has gaps or no array."""
    if type(like) is not ndarray:
        return dense_copy(array)
    if like.flags.c_contiguous:
        return dense_copy(array)
    made = np.empty_like(like, array.dtype)
    if made.strides != like.strides:
        return np.array(array, order="C")
    made[...] = array
    return made


def count_gathered(meta: Any, grad: Tensor) -> None:
    """Count the change of ``grad``, and how often in a row nothing else changed it."""
    version = grad._v
    if version is None:
        grad._v = version = [0]
    if version[0] == meta.gathered_at:
        meta.gathered += 1
    else:
        meta.gathered = 0  # somebody else changed it: cleared, most likely
    version[0] += 1
    meta.gathered_at = version[0]


def gather_hooked(leaf: Tensor, meta: Any, g: Tensor, create_graph: bool) -> None:
    """As ``gather``, between the hooks of the leaf's AccumulateGrad node."""
    node = meta.accumulator()
    if node is None or not (node.pre_hooks or node.post_hooks):
        gather(leaf, meta, g, True, create_graph)
        return
    given = (g,)
    for hook in list((node.pre_hooks or {}).values()):
        given = changed_values(hook, given, hook(given))
    gather(leaf, meta, given[0], True, create_graph)
    for hook in list((node.post_hooks or {}).values()):
        hook((), given)


def add(a: Tensor, b: Tensor) -> Tensor:
    """The sum of two gradients, recorded where a graph is being made.

    A dense one comes first: a sparse one can be added to it, but not the other way round.
    """
    if type(a._a) is not np.ndarray and type(b._a) is np.ndarray:
        return b + a
    return a + b


def add_gradients(old: Any, new: ndarray) -> Any:
    """The sum of what a node has, an array or a tensor, and an array."""
    if type(old) is ndarray and old.size < LARGE and new.dtype is old.dtype:
        return np.add(old, new, out=...)  # a sum of two would be no array where it is 0-dim
    old = wrap(old) if type(old) is ndarray else old
    total = add(old, wrap(new))
    return total._a if type(total._a) is ndarray else total


def run_plain(node: Node, g: Any, needed: tuple | None = None) -> Sequence:
    """The gradients that a node gives, by its formulas on arrays where nothing is recorded.

    ``needed`` has the edges whose gradients are wanted, if that is not all of them.
    """
    if needed is not None:
        return node.run_needed(g, needed)
    if not MODES.grad and node.outputs is None and type(g._a) is ndarray:
        a = g._a
        found = node.run_arrays(a)
        if found is not None:
            return [None if r is None else g if r is a else wrap(r) for r in found]
    return node.run(g)


def run_hooked(node: Node, g: Any) -> Sequence:
    """The gradients that a node with hooks, or of several outputs, gives."""
    if type(g) is ndarray:
        g = wrap(g)
    if node.tensor_hooks is not None or node.retained is not None:
        g = run_tensor_hooks(node, g)
    if node.outputs is not None and node.materialize:
        g = [zeros_for(node, i) if v is None else v for i, v in enumerate(g)]
    if node.pre_hooks or node.post_hooks:
        return run_with_hooks(node, g)
    return node.run(g)


def zeros_for(node: Node, nr: int) -> Tensor:
    """A gradient of zeros for an output that had none."""
    shape, held = node.outputs[nr]  # type: ignore[index]
    return wrap(np.zeros(shape, held))


def fit_array(a: ndarray, shape: tuple[int, ...], held: np.dtype) -> ndarray:
    """As ``fit``, of an array where nothing is recorded."""
    have, d = a.shape, a.dtype
    if have != shape and (d is F32 or d is F64):
        lead = len(have) - len(shape)
        # PyTorch adds up what gives one number in the order of a whole sum.
        if prod(shape) == 1:
            if d is held and 0 < a.size <= ORDERED and a.flags.c_contiguous:
                return sum_of(a).reshape(shape)
        elif lead > 0 and have[lead:] == shape and a.size < LARGE:
            a = _add(a, axis=0 if lead == 1 else tuple(range(lead)))
            have = shape
    if have == shape and d is held:
        return a
    return fit(wrap(a), shape, held)._a


def fit(g: Tensor, shape: tuple[int, ...], held: np.dtype) -> Tensor:
    """``g`` summed over the dimensions that broadcasting added, in the dtype ``held``."""
    have = g._a.shape
    if have != shape:
        g = _sum_to(g, have, shape)
    if g._a.dtype != held:
        want = FROM_NUMPY[held]
        if g.dtype.is_complex and not want.is_complex:
            g = g.real
        if g._a.dtype != held:
            g = apply(OPS["to_dtype"], (g,), {"dtype": want})
    return g


def _sum_to(g: Tensor, have: tuple[int, ...], shape: tuple[int, ...]) -> Tensor:
    lead = len(have) - len(shape)
    if not MODES.grad and type(g._a) is np.ndarray and have[lead:] == shape:
        if prod(shape) == 1:
            # PyTorch adds up what gives one number in the order of a whole sum.
            every = tuple(range(len(have)))
            return wrap(_summed(g._a, every).reshape(shape))
        return wrap(_summed(g._a, tuple(range(lead))))
    fits = lead >= 0 and all(n in (1, m) for n, m in zip(shape, have[lead:]))
    if not fits:
        if g._a.size == 1 and not shape or not have:
            return g.expand(shape) if not have else g.reshape(shape)
        raise RuntimeError(f"Function returned an invalid gradient at index 0 - got {list(have)} "
                           f"but expected shape compatible with {list(shape)}")
    dims = (*range(lead), *(i + lead for i, n in enumerate(shape)
                            if n == 1 and have[i + lead] != 1))
    if dims and not MODES.grad and type(g._a) is np.ndarray:
        return wrap(_summed(g._a, dims).reshape(shape))
    if dims:
        g = apply(OPS["sum"], (g,), {"dims": dims, "keepdim": False, "dtype": None})
    return g if g._a.shape == shape else g.reshape(shape)


def _summed(a: ndarray, dims: tuple[int, ...]) -> ndarray:
    """``a`` summed over ``dims``, half types in float32."""
    params = {"dims": dims, "keepdim": False, "dtype": None}
    return run_forward(OPS["sum"], (a,), params)  # type: ignore[no-any-return]


def run_hooks(hooks: dict, g: Tensor) -> Tensor:
    """Pass a gradient through tensor hooks; each may replace it."""
    for hook in list(hooks.values()):
        changed = hook(g)
        if changed is not None:
            check_changed(hook, g, changed)
            g = changed
    return g


def check_changed(hook: Any, old: Any, new: Any) -> None:
    """Raise where what a hook returned cannot take the place of ``old``."""
    if not isinstance(new, Tensor):
        raise TypeError(f"expected Variable, but hook returned '{type(new).__name__}'")
    if old is None:
        return
    name = getattr(hook, "__name__", "<unknown>")
    if new._a.dtype != old._a.dtype:
        have, got = (f"{naming.prefix()}.{t.dtype.title}Tensor" for t in (old, new))
        raise RuntimeError(f"hook '{name}' has changed the type of value (was {have} got {got})")
    if new._a.shape != old._a.shape:
        raise RuntimeError(f"hook '{name}' has changed the size of value")


def changed_values(hook: Any, old: tuple, new: Any) -> tuple:
    """The gradients that a hook of a node left: what it returned, checked, or ``old``."""
    if new is None:
        return old
    if isinstance(new, Tensor):
        new = (new,)
    if not isinstance(new, tuple):
        raise TypeError(f"expected tuple, but hook returned '{type(new).__name__}'")
    if len(new) != len(old):
        name = getattr(hook, "__name__", "<unknown>")
        raise RuntimeError(f"hook '{name}' has returned an incorrect number of values (got "
                           f"{len(new)}, but expected {len(old)})")
    for before, after in zip(old, new):
        if after is not None:
            check_changed(hook, before, after)
    return new


def run_tensor_hooks(node: Node, g: Any) -> Any:
    """The hooks and ``retain_grad`` of the tensors that ``node`` made."""
    several = node.outputs is not None
    grads = list(g) if several else [g]
    for nr, hooks in (node.tensor_hooks or {}).items():
        if hooks and grads[nr] is not None:
            grads[nr] = run_hooks(hooks, grads[nr])
    for nr, ref in (node.retained or {}).items():
        t = ref()
        if t is not None and grads[nr] is not None and t.grad_fn is node:
            meta = t._meta()
            meta.grad = (apply(OPS["clone"], (grads[nr],), {"memory_format": None})
                         if meta.grad is None else add(meta.grad, grads[nr]))
    return grads if several else grads[0]


def run_with_hooks(node: Node, g: Any) -> Sequence:
    """Run a node between its hooks, and under anomaly detection where that is on."""
    several = node.outputs is not None
    incoming = tuple(g) if several else (g,)
    for hook in list((node.pre_hooks or {}).values()):
        incoming = changed_values(hook, incoming, hook(incoming))
    try:
        grads: Any = ([None] * len(node.next) if not several and incoming[0] is None else
                      node.run(list(incoming) if several else incoming[0]))
    except Exception:
        _tell_forward(node)
        raise
    grads = tuple([None if e is None else v for e, v in zip(node.next, grads)])
    if MODES.anomaly and MODES.anomaly_nan:
        _refuse_nan(node, grads)
    if node.post_hooks:
        grads = tuple([_fitted(e, v) for e, v in zip(node.next, grads)])
        for hook in list(node.post_hooks.values()):
            grads = changed_values(hook, grads, hook(grads, incoming))
    return grads


def _fitted(edge: Any, g: Tensor | None) -> Tensor | None:
    """A gradient in the shape and dtype of what it is the gradient of."""
    if g is None:
        return None
    if type(edge) is Output:
        outputs: Any = edge.node.outputs
        return fit(g, *outputs[edge.nr])
    if isinstance(edge, Tensor):
        return fit(g, edge._a.shape, edge._a.dtype)
    return fit(g, edge.shape, edge.dtype)


def _refuse_nan(node: Node, grads: Sequence) -> None:
    for i, g in enumerate(grads):
        if g is not None and g._a.dtype.kind in "fc" and np.isnan(g._a).any():
            _tell_forward(node)
            raise RuntimeError(f"Function '{node.name()}' returned nan values in its {i}th output.")


def _tell_forward(node: Node) -> None:
    if MODES.anomaly and node.trace:
        calls = "".join(node.trace.format())
        warnings.warn(f"Error detected in {node.name()}. Traceback of forward call that caused "
                      f"the error:\n{calls}", stacklevel=2)
