"""Linear layers."""

from __future__ import annotations

import math
from typing import Any

from flambeau.core.face import FACES
from flambeau.core.tensor import Tensor
from flambeau.nn import init
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.ops.matmul import linear

__all__ = ["Linear"]

empty = FACES["torch"]["empty"]


class Linear(Module):
    """``x @ weight.T + bias``: (..., in_features) gives (..., out_features).

    ``weight`` is (out_features, in_features), ``bias`` (out_features); both start uniform within
    1 / sqrt(in_features) of zero.

    >>> import flambeau as torch
    >>> torch.nn.Linear(2, 16)(torch.ones(3, 2)).shape
    torch.Size([3, 16])
    """

    in_features: int
    out_features: int
    weight: Tensor

    def __init__(self, in_features: int, out_features: int, bias: bool = True,
                 device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        options = {"device": device, "dtype": dtype}
        self.weight = Parameter(empty((out_features, in_features), **options))
        if bias:
            self.bias = Parameter(empty(out_features, **options))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``, (..., in_features)."""
        return linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Sizes, and whether there is a bias."""
        return (f"in_features={self.in_features}, out_features={self.out_features}, "
                f"bias={self.bias is not None}")
