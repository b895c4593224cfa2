"""Pooling to a given size, with windows that adapt or that are drawn at random."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.core.tensor import Tensor
from flambeau.nn import functional as F
from flambeau.nn.modules.module import Module
from flambeau.nn.modules.utils import _ntuple

__all__ = ["AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d",
           "AdaptiveMaxPool2d", "AdaptiveMaxPool3d", "FractionalMaxPool2d", "FractionalMaxPool3d"]

OutputSize = int | None | tuple[int | None, ...]
Size2 = int | tuple[int, int]
Size3 = int | tuple[int, int, int]
Ratio2 = float | tuple[float, float]
Ratio3 = float | tuple[float, float, float]


class _AdaptiveMaxPoolNd(Module):
    """What adaptive pooling by maxima shares; a size of None keeps the input's."""

    __constants__ = ["output_size", "return_indices"]
    return_indices: bool
    _pool: Callable[..., Any]

    def __init__(self, output_size: OutputSize, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        """The maxima, and where they are with ``return_indices``."""
        return self._pool(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        """The size of the results."""
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPoolNd):
    """Maxima over as many windows as ``output_size`` says: (N, C, L) or (C, L).

    >>> import flambeau as torch
    >>> torch.nn.AdaptiveMaxPool1d(2)(torch.tensor([[1.0, 3.0, 2.0]]))
    tensor([[3., 3.]])
    """

    _pool = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMaxPoolNd):
    """Maxima over as many windows as ``output_size`` says: (N, C, H, W) or (C, H, W).

    >>> import flambeau as torch
    >>> torch.nn.AdaptiveMaxPool2d((5, None))(torch.randn(1, 64, 8, 9)).shape
    torch.Size([1, 64, 5, 9])
    """

    _pool = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMaxPoolNd):
    """Maxima over as many windows as ``output_size`` says: (N, C, D, H, W) or (C, D, H, W).

    >>> import flambeau as torch
    >>> torch.nn.AdaptiveMaxPool3d(2)(torch.randn(1, 4, 8, 9, 10)).shape
    torch.Size([1, 4, 2, 2, 2])
    """

    _pool = staticmethod(F.adaptive_max_pool3d)


class _AdaptiveAvgPoolNd(Module):
    """What adaptive pooling by means shares; a size of None keeps the input's."""

    __constants__ = ["output_size"]
    _pool: Callable[..., Tensor]

    def __init__(self, output_size: OutputSize) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        """The means of ``input``'s windows."""
        return self._pool(input, self.output_size)

    def extra_repr(self) -> str:
        """The size of the results."""
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPoolNd):
    """Means over as many windows as ``output_size`` says: (N, C, L) or (C, L).

    >>> import flambeau as torch
    >>> torch.nn.AdaptiveAvgPool1d(2)(torch.tensor([[1.0, 3.0, 2.0]]))
    tensor([[2.0000, 2.5000]])
    """

    _pool = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptiveAvgPoolNd):
    """Means over as many windows as ``output_size`` says: (N, C, H, W) or (C, H, W).

    >>> import flambeau as torch
    >>> torch.nn.AdaptiveAvgPool2d((5, None))(torch.randn(1, 64, 8, 9)).shape
    torch.Size([1, 64, 5, 9])
    """

    _pool = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptiveAvgPoolNd):
    """Means over as many windows as ``output_size`` says: (N, C, D, H, W) or (C, D, H, W).

    >>> import flambeau as torch
    >>> torch.nn.AdaptiveAvgPool3d(2)(torch.randn(1, 4, 8, 9, 10)).shape
    torch.Size([1, 4, 2, 2, 2])
    """

    _pool = staticmethod(F.adaptive_avg_pool3d)


class _FractionalMaxPoolNd(Module):
    """What pooling over random windows shares (arXiv:1412.6071)."""

    __constants__ = ["kernel_size", "return_indices", "output_size", "output_ratio"]
    _axes: int
    _pool: Callable[..., Any]
    _random_samples: Tensor | None

    def _set(self, kernel_size: Any, output_size: Any, output_ratio: Any, return_indices: bool,
             samples: Tensor | None) -> None:
        each, name = _ntuple(self._axes), type(self).__name__
        self.kernel_size = each(kernel_size)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", samples)
        self.output_size = None if output_size is None else each(output_size)
        self.output_ratio = None if output_ratio is None else each(output_ratio)
        if output_size is None and output_ratio is None:
            raise ValueError(f"{name} requires specifying either an output size, or a pooling "
                             "ratio")
        if output_size is not None and output_ratio is not None:
            raise ValueError("only one of output_size and output_ratio may be specified")
        if self.output_ratio is not None and any(not 0 < r < 1 for r in self.output_ratio):
            raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")

    def forward(self, input: Tensor) -> Any:
        """The maxima, and where they are with ``return_indices``."""
        return self._pool(input, self.kernel_size, self.output_size, self.output_ratio,
                          self.return_indices, _random_samples=self._random_samples)


class FractionalMaxPool2d(_FractionalMaxPoolNd):
    """Maxima over windows at random places, to a size or to a ratio of the input's size.

    >>> import flambeau as torch
    >>> torch.nn.FractionalMaxPool2d(3, output_size=(13, 12))(torch.randn(2, 4, 50, 32)).shape
    torch.Size([2, 4, 13, 12])
    """

    _axes = 2
    _pool = staticmethod(F.fractional_max_pool2d)

    def __init__(self, kernel_size: Size2, output_size: Size2 | None = None,
                 output_ratio: Ratio2 | None = None, return_indices: bool = False,
                 _random_samples: Tensor | None = None) -> None:
        super().__init__()
        self._set(kernel_size, output_size, output_ratio, return_indices, _random_samples)


class FractionalMaxPool3d(_FractionalMaxPoolNd):
    """Maxima over windows at random places, to a size or to a ratio of the input's size.

    >>> import flambeau as torch
    >>> torch.nn.FractionalMaxPool3d(3, output_ratio=0.5)(torch.randn(1, 4, 10, 10, 10)).shape
    torch.Size([1, 4, 5, 5, 5])
    """

    _axes = 3
    _pool = staticmethod(F.fractional_max_pool3d)

    def __init__(self, kernel_size: Size3, output_size: Size3 | None = None,
                 output_ratio: Ratio3 | None = None, return_indices: bool = False,
                 _random_samples: Tensor | None = None) -> None:
        super().__init__()
        if any(k <= 0 for k in _ntuple(3)(kernel_size)):
            raise ValueError(f"kernel_size must be greater than 0, but got {kernel_size}")
        self._set(kernel_size, output_size, output_ratio, return_indices, _random_samples)
