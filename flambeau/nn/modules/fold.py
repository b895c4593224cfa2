"""Sliding blocks as columns, and the sum of columns back into place."""

from __future__ import annotations

from flambeau.core.tensor import Tensor
from flambeau.nn import functional as F
from flambeau.nn.modules.module import Module

__all__ = ["Fold", "Unfold"]

SizeAny = int | tuple[int, ...]


class Unfold(Module):
    """The blocks of (N, C, H, W) or (C, H, W) as columns (N, C * block, number of blocks).

    >>> import flambeau as torch
    >>> torch.nn.Unfold(kernel_size=(2, 3))(torch.randn(2, 5, 3, 4)).shape
    torch.Size([2, 30, 4])
    """

    __constants__ = ["kernel_size", "dilation", "padding", "stride"]
    kernel_size: SizeAny
    dilation: SizeAny
    padding: SizeAny
    stride: SizeAny

    def __init__(self, kernel_size: SizeAny, dilation: SizeAny = 1, padding: SizeAny = 0,
                 stride: SizeAny = 1) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        """The columns of ``input``'s blocks."""
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        """The sizes."""
        return (f"kernel_size={self.kernel_size}, dilation={self.dilation}, "
                f"padding={self.padding}, stride={self.stride}")


class Fold(Module):
    """Columns (N, C * block, number of blocks) added into (N, C, *output_size).

    >>> import flambeau as torch
    >>> torch.nn.Fold(output_size=(4, 5), kernel_size=(2, 2))(torch.randn(1, 12, 12)).shape
    torch.Size([1, 3, 4, 5])
    """

    __constants__ = ["output_size", "kernel_size", "dilation", "padding", "stride"]
    output_size: SizeAny
    kernel_size: SizeAny
    dilation: SizeAny
    padding: SizeAny
    stride: SizeAny

    def __init__(self, output_size: SizeAny, kernel_size: SizeAny, dilation: SizeAny = 1,
                 padding: SizeAny = 0, stride: SizeAny = 1) -> None:
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        """The sums of ``input``'s columns in place."""
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding,
                      self.stride)

    def extra_repr(self) -> str:
        """The sizes."""
        return (f"output_size={self.output_size}, kernel_size={self.kernel_size}, "
                f"dilation={self.dilation}, padding={self.padding}, stride={self.stride}")
