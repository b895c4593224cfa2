"""What losses share: the reduction, and weights that are a buffer."""

from __future__ import annotations

from typing import Any

from flambeau.core.tensor import Tensor
from flambeau.nn.modules.module import Module
from flambeau.ops.loss import chosen_reduction

__all__ = ["_Loss", "_WeightedLoss"]


class _Loss(Module):
    """A loss whose elements are averaged ("mean"), added ("sum") or kept ("none").

    ``size_average`` and ``reduce`` say the same in PyTorch's older way, with a warning.
    """

    reduction: str

    def __init__(self, size_average: Any = None, reduce: Any = None,
                 reduction: str = "mean") -> None:
        super().__init__()
        if size_average is not None or reduce is not None:
            reduction = chosen_reduction(size_average, reduce, reduction)
        self.reduction = reduction


class _WeightedLoss(_Loss):
    """A loss with a weight for each class or element."""

    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, size_average: Any = None, reduce: Any = None,
                 reduction: str = "mean") -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
