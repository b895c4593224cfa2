"""Running an operator on tensors: unwrap, compute, wrap, record."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import compress, islice, repeat
from operator import is_not
from typing import Any
from weakref import ref

import numpy as np

from flambeau.backends import large
from flambeau.backends.conversions import astype, dense_copy, in_rows, laid
from flambeau.base.dtypes import FROM_NUMPY
from flambeau.base.shapes import Size
from flambeau.core.modes import INFERENCE, MODES, pause
from flambeau.core.node import LEAF, Node, Output, Packed, next_sequence
from flambeau.core.op import INPUT, INPUTS, OPS, OUT, PARAM, SHAPE, Op
from flambeau.core.tensor import Meta, Tensor, mark_inference, new_tensor, wrap

__all__ = ["VIEW_MAKERS", "apply", "dense_view", "edge_of", "expanded_view", "load_native_views",
           "load_quick_calls",
           "make_parts", "make_view", "pack", "record", "saved_hooks", "views_of", "watch_slots"]

ndarray = np.ndarray
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
NOTHING: dict[str, Any] = {}
LARGE = 1 << 15
# So many views take about as long in Python as loading llvmlite does.
MANY = 30_000
_views = 0
# And so many operators as long as making functions quick.
OFTEN = 10_000
_runs = 0
# Pairs of pack and unpack hooks, with the thread that put them here; a string forbids hooks.
saved_hooks: list[tuple] = []


class Number:
    """A Python number where a tensor may stand: it has no history."""

    __slots__ = ("value",)
    _node = None
    _v = None

    def __init__(self, value: Any) -> None:
        self.value = value


class _Transforms:
    """How values that stand in for arrays are processed; set by the module of transforms."""

    process: Any = None
    store: Any = None
    lift: Any = None
    vjp: Any = None
    register: Any = None


TRANSFORMS = _Transforms()


def apply(op: Op, inputs: Sequence[Any], params: dict[str, Any] = NOTHING) -> Any:
    """``op`` on tensors (None where an optional one is absent); recorded where a gradient is due.

    Returns a tensor, or a tuple of them where the operator has several outputs. Plain arrays,
    which formulas get where nothing is recorded, give arrays.
    """
    if len(inputs) == 1 and not op.multiple:
        return _apply_one(op, inputs[0], params)
    arrays = []
    for t in inputs:
        if type(t) is ndarray:
            return op.forward(*inputs, **params)
        a = None if t is None else t._a
        if a is not None and type(a) is not ndarray:
            return TRANSFORMS.process(op, inputs, params)
        arrays.append(a)
    if op.view:
        return _apply_view(op, inputs, arrays, params)
    return finish(op, inputs, params, run_forward(op, arrays, params))


def _apply_one(op: Op, input: Tensor, params: dict[str, Any]) -> Tensor:
    """One tensor in, one out: what most operators beside the pointwise ones are."""
    if type(input) is ndarray:
        return op.forward(input, **params)
    a = input._a
    if type(a) is not ndarray:
        return TRANSFORMS.process(op, (input,), params)
    if op.view:
        return make_view(op, input, op.forward(a, **params), params)
    global _runs
    _runs += 1
    if _runs == OFTEN:
        load_quick_calls()
    d = a.dtype
    if d is F32 or d is F64 or not op.widen:
        out = op.forward(a, **params)
        if type(out) is not ndarray:
            out = np.asarray(out)
        if op.in_rows and not out.flags.c_contiguous:
            out = dense_copy(out)
        elif op.as_operands:
            out = laid(out, (a,))
    else:
        out = run_forward(op, (a,), params)
    t = new_tensor(Tensor)
    t._a = out
    t._node = None
    t._v = None
    t._x = None
    if input._node is not None and op.differentiable and MODES.grad:
        record(op, (input,), params, t)
    elif INFERENCE:
        mark_inference(t)
    return t


def finish(op: Op, inputs: Sequence[Any], params: dict[str, Any], out: Any) -> Any:
    """Wrap what forward gave and record the node, where one is due."""
    global _runs
    _runs += 1
    if _runs == OFTEN:
        load_quick_calls()
    if op.multiple:
        results = tuple([wrap(a) for a in out])
    else:
        results = wrap(out)  # type: ignore[assignment]
    if op.differentiable and MODES.grad:
        for t in inputs:
            if t is not None and t._node is not None:
                record(op, inputs, params, results)
                break
    return results


def run_forward(op: Op, arrays: Sequence[Any], params: dict[str, Any]) -> Any:
    """The operator's forward on arrays; half types compute in float32 where it widens."""
    if not op.widen:
        return _as_arrays(op, op.forward(*arrays, **params), arrays)
    narrow = narrow_of(arrays)
    if narrow is None:
        return _as_arrays(op, op.forward(*arrays, **params), arrays)
    if op.halves is not None and any([a is not None and a.size >= LARGE for a in arrays]):
        found = op.halves(*arrays, **params)
        if found is not None:
            return _as_arrays(op, found, arrays)
    wide = [astype(a, F32) if a is not None and is_narrow(a.dtype) else a for a in arrays]
    out = _as_arrays(op, op.forward(*wide, **params), wide)
    if not op.multiple:
        return _narrowed(out, narrow)
    kept = () if op.keeps_wide is None else op.keeps_wide(arrays, params)
    return [a if i in kept else _narrowed(a, narrow) for i, a in enumerate(out)]


def narrow_of(arrays: Sequence[Any]) -> np.dtype | None:
    """The first half type among those of arrays."""
    for a in arrays:
        if a is not None and a.dtype is not F32 and is_narrow(a.dtype):
            return a.dtype
    return None


def is_narrow(d: np.dtype) -> bool:
    return d.itemsize < 4 and FROM_NUMPY[d].is_floating_point


def _narrowed(a: ndarray, d: np.dtype) -> ndarray:
    return astype(a, d) if a.dtype == np.float32 else a


def _as_arrays(op: Op, out: Any, operands: Sequence[Any]) -> Any:
    if op.multiple:
        out = [a if type(a) is ndarray else np.asarray(a) for a in out]
        if op.as_operands:
            return [laid(a, operands) for a in out]
        return [in_rows(a) for a in out] if op.in_rows else out
    if type(out) is not ndarray:
        out = np.asarray(out)
    if op.as_operands:
        return laid(out, operands)
    return in_rows(out) if op.in_rows else out


def edge_of(t: Tensor | None) -> Any:
    """Where a gradient for ``t`` goes: None, a leaf, a Node or an Output."""
    if t is None:
        return None
    node = t._node
    return t if node is LEAF else node


def record(op: Op, inputs: Sequence[Any], params: dict[str, Any], results: Any,
           values: Sequence[Any] | None = None, inner: Any = None) -> Node:
    """Make the node of an operation that gave ``results`` and set it on them.

    Where a transform keeps the history, ``values`` and ``inner`` are the inputs and results
    inside its tensors: backward runs on those.
    """
    node = op.node_type()
    if len(inputs) == 1:
        edge = inputs[0]._node
        edges: tuple = (inputs[0] if edge is LEAF else edge,)
    elif op.variadic or op.joint is not None:
        edges = tuple([None if t is None else t if t._node is LEAF else t._node for t in inputs])
    else:
        edges = tuple([None if f is None or t is None else t if t._node is LEAF else t._node
                       for t, f in zip(inputs, op.formulas)])
    node.next = edges
    node.seq = next_sequence()
    if values is None:
        _save(op, node, inputs, params, results)
    else:
        _save(op, node, values, params, inner, True)
    if op.multiple:
        node.outputs = [(r._a.shape, r._a.dtype) for r in results]
        for nr, r in enumerate(results):
            if r._a.dtype.kind not in "biu":
                r._node = Output(node, nr)
    else:
        node.shape = results._a.shape
        node.dtype = results._a.dtype
        results._node = node
    if MODES.anomaly:
        node.remember_call()
    return node


def _save(op: Op, node: Node, inputs: Sequence[Any], params: dict[str, Any],
          results: Any, inside: bool = False) -> None:
    if not op.slots:
        return
    saved: list[Any] = []
    versions = None
    for how, which in op.plan(node.next):
        if how == PARAM:
            saved.append(params.get(which))
        elif how == SHAPE:
            saved.append(_shape(inputs, which))
        elif how == INPUT:
            value = inputs[which]
            if type(value) is Number:
                value = value.value
            elif isinstance(value, Tensor) and value._v is not None and value._v[0]:
                versions = versions or {}
                versions[len(saved)] = value._v[0]
            saved.append(pack(value) if saved_hooks else value)
        elif how == OUT:
            saved.append(_save_out(node, results, inside))
        elif how == INPUTS:
            saved.append([(pack(t), _version(t)) for t in inputs])
        else:
            saved.append(None)
    node.saved = tuple(saved)
    if versions is not None:
        node.versions = tuple([versions.get(k, 0) for k in range(len(saved))])


def _shape(inputs: Sequence[Any], at: int) -> tuple:
    if at < 0:
        return tuple([t._a.shape for t in inputs])
    value = inputs[at]
    return value._a.shape if isinstance(value, Tensor) else ()


def pack(value: Any, own: bool = False) -> Any:
    """``value`` as the hooks of this thread keep it; itself where there are none."""
    if saved_hooks and isinstance(value, Tensor):
        thread = threading.get_ident()
        for owner, hooks in reversed(saved_hooks):
            if owner == thread:
                return Packed(value, hooks, own)
    return value


def _version(value: Any) -> int:
    version = getattr(value, "_v", None)
    return 0 if version is None else version[0]


def _save_out(node: Node, results: Any, inside: bool) -> Any:
    if inside:
        return results
    if type(results) is tuple:
        return tuple([r._a for r in results])
    if saved_hooks:
        packed = pack(wrap(results._a), True)
        if type(packed) is Packed:
            return packed
    if results._v is None:
        results._v = [0]
    node.out_version = results._v
    node.out_at = results._v[0]
    return results._a


def _apply_view(op: Op, inputs: Sequence[Any], arrays: Sequence[Any],
                params: dict[str, Any]) -> Any:
    source = inputs[0]
    out = op.forward(*arrays, **params)
    if not op.multiple:
        return make_view(op, source, out, params)
    node = source._node
    results = []
    for array in out:
        view: Any = make_view(op, source, array, params, False)
        view._x.multi_view = op.node_name
        results.append(view)
    if node is not None and MODES.grad:
        record(op, inputs, params, tuple(results))
    return tuple(results)


def make_view(op: Op, source: Tensor, array: ndarray, params: dict[str, Any],
              register: bool = True, node_type: type | None = None) -> Tensor:
    """A tensor over ``array``, a view of ``source``'s memory made by ``op``.

    Look it up in this module at each call: generated code replaces it in programs that call it
    often.
    """
    global _views
    _views += 1
    if _views == MANY:
        load_native_views()
    t = new_tensor(Tensor)
    t._a = array
    version = source._v
    if version is None:
        source._v = version = [0]
    t._v = version
    t._x = meta = new_tensor(Meta)
    meta.grad = meta.hooks = meta.post_hooks = None
    origin = source._x
    step = (op, params)
    if origin is None:
        meta.base = source
        meta.root = source._a
        replay = step
    else:
        replay = _view_further(source, origin, meta, step)
    meta.replay = replay
    if not MODES.grad:
        _note_no_grad(op, source, t, meta)
        return t
    if not register:
        t._node = None
        return t
    version.append(ref(t))
    if len(version) > 32:
        _forget_dead(version)
    edge = source._node
    if edge is None or not op.differentiable:
        t._node = None
        return t
    values = op.view_values
    if values is None or MODES.anomaly:
        record(op, (source,), params, t).__class__ = node_type or op.node_type
        return t
    node: Any = new_tensor(node_type or op.node_type)
    t._node = node
    node.next = (source if edge is LEAF else edge,)
    node.saved = values(source._a.shape, params)
    node.seq = next_sequence()
    node.shape = array.shape
    node.dtype = array.dtype
    return t


def make_parts(op: Op, source: Tensor, arrays: list[ndarray], params: dict[str, Any],
               replays: tuple) -> tuple[Tensor, ...]:
    """Tensors over ``arrays``, which ``op`` gave: views of parts of ``source``.

    ``replays`` has for each part what gives it alone, as ``Meta.replay`` has it. As for
    ``make_view``, generated code may replace this.
    """
    origin = source._x
    path = () if origin is None or origin.base is None else origin.replay
    parts: list[Any] = []
    for array, replay in zip(arrays, replays):
        part: Any = make_view(op, source, array, params, False)
        part._x.multi_view = op.node_name
        part._x.replay = (*path, *replay)
        parts.append(part)
    if source._node is not None and MODES.grad:
        record(op, (source,), params, tuple(parts))
    return tuple(parts)


def dense_view(t: Tensor, shape: tuple) -> Tensor | None:
    """A dense tensor in another shape; None for every case that is not plain.

    As for ``make_view``, generated code may replace this.
    """
    a = t._a
    if type(a) is not ndarray or not a.flags.c_contiguous:
        return None
    if len(shape) == 1 and type(shape[0]) in _SHAPES:
        shape = shape[0]
    try:
        r = a.reshape(shape)
    except (ValueError, TypeError):
        return None
    found = r.shape
    if found != shape and -1 not in shape and shape and min(shape) < -1:
        return None
    return make_view(OPS["view"], t, r, {"shape": found})


def expanded_view(t: Tensor, sizes: tuple) -> Tensor | None:
    """``t`` expanded to sizes, -1 for one that stays; None for every case that is not plain.

    As for ``make_view``, generated code may replace this.
    """
    a = t._a
    if type(a) is not ndarray or len(sizes) != a.ndim:
        return None
    full: list[int] = []
    strides: list[int] = []
    for n, m, s in zip(sizes, a.shape, a.strides):
        if type(n) is not int:
            return None
        if n == m or n == -1:
            full.append(m)
            strides.append(s)
        elif m == 1 and n >= 0:
            full.append(n)
            strides.append(0)
        else:
            return None
    shape = tuple(full)
    try:
        r = a[...] if shape == a.shape else ndarray(shape, a.dtype, a, 0, strides)
    except (ValueError, TypeError, BufferError):
        return None
    if 0 in strides:
        r.flags.writeable = False
    return make_view(OPS["expand"], t, r, {"shape": shape})


_SHAPES = (tuple, Size, list)
# What generated code takes the place of.
VIEW_MAKERS: dict[str, Callable] = {"make_view": make_view, "make_parts": make_parts,
                                    "dense_view": dense_view, "expanded_view": expanded_view}


_native_makers: dict[str, Callable] = {}
_slots_watched = False


def load_native_views() -> None:
    """Have generated code make views from now on, where there is any."""
    if large.available():
        # few programs make so many
        from flambeau.core.native_views import view_makers

        _native_makers.update(view_makers(VIEW_MAKERS, _forget_dead))
        _choose_makers()


def load_quick_calls() -> None:
    """Have generated code answer calls of functions of tensors from now on, where there is any."""
    if large.available():
        # few programs call so many
        from flambeau.core.quick_calls import quicken_all

        quicken_all()


def watch_slots(watched: bool) -> None:
    """Say whether reads of tensors' arrays are watched: generated code reads them unseen."""
    global _slots_watched
    if watched is not _slots_watched:
        _slots_watched = watched
        pause(watched)
    _choose_makers()


def _choose_makers() -> None:
    globals().update(VIEW_MAKERS)
    if not _slots_watched:
        globals().update(_native_makers)


def _view_further(source: Tensor, origin: Meta, meta: Meta, step: tuple) -> tuple:
    """As for a view of a plain tensor, where ``source`` has facts: it may be a view itself."""
    meta.root = source._a if origin.root is None else origin.root
    if origin.base is None:
        meta.base = source
        return step
    meta.base = origin.base
    # What was refused of a view is refused of its views.
    if origin.multi_view is not None:
        meta.multi_view = step[0].node_name
    meta.custom_view, meta.made_without_grad = origin.custom_view, origin.made_without_grad
    return (*origin.replay, *step)


def _note_no_grad(op: Op, source: Tensor, t: Tensor, meta: Meta) -> None:
    """What a view made where nothing is recorded is told apart by."""
    meta.made_without_grad = "inference" if MODES.inference else "no_grad"
    t._node = LEAF if source._node is not None and op.differentiable else None


def _forget_dead(version: list) -> None:
    """Drop the references to dead views, seldom enough that it costs little a view."""
    count = len(version)
    if count & (count - 1) == 0:
        # One assignment, without a step in Python: other threads add views meanwhile.
        version[1:] = compress(islice(version, 1, None), map(
            is_not, map(ref.__call__, islice(version, 1, None)), repeat(None)))


def views_of(base: Tensor) -> list[Tensor]:
    """The live views taken of ``base``, oldest first."""
    found = [r() for r in (base._v or ())[1:]]
    return [v for v in found if v is not None and v._x is not None and v._x.base is base]


def _register_view(view: Tensor) -> None:
    version = view._v
    assert version is not None
    version.append(ref(view))
    if len(version) > 32:
        _forget_dead(version)


TRANSFORMS.register = _register_view
