"""The graph of recorded operations: its nodes and edges, hooks on them, what is saved in it."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from flambeau.autograd.hooks import hooks_of
from flambeau.core.dispatch import saved_hooks
from flambeau.core.inplace import bump
from flambeau.core.modes import MODES
from flambeau.core.node import (
    LEAF,
    AccumulateGrad,
    InferenceVersion,
    Node,
    Output,
    RemovableHandle,
    accumulator,
)
from flambeau.core.tensor import Tensor, wrap

__all__ = ["GradientEdge", "Node", "allow_mutation_on_saved_tensors",
           "disable_saved_tensors_hooks", "get_gradient_edge", "increment_version",
           "register_multi_grad_hook", "save_on_cpu", "saved_tensors_hooks"]


class GradientEdge(NamedTuple):
    """One output of a node: a place in the graph that a gradient can be asked for."""

    node: Node
    output_nr: int
    ownership_token: Any = None


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """The edge of the graph that leads to ``tensor``.

    It may stand for the tensor in ``backward`` and ``grad``, and keeps the graph alive alone.

    >>> import flambeau as torch
    >>> x = torch.ones(2, requires_grad=True)
    >>> type(torch.autograd.graph.get_gradient_edge(x * 2).node).__name__
    'MulBackward0'
    """
    edge = tensor._node
    if edge is None:
        raise RuntimeError("It is not possible to get the gradient edge for a Tensor that does "
                           "not require gradients")
    if edge is LEAF:
        return GradientEdge(accumulator(tensor), 0)
    if type(edge) is Output:
        return GradientEdge(edge.node, edge.nr)
    return GradientEdge(edge, 0)


def inner_edge(edge: GradientEdge) -> Any:
    """What the engine calls this edge."""
    node, nr = edge[:2]
    if isinstance(node, AccumulateGrad):
        return node.variable
    return node if node.outputs is None else Output(node, nr)


def increment_version(tensor: Any) -> None:
    """Count a change of the memory of ``tensor`` (or of several) that autograd did not see."""
    for t in (tensor,) if isinstance(tensor, Tensor) else tensor:
        if type(t._v) is InferenceVersion:
            raise RuntimeError("increment_version() does not support inference tensors.")
        bump(t)


# What is done with tensors that are saved for backward.


@contextlib.contextmanager
def _hooks(pair: tuple[Callable, Callable] | None) -> Iterator[None]:
    entry = (threading.get_ident(), pair)
    saved_hooks.append(entry)
    try:
        yield
    finally:
        for at in range(len(saved_hooks) - 1, -1, -1):
            if saved_hooks[at] is entry:
                del saved_hooks[at]
                break


class _Forbidden(threading.local):
    message: str | None = None


FORBIDDEN = _Forbidden()


class saved_tensors_hooks:
    """In this block, what is saved for backward is put through ``pack_hook``, and what that
    returned through ``unpack_hook`` when backward needs it.

    >>> import flambeau as torch
    >>> x = torch.ones(2, requires_grad=True)
    >>> with torch.autograd.graph.saved_tensors_hooks(lambda t: t.detach().numpy().copy(),
    ...                                               lambda a: torch.from_numpy(a)):
    ...     y = x.detach().requires_grad_() * x.exp()
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any],
                 unpack_hook: Callable[[Any], Tensor]) -> None:
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook
        self._entered: list = []

    def __enter__(self) -> None:
        if FORBIDDEN.message is not None:
            raise RuntimeError(FORBIDDEN.message)
        manager = _hooks((self.pack_hook, self.unpack_hook))
        manager.__enter__()
        self._entered.append(manager)

    def __exit__(self, *exc: object) -> None:
        self._entered.pop().__exit__(None, None, None)


class save_on_cpu(saved_tensors_hooks):
    """In this block, what is saved for backward is kept as a copy on the CPU."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        def pack(t: Tensor) -> Any:
            return t.device, t.detach().clone()

        def unpack(packed: Any) -> Tensor:
            place, copy = packed
            return copy.to(place)

        super().__init__(pack, unpack)


@contextlib.contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """In this block ``saved_tensors_hooks`` raises RuntimeError with this message."""
    before = FORBIDDEN.message
    own = threading.get_ident()
    if before is None and any(owner == own for owner, _ in saved_hooks):
        raise RuntimeError(error_message)
    FORBIDDEN.message = error_message
    try:
        yield
    finally:
        FORBIDDEN.message = before


class _Kept:
    """What ``allow_mutation_on_saved_tensors`` keeps: copies made before tensors changed."""

    def __init__(self) -> None:
        self.saved: set[Tensor] = set()

    def clear(self) -> None:
        """Forget the copies."""
        self.saved.clear()


@contextlib.contextmanager
def allow_mutation_on_saved_tensors() -> Iterator[_Kept]:
    """In this block, tensors that were saved for backward may be changed in place.

    Each is saved as a copy of its own.
    """
    kept = _Kept()

    def pack(t: Tensor) -> Any:
        copy = wrap(t._a.copy())
        kept.saved.add(copy)
        return copy

    def unpack(copy: Tensor) -> Tensor:
        if copy not in kept.saved:
            raise RuntimeError("Trying to backward outside of the 'allow_mutation_on_saved_tensors'"
                               " context in which the graph was originally recorded.")
        return copy

    with _hooks((pack, unpack)):
        try:
            yield kept
        finally:
            kept.clear()


# Hooks on several tensors at once.


class _Handles:
    """Several handles as one."""

    def __init__(self, handles: Sequence[RemovableHandle]) -> None:
        self.handles = tuple(handles)

    def remove(self) -> None:
        """Take the hooks away again."""
        for handle in self.handles:
            handle.remove()

    def __enter__(self) -> _Handles:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


def register_multi_grad_hook(tensors: Sequence[Tensor], fn: Callable, *,
                             mode: str = "all") -> _Handles:
    """Call ``fn`` once in each backward pass: with all gradients of ``tensors``, None where there
    is none ("all"), or with the first that is known ("any")."""
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    if mode == "any":
        return _Handles(_first_hooks(tensors, fn))
    passes: dict[Any, list] = {}

    def at(place: int, g: Tensor) -> None:
        task = MODES.task
        if task not in passes:
            passes[task] = [None] * len(tensors)
            task.when_done(lambda: fn(passes.pop(task)))
        passes[task][place] = g

    return _Handles([RemovableHandle(hooks_of(t), functools.partial(at, i))
                     for i, t in enumerate(tensors)])


def _first_hooks(tensors: Sequence[Tensor], fn: Callable) -> list[RemovableHandle]:
    called: set = set()
    lock = threading.Lock()

    def any_of(g: Tensor) -> None:
        task = MODES.task
        with lock:
            first = task not in called
            called.add(task)
        if first:
            task.when_done(lambda: called.discard(task))
            fn(g)

    return [RemovableHandle(hooks_of(t), any_of) for t in tensors]
