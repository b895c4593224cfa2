"""Functions of neural networks: activations, losses, normalisation, convolution, attention."""

from __future__ import annotations

from typing import Any

from flambeau.base.missing import missing_attribute
from flambeau.core.face import FACES

globals().update(FACES["nn.functional"])
for _name in ("sigmoid", "tanh", "conv1d", "conv2d", "conv3d", "conv_tbc", "conv_transpose1d",
              "conv_transpose2d", "conv_transpose3d", "avg_pool1d", "adaptive_avg_pool1d",
              "channel_shuffle", "native_channel_shuffle", "pixel_shuffle", "pixel_unshuffle"):
    if _name not in globals() and _name in FACES["torch"]:
        globals()[_name] = FACES["torch"][_name]

__all__ = sorted(FACES["nn.functional"])  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    raise missing_attribute(__name__, name, globals())
