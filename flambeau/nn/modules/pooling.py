"""Pooling: maxima, means and p-norms of windows, and the inverse of maxima."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.core.tensor import Tensor
from flambeau.nn import functional as F
from flambeau.nn.modules.adaptive_pooling import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool3d,
    FractionalMaxPool2d,
    FractionalMaxPool3d,
)
from flambeau.nn.modules.module import Module
from flambeau.nn.modules.utils import _pair, _single, _triple

__all__ = ["AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d",
           "AdaptiveMaxPool2d", "AdaptiveMaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d",
           "FractionalMaxPool2d", "FractionalMaxPool3d", "LPPool1d", "LPPool2d", "LPPool3d",
           "MaxPool1d", "MaxPool2d", "MaxPool3d", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d"]

SizeAny = int | tuple[int, ...]
Size1 = int | tuple[int]
Size2 = int | tuple[int, int]
Size3 = int | tuple[int, int, int]


class _MaxPoolNd(Module):
    """What pooling by maxima shares; ``stride`` is the kernel's size where None."""

    __constants__ = ["kernel_size", "stride", "padding", "dilation", "return_indices",
                     "ceil_mode"]
    return_indices: bool
    ceil_mode: bool
    _pool: Callable[..., Any]

    def __init__(self, kernel_size: SizeAny, stride: SizeAny | None = None, padding: SizeAny = 0,
                 dilation: SizeAny = 1, return_indices: bool = False,
                 ceil_mode: bool = False) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Any:
        """The maxima of ``input``'s windows, and where they are with ``return_indices``."""
        return self._pool(input, self.kernel_size, self.stride, self.padding, self.dilation,
                          ceil_mode=self.ceil_mode, return_indices=self.return_indices)

    def extra_repr(self) -> str:
        """The sizes."""
        return (f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
                f"dilation={self.dilation}, ceil_mode={self.ceil_mode}")


class MaxPool1d(_MaxPoolNd):
    """Maxima of windows over one axis: (N, C, L) or (C, L).

    >>> import flambeau as torch
    >>> torch.nn.MaxPool1d(2)(torch.tensor([[1.0, 3.0, 2.0, 0.0]]))
    tensor([[3., 2.]])
    """

    _pool = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPoolNd):
    """Maxima of windows over two axes: (N, C, H, W) or (C, H, W).

    >>> import flambeau as torch
    >>> torch.nn.MaxPool2d(3, stride=2)(torch.randn(20, 16, 50, 32)).shape
    torch.Size([20, 16, 24, 15])
    """

    _pool = staticmethod(F.max_pool2d)


class MaxPool3d(_MaxPoolNd):
    """Maxima of windows over three axes: (N, C, D, H, W) or (C, D, H, W).

    >>> import flambeau as torch
    >>> torch.nn.MaxPool3d(2)(torch.randn(1, 4, 6, 6, 6)).shape
    torch.Size([1, 4, 3, 3, 3])
    """

    _pool = staticmethod(F.max_pool3d)


class _MaxUnpoolNd(Module):
    """What the inverses of pooling by maxima share."""

    _unpool: Callable[..., Tensor]

    def _set_sizes(self, each: Callable[[Any], tuple], kernel_size: Any, stride: Any,
                   padding: Any) -> None:
        self.kernel_size = each(kernel_size)
        self.stride = each(kernel_size if stride is None else stride)
        self.padding = each(padding)

    def forward(self, input: Tensor, indices: Tensor,
                output_size: list[int] | None = None) -> Tensor:
        """Each maximum where ``indices`` says that it came from, and zeros elsewhere."""
        return self._unpool(input, indices, self.kernel_size, self.stride, self.padding,
                            output_size)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpoolNd):
    """Puts the maxima of ``MaxPool1d`` back: (N, C, L) or (C, L).

    >>> import flambeau as torch
    >>> x = torch.tensor([[1.0, 3.0, 2.0, 0.0]])
    >>> torch.nn.MaxUnpool1d(2)(*torch.nn.MaxPool1d(2, return_indices=True)(x))
    tensor([[0., 3., 2., 0.]])
    """

    _unpool = staticmethod(F.max_unpool1d)

    def __init__(self, kernel_size: Size1, stride: Size1 | None = None,
                 padding: Size1 = 0) -> None:
        super().__init__()
        self._set_sizes(_single, kernel_size, stride, padding)


class MaxUnpool2d(_MaxUnpoolNd):
    """Puts the maxima of ``MaxPool2d`` back: (N, C, H, W) or (C, H, W).

    >>> import flambeau as torch
    >>> x = torch.randn(1, 1, 4, 4)
    >>> torch.nn.MaxUnpool2d(2)(*torch.nn.MaxPool2d(2, return_indices=True)(x)).shape
    torch.Size([1, 1, 4, 4])
    """

    _unpool = staticmethod(F.max_unpool2d)

    def __init__(self, kernel_size: Size2, stride: Size2 | None = None,
                 padding: Size2 = 0) -> None:
        super().__init__()
        self._set_sizes(_pair, kernel_size, stride, padding)


class MaxUnpool3d(_MaxUnpoolNd):
    """Puts the maxima of ``MaxPool3d`` back: (N, C, D, H, W) or (C, D, H, W).

    >>> import flambeau as torch
    >>> x = torch.randn(1, 1, 4, 4, 4)
    >>> torch.nn.MaxUnpool3d(2)(*torch.nn.MaxPool3d(2, return_indices=True)(x)).shape
    torch.Size([1, 1, 4, 4, 4])
    """

    _unpool = staticmethod(F.max_unpool3d)

    def __init__(self, kernel_size: Size3, stride: Size3 | None = None,
                 padding: Size3 = 0) -> None:
        super().__init__()
        self._set_sizes(_triple, kernel_size, stride, padding)


class _AvgPoolNd(Module):
    """What pooling by means shares."""

    __constants__ = ["kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"]
    kernel_size: Any
    stride: Any
    padding: Any

    def extra_repr(self) -> str:
        """The sizes."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPoolNd):
    """Means of windows over one axis: (N, C, L) or (C, L).

    >>> import flambeau as torch
    >>> torch.nn.AvgPool1d(2)(torch.tensor([[1.0, 3.0, 2.0, 0.0]]))
    tensor([[2., 1.]])
    """

    def __init__(self, kernel_size: Size1, stride: Size1 = None,  # type: ignore[assignment]
                 padding: Size1 = 0, ceil_mode: bool = False,
                 count_include_pad: bool = True) -> None:
        super().__init__()
        self.kernel_size = _single(kernel_size)
        self.stride = _single(kernel_size if stride is None else stride)
        self.padding = _single(padding)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        """The means of ``input``'s windows."""
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
                            self.count_include_pad)


class _AvgPoolDivided(_AvgPoolNd):
    """Means that may divide by a number of their own."""

    __constants__ = ["kernel_size", "stride", "padding", "ceil_mode", "count_include_pad",
                     "divisor_override"]
    _pool: Callable[..., Tensor]

    def _set(self, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool,
             count_include_pad: bool, divisor_override: int | None) -> None:
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        """The means of ``input``'s windows."""
        return self._pool(input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
                          self.count_include_pad, self.divisor_override)


class AvgPool2d(_AvgPoolDivided):
    """Means of windows over two axes: (N, C, H, W) or (C, H, W).

    ``divisor_override`` is what sums are divided by, in place of the window's size.

    >>> import flambeau as torch
    >>> torch.nn.AvgPool2d(3, stride=2)(torch.randn(20, 16, 50, 32)).shape
    torch.Size([20, 16, 24, 15])
    """

    _pool = staticmethod(F.avg_pool2d)

    def __init__(self, kernel_size: Size2, stride: Size2 | None = None, padding: Size2 = 0,
                 ceil_mode: bool = False, count_include_pad: bool = True,
                 divisor_override: int | None = None) -> None:
        super().__init__()
        self._set(kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


class AvgPool3d(_AvgPoolDivided):
    """Means of windows over three axes: (N, C, D, H, W) or (C, D, H, W); as ``AvgPool2d``.

    >>> import flambeau as torch
    >>> torch.nn.AvgPool3d(2)(torch.randn(1, 4, 6, 6, 6)).shape
    torch.Size([1, 4, 3, 3, 3])
    """

    _pool = staticmethod(F.avg_pool3d)

    def __init__(self, kernel_size: Size3, stride: Size3 | None = None, padding: Size3 = 0,
                 ceil_mode: bool = False, count_include_pad: bool = True,
                 divisor_override: int | None = None) -> None:
        super().__init__()
        self._set(kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        # Older pickles lack these.
        for name, value in (("padding", 0), ("ceil_mode", False), ("count_include_pad", True)):
            self.__dict__.setdefault(name, value)


class _LPPoolNd(Module):
    """What pooling by p-norms shares: ``(sum x^p)^(1/p)`` of every window."""

    __constants__ = ["norm_type", "kernel_size", "stride", "ceil_mode"]
    norm_type: float
    ceil_mode: bool
    _pool: Callable[..., Tensor]

    def __init__(self, norm_type: float, kernel_size: SizeAny, stride: SizeAny | None = None,
                 ceil_mode: bool = False) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        """The norms of ``input``'s windows."""
        return self._pool(input, float(self.norm_type), self.kernel_size, self.stride,
                          self.ceil_mode)

    def extra_repr(self) -> str:
        """The power and the sizes."""
        return (f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, "
                f"stride={self.stride}, ceil_mode={self.ceil_mode}")


class LPPool1d(_LPPoolNd):
    """p-norms of windows over one axis: (N, C, L) or (C, L).

    >>> import flambeau as torch
    >>> torch.nn.LPPool1d(2, 2)(torch.tensor([[3.0, 4.0]]))
    tensor([[5.]])
    """

    _pool = staticmethod(F.lp_pool1d)


class LPPool2d(_LPPoolNd):
    """p-norms of windows over two axes: (N, C, H, W) or (C, H, W).

    >>> import flambeau as torch
    >>> torch.nn.LPPool2d(1.2, (3, 2), stride=(2, 1))(torch.rand(1, 2, 9, 8)).shape
    torch.Size([1, 2, 4, 7])
    """

    _pool = staticmethod(F.lp_pool2d)


class LPPool3d(_LPPoolNd):
    """p-norms of windows over three axes: (N, C, D, H, W) or (C, D, H, W).

    >>> import flambeau as torch
    >>> torch.nn.LPPool3d(2, 2)(torch.rand(1, 2, 4, 4, 4)).shape
    torch.Size([1, 2, 2, 2, 2])
    """

    _pool = staticmethod(F.lp_pool3d)
