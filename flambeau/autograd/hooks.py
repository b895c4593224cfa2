"""Hooks on tensors, and keeping the gradient of a tensor that is not a leaf."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.core.face import show
from flambeau.core.inplace import retain
from flambeau.core.modes import MODES
from flambeau.core.node import LEAF, Output, RemovableHandle
from flambeau.core.tensor import Tensor

__all__ = ["register_hook", "register_post_accumulate_grad_hook", "retain_grad"]

NO_GRADIENT = "cannot register a hook on a tensor that doesn't require gradient"


def hooks_of(t: Tensor) -> dict:
    """The hooks of ``t``, made where there are none: on the leaf, or on the node that made it."""
    edge = t._node
    if MODES.tracer is not None:
        MODES.tracer.hooks(t)
    if edge is LEAF:
        meta = t._meta()
        if meta.hooks is None:
            meta.hooks = {}
        return meta.hooks
    node, nr = (edge.node, edge.nr) if type(edge) is Output else (edge, 0)
    node.hooked = True
    if node.tensor_hooks is None:
        node.tensor_hooks = {}
    return node.tensor_hooks.setdefault(nr, {})


def register_hook(self: Tensor, hook: Callable) -> RemovableHandle:
    """Call ``hook(grad)`` whenever the gradient of this tensor is known; it may return another.

    >>> import flambeau as torch
    >>> x = torch.ones(2, requires_grad=True)
    >>> handle = x.register_hook(lambda g: g * 10)
    >>> x.sum().backward()
    >>> x.grad
    tensor([10., 10.])
    """
    if self._node is None:
        raise RuntimeError(NO_GRADIENT)
    return RemovableHandle(hooks_of(self), hook)


def register_post_accumulate_grad_hook(self: Tensor, hook: Callable) -> RemovableHandle:
    """Call ``hook(tensor)`` after backward added to the ``.grad`` of this leaf."""
    if self._node is None:
        raise RuntimeError(NO_GRADIENT)
    if self._node is not LEAF:
        raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
    if MODES.tracer is not None:
        MODES.tracer.hooks(self)
    meta = self._meta()
    if meta.post_hooks is None:
        meta.post_hooks = {}
    return RemovableHandle(meta.post_hooks, hook)


def retain_grad(self: Tensor) -> None:
    """Let backward fill ``.grad`` of this tensor though it is not a leaf.

    >>> import flambeau as torch
    >>> x = torch.ones(2, requires_grad=True)
    >>> y = x * 3
    >>> y.retain_grad()
    >>> y.sum().backward()
    >>> y.grad
    tensor([1., 1.])
    """
    if self._node is None:
        raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
    if self._node is not LEAF and not self._meta().retain:
        if MODES.tracer is not None:
            MODES.tracer.hooks(self)
        self._meta().retain = True
        retain(self)


def _retains_grad(self: Tensor) -> bool:
    return self._x is not None and self._x.retain and self._node is not LEAF


def _backward_hooks(self: Tensor) -> Any:
    if self._node is None:
        return None
    edge = self._node
    if edge is LEAF:
        return None if self._x is None else self._x.hooks
    node, nr = (edge.node, edge.nr) if type(edge) is Output else (edge, 0)
    return (node.tensor_hooks or {}).get(nr)


show(register_hook, "register_hook", "Tensor")
show(register_post_accumulate_grad_hook, "register_post_accumulate_grad_hook", "Tensor")
show(retain_grad, "retain_grad", "Tensor")
show(property(_retains_grad, doc="Whether backward fills ``.grad`` of this non-leaf tensor."),
     "retains_grad", "Tensor")
show(property(_backward_hooks), "_backward_hooks", "Tensor")
