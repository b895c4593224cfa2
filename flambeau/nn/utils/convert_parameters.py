"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from flambeau.core.tensor import Tensor
from flambeau.nn.modules.module_attributes import typename
from flambeau.ops.join import cat

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of all ``parameters`` in one vector, differentiably.

    >>> import flambeau as torch
    >>> parameters_to_vector([torch.ones(2), torch.zeros(1, 2)])
    tensor([1., 1., 0., 0.])
    """
    return cat([param.view(-1) for param in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Let ``parameters`` be views of the parts of ``vec``, in order."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {typename(vec)}")
    start = 0
    for param in parameters:
        part = vec[start:start + param.numel()].view_as(param)
        param.data = part.data  # type: ignore[attr-defined]
        start += param.numel()
