"""The lazy forms of layers: the number of features or channels comes from the first input."""

from __future__ import annotations

import sys
from typing import Any

from flambeau.autograd.modes import no_grad
from flambeau.base.dtypes import int64
from flambeau.core.face import FACES
from flambeau.core.tensor import Tensor
from flambeau.nn.modules import batchnorm, conv, instancenorm, linear
from flambeau.nn.modules.lazy import LazyModuleMixin
from flambeau.nn.parameter import UninitializedBuffer, UninitializedParameter

__all__ = ["LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d", "LazyConv1d", "LazyConv2d",
           "LazyConv3d", "LazyConvTranspose1d", "LazyConvTranspose2d", "LazyConvTranspose3d",
           "LazyInstanceNorm1d", "LazyInstanceNorm2d", "LazyInstanceNorm3d", "LazyLinear"]


def _start_unknown(module: Any, bias: bool, device: Any, dtype: Any) -> None:
    """Weight and bias without a shape; None for a bias that is not wanted."""
    module.weight = UninitializedParameter(device=device, dtype=dtype)
    if bias:
        module.bias = UninitializedParameter(device=device, dtype=dtype)


class LazyLinear(LazyModuleMixin, linear.Linear):  # type: ignore[misc]
    """A ``Linear`` whose ``in_features`` is the last size of its first input.

    >>> import flambeau as torch
    >>> net = torch.nn.LazyLinear(3)
    >>> net(torch.ones(4, 2)).shape, net
    (torch.Size([4, 3]), Linear(in_features=2, out_features=3, bias=True))
    """

    cls_to_become = linear.Linear
    weight: Any
    bias: Any

    def __init__(self, out_features: int, bias: bool = True, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__(0, 0, False)
        _start_unknown(self, bias, device, dtype)
        self.out_features = out_features

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, once they have their shapes."""
        if not self.has_uninitialized_params() and self.in_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:  # type: ignore[override]
        """Give weight and bias their shapes and first values."""
        size = input.shape[-1]
        if self.has_uninitialized_params():
            with no_grad():
                self.in_features = size
                self.weight.materialize((self.out_features, size))
                if self.bias is not None:
                    self.bias.materialize((self.out_features,))
                self.reset_parameters()
        if self.in_features == 0:
            # The shapes came from a state.
            if size != self.weight.shape[-1]:
                raise AssertionError(f"The in_features inferred from input: {size} is not equal to "
                                     "in_features from self.weight: "
                                     f"{self.weight.shape[-1]}")
            self.in_features = size


class _LazyConvXdMixin(LazyModuleMixin):
    """What lazy convolutions share."""

    weight: Any
    bias: Any
    groups: int
    transposed: bool
    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, once they have their shapes."""
        if not self.has_uninitialized_params() and self.in_channels != 0:
            super().reset_parameters()  # type: ignore[misc]

    def initialize_parameters(self, input: Tensor,  # type: ignore[override]
                              *args: Any, **kwargs: Any) -> None:
        """Give weight and bias their shapes and first values."""
        if not self.has_uninitialized_params():
            return
        self.in_channels = self._get_in_channels(input)
        if self.in_channels % self.groups != 0:
            raise ValueError("in_channels must be divisible by groups")
        first, second = ((self.in_channels, self.out_channels) if self.transposed
                         else (self.out_channels, self.in_channels))
        self.weight.materialize((first, second // self.groups, *self.kernel_size))
        if self.bias is not None:
            self.bias.materialize((self.out_channels,))
        self.reset_parameters()

    def _get_in_channels(self, input: Tensor) -> int:
        rank = self._get_num_spatial_dims() + 1
        if input.dim() not in (rank, rank + 1):
            raise RuntimeError(f"Expected {rank}D (unbatched) or {rank + 1}D (batched) input to "
                               f"{type(self).__name__}, but got input of size: {input.shape}")
        return input.shape[1] if input.dim() == rank + 1 else input.shape[0]

    def _get_num_spatial_dims(self) -> int:
        return len(self.kernel_size)


def _lazy_conv(base: type) -> Any:
    def __init__(self: Any, out_channels: int, kernel_size: Any, stride: Any = 1,
                 padding: Any = 0, dilation: Any = 1, groups: int = 1, bias: bool = True,
                 padding_mode: Any = "zeros", device: Any = None, dtype: Any = None) -> None:
        super(lazy, self).__init__(0, 0, kernel_size, stride, padding, dilation, groups, False,
                                   padding_mode, device=device, dtype=dtype)
        _start_unknown(self, bias, device, dtype)
        self.out_channels = out_channels

    lazy = _declare(base, _LazyConvXdMixin, base, "in_channels", __init__=__init__)
    return lazy


def _lazy_conv_transpose(base: type) -> Any:
    def __init__(self: Any, out_channels: int, kernel_size: Any, stride: Any = 1,
                 padding: Any = 0, output_padding: Any = 0, groups: int = 1, bias: bool = True,
                 dilation: Any = 1, padding_mode: Any = "zeros", device: Any = None,
                 dtype: Any = None) -> None:
        super(lazy, self).__init__(0, 0, kernel_size, stride, padding, output_padding, groups,
                                   False, dilation, padding_mode, device=device, dtype=dtype)
        _start_unknown(self, bias, device, dtype)
        self.out_channels = out_channels

    lazy = _declare(base, _LazyConvXdMixin, base, "in_channels", __init__=__init__)
    return lazy


def _declare(base: type, mixin: type, parent: type, size: str, **methods: Any) -> Any:
    """The class ``Lazy...`` of ``base``; it shows in the module of ``base``, too."""
    name = f"Lazy{base.__name__}"
    doc = f"A ``{base.__name__}`` whose ``{size}`` are as many as its first input has."
    lazy = type(name, (mixin, parent), {"__doc__": doc, "__module__": base.__module__,
                                        "cls_to_become": base, **methods})
    setattr(sys.modules[base.__module__], name, lazy)
    return lazy


LazyConv1d = _lazy_conv(conv.Conv1d)
LazyConv2d = _lazy_conv(conv.Conv2d)
LazyConv3d = _lazy_conv(conv.Conv3d)
LazyConvTranspose1d = _lazy_conv_transpose(conv.ConvTranspose1d)
LazyConvTranspose2d = _lazy_conv_transpose(conv.ConvTranspose2d)
LazyConvTranspose3d = _lazy_conv_transpose(conv.ConvTranspose3d)


class _LazyNormBase(LazyModuleMixin, batchnorm._NormBase):  # type: ignore[misc]
    """What lazy normalisations share."""

    weight: Any
    bias: Any
    running_mean: Any
    running_var: Any

    def __init__(self, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
                 track_running_stats: bool = True, device: Any = None, dtype: Any = None, *,
                 bias: bool = True) -> None:
        super().__init__(0, eps, momentum, False, False, device=device, dtype=dtype, bias=False)
        self.affine = affine
        self.track_running_stats = track_running_stats
        if affine:
            _start_unknown(self, bias, device, dtype)
        if track_running_stats:
            self.running_mean = UninitializedBuffer(device=device, dtype=dtype)
            self.running_var = UninitializedBuffer(device=device, dtype=dtype)
            self.num_batches_tracked = FACES["torch"]["tensor"](0, dtype=int64, device=device)

    def reset_parameters(self) -> None:
        """Reset statistics, weight and bias, once they have their shapes."""
        if not self.has_uninitialized_params() and self.num_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:  # type: ignore[override]
        """Give weight, bias and statistics their shapes and first values."""
        if not self.has_uninitialized_params():
            return
        self.num_features = input.shape[1]
        for value in (self.weight, self.bias, self.running_mean, self.running_var):
            if value is not None:
                value.materialize((self.num_features,))
        self.reset_parameters()


def _lazy_norm(base: type, parent: type) -> Any:
    own = {name: vars(base)[name] for name in ("_check_input_dim", "_get_no_batch_dim")
           if name in vars(base)}
    return _declare(base, _LazyNormBase, parent, "num_features", **own)


LazyBatchNorm1d = _lazy_norm(batchnorm.BatchNorm1d, batchnorm._BatchNorm)
LazyBatchNorm2d = _lazy_norm(batchnorm.BatchNorm2d, batchnorm._BatchNorm)
LazyBatchNorm3d = _lazy_norm(batchnorm.BatchNorm3d, batchnorm._BatchNorm)
LazyInstanceNorm1d = _lazy_norm(instancenorm.InstanceNorm1d, instancenorm._InstanceNorm)
LazyInstanceNorm2d = _lazy_norm(instancenorm.InstanceNorm2d, instancenorm._InstanceNorm)
LazyInstanceNorm3d = _lazy_norm(instancenorm.InstanceNorm3d, instancenorm._InstanceNorm)
LazyLinear.__module__ = linear.__name__
linear.LazyLinear = LazyLinear  # type: ignore[attr-defined]
