"""Convolutions and transposed convolutions over one, two and three axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

from flambeau.autograd import no_grad
from flambeau.core.face import FACES
from flambeau.core.tensor import Tensor
from flambeau.nn import functional as F
from flambeau.nn import init
from flambeau.nn.modules.module import Module
from flambeau.nn.modules.utils import _pair, _reverse_repeat_tuple, _single, _triple
from flambeau.nn.parameter import Parameter

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]

Size1 = int | tuple[int]
Size2 = int | tuple[int, int]
Size3 = int | tuple[int, int, int]
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]
_MODES = ("zeros", "reflect", "replicate", "circular")
empty = FACES["torch"]["empty"]


class _ConvNd(Module):
    """What all convolutions share: sizes as tuples, the parameters, their first values."""

    __constants__ = ["stride", "padding", "dilation", "groups", "padding_mode", "output_padding",
                     "in_channels", "out_channels", "kernel_size"]
    __annotations__ = {"bias": "Tensor | None"}
    weight: Tensor
    bias: Tensor | None
    _convolve: Callable[..., Tensor]

    def __init__(self, in_channels: int, out_channels: int, kernel_size: tuple[int, ...],
                 stride: tuple[int, ...], padding: str | tuple[int, ...],
                 dilation: tuple[int, ...], transposed: bool, output_padding: tuple[int, ...],
                 groups: int, bias: bool, padding_mode: PaddingMode, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__()
        _check_channels(in_channels, out_channels, groups)
        _check_padding(padding, padding_mode, stride)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.transposed = transposed
        self.output_padding = output_padding
        self.groups = groups
        self.padding_mode = padding_mode
        self._reversed_padding_repeated_twice = _pad_amounts(padding, kernel_size, dilation)
        first, second = ((in_channels, out_channels) if transposed
                         else (out_channels, in_channels))
        options = {"device": device, "dtype": dtype}
        self.weight = Parameter(empty((first, second // groups, *kernel_size), **options))
        if bias:
            self.bias = Parameter(empty(out_channels, **options))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, uniform within 1 / sqrt(fan_in) of zero."""
        with no_grad():
            # Numbers are drawn in the order of a contiguous weight, whatever the strides.
            drawn = init.kaiming_uniform_(_contiguous_like(self.weight), a=math.sqrt(5))
            if drawn is not self.weight:
                self.weight.copy_(drawn)
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            if fan_in:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = (0,) * len(self.kernel_size)
        return self._convolve(input, weight, bias, self.stride, padding, self.dilation,
                              self.groups)

    def forward(self, input: Tensor) -> Tensor:
        """The convolution of ``input``, (N, in_channels, ...) or (in_channels, ...)."""
        return self._conv_forward(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Channels, sizes, and whatever differs from the defaults."""
        parts = [str(self.in_channels), str(self.out_channels),
                 f"kernel_size={self.kernel_size}", f"stride={self.stride}"]
        for name, default in (("padding", 0), ("dilation", 1), ("output_padding", 0)):
            value = getattr(self, name)
            if value != (default,) * len(value):
                parts.append(f"{name}={value}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.__dict__.setdefault("padding_mode", "zeros")  # older pickles lack it


def _check_channels(in_channels: int, out_channels: int, groups: int) -> None:
    if groups <= 0:
        raise ValueError("groups must be a positive integer")
    if in_channels % groups:
        raise ValueError("in_channels must be divisible by groups")
    if out_channels % groups:
        raise ValueError("out_channels must be divisible by groups")


def _check_padding(padding: str | tuple[int, ...], mode: str, stride: tuple[int, ...]) -> None:
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(f"Invalid padding string {padding!r}, should be one of "
                             f"{ {'same', 'valid'} }")
        if padding == "same" and any(s != 1 for s in stride):
            raise ValueError("padding='same' is not supported for strided convolutions")
    if mode not in _MODES:
        raise ValueError(f"padding_mode must be one of {set(_MODES)}, but got "
                         f"padding_mode='{mode}'")


def _pad_amounts(padding: str | tuple[int, ...], kernel: tuple[int, ...],
                 dilation: tuple[int, ...]) -> Sequence[int]:
    """What ``pad`` adds before and after each axis, the last axis first."""
    if not isinstance(padding, str):
        return _reverse_repeat_tuple(padding, 2)
    if padding == "valid":
        return [0, 0] * len(kernel)
    totals = [d * (k - 1) for d, k in zip(dilation, kernel)]
    return [n for total in reversed(totals) for n in (total // 2, total - total // 2)]


def _contiguous_like(t: Tensor) -> Tensor:
    if t.is_contiguous():
        return t
    return empty(t.shape, dtype=t.dtype, device=t.device)


class Conv1d(_ConvNd):
    """Cross-correlation over one axis: (N, in_channels, L) gives (N, out_channels, L_out).

    ``padding`` is added to both sides (or "same", "valid"), filled as ``padding_mode`` says.
    ``weight`` is (out_channels, in_channels / groups, kernel_size), ``bias`` (out_channels).

    >>> import flambeau as torch
    >>> torch.nn.Conv1d(16, 33, 3, stride=2)(torch.randn(20, 16, 50)).shape
    torch.Size([20, 33, 24])
    """

    _convolve = staticmethod(F.conv1d)

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size1, stride: Size1 = 1,
                 padding: str | Size1 = 0, dilation: Size1 = 1, groups: int = 1,
                 bias: bool = True, padding_mode: PaddingMode = "zeros", device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__(
            in_channels, out_channels, _single(kernel_size), _single(stride),
            padding if isinstance(padding, str) else _single(padding), _single(dilation), False,
            (0,), groups, bias, padding_mode, device, dtype)


class Conv2d(_ConvNd):
    """Cross-correlation over two axes: (N, in_channels, H, W) gives (N, out_channels, ...).

    Sizes are one number for both axes or a pair; else as ``Conv1d``.

    >>> import flambeau as torch
    >>> torch.nn.Conv2d(3, 8, (3, 5), padding="same")(torch.randn(2, 3, 9, 9)).shape
    torch.Size([2, 8, 9, 9])
    """

    _convolve = staticmethod(F.conv2d)

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size2, stride: Size2 = 1,
                 padding: str | Size2 = 0, dilation: Size2 = 1, groups: int = 1,
                 bias: bool = True, padding_mode: PaddingMode = "zeros", device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__(
            in_channels, out_channels, _pair(kernel_size), _pair(stride),
            padding if isinstance(padding, str) else _pair(padding), _pair(dilation), False,
            (0, 0), groups, bias, padding_mode, device, dtype)


class Conv3d(_ConvNd):
    """Cross-correlation over three axes: (N, in_channels, D, H, W) gives (N, out_channels, ...).

    Sizes are one number for all axes or three; else as ``Conv1d``.

    >>> import flambeau as torch
    >>> torch.nn.Conv3d(1, 2, 3)(torch.randn(1, 1, 5, 5, 5)).shape
    torch.Size([1, 2, 3, 3, 3])
    """

    _convolve = staticmethod(F.conv3d)

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size3, stride: Size3 = 1,
                 padding: str | Size3 = 0, dilation: Size3 = 1, groups: int = 1,
                 bias: bool = True, padding_mode: PaddingMode = "zeros", device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__(
            in_channels, out_channels, _triple(kernel_size), _triple(stride),
            padding if isinstance(padding, str) else _triple(padding), _triple(dilation), False,
            (0, 0, 0), groups, bias, padding_mode, device, dtype)


class _ConvTransposeNd(_ConvNd):
    """What transposed convolutions share: padding by zeros alone, and a size to ask for."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: tuple[int, ...],
                 stride: tuple[int, ...], padding: tuple[int, ...], dilation: tuple[int, ...],
                 transposed: bool, output_padding: tuple[int, ...], groups: int, bias: bool,
                 padding_mode: PaddingMode, device: Any = None, dtype: Any = None) -> None:
        if padding_mode != "zeros":
            raise ValueError('Only "zeros" padding mode is supported for '
                             f"{type(self).__name__}")
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation,
                         transposed, output_padding, groups, bias, padding_mode, device, dtype)

    def _output_padding(self, input: Tensor, output_size: Sequence[int] | None,
                        stride: Sequence[int], padding: Sequence[int],
                        kernel_size: Sequence[int], num_spatial_dims: int,
                        dilation: Sequence[int] | None = None) -> Sequence[int]:
        """What to add at the end of each axis so that the result has ``output_size``."""
        if output_size is None:
            return _single(self.output_padding)
        n = num_spatial_dims
        lead = 2 if input.dim() == n + 2 else 1
        sizes = list(output_size)
        if len(sizes) == lead + n:
            sizes = sizes[lead:]
        if len(sizes) != n:
            raise ValueError(f"ConvTranspose{n}D: for {input.dim()}D input, output_size must have "
                             f"{n} or {lead + n} elements (got {len(sizes)})")
        spread = dilation or [1] * n
        least = [(input.size(d + lead) - 1) * stride[d] - 2 * padding[d]
                 + spread[d] * (kernel_size[d] - 1) + 1 for d in range(n)]
        most = [size + step - 1 for size, step in zip(least, stride)]
        if any(not low <= size <= high for size, low, high in zip(sizes, least, most)):
            raise ValueError(f"requested an output size of {output_size}, but valid sizes range "
                             f"from {least} to {most} (for an input of {input.size()[2:]})")
        return [size - low for size, low in zip(sizes, least)]

    def forward(self, input: Tensor,  # type: ignore[override]
                output_size: list[int] | None = None) -> Tensor:
        """The transposed convolution; ``output_size`` chooses among sizes that are possible."""
        if self.padding_mode != "zeros":
            raise ValueError("Only `zeros` padding mode is supported for "
                             f"{type(self).__name__}")
        if not isinstance(self.padding, tuple):
            raise AssertionError("self.padding must be a tuple")
        extra = self._output_padding(input, output_size, self.stride, self.padding,
                                     self.kernel_size, len(self.kernel_size), self.dilation)
        return self._convolve(input, self.weight, self.bias, self.stride, self.padding, extra,
                              self.groups, self.dilation)


class ConvTranspose1d(_ConvTransposeNd):
    """The gradient of ``Conv1d`` by its input, as a layer: (N, in_channels, L) grows.

    ``output_padding`` is added at the end of the result, where a stride leaves its size open.
    ``weight`` is (in_channels, out_channels / groups, kernel_size).

    >>> import flambeau as torch
    >>> torch.nn.ConvTranspose1d(4, 2, 3, stride=2)(torch.randn(1, 4, 5)).shape
    torch.Size([1, 2, 11])
    """

    _convolve = staticmethod(F.conv_transpose1d)

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size1, stride: Size1 = 1,
                 padding: Size1 = 0, output_padding: Size1 = 0, groups: int = 1,
                 bias: bool = True, dilation: Size1 = 1, padding_mode: PaddingMode = "zeros",
                 device: Any = None, dtype: Any = None) -> None:
        super().__init__(
            in_channels, out_channels, _single(kernel_size), _single(stride), _single(padding),
            _single(dilation), True, _single(output_padding), groups, bias, padding_mode, device,
            dtype)


class ConvTranspose2d(_ConvTransposeNd):
    """The gradient of ``Conv2d`` by its input, as a layer; else as ``ConvTranspose1d``.

    >>> import flambeau as torch
    >>> grow = torch.nn.ConvTranspose2d(16, 16, 3, stride=2, padding=1)
    >>> grow(torch.randn(1, 16, 6, 6), output_size=[12, 12]).shape
    torch.Size([1, 16, 12, 12])
    """

    _convolve = staticmethod(F.conv_transpose2d)

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size2, stride: Size2 = 1,
                 padding: Size2 = 0, output_padding: Size2 = 0, groups: int = 1,
                 bias: bool = True, dilation: Size2 = 1, padding_mode: PaddingMode = "zeros",
                 device: Any = None, dtype: Any = None) -> None:
        super().__init__(
            in_channels, out_channels, _pair(kernel_size), _pair(stride), _pair(padding),
            _pair(dilation), True, _pair(output_padding), groups, bias, padding_mode, device,
            dtype)


class ConvTranspose3d(_ConvTransposeNd):
    """The gradient of ``Conv3d`` by its input, as a layer; else as ``ConvTranspose1d``.

    >>> import flambeau as torch
    >>> torch.nn.ConvTranspose3d(2, 1, 2, stride=2)(torch.randn(1, 2, 3, 3, 3)).shape
    torch.Size([1, 1, 6, 6, 6])
    """

    _convolve = staticmethod(F.conv_transpose3d)

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size3, stride: Size3 = 1,
                 padding: Size3 = 0, output_padding: Size3 = 0, groups: int = 1,
                 bias: bool = True, dilation: Size3 = 1, padding_mode: PaddingMode = "zeros",
                 device: Any = None, dtype: Any = None) -> None:
        super().__init__(
            in_channels, out_channels, _triple(kernel_size), _triple(stride), _triple(padding),
            _triple(dilation), True, _triple(output_padding), groups, bias, padding_mode, device,
            dtype)
