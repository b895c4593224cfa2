"""Activation functions as modules."""

from __future__ import annotations

from flambeau.core.face import FACES
from flambeau.core.tensor import Tensor
from flambeau.nn.modules.module import Module

__all__ = ["ReLU"]

functional = FACES["nn.functional"]


class ReLU(Module):
    """``max(0, x)`` elementwise, for any shape.

    >>> import flambeau as torch
    >>> torch.nn.ReLU()(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``."""
        return functional["relu"](input, inplace=self.inplace)

    def extra_repr(self) -> str:
        """``inplace=True``, where it is so."""
        return "inplace=True" if self.inplace else ""
