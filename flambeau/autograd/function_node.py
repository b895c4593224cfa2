"""What a custom Function leaves in the graph: its context and its node."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from flambeau.base import naming
from flambeau.core.dispatch import pack, saved_hooks
from flambeau.core.engine import zeros_for
from flambeau.core.node import TWICE, Node, OpNode, Output, Packed, changed_in_place, next_sequence
from flambeau.core.tensor import Tensor

__all__ = ["BackwardCFunction", "FunctionCtx", "as_tuple"]


def as_tuple(x: Any) -> tuple:
    """``x`` itself where it is a tuple, else a tuple of it alone."""
    return x if isinstance(x, tuple) else (x,)


class FunctionCtx:
    """What ``forward`` (or ``setup_context``) tells ``backward``; take attributes of your own.

    ``needs_input_grad`` has a bool per argument of ``apply``.
    """

    needs_input_grad: tuple[bool, ...] = ()
    _to_save: tuple = ()
    _for_forward: tuple | None = None
    _dirty: tuple = ()
    _fixed: tuple = ()
    _materialize = True
    _saved: tuple | None = None
    _freed = False
    _node: Any = None
    _in_jvp = False

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for ``backward``, which finds them in ``saved_tensors``."""
        for i, t in enumerate(tensors):
            if t is not None and not isinstance(t, Tensor):
                raise TypeError("save_for_backward can only save variables, but argument "
                                f"{i} is of type {type(t).__name__}")
        self._to_save = tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for ``jvp``, which finds them in ``saved_tensors``."""
        for t in tensors:
            if t is not None and not isinstance(t, Tensor):
                raise TypeError("save_for_forward expects all arguments to be tensors; you should "
                                "save non-tensors as attributes on ctx.")
        self._for_forward = tensors

    def mark_dirty(self, *args: Tensor) -> None:
        """Say which inputs ``forward`` changed in place; each must be returned."""
        self._dirty = args

    def mark_non_differentiable(self, *args: Tensor) -> None:
        """Say which outputs have no gradient."""
        self._fixed = args

    def set_materialize_grads(self, value: bool) -> None:
        """Whether outputs without a gradient give ``backward`` zeros (the default) or None."""
        self._materialize = value

    @property
    def saved_tensors(self) -> tuple:
        """What ``save_for_backward`` kept, checked for changes in place since."""
        if self._in_jvp and self._for_forward is not None:
            return self._for_forward
        if self._saved is None:
            return self._to_save
        if self._freed:
            raise RuntimeError(TWICE)
        node = self._node()
        return tuple([_unpack(s, node) for s in self._saved])

    def close(self, node: Node, outputs: Sequence[Any]) -> None:
        """Put what is to be saved where it does not keep ``node`` or the outputs alive."""
        self._node = weakref.ref(node)
        self._saved = tuple([_save(t, outputs) for t in self._to_save])
        self._to_save = ()
        self._dirty = self._fixed = ()
        if not self._saved:
            self._saved = None

    def release(self) -> None:
        """Forget what was saved."""
        if self._saved:
            self._saved = ()
            self._freed = True


class _SavedOutput:
    """An output of the function itself: its array, and which output it is."""

    __slots__ = ("array", "at", "nr", "version")

    def __init__(self, t: Tensor, nr: int) -> None:
        self.array = pack(t.detach(), True) if saved_hooks else t._a
        if t._v is None:
            t._v = [0]
        self.version = t._v
        self.at = t._v[0]
        self.nr = nr

    def unpack(self, node: Node) -> Tensor:
        edge = Output(node, self.nr)
        if type(self.array) is Packed:
            return self.array.unpack(edge)
        t = OpNode.rebuild(self.array, edge)
        if self.version[0] != self.at:
            raise changed_in_place(t, node, self.version[0], self.at)
        return t


def _save(t: Tensor | None, outputs: Sequence[Any]) -> Any:
    if t is None:
        return None
    for nr, o in enumerate(outputs):
        if o is t and type(t._node) is Output:
            return _SavedOutput(t, nr)
    version = 0 if t._v is None else t._v[0]
    return (pack(t) if saved_hooks else t), version


def _unpack(saved: Any, node: Node) -> Tensor | None:
    if saved is None:
        return None
    if type(saved) is _SavedOutput:
        return saved.unpack(node)
    t, expected = saved
    if type(t) is Packed:
        return t.unpack()
    now = 0 if t._v is None else t._v[0]
    if now != expected:
        raise changed_in_place(t, node, now, expected)
    return t


class BackwardCFunction(Node):
    """The node of a custom Function; its attributes are those of the context."""

    # Backward may return anything: also tensors that somebody holds.
    may_share = True
    materialize = False
    function: Any = None
    ctx: FunctionCtx

    def __init__(self, ctx: FunctionCtx, args: Sequence[Any], edges: Sequence[Any]) -> None:
        self.ctx = ctx
        self.is_tensor = [isinstance(a, Tensor) for a in args]
        self.shapes = [a._a.shape for a in args if isinstance(a, Tensor)]
        self.next = tuple([e for e, is_tensor in zip(edges, self.is_tensor) if is_tensor])
        self.seq = next_sequence()

    def __repr__(self) -> str:
        kind = type(self)
        return f"<{naming.prefix()}.autograd.function.{kind.__name__} object at {id(self):#x}>"

    def __getattr__(self, name: str) -> Any:
        ctx = self.__dict__.get("ctx")
        if ctx is None or name.startswith("__"):
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        return getattr(ctx, name)

    def run(self, g: Any) -> list:
        if self.ctx._materialize:
            outputs: Any = self.outputs
            g = [zeros_for(self, i) if v is None and outputs[i] is not None else v
                 for i, v in enumerate(g)]
        found = as_tuple(self.function.backward_or_vjp()(self.ctx, *g))
        return self._checked(found)

    def _checked(self, found: tuple) -> list:
        """The gradients of the tensor arguments, of as many as there were arguments."""
        count = len(self.is_tensor)
        if len(found) > count and all(x is None for x in found[count:]):
            found = found[:count]
        if len(found) != count:
            raise RuntimeError(f"function {self.name()} returned an incorrect number of gradients "
                               f"(expected {count}, got {len(found)})")
        grads: list = []
        for i, (x, is_tensor) in enumerate(zip(found, self.is_tensor)):
            if not is_tensor:
                if x is not None:
                    raise RuntimeError(
                        f"function {self.name()} returned a gradient different than None at "
                        f"position {i + 1}, but the corresponding forward input was not a "
                        "Variable")
                continue
            if x is not None and not isinstance(x, Tensor):
                raise RuntimeError(f"expected Variable or None (got {type(x).__name__})")
            if x is not None and self.next[len(grads)] is not None:
                self._check_shape(x, len(grads))
            grads.append(x)
        return grads

    def _check_shape(self, x: Tensor, at: int) -> None:
        have, want = x._a.shape, self.shapes[at]
        lead = len(have) - len(want)
        if lead < 0 or any(n not in (1, m) for n, m in zip(want, have[lead:])):
            raise RuntimeError(f"Function {self.name()} returned an invalid gradient at index "
                               f"{at} - got {list(have)} but expected shape compatible with "
                               f"{list(want)}")

    def release(self) -> None:
        self.ctx.release()
