"""Normalisation of single examples: by layers, groups, mean squares, neighbouring channels."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

from flambeau.autograd.function import Function
from flambeau.base.shapes import Size
from flambeau.core.face import FACES
from flambeau.core.tensor import Tensor
from flambeau.nn import functional as F
from flambeau.nn import init
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter

__all__ = ["CrossMapLRN2d", "GroupNorm", "LayerNorm", "LocalResponseNorm", "RMSNorm"]

Shape = int | list[int] | Size
torch = FACES["torch"]


class _ResponseNorm(Module):
    """What normalisations by neighbouring channels share."""

    size: int
    alpha: float
    beta: float
    k: float

    def _set(self, size: int, alpha: float, beta: float, k: float) -> None:
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def extra_repr(self) -> str:
        """The settings."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class LocalResponseNorm(_ResponseNorm):
    """``x / (k + alpha * mean(x**2))**beta``, the mean over ``size`` neighbouring channels.

    >>> import flambeau as torch
    >>> torch.nn.LocalResponseNorm(2)(torch.randn(32, 5, 24, 24)).shape
    torch.Size([32, 5, 24, 24])
    """

    __constants__ = ["size", "alpha", "beta", "k"]

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75,
                 k: float = 1.0) -> None:
        super().__init__()
        self._set(size, alpha, beta, k)

    def forward(self, input: Tensor) -> Tensor:
        """``input``, (N, C, ...), normalised."""
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)


class CrossMapLRN2d(_ResponseNorm):
    """Local response normalisation of (N, C, H, W), with the numbers of PyTorch's older module.

    As there, channel 0 stays in the sums once they have reached beyond it, and the gradient is
    that of plain windows.

    >>> import flambeau as torch
    >>> torch.nn.CrossMapLRN2d(5)(torch.randn(2, 8, 4, 4)).shape
    torch.Size([2, 8, 4, 4])
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1) -> None:
        super().__init__()
        self._set(size, alpha, beta, k)

    def forward(self, input: Tensor) -> Tensor:
        """``input``, (N, C, H, W), normalised."""
        return _CrossMap.apply(input, self.size, self.alpha, self.beta, self.k)


class _CrossMap(Function):
    """The function of ``CrossMapLRN2d``."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, size: int, alpha: float, beta: float,
                k: float) -> Tensor:
        if input.dim() != 4:
            raise ValueError(f"CrossMapLRN2d: Expected input to be 4D, got {input.dim()}D instead.")
        reach = int((size - 1) / 2 + 1)
        total = _window_sums(input * input, reach - 1, reach - 1)
        if input.shape[1] > reach:
            total[:, reach:] += (input[:, :1] * input[:, :1])
        scale = total * (alpha / size) + k
        output = input * scale ** -beta
        ctx.save_for_backward(input, output, scale)
        ctx.settings = size, alpha, beta
        return output

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple:
        input, output, scale = ctx.saved_tensors
        size, alpha, beta = ctx.settings
        before = int(size - (size - 1) / 2)
        total = _window_sums(g * output / scale, before, size - 1 - before)
        slope = g * scale ** -beta - input * total * (2 * alpha * beta / size)
        return slope, None, None, None, None


def _window_sums(x: Tensor, before: int, after: int) -> Tensor:
    """Sums over so many channels before and after each one, and itself."""
    channels = x.shape[1]
    padded = F.pad(x, (0, 0, 0, 0, before, after))
    total = padded[:, :channels].clone()
    for i in range(1, before + after + 1):
        total += padded[:, i:i + channels]
    return total


class _AffineNorm(Module):
    """What normalisations with a weight and a bias share."""

    weight: Tensor | None
    bias: Tensor | None

    def _make_parameters(self, shape: Any, weight: bool, bias: bool, device: Any,
                         dtype: Any) -> None:
        for name, wanted in (("weight", weight), ("bias", weight and bias)):
            value = torch["empty"](shape, device=device, dtype=dtype) if wanted else None
            self.register_parameter(name, None if value is None else Parameter(value))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
            if self.bias is not None:
                init.zeros_(self.bias)


def _as_shape(shape: Shape | Sequence[int]) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, numbers.Integral) else tuple(shape)  # type: ignore


class LayerNorm(_AffineNorm):
    """Normalisation over the last dimensions, of shape ``normalized_shape`` (arXiv:1607.06450).

    >>> import flambeau as torch
    >>> torch.nn.LayerNorm(2)(torch.tensor([[1.0, 3.0]])).detach()
    tensor([[-1.0000,  1.0000]])
    """

    __constants__ = ["normalized_shape", "eps", "elementwise_affine"]
    normalized_shape: tuple[int, ...]
    eps: float
    elementwise_affine: bool

    def __init__(self, normalized_shape: Shape, eps: float = 1e-5,
                 elementwise_affine: bool = True, bias: bool = True, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__()
        self.normalized_shape = _as_shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._make_parameters(self.normalized_shape, elementwise_affine, bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """``input``, (..., *normalized_shape), normalised."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The settings."""
        return (f"{self.normalized_shape}, eps={self.eps}, "
                f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}")


class GroupNorm(_AffineNorm):
    """Normalisation over groups of channels of each example (arXiv:1803.08494).

    >>> import flambeau as torch
    >>> torch.nn.GroupNorm(3, 6)(torch.randn(20, 6, 10, 10)).shape
    torch.Size([20, 6, 10, 10])
    """

    __constants__ = ["num_groups", "num_channels", "eps", "affine"]
    num_groups: int
    num_channels: int
    eps: float
    affine: bool

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5,
                 affine: bool = True, device: Any = None, dtype: Any = None, *,
                 bias: bool = True) -> None:
        super().__init__()
        if num_channels % num_groups:
            raise ValueError(f"num_channels ({num_channels}) must be divisible by num_groups "
                             f"({num_groups})")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self._make_parameters(num_channels, affine, bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """``input``, (N, num_channels, ...), normalised."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The settings."""
        return (f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
                f"bias={self.bias is not None}")


class RMSNorm(Module):
    """``x / sqrt(mean(x**2) + eps) * weight`` over the last dimensions (arXiv:1910.07467).

    ``eps`` None is the machine precision of the dtype.

    >>> import flambeau as torch
    >>> torch.nn.RMSNorm([2, 3])(torch.randn(2, 2, 3)).shape
    torch.Size([2, 2, 3])
    """

    __constants__ = ["normalized_shape", "eps", "elementwise_affine"]
    normalized_shape: tuple[int, ...]
    eps: float | None
    elementwise_affine: bool

    def __init__(self, normalized_shape: Shape, eps: float | None = None,
                 elementwise_affine: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.normalized_shape = _as_shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        if elementwise_affine:
            self.weight = Parameter(torch["empty"](self.normalized_shape, device=device,
                                                   dtype=dtype))
        else:
            self.register_parameter("weight", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1."""
        if self.elementwise_affine:
            init.ones_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """``x``, (..., *normalized_shape), normalised."""
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """The settings."""
        return (f"{self.normalized_shape}, eps={self.eps}, "
                f"elementwise_affine={self.elementwise_affine}")
