"""``Variable``, the old name of Tensor in programs that differentiate."""

from __future__ import annotations

from typing import Any

from flambeau.core.tensor import Tensor

__all__ = ["Variable"]


class _AnyTensor(type):
    def __instancecheck__(cls, other: Any) -> bool:
        return isinstance(other, Tensor)


class Variable(metaclass=_AnyTensor):
    """``Variable(t)`` is ``t`` itself as a new tensor; every tensor is an instance.

    >>> import flambeau as torch
    >>> torch.autograd.Variable(torch.ones(1), requires_grad=True)
    tensor([1.], requires_grad=True)
    """

    def __new__(cls, data: Any = None, requires_grad: bool = False, volatile: bool = False) -> Any:
        if not isinstance(data, Tensor):
            raise TypeError("Variable data has to be a tensor, but got " + type(data).__name__)
        t = data.detach()
        return t.requires_grad_() if requires_grad else t
