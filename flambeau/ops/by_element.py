"""Changing a tensor in place by a Python function of its elements, and filling its diagonal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.base import naming
from flambeau.core.face import public
from flambeau.core.inplace import store
from flambeau.core.promote import NUMBERS, check_held
from flambeau.core.tensor import Tensor
from flambeau.ops.views import as_strided

__all__ = ["apply_", "fill_diagonal_", "map2_", "map_"]


def _numbers(t: Tensor) -> list:
    """The elements in order as Python numbers."""
    a = t._a
    return (a.astype(np.float64) if a.dtype.kind == "V" else a).ravel().tolist()


def _check(name: str, self: Tensor, others: tuple) -> list[Tensor]:
    """The other tensors, expanded to the shape of ``self``."""
    found = []
    for at, other in enumerate(others):
        label = "other" if len(others) == 1 else "xy"[at]
        if not isinstance(other, Tensor):
            raise TypeError(f"{name}(): argument '{label}' (position {at + 1}) must be Tensor, not "
                            f"{type(other).__name__}")
        if other._a.dtype != self._a.dtype:
            want, got = (f"{naming.prefix()}.{t.dtype.title}Tensor" for t in (self, other))
            kind = "" if len(others) == 1 else "argument "
            raise TypeError(f"{name}: expected {want} for {kind}'{label}' (got {got})")
    if any(t.requires_grad for t in (self, *others)):
        raise RuntimeError(f"Can't call {name}() on Variable that requires grad. Use "
                           f"var.detach().{name}() instead.")
    for other in others:
        found.append(other if other._a.shape == self._a.shape else other.expand(self._a.shape))
    return found


def _change(name: str, self: Tensor, others: tuple, callable: Callable) -> Tensor:
    tensors = [self, *_check(name, self, others)]
    values = [callable(*numbers) for numbers in zip(*[_numbers(t) for t in tensors])]
    wrong = next((v for v in values if not isinstance(v, NUMBERS)), None)
    if wrong is not None:
        raise TypeError(f"must be real number, not {type(wrong).__name__}")
    result = np.array(values if values else 0).astype(self._a.dtype)
    store(self, result.reshape(self._a.shape) if values else result)
    return self


@public("Tensor")
def apply_(self: Tensor, callable: Callable) -> Tensor:
    """Change each element to ``callable`` of it, a Python function of one number.

    It runs at the speed of Python. Errors of ``callable`` leave the tensor as it was.

    >>> import flambeau as torch
    >>> torch.arange(3).apply_(lambda x: x * 10)
    tensor([ 0, 10, 20])
    """
    return _change("apply_", self, (), callable)


@public("Tensor")
def map_(self: Tensor, tensor: Tensor, callable: Callable) -> Tensor:
    """Change each element to ``callable`` of it and of that of ``tensor``, which is expanded."""
    return _change("map_", self, (tensor,), callable)


@public("Tensor")
def map2_(self: Tensor, x: Tensor, y: Tensor, callable: Callable) -> Tensor:
    """Change each element to ``callable`` of it and of those of two tensors."""
    return _change("map2_", self, (x, y), callable)


@public("Tensor")
def fill_diagonal_(self: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Overwrite the elements whose indices are all equal; one whose matrix is tall may wrap.

    With ``wrap`` the diagonal of a tall matrix begins anew below the rows that it has passed.

    >>> import flambeau as torch
    >>> torch.zeros(2, 2).fill_diagonal_(5)
    tensor([[5., 0.],
            [0., 5.]])
    """
    shape, steps = self._a.shape, self.stride()
    if len(shape) < 2:
        raise RuntimeError("dimensions must larger than 1")
    if not (isinstance(fill_value, NUMBERS)
            or isinstance(fill_value, Tensor) and not fill_value.ndim):
        raise TypeError("fill_diagonal_(): argument 'fill_value' (position 1) must be Number, not "
                        f"{type(fill_value).__name__}")
    if isinstance(fill_value, Tensor):
        check_held(fill_value, self.dtype)
    if len(shape) > 2 and len(set(shape)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    step, start = sum(steps), self.storage_offset()
    short = min(shape)
    as_strided(self, (short,), (step,), start).fill_(fill_value)
    rows, columns = shape[:2]
    if wrap and len(shape) == 2 and rows > columns + 1:
        passed = (columns + 1) * steps[0]
        for first in range(1, -(-rows // (columns + 1))):
            left = min(rows - first * (columns + 1), columns)
            as_strided(self, (left,), (step,), start + first * passed).fill_(fill_value)
    return self
