"""Dropout as modules: in training elements, or whole channels, become zero at random."""

from __future__ import annotations

from flambeau.core.tensor import Tensor
from flambeau.nn import functional as F
from flambeau.nn.modules.module import Module

__all__ = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d",
           "FeatureAlphaDropout"]


class _DropoutNd(Module):
    """What all share: the probability ``p`` of being dropped."""

    __constants__ = ["p", "inplace"]
    p: float
    inplace: bool

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if p < 0 or p > 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def extra_repr(self) -> str:
        """The settings."""
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_DropoutNd):
    """In training elements become 0 with probability ``p``, the others times 1 / (1 - p).

    >>> import flambeau as torch
    >>> torch.nn.Dropout(p=0.2).eval()(torch.ones(2))
    tensor([1., 1.])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``, any shape."""
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_DropoutNd):
    """Dropout of whole channels of (N, C, L) or (C, L).

    >>> import flambeau as torch
    >>> torch.nn.Dropout1d(p=0.2)(torch.randn(20, 16, 32)).shape
    torch.Size([20, 16, 32])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``."""
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_DropoutNd):
    """Dropout of whole channels of (N, C, H, W).

    >>> import flambeau as torch
    >>> torch.nn.Dropout2d(p=0.2)(torch.randn(2, 16, 8, 8)).shape
    torch.Size([2, 16, 8, 8])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``."""
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_DropoutNd):
    """Dropout of whole channels of (N, C, D, H, W) or (C, D, H, W).

    >>> import flambeau as torch
    >>> torch.nn.Dropout3d(p=0.2)(torch.randn(2, 16, 4, 8, 8)).shape
    torch.Size([2, 16, 4, 8, 8])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``."""
        return F.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(_DropoutNd):
    """Dropout that keeps mean and variance of what comes out of SELU (arXiv:1706.02515).

    >>> import flambeau as torch
    >>> torch.nn.AlphaDropout(p=0.2)(torch.randn(20, 16)).shape
    torch.Size([20, 16])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``, any shape."""
        return F.alpha_dropout(input, self.p, self.training)


class FeatureAlphaDropout(_DropoutNd):
    """``AlphaDropout`` of whole channels of (N, C, ...).

    >>> import flambeau as torch
    >>> torch.nn.FeatureAlphaDropout(p=0.2)(torch.randn(2, 16, 4, 8, 8)).shape
    torch.Size([2, 16, 4, 8, 8])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The outputs for ``input``."""
        return F.feature_alpha_dropout(input, self.p, self.training)
