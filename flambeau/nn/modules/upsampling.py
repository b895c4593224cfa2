"""Interpolation to another size as modules."""

from __future__ import annotations

from typing import Any

from flambeau.core.tensor import Tensor
from flambeau.nn import functional as F
from flambeau.nn.modules.module import Module

__all__ = ["Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d"]

SizeAny = int | tuple[int, ...]
Size2 = int | tuple[int, int]
RatioAny = float | tuple[float, ...]
Ratio2 = float | tuple[float, float]


class Upsample(Module):
    """(N, C, ...) interpolated to ``size``, or to its size times ``scale_factor``.

    ``mode`` is "nearest", "linear", "bilinear", "bicubic" or "trilinear".

    >>> import flambeau as torch
    >>> torch.nn.Upsample(scale_factor=2)(torch.tensor([[[1.0, 2.0]]]))
    tensor([[[1., 1., 2., 2.]]])
    """

    __constants__ = ["size", "scale_factor", "mode", "align_corners", "name",
                     "recompute_scale_factor"]
    name: str
    size: SizeAny | None
    scale_factor: RatioAny | None
    mode: str
    align_corners: bool | None
    recompute_scale_factor: bool | None

    def __init__(self, size: SizeAny | None = None, scale_factor: RatioAny | None = None,
                 mode: str = "nearest", align_corners: bool | None = None,
                 recompute_scale_factor: bool | None = None) -> None:
        super().__init__()
        self.name = type(self).__name__
        self.size = size
        if isinstance(scale_factor, tuple):
            self.scale_factor = tuple([float(f) for f in scale_factor])
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        """``input`` at its new size."""
        return F.interpolate(input, self.size, self.scale_factor, self.mode, self.align_corners,
                             recompute_scale_factor=self.recompute_scale_factor)

    def __setstate__(self, state: dict[str, Any]) -> None:
        state.setdefault("recompute_scale_factor", True)  # older pickles lack it
        super().__setstate__(state)

    def extra_repr(self) -> str:
        """The size or the factor, and the mode."""
        if self.scale_factor is not None:
            return f"scale_factor={self.scale_factor!r}, mode={self.mode!r}"
        return f"size={self.size!r}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """(N, C, H, W) to another size, every pixel the nearest one of the input.

    >>> import flambeau as torch
    >>> torch.nn.UpsamplingNearest2d(scale_factor=2)(torch.randn(1, 1, 2, 2)).shape
    torch.Size([1, 1, 4, 4])
    """

    def __init__(self, size: Size2 | None = None, scale_factor: Ratio2 | None = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """(N, C, H, W) to another size, linear in both axes, corners on corners.

    >>> import flambeau as torch
    >>> torch.nn.UpsamplingBilinear2d(size=(4, 3))(torch.randn(1, 1, 2, 2)).shape
    torch.Size([1, 1, 4, 3])
    """

    def __init__(self, size: Size2 | None = None, scale_factor: Ratio2 | None = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
