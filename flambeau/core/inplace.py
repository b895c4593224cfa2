"""In-place operations and ``out=``: checks first, then the write, then the history."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.backends import conversions
from flambeau.base.dtypes import FROM_NUMPY, can_cast
from flambeau.base.errors import told
from flambeau.base.messages import text
from flambeau.core.dispatch import TRANSFORMS, apply, edge_of, views_of
from flambeau.core.modes import MODES, TRACED
from flambeau.core.node import LEAF, TWICE, InferenceVersion, Node, Output, next_sequence
from flambeau.core.op import Op
from flambeau.core.out_dtypes import wrong_out
from flambeau.core.tensor import Tensor, wrap

__all__ = ["bump", "check_inplace", "check_writeable", "is_small_plain", "overwrite", "put",
           "rebase", "replay_view", "retain", "write_out"]

LARGE = 1 << 15
ndarray = np.ndarray
OVERLAP = ("unsupported operation: more than one element of the written-to tensor refers to a "
           "single memory location. Please clone() the tensor before performing the operation.")


def bump(t: Tensor) -> None:
    """Count a change of ``t``'s memory, for all its views."""
    version = t._v
    if version is None:
        t._v = [1]
    else:
        version[0] += 1


def check_inplace(t: Tensor, others_need: bool = False) -> None:
    """Raise where autograd does not allow ``t`` to be changed in place."""
    meta = t._x
    if type(t._v) is InferenceVersion and not MODES.inference:
        raise RuntimeError("Inplace update to inference tensor outside InferenceMode is not "
                           "allowed.You can make a clone to get a normal tensor before doing "
                           "inplace update.See https://github.com/pytorch/rfcs/pull/17 for more "
                           "details.")
    if not MODES.grad:
        return
    base = None if meta is None else meta.base
    if base is not None and (t._node is not None or base._node is not None or others_need):
        _check_view(t, meta)
    if t._node is LEAF:
        raise RuntimeError(told("a leaf Variable that requires grad is being used in an in-place "
                                "operation.", "leaf", (t,)))
    if base is not None and base._node is LEAF:
        raise RuntimeError(told("a view of a leaf Variable that requires grad is being used in an "
                                "in-place operation.", "view_of_leaf", (t,)))


def _check_view(t: Tensor, meta: Any) -> None:
    if meta.multi_view is not None:
        name = meta.multi_view.removesuffix("0").removesuffix("Backward")
        nr = t.output_nr
        raise RuntimeError(
            f"Output {nr} of {name} is a view and is being modified inplace. This view is the "
            "output of a function that returns multiple views. Such functions do not allow the "
            "output views to be modified inplace. You should replace the inplace operation by an "
            "out-of-place one.")
    if meta.custom_view is not None:
        raise RuntimeError(
            f"Output {t.output_nr} of {meta.custom_view} is a view and is being modified inplace. "
            "This view was created inside a custom Function (or because an input was returned "
            "as-is) and the autograd logic to handle view+inplace would override the custom "
            "backward associated with the custom Function, leading to incorrect gradients. This "
            "behavior is forbidden. You can fix this by cloning the output of the custom Function.")
    if meta.made_without_grad:
        mode = meta.made_without_grad
        now = "with grad mode enabled" if mode == "no_grad" else "in normal mode"
        block = mode if mode == "no_grad" else "inference_mode"
        raise RuntimeError(
            f"A view was created in {mode} mode and is being modified inplace {now}. Given that "
            "this use case is ambiguous and error-prone, it is forbidden. You can clarify your "
            f"code by moving both the view and the inplace either both inside the {block} block "
            "(if you don't want the inplace to be tracked) or both outside (if you want the "
            "inplace to be tracked).")


def overwrite(t: Tensor, compute: Callable[[Tensor], Tensor], others: Sequence[Any] = (),
              reads: bool = True) -> Tensor:
    """Change ``t`` to ``compute(t)``, the functional form of an in-place operation.

    ``t``'s shape stays; a result of a kind that its dtype cannot hold is an error. Nothing is
    written before every check has passed. ``others`` are the tensors that ``compute`` uses
    beside ``t``; ``reads`` is False where it ignores the values of ``t``.
    """
    needs = False
    if MODES.grad:
        for o in others:
            needs = needs or isinstance(o, Tensor) and o._node is not None
    check_inplace(t, needs)
    if type(t._a) is not ndarray:
        return _overwrite_transformed(t, compute)
    recorded = MODES.grad and (t._node is not None or needs)
    result = compute(_before(t) if recorded and reads else t)
    if type(result._a) is not ndarray:
        return _overwrite_lifted(t, result)
    check_result(t, result)
    store(t, result._a)
    if result._node is not None:
        _share_out(result, t)
        rebase(t, _cast_edge(t, result))
    elif recorded:
        rebase(t, None)
    return t


def is_small_plain(t: Tensor, others: Sequence[Any]) -> bool:
    """Whether ``t`` is small and a change of it, computed of ``others``, is not recorded.

    Then `put` does what is left of `overwrite`.
    """
    try:
        a, version = t._a, t._v
    except AttributeError:
        return False
    if type(a) is not ndarray or a.size >= LARGE or type(version) is InferenceVersion:
        return False
    if MODES.grad:
        if t._node is not None:
            return False
        meta = t._x
        if meta is not None and meta.base is not None and meta.base._node is not None:
            return False
        for o in others:
            if isinstance(o, Tensor) and o._node is not None:
                return False
    return True


def put(t: Tensor, result: Tensor) -> Tensor:
    """Write the result of a change that is not recorded; every check comes first."""
    a, r = t._a, result._a
    if type(r) is not ndarray:
        return _overwrite_lifted(t, result)
    flags = a.flags
    if r.dtype is a.dtype and r.shape == a.shape and flags.c_contiguous and flags.writeable:
        a[...] = r
        bump(t)
        return t
    check_result(t, result)
    store(t, r)
    return t


def _before(t: Tensor) -> Tensor:
    """``t`` as it is now, in memory of its own: what formulas of the change may save."""
    old = wrap(t._a.copy())
    old._node = t._node
    return old


def check_result(t: Tensor, result: Tensor) -> None:
    """Raise where ``result`` cannot be written into ``t``."""
    _check_dtype(t, result)
    if result._a.shape != t._a.shape:
        raise RuntimeError(f"output with shape {list(t._a.shape)} doesn't match the broadcast "
                           f"shape {list(result._a.shape)}")


def _check_dtype(t: Tensor, result: Tensor) -> None:
    if result._a.dtype is not t._a.dtype:
        have, want = FROM_NUMPY[result._a.dtype], FROM_NUMPY[t._a.dtype]
        if not can_cast(have, want):
            raise RuntimeError(f"result type {have.title} can't be cast to the desired output "
                               f"type {want.title}")


def overlaps(a: ndarray) -> bool:
    """Whether a dimension repeats the same memory, as expanded ones do."""
    return any(s == 0 and n > 1 for s, n in zip(a.strides, a.shape)) and a.size > 0


def check_writeable(a: ndarray) -> None:
    """Raise where an array is read-only, or several elements are one place in memory."""
    if 0 in a.strides and overlaps(a):
        raise RuntimeError(OVERLAP)
    if not a.flags.writeable:
        raise RuntimeError(text("read_only"))


def store(t: Tensor, values: Any) -> None:
    """Write ``values`` into ``t``'s memory and count the change."""
    a = t._a
    check_writeable(a)
    if type(values) is ndarray and values.dtype is a.dtype and a.size < LARGE:
        a[...] = values
    elif a.size < LARGE or not conversions.write(a, values):
        with np.errstate(all="ignore"):
            a[...] = values
    bump(t)


def _share_out(result: Tensor, t: Tensor) -> None:
    """Let a node that saved its output hold ``t``'s memory, so that later changes show.

    What stands in for an array does not change; that there was a change shows all the same.
    """
    node: Any = result._node
    node = node.node if type(node) is Output else node
    if getattr(node, "op", None) is None or not node.op.saves_out or node.out_version is None:
        return
    if t._a.dtype != result._a.dtype or result._v is not node.out_version:
        return
    at = node.op.slots.index("out")
    if type(node.saved[at]) is ndarray:
        node.saved = (*node.saved[:at], t._a, *node.saved[at + 1:])
    elif type(t._a) is ndarray or t._a.level != TRACED:
        return
    counter: Any = t._v
    node.out_version = counter
    node.out_at = counter[0]


def _cast_edge(t: Tensor, result: Tensor) -> Any:
    if result._a.dtype == t._a.dtype:
        return edge_of(result)
    return apply(_cast_op(), (result,), {"dtype": FROM_NUMPY[t._a.dtype]})._node


def _cast_op() -> Op:
    from flambeau.core.op import OPS  # the cast operator is declared in a later layer
    return OPS["to_dtype"]


def rebase(t: Tensor, edge: Any) -> None:
    """Make ``edge`` the history of ``t`` after a change in place, and of its base and views."""
    meta = t._x
    base = None if meta is None else meta.base
    if base is None:
        t._node = _as_history(t, edge)
        _refresh_views(t)
    else:
        base._node = CopySlices(base, meta.replay, edge)  # type: ignore[union-attr]
        _refresh_views(base)


def _as_history(t: Tensor, edge: Any) -> Any:
    if edge is None:
        return Overwritten(t)
    if isinstance(edge, Tensor):  # a leaf: its own node must not become t's
        return clone_of(edge)._node
    return edge


def _refresh_views(base: Tensor) -> None:
    if base._x is not None and base._x.retain:
        retain(base)
    for view in views_of(base):
        meta: Any = view._x
        view._node = replay_view(base, meta.replay)._node
        if meta.retain:
            retain(view)


def retain(t: Tensor) -> None:
    """Let the node that made ``t`` give it its gradient; ``t`` alone, where it has a new node."""
    node, nr = (t._node.node, t._node.nr) if type(t._node) is Output else (t._node, 0)
    if isinstance(node, Node):
        node.hooked = True
        if node.retained is None:
            node.retained = {}
        node.retained[nr] = weakref.ref(t)


def replay_view(base: Tensor, replay: Sequence[Any]) -> Tensor:
    """The view that the operators of ``replay`` lead to, taken of ``base``."""
    t = base
    for op, params in zip(replay[::2], replay[1::2]):
        t = apply(op, (t,), params)
    return t


class CopySlices(Node):
    """History of a base, one of whose views was overwritten with a tensor of history ``edge``."""

    def __init__(self, base: Tensor, replay: tuple, edge: Any) -> None:
        self.next = (edge_of(base), edge)
        self.saved = (replay,)
        self.seq = next_sequence()
        self.shape = base._a.shape
        self.dtype = base._a.dtype

    def name(self) -> str:
        return "torch::autograd::CopySlices"

    def run(self, g: Tensor) -> list:
        if self.freed:
            raise RuntimeError(told(TWICE, "twice"))
        whole = clone_of(g)
        part = replay_view(whole, self.saved[0])
        own = clone_of(part) if self.next[1] is not None else None
        overwrite(part, zeros_as, reads=False)
        return [whole, own]


class Overwritten(Node):
    """History of a tensor that was filled with constants: nothing goes further back."""

    def __init__(self, t: Tensor) -> None:
        self.seq = next_sequence()
        self.shape = t._a.shape
        self.dtype = t._a.dtype

    def run(self, g: Tensor) -> list:
        return []


def zeros_as(t: Tensor) -> Tensor:
    """Zeros of the shape and dtype of ``t``, without history."""
    return wrap(np.zeros(t._a.shape, t._a.dtype))


def clone_of(t: Tensor) -> Tensor:
    """A differentiable copy."""
    from flambeau.core.op import OPS  # clone is declared in a later layer
    return apply(OPS["clone"], (t,), {})


def _overwrite_transformed(t: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
    result = compute(clone_of(t))
    check_result(t, result)
    _store_transformed(t, result)
    return t


def _store_transformed(t: Tensor, result: Tensor) -> None:
    TRANSFORMS.store(t, result)
    bump(t)
    if result._node is not None:
        _share_out(result, t)
        rebase(t, edge_of(result))
    elif MODES.grad and t._node is not None:
        rebase(t, None)


def _overwrite_lifted(t: Tensor, result: Tensor) -> Tensor:
    check_result(t, result)
    if TRANSFORMS.lift(t, result):
        _store_transformed(t, result)
        return t
    if hasattr(result._a, "dim"):
        raise RuntimeError(
            "vmap: inplace arithmetic(self, *extra_args) is not possible because there exists a "
            "Tensor `other` in extra_args that has more elements than `self`. This happened due "
            "to `other` being vmapped over but `self` not being vmapped over in a vmap. Please try "
            "to use out-of-place operators instead of inplace arithmetic.")
    raise RuntimeError(
        "During a grad (vjp, jvp, grad, etc) transform, the function provided attempted to call "
        "in-place operation that would mutate a captured Tensor. This is not supported; please "
        "rewrite the function being transformed to explicitly accept the mutated Tensor(s) as "
        "inputs.")


# Functions that PyTorch computes by ``cat``.
_JOINS = frozenset("""
cat concat concatenate stack hstack vstack dstack row_stack column_stack
""".split())


def write_out(name: str, out: Tensor, result: Tensor, inputs: Sequence[Any] = ()) -> Tensor:
    """Copy ``result`` into ``out``, resized where its shape differs; the ``out=`` of ``name``."""
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    if MODES.grad and (out._node is not None or result._node is not None):
        raise RuntimeError(f"{name}(): functions with out=... arguments don't support automatic "
                           "differentiation, but one of the arguments requires grad.")
    if out._a.dtype is not result._a.dtype:
        said = wrong_out(name, FROM_NUMPY[out._a.dtype], FROM_NUMPY[result._a.dtype])
        if said is not None:
            raise RuntimeError(said)
        if name in _JOINS and not can_cast(result.dtype, out.dtype):
            raise TypeError("torch.cat(): input types can't be cast to the desired output type "
                            f"{out.dtype.title}")
        _check_dtype(out, result)
    shape = result._a.shape
    if 0 in out._a.strides and overlaps(out._a):
        raise RuntimeError(OVERLAP)
    if out._a.shape != shape:
        if out._a.size:
            warnings.warn(
                f"An output with one or more elements was resized since it had shape "
                f"{list(out._a.shape)}, which does not match the required output shape "
                f"{list(shape)}. This behavior is deprecated, and in a future PyTorch release "
                "outputs will not be resized unless they have zero elements. You can explicitly "
                "reuse an out tensor t by resizing it, inplace, to zero elements with "
                "t.resize_(0).", stacklevel=4)
        out._a = np.empty(shape, out._a.dtype)
    if result._a is not out._a:
        store(out, result._a)
    return out
