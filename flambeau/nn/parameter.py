"""Parameters and buffers: tensors that a module counts as its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.base.dtypes import get_default_dtype
from flambeau.core.node import LEAF
from flambeau.core.tensor import Tensor, wrap

__all__ = ["Buffer", "Parameter"]


class _Marked(type):
    """The type of Parameter and Buffer: other tensors that carry the mark are instances, too."""

    mark: str

    def __instancecheck__(cls, instance: Any) -> bool:
        if type.__instancecheck__(cls, instance):
            return True
        mark = cls.__dict__.get("mark")
        return mark is not None and isinstance(instance, Tensor) and getattr(instance, mark, False)


class Parameter(Tensor, metaclass=_Marked):
    """A leaf tensor that a module registers when it is assigned as an attribute.

    It shares the memory of ``data`` and records operations unless ``requires_grad`` is False.

    >>> import flambeau as torch
    >>> torch.nn.Parameter(torch.ones(2))
    Parameter containing:
    tensor([1., 1.], requires_grad=True)
    """

    mark = "_is_param"

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        if data is None:
            data = wrap(np.empty(0, get_default_dtype().np))
        shared = data.detach()
        if requires_grad and shared._a.dtype.kind in "biu":
            raise RuntimeError("Only Tensors of floating point and complex dtype can require "
                               "gradients\n\n  integers have no slope: give a float tensor, or "
                               "requires_grad=False.")
        t = object.__new__(cls)
        t._a, t._v, t._x = shared._a, shared._v, shared._x
        t._node = LEAF if requires_grad else None
        return t

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        """All is done by ``__new__``."""

    def __deepcopy__(self, memo: dict) -> Parameter:
        if id(self) not in memo:
            copied = self.data.clone()
            memo[id(self)] = type(self)(copied, self.requires_grad)
        return memo[id(self)]

    def __repr__(self, *, tensor_contents: str | None = None) -> str:
        return "Parameter containing:\n" + super().__repr__()


class Buffer(Tensor, metaclass=_Marked):
    """A tensor that a module registers as a buffer when it is assigned as an attribute.

    >>> import flambeau as torch
    >>> net = torch.nn.Module()
    >>> net.scale = torch.nn.Buffer(torch.ones(2))
    >>> list(net.state_dict())
    ['scale']
    """

    mark = "_is_buffer"

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Any:
        if data is None:
            data = wrap(np.empty(0, get_default_dtype().np))
        t = data.detach().requires_grad_(data.requires_grad)
        t.persistent = persistent
        t._is_buffer = True
        return t


class UninitializedTensorMixin:
    """A tensor of a lazy module, whose shape is not known yet."""


def is_lazy(param: Any) -> bool:
    """Whether ``param`` waits for its shape."""
    return isinstance(param, UninitializedTensorMixin)
