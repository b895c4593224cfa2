"""Padding of the last axes, by a constant or by values of the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau.core.tensor import Tensor
from flambeau.nn import functional as F
from flambeau.nn.modules.module import Module
from flambeau.nn.modules.utils import _ntuple

__all__ = ["CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d",
           "ConstantPad3d", "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d",
           "ReplicationPad1d", "ReplicationPad2d", "ReplicationPad3d", "ZeroPad1d", "ZeroPad2d",
           "ZeroPad3d"]

Pad1 = int | tuple[int, int]
Pad2 = int | tuple[int, int, int, int]
Pad3 = int | tuple[int, int, int, int, int, int]
_two, _four, _six = _ntuple(2), _ntuple(4), _ntuple(6)


class _PadNd(Module):
    """What all share: ``padding`` has what is added before and after each axis, the last first."""

    __constants__ = ["padding"]
    padding: Sequence[int]
    _mode = "constant"

    def forward(self, input: Tensor) -> Tensor:
        """``input`` with its last axes padded."""
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        """The amounts."""
        return f"{self.padding}"


class _CircularPadNd(_PadNd):
    """Padding by the values of the other end."""

    _mode = "circular"

    def _check_input_dim(self, input: Tensor) -> None:
        n = len(self.padding) // 2
        if input.dim() not in (n + 1, n + 2):
            raise ValueError(f"expected {n + 1}D or {n + 2}D input (got {input.dim()}D input)")

    def forward(self, input: Tensor) -> Tensor:
        """``input`` with its last axes padded; ValueError where its rank does not fit."""
        self._check_input_dim(input)
        return super().forward(input)


class CircularPad1d(_CircularPadNd):
    """The last axis padded by the values of its other end.

    >>> import flambeau as torch
    >>> torch.nn.CircularPad1d(1)(torch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[3., 1., 2., 3., 1.]])
    """

    def __init__(self, padding: Pad1) -> None:
        super().__init__()
        self.padding = _two(padding)


class CircularPad2d(_CircularPadNd):
    """The last two axes padded by the values of their other ends.

    >>> import flambeau as torch
    >>> torch.nn.CircularPad2d((1, 1, 2, 0))(torch.randn(1, 3, 3)).shape
    torch.Size([1, 5, 5])
    """

    def __init__(self, padding: Pad2) -> None:
        super().__init__()
        self.padding = _four(padding)


class CircularPad3d(_CircularPadNd):
    """The last three axes padded by the values of their other ends.

    >>> import flambeau as torch
    >>> torch.nn.CircularPad3d(1)(torch.randn(1, 2, 3, 4)).shape
    torch.Size([1, 4, 5, 6])
    """

    def __init__(self, padding: Pad3) -> None:
        super().__init__()
        self.padding = _six(padding)


class _ConstantPadNd(_PadNd):
    """Padding by one value."""

    __constants__ = ["padding", "value"]
    value: float

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        """``input`` with its last axes padded."""
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        """The amounts and the value."""
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPadNd):
    """The last axis padded by ``value``.

    >>> import flambeau as torch
    >>> torch.nn.ConstantPad1d((2, 0), 3.5)(torch.zeros(1))
    tensor([3.5000, 3.5000, 0.0000])
    """

    def __init__(self, padding: Pad1, value: float) -> None:
        super().__init__(value)
        self.padding = _two(padding)


class ConstantPad2d(_ConstantPadNd):
    """The last two axes padded by ``value``.

    >>> import flambeau as torch
    >>> torch.nn.ConstantPad2d(2, 3.5)(torch.randn(1, 2, 2)).shape
    torch.Size([1, 6, 6])
    """

    def __init__(self, padding: Pad2, value: float) -> None:
        super().__init__(value)
        self.padding = _four(padding)


class ConstantPad3d(_ConstantPadNd):
    """The last three axes padded by ``value``.

    >>> import flambeau as torch
    >>> torch.nn.ConstantPad3d(1, 3.5)(torch.randn(1, 2, 3, 4)).shape
    torch.Size([1, 4, 5, 6])
    """

    def __init__(self, padding: Pad3, value: float) -> None:
        super().__init__(value)
        self.padding = _six(padding)


class _ReflectionPadNd(_PadNd):
    """Padding by the values mirrored at the edges, which are not repeated."""

    _mode = "reflect"


class ReflectionPad1d(_ReflectionPadNd):
    """The last axis mirrored at its edges.

    >>> import flambeau as torch
    >>> torch.nn.ReflectionPad1d(2)(torch.arange(4.0).reshape(1, 4))
    tensor([[2., 1., 0., 1., 2., 3., 2., 1.]])
    """

    def __init__(self, padding: Pad1) -> None:
        super().__init__()
        self.padding = _two(padding)


class ReflectionPad2d(_ReflectionPadNd):
    """The last two axes mirrored at their edges.

    >>> import flambeau as torch
    >>> torch.nn.ReflectionPad2d(2)(torch.randn(1, 3, 3)).shape
    torch.Size([1, 7, 7])
    """

    def __init__(self, padding: Pad2) -> None:
        super().__init__()
        self.padding = _four(padding)


class ReflectionPad3d(_ReflectionPadNd):
    """The last three axes mirrored at their edges.

    >>> import flambeau as torch
    >>> torch.nn.ReflectionPad3d(1)(torch.randn(1, 2, 2, 2)).shape
    torch.Size([1, 4, 4, 4])
    """

    def __init__(self, padding: Pad3) -> None:
        super().__init__()
        self.padding = _six(padding)


class _ReplicationPadNd(_PadNd):
    """Padding by the values at the edges."""

    _mode = "replicate"


class ReplicationPad1d(_ReplicationPadNd):
    """The last axis padded by its first and last values.

    >>> import flambeau as torch
    >>> torch.nn.ReplicationPad1d(2)(torch.tensor([[1.0, 2.0]]))
    tensor([[1., 1., 1., 2., 2., 2.]])
    """

    def __init__(self, padding: Pad1) -> None:
        super().__init__()
        self.padding = _two(padding)


class ReplicationPad2d(_ReplicationPadNd):
    """The last two axes padded by the values at their edges.

    >>> import flambeau as torch
    >>> torch.nn.ReplicationPad2d(2)(torch.randn(1, 3, 3)).shape
    torch.Size([1, 7, 7])
    """

    def __init__(self, padding: Pad2) -> None:
        super().__init__()
        self.padding = _four(padding)


class ReplicationPad3d(_ReplicationPadNd):
    """The last three axes padded by the values at their edges.

    >>> import flambeau as torch
    >>> torch.nn.ReplicationPad3d(1)(torch.randn(1, 2, 2, 2)).shape
    torch.Size([1, 4, 4, 4])
    """

    def __init__(self, padding: Pad3) -> None:
        super().__init__()
        self.padding = _six(padding)


def _amounts(module: Any) -> str:
    return f"{module.padding}"


class ZeroPad1d(ConstantPad1d):
    """The last axis padded by zeros.

    >>> import flambeau as torch
    >>> torch.nn.ZeroPad1d((2, 0))(torch.ones(1))
    tensor([0., 0., 1.])
    """

    def __init__(self, padding: Pad1) -> None:
        super().__init__(padding, 0.0)

    extra_repr = _amounts


class ZeroPad2d(ConstantPad2d):
    """The last two axes padded by zeros.

    >>> import flambeau as torch
    >>> torch.nn.ZeroPad2d((1, 1, 2, 0))(torch.randn(1, 3, 3)).shape
    torch.Size([1, 5, 5])
    """

    def __init__(self, padding: Pad2) -> None:
        super().__init__(padding, 0.0)

    extra_repr = _amounts


class ZeroPad3d(ConstantPad3d):
    """The last three axes padded by zeros.

    >>> import flambeau as torch
    >>> torch.nn.ZeroPad3d(1)(torch.randn(1, 2, 2, 2)).shape
    torch.Size([1, 4, 4, 4])
    """

    def __init__(self, padding: Pad3) -> None:
        super().__init__(padding, 0.0)

    extra_repr = _amounts
