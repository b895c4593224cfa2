"""How many floating-point operations an operator takes, by its sizes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from flambeau.core.tensor import Tensor

__all__ = ["flops_of"]

# Which tensor's last size is the one that a product sums over.
PRODUCTS = {"mm": 0, "matmul": 0, "bmm": 0, "mv": 0, "dot": 0, "linear": 0, "addmm": 1, "addmv": 1,
            "baddbmm": 1}
CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "convolution")
TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
SINGLE = ("add", "mul")


def flops_of(name: str, arguments: Sequence[Any], result: Any) -> int:
    """An estimate for products, convolutions, sums and products of elements; 0 for the rest.

    >>> import flambeau as torch
    >>> a = torch.ones(2, 3)
    >>> flops_of("aten::mm", (a, a.T), a @ a.T)
    24
    """
    kind = name.removeprefix("aten::")
    if kind == name or not isinstance(result, Tensor):
        return 0
    tensors = [x for x in arguments if isinstance(x, Tensor)]
    made = result._a.size
    if kind in PRODUCTS and len(tensors) > PRODUCTS[kind]:
        shape = tensors[PRODUCTS[kind]]._a.shape
        return 2 * made * shape[-1] if shape else 0
    if kind in CONVOLUTIONS and len(tensors) > 1:
        return 2 * made * prod(tensors[1]._a.shape[1:])
    if kind in TRANSPOSED and len(tensors) > 1:
        return 2 * tensors[0]._a.size * prod(tensors[1]._a.shape[1:])
    return made if kind in SINGLE else 0
