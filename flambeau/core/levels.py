"""Values that stand in for arrays while a function is transformed: batched, dual, tracked.

A transform gives its arguments such a value in place of their array. An operator that meets one
is processed by the transform of the highest level among its inputs, which runs it on the values
inside; those may belong to lower levels, down to plain arrays.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.base import naming
from flambeau.core import engine
from flambeau.core.derive import stand_in
from flambeau.core.dispatch import TRANSFORMS, Number, apply, edge_of, record, views_of
from flambeau.core.inplace import replay_view
from flambeau.core.modes import INFERENCE, MODES, TRACED
from flambeau.core.node import LEAF
from flambeau.core.op import OPS, Op
from flambeau.core.pointwise import apply_pointwise
from flambeau.core.promote import result_type
from flambeau.core.tensor import Meta, Tensor, wrap

__all__ = ["Batched", "Dual", "Handle", "Level", "MANY_DIMS", "RULES", "SPARSE", "TRACED",
           "Tracked", "integers_in", "lower", "mark", "rerun", "standing", "tested", "values_of"]

ndarray = np.ndarray
# The level of sparse tensors, which any transform stands above.
SPARSE = 0.125
# The level of tensors of more dimensions than an array can have.
MANY_DIMS = 0.0625
UNREADABLE = "the elements of what stands in for a tensor are not known"
_marked: dict[np.dtype, np.dtype] = {}


def mark(held: np.dtype) -> np.dtype:
    """An equal dtype that is another object: short entries compare by identity, and pass on."""
    found = _marked.get(held)
    if found is None:
        found = np.dtype(held.type, metadata={"stands_in": True})
        _marked[np.dtype(held.type)] = found
    return found


class Level:
    """The transforms that are running in this thread, numbered from 1, outermost first."""

    @property
    def depth(self) -> int:
        """How many run."""
        return MODES.depth

    def __enter__(self) -> int:
        INFERENCE.append(False)
        MODES.depth += 1
        return MODES.depth

    def __exit__(self, *exc: object) -> None:
        BATCHES.sizes.pop(MODES.depth, None)
        MODES.depth -= 1
        INFERENCE.pop()

    def randomness_of(self, level: int) -> str:
        """What random operations may do in the batch of this level."""
        return BATCHES.sizes.get(level, (0, "error"))[1]


class _Batches(threading.local):
    """Per level that is a batch of vmap: its size, and how it treats random operations."""

    def __init__(self) -> None:
        self.sizes: dict[int, tuple[int, str]] = {}


class _Eager(threading.local):
    """The eager dual tensors of this thread."""

    def __init__(self) -> None:
        self.made: list[weakref.ref] = []
        self.nodes: list[weakref.ref] = []


EAGER = _Eager()
LEVEL = Level()
BATCHES = _Batches()


class Handle:
    """What stands in a tensor's ``_a`` for an array."""

    __slots__ = ("level", "value")
    base = None
    # Whether code outside of operators may read the elements.
    readable = True
    # The array of its storage, where that is at hand; else it holds its own elements, row by row.
    whole: np.ndarray | None = None

    def __init__(self, level: float, value: Tensor) -> None:
        self.level = level
        self.value = value

    shape = property(lambda self: self.value._a.shape)
    dtype = property(lambda self: mark(self.value._a.dtype))
    itemsize = property(lambda self: self.value._a.itemsize)
    strides = property(lambda self: self.value._a.strides)
    flags = property(lambda self: self.value._a.flags)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


class Batched(Handle):
    """A tensor with a hidden batch dimension, number ``dim`` of ``value``."""

    __slots__ = ("dim",)

    def __init__(self, level: int, value: Tensor, dim: int) -> None:
        super().__init__(level, value)
        self.dim = dim

    @property
    def shape(self) -> tuple[int, ...]:
        whole = self.value._a.shape
        return (*whole[:self.dim], *whole[self.dim + 1:])

    @property
    def strides(self) -> tuple[int, ...]:
        whole = self.value._a.strides
        return (*whole[:self.dim], *whole[self.dim + 1:])


class Dual(Handle):
    """A tensor with a tangent: the derivative along one direction of the inputs.

    An ``eager`` one was made outside of any transform of a function. The value inside has a
    history (by which tangents can be differentiated), and so has its tensor (whose gradients are
    dual as well).
    """

    __slots__ = ("eager", "tangent")

    def __init__(self, level: float, value: Tensor, tangent: Tensor, eager: bool = False) -> None:
        super().__init__(level, value)
        self.tangent = tangent
        self.eager = eager


class Tracked(Handle):
    """A tensor whose history belongs to one ``grad`` transform."""

    __slots__ = ()


def standing(handle: Handle) -> Tensor:
    """A tensor over a handle."""
    t = wrap(handle)
    if type(handle) is Dual and handle.eager:
        EAGER.made.append(weakref.ref(t))
    return t


def record_eager(op: Op, inputs: Sequence[Any], params: dict[str, Any], results: Any) -> None:
    """Give eager dual tensors a history of their own, of duals: so gradients have tangents."""
    if not MODES.grad or not op.differentiable:
        return
    own = [t if t is None or isinstance(t, Tensor) else Number(t) for t in inputs]
    if any(t is not None and t._node is not None for t in own):
        EAGER.nodes.append(weakref.ref(record(op, own, params, results)))


def end_eager() -> None:
    """Make the eager dual tensors of this thread plain: their tangents are gone."""
    made, nodes = EAGER.made, EAGER.nodes
    EAGER.made, EAGER.nodes = [], []
    for t in [ref() for ref in made]:
        if t is not None and isinstance(t._a, Dual):
            value = t._a.value
            t._a, t._v = value._a, value._v
    for node in [ref() for ref in nodes]:
        if node is not None:
            node.saved = tuple([x.value._a if isinstance(x, Dual) else x for x in node.saved])


def lower(t: Any, level: float) -> Any:
    """What is inside ``t`` at ``level``; ``t`` itself where it belongs to no such level."""
    if isinstance(t, Tensor) and isinstance(t._a, Handle) and t._a.level == level:
        return t._a.value
    return t.value if type(t) is Number else t


def values_of(t: Any) -> Any:
    """The array of ``t``, for code that needs its values; None inside a transform.

    Of a traced tensor too: its trace then ends with the hope for one graph.
    """
    a = t._a
    if type(a) is ndarray:
        return a
    if not a.readable:
        raise RuntimeError(UNREADABLE)
    return a.read() if a.level == TRACED else None


def integers_in(t: Any, low: int, high: int) -> Any:
    """The array of ``t``, to raise where not all of it is in [low, high); None inside a transform.

    While tracing, what is compiled will look too, and run in Python where it finds another.
    """
    a = t._a
    if type(a) is ndarray:
        return a
    return MODES.tracer.check_range(t, low, high) if a.level == TRACED else None


def tested(t: Any, fails: Callable[[ndarray], Any]) -> Any:
    """As ``integers_in``, for any test: ``fails(array)`` says whether the array is refused."""
    a = t._a
    if type(a) is ndarray:
        return a
    if not a.readable:
        raise RuntimeError(UNREADABLE)
    return MODES.tracer.check_test(t, fails) if a.level == TRACED else None


def rerun(op: Op, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
    """``op`` on inputs of lower levels."""
    if op.kind == "pointwise":
        return apply_pointwise(op, inputs, params)
    return apply(op, inputs, params)


def _level_of(t: Any) -> float:
    return t._a.level if isinstance(t, Tensor) and isinstance(t._a, Handle) else 0


def process(op: Op, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
    """Run ``op`` by the transform of the highest level among ``inputs``."""
    level = max(_level_of(t) for t in inputs)
    if level == TRACED:
        return MODES.tracer.process(op, inputs, params)
    top = next(t._a for t in inputs if _level_of(t) == level)
    results = RULES[type(top)](op, inputs, params, level)
    if op.view and not op.multiple and level > SPARSE:
        _link_view(op, inputs[0], results, params)
    return results


def _link_view(op: Op, source: Tensor, t: Tensor, params: dict[str, Any]) -> None:
    if source._v is None:
        source._v = [0]
    t._v = source._v
    meta = t._x = Meta()
    origin = source._x
    if origin is None or origin.base is None:
        meta.base, meta.replay = source, (op, params)
    else:
        meta.base, meta.replay = origin.base, (*origin.replay, op, params)
    if MODES.grad:
        TRANSFORMS.register(t)


# Batching


def process_batch(op: Op, inputs: Sequence[Any], params: dict[str, Any], level: int) -> Any:
    """``op`` over the hidden batch dimension: its rule, its family's, its parts', or a loop."""
    if op.batch is None and op.compose is not None:
        return op.compose(*inputs, **params)
    values = [lower(t, level) for t in inputs]
    dims = [t._a.dim if _level_of(t) == level else None for t in inputs]
    if op.batch is not None:
        out, dim = op.batch(op, values, dims, **params)
    elif op.kind == "pointwise":
        out, dim = batch_pointwise(op, inputs, values, dims, params), 0
    elif op.kind == "reduction":
        out, dim = batch_reduction(op, values, dims, params)
    else:
        out, dim = batch_loop(op, values, dims, params), 0
    if isinstance(out, tuple):
        places = dim if isinstance(dim, (tuple, list)) else (dim,) * len(out)
        return tuple([_batched(level, o, d) for o, d in zip(out, places)])
    return _batched(level, out, dim)


def _batched(level: int, out: Any, dim: int | None) -> Any:
    return out if dim is None else standing(Batched(level, out, dim))


def front(value: Any, dim: int | None, rank: int) -> Any:
    """``value`` with its batch dimension first and room for ``rank`` further dimensions."""
    if dim is None or not isinstance(value, Tensor):
        return value
    n = value._a.ndim
    if dim:
        value = value.permute(dim, *[i for i in range(n) if i != dim])
    if n - 1 < rank:
        shape = value._a.shape
        value = value.reshape(shape[0], *(1,) * (rank + 1 - n), *shape[1:])
    return value


def batch_pointwise(op: Op, inputs: Sequence[Any], values: Sequence[Any],
                    dims: Sequence[int | None], params: dict[str, Any]) -> Any:
    """Align every operand on the batch dimension at the front."""
    rank = max(t._a.ndim for t in inputs if isinstance(t, Tensor))
    aligned = [front(v, d, rank) for v, d in zip(values, dims)]
    meant = result_type(inputs)
    if result_type(aligned) is not meant:
        aligned = [t.to(meant) if isinstance(t, Tensor) else t for t in aligned]
    return rerun(op, aligned, params)


def batch_reduction(op: Op, values: Sequence[Any], dims: Sequence[int | None],
                    params: dict[str, Any]) -> tuple:
    """Shift the reduced dimensions past the batch dimension of the first input."""
    b = dims[0]
    if b is None or any(d is not None for d in dims[1:]):
        return batch_loop(op, values, dims, params), 0
    over = tuple([d + (d >= b) for d in params["dims"]])
    out = rerun(op, values, {**params, "dims": over})
    kept = params.get("keepdim", False)
    return out, b if kept else b - sum(d < b for d in over)


def batch_loop(op: Op, values: Sequence[Any], dims: Sequence[int | None],
               params: dict[str, Any]) -> Any:
    """``op`` once per element of the batch, stacked at the front."""
    size = next(v._a.shape[d] for v, d in zip(values, dims) if d is not None)
    runs = []
    for i in range(size):
        one = [v if d is None else v.select(d, i) for v, d in zip(values, dims)]
        runs.append(rerun(op, one, params))
    if not runs:
        raise RuntimeError(f"vmap: {op.name} has no batching rule for a batch of size 0")
    if isinstance(runs[0], tuple):
        return tuple([_stack(parts) for parts in zip(*runs)])
    return _stack(runs)


def _stack(parts: Sequence[Tensor]) -> Tensor:
    whole = [p.unsqueeze(0) for p in parts]
    return apply(OPS["cat"], whole, {"dim": 0})


# Forward mode


def process_dual(op: Op, inputs: Sequence[Any], params: dict[str, Any], level: int) -> Any:
    """``op`` and its derivative along the tangents of its inputs."""
    if op.compose is not None and op.jvp is None:
        return op.compose(*inputs, **params)
    primals = [lower(t, level) for t in inputs]
    tangents = [t._a.tangent if _level_of(t) == level else None for t in inputs]
    out = rerun(op, primals, params)
    if op.jvp is not None:
        tangent = op.jvp(tangents, out, *primals, **params)
    elif op.kind == "pointwise":
        tangent = pointwise_tangent(op, tangents, out, primals, params)
    elif op.kind in ("linear", "view"):
        fixed = not op.differentiable or tangents[0] is None
        tangent = None if fixed else rerun(op, [tangents[0], *primals[1:]], params)
    elif op.kind == "bilinear":
        tangent = bilinear_tangent(op, tangents, primals, params)
    elif op.differentiable:
        tangent = transposed_tangent(op, tangents, primals, params)
    else:
        tangent = None
    if tangent is None:
        return out
    eager = next(t._a.eager for t in inputs if _level_of(t) == level)
    if isinstance(out, tuple):
        results: Any = tuple([o if t is None else standing(Dual(level, o, t, eager))
                              for o, t in zip(out, tangent)])
    else:
        results = standing(Dual(level, out, tangent, eager))
    if eager:
        record_eager(op, inputs, params, results)
    return results


def pointwise_tangent(op: Op, tangents: Sequence[Any], out: Tensor, primals: Sequence[Any],
                      params: dict[str, Any]) -> Tensor | None:
    """The sum over inputs of partial derivative times tangent.

    The gradient formulas are elementwise and linear, so on conjugates they give it directly.
    """
    total = None
    named = {**params, "out": out, **dict(zip(op.inputs, primals))}
    for t, formula in zip(tangents, op.formulas):
        if t is None or formula is None:
            continue
        values = [named[op.slots[k]] for k in formula[1]]
        part = formula[0](_conj(t), *values)
        if part is None:
            continue
        part = _conj(part)
        total = part if total is None else total + part
    if total is None:
        return None
    if total._a.shape != out._a.shape:
        total = total.expand(out._a.shape)
    return total if total._a.dtype == out._a.dtype else total.to(out.dtype)


def _conj(t: Tensor) -> Tensor:
    return t.conj() if t._a.dtype.kind == "c" else t


def bilinear_tangent(op: Op, tangents: Sequence[Any], primals: Sequence[Any],
                     params: dict[str, Any]) -> Tensor | None:
    """Each tangent beside the other primal, added."""
    total = None
    for i, t in enumerate(tangents):
        if t is not None:
            beside = [t if k == i else p for k, p in enumerate(primals)]
            part = rerun(op, beside, params)
            total = part if total is None else total + part
    return total


def transposed_tangent(op: Op, tangents: Sequence[Any], primals: Sequence[Any],
                       params: dict[str, Any]) -> Any:
    """The tangent by differentiating backward itself, which is linear in its gradient."""
    if any(_level_of(t) >= 1 for t in (*primals, *tangents)):
        with LEVEL as level, LEVEL as above:
            return _transposed(op, tangents, primals, params, lambda p: _tracked(level, p),
                               lambda o: _tracked(above, _zeros(o)))
    return _transposed(op, tangents, primals, params, lambda p: stand_in(p, True), _seed)


def _transposed(op: Op, tangents: Sequence[Any], primals: Sequence[Any], params: dict[str, Any],
                stand: Callable, seed: Callable) -> Any:
    """``stand`` gives what to differentiate by of a primal, ``seed`` of a result."""
    before = MODES.grad
    # Without a history to go on, the tangent shall have none that starts at the stand-ins.
    record = before and any(_level_of(t) >= 1 or getattr(t, "_node", None) is not None
                            for t in (*primals, *tangents))
    MODES.grad = True
    try:
        stands = [p if t is None else stand(p) for p, t in zip(primals, tangents)]
        out = rerun(op, stands, params)
        outs = out if isinstance(out, tuple) else (out,)
        seeds = [seed(o) if o._node is not None else None for o in outs]
        roots = [(edge_of(o), u) for o, u in zip(outs, seeds) if u is not None]
        moved = [(s, t) for s, t in zip(stands, tangents) if t is not None]
        grads = engine.run(roots, True, True, [edge_of(s) for s, _ in moved], accumulate=False)
        starts = [(edge_of(g), t) for g, (_, t) in zip(grads, moved)
                  if g is not None and g._node is not None]
        used = [u for u in seeds if u is not None]
        found = iter(engine.run(starts, record, True, [edge_of(u) for u in used],
                                accumulate=False))
    finally:
        MODES.grad = before
    result = tuple([None if u is None else next(found) for u in seeds])
    return result if isinstance(out, tuple) else result[0]


def _tracked(level: int, t: Tensor) -> Tensor:
    """``t`` at a level that keeps a history of its own, which starts here."""
    stand = standing(Tracked(level, t))
    stand._node = LEAF
    return stand


def vjp_inside(function: Callable, inputs: Sequence[Any], needs: Sequence[bool], g: Sequence[Any],
               multiple: bool) -> list:
    """``vjp_of`` for values of transforms, which keep no history themselves."""
    before = MODES.grad
    with LEVEL as level:
        MODES.grad = True
        try:
            stands = [_tracked(level, t) if need else t for t, need in zip(inputs, needs)]
            out = function(*stands)
        finally:
            MODES.grad = before
        roots = [(edge_of(o), gi) for o, gi in zip(out if multiple else (out,), g)
                 if o._node is not None and gi is not None]
        wanted = [edge_of(s) for s, need in zip(stands, needs) if need]
        found = iter(engine.run(roots, before, True, wanted, accumulate=False))
    return [next(found) if need else None for need in needs]


def _seed(o: Tensor) -> Tensor:
    u = o.detach().zeros_like() if hasattr(o, "zeros_like") else o.detach() * 0
    u._node = LEAF
    return u


# Reverse mode inside a transform


def process_tracked(op: Op, inputs: Sequence[Any], params: dict[str, Any], level: int) -> Any:
    """``op`` on the values inside, with its node on the tensors of this level."""
    values = [lower(t, level) for t in inputs]
    out = rerun(op, values, params)
    if isinstance(out, tuple):
        results: Any = tuple([standing(Tracked(level, o)) for o in out])
    else:
        results = standing(Tracked(level, out))
    if op.differentiable and MODES.grad:
        own = [t if _level_of(t) == level else None for t in inputs]
        if any(t is not None and t._node is not None for t in own):
            record(op, own, params, results, values, out)
    return results


# What runs an operator, by the kind of value that stands in for an array.
RULES: dict[type, Callable] = {Batched: process_batch, Dual: process_dual,
                               Tracked: process_tracked}


def store(t: Tensor, result: Tensor) -> None:
    """Write ``result`` into ``t``, both of a transform, through the values inside."""
    handle = t._a
    level = handle.level
    if _level_of(result) > level:
        raise RuntimeError(
            "During a grad (vjp, jvp, grad, etc) transform, the function provided attempted to "
            "call in-place operation that would mutate a captured Tensor. This is not supported; "
            "please rewrite the function being transformed to explicitly accept the mutated "
            "Tensor(s) as inputs.")
    if level == TRACED:
        MODES.tracer.store(t, result)
        return
    if level == SPARSE:
        if _level_of(result) != SPARSE:
            raise _between_layouts(t, result)
        t._a = result._a
        return
    same = _level_of(result) == level
    inside = result._a.value if same else result
    if isinstance(handle, Batched):
        if same:
            inside = inside.movedim(result._a.dim, handle.dim)
        else:
            inside = inside.unsqueeze(handle.dim)
    handle.value.copy_(inside)
    if isinstance(handle, Dual):
        if same:
            handle.tangent.copy_(result._a.tangent)
        else:
            handle.tangent.zero_()


def lift(t: Tensor, result: Tensor) -> bool:
    """Make ``t``, made inside the transform that ``result`` belongs to, a tensor of it too.

    So it can be overwritten with ``result``; its base and views change along. False where ``t``
    is older than the transform of a function, or that is a batch.
    """
    handle = result._a
    if handle.level == SPARSE:
        raise _between_layouts(t, result)
    meta = t._x
    base = t if meta is None or meta.base is None else meta.base
    own = base._x
    eager = type(handle) is Dual and handle.eager
    if type(handle) is Batched or not eager and (own is None or own.born < handle.level):
        return False
    for x in (base, *views_of(base)):
        inside = wrap(x._a)
        inside._v = x._v
        facts: Any = x._x
        if type(handle) is Tracked:
            x._a = Tracked(handle.level, inside)
        else:
            tangent = _zeros(inside) if x is base else replay_view(base._a.tangent, facts.replay)
            x._a = Dual(handle.level, inside, tangent, eager)
            if eager:
                EAGER.made.append(weakref.ref(x))
    return True


def _between_layouts(t: Tensor, result: Tensor) -> RuntimeError:
    """The error for writing a sparse tensor into a dense one, or the other way round."""
    kinds = [f"{naming.prefix()}.{'sparse.' * (_level_of(x) == SPARSE)}{x.dtype.title}Tensor"
             for x in (t, result)]
    return RuntimeError("copy_() between dense and sparse Tensors is not implemented! Found self "
                        f"type = {kinds[0]} and src type = {kinds[1]}")


def _zeros(t: Tensor) -> Tensor:
    return wrap(np.zeros(t._a.shape, np.dtype(t._a.dtype.type)))


TRANSFORMS.process = process
TRANSFORMS.store = store
TRANSFORMS.lift = lift
TRANSFORMS.vjp = vjp_inside
