"""Dimensions made one, and one dimension made several."""

from __future__ import annotations

from typing import Any

from flambeau.base.shapes import Size
from flambeau.core.tensor import Tensor
from flambeau.nn.modules.module import Module

__all__ = ["Flatten", "Unflatten"]

Sizes = Size | list[int] | tuple[int, ...]


class Flatten(Module):
    """The dimensions from ``start_dim`` to ``end_dim`` as one.

    >>> import flambeau as torch
    >>> torch.nn.Flatten()(torch.randn(32, 1, 5, 5)).shape
    torch.Size([32, 25])
    """

    __constants__ = ["start_dim", "end_dim"]
    start_dim: int
    end_dim: int

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        """``input`` in its new shape."""
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """The range of dimensions."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Dimension ``dim`` as dimensions of the sizes ``unflattened_size``.

    >>> import flambeau as torch
    >>> torch.nn.Unflatten(1, (2, 5, 5))(torch.randn(2, 50)).shape
    torch.Size([2, 2, 5, 5])
    """

    __constants__ = ["dim", "unflattened_size"]
    dim: int
    unflattened_size: Sizes

    def __init__(self, dim: int, unflattened_size: Sizes) -> None:
        super().__init__()
        self._require_tuple_int(unflattened_size)
        self.dim = dim
        self.unflattened_size = unflattened_size

    def _require_tuple_int(self, input: Any) -> None:
        if not isinstance(input, (tuple, list)):
            raise TypeError("unflattened_size must be a tuple of ints, but found type "
                            f"{type(input).__name__}")
        for at, size in enumerate(input):
            if not isinstance(size, int):
                raise TypeError("unflattened_size must be tuple of ints, but found element of "
                                f"type {type(size).__name__} at pos {at}")

    def forward(self, input: Tensor) -> Tensor:
        """``input`` in its new shape."""
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        """The dimension and the sizes."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
