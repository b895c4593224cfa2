"""Parameters: tensors that a module counts as its own to train."""

from __future__ import annotations

import numpy as np

from flambeau.base.dtypes import get_default_dtype
from flambeau.core.node import LEAF
from flambeau.core.tensor import Tensor, wrap

__all__ = ["Parameter"]


class Parameter(Tensor):
    """A leaf tensor that a module registers when it is assigned as an attribute.

    It shares the memory of ``data`` and records operations unless ``requires_grad`` is False.

    >>> import flambeau as torch
    >>> torch.nn.Parameter(torch.ones(2))
    Parameter containing:
    tensor([1., 1.], requires_grad=True)
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        if data is None:
            data = wrap(np.empty(0, get_default_dtype().np))
        shared = data.detach()  # type: ignore[attr-defined]
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
            copied = self.data.clone()  # type: ignore[attr-defined]
            memo[id(self)] = type(self)(copied, self.requires_grad)
        return memo[id(self)]

    def __repr__(self, *, tensor_contents: str | None = None) -> str:
        return "Parameter containing:\n" + super().__repr__()
