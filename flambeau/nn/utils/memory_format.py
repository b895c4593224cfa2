"""Weights of convolutions in another order of memory."""

from __future__ import annotations

from typing import Any

from flambeau.nn.modules.conv import Conv2d, Conv3d, ConvTranspose2d, ConvTranspose3d

__all__ = ["convert_conv2d_weight_memory_format", "convert_conv3d_weight_memory_format"]


def _convert(module: Any, memory_format: Any, kinds: Any) -> Any:
    for layer in module.modules():
        if not isinstance(layer, kinds):
            continue
        layer.weight.data = layer.weight.detach().contiguous(memory_format=memory_format)
    return module


def convert_conv2d_weight_memory_format(module: Any, memory_format: Any) -> Any:
    """Put the weights of all Conv2d and ConvTranspose2d in ``module`` into this memory format."""
    return _convert(module, memory_format, (Conv2d, ConvTranspose2d))


def convert_conv3d_weight_memory_format(module: Any, memory_format: Any) -> Any:
    """Put the weights of all Conv3d and ConvTranspose3d in ``module`` into this memory format."""
    return _convert(module, memory_format, (Conv3d, ConvTranspose3d))
