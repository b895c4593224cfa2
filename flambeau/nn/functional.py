"""Functions of neural networks: activations, losses, normalisation, convolution, attention."""

from __future__ import annotations

from typing import Any

from flambeau.base.missing import missing_attribute
from flambeau.core.face import FACES

_FACE = FACES["nn.functional"]
# Functions of torch that show here as well.
_OF_TORCH = frozenset((
    "sigmoid", "tanh", "conv1d", "conv2d", "conv3d", "conv_tbc", "conv_transpose1d",
    "conv_transpose2d", "conv_transpose3d", "avg_pool1d", "adaptive_avg_pool1d", "channel_shuffle",
    "native_channel_shuffle", "pixel_shuffle", "pixel_unshuffle"))

__all__ = sorted({*_FACE, *_FACE.later})  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name in _FACE or name in _FACE.later:
        found = _FACE[name]
    elif name in _OF_TORCH:
        found = FACES["torch"][name]
    else:
        raise missing_attribute(__name__, name, __dir__())
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_OF_TORCH})
