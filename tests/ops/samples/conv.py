"""Samples of convolutions and transposed convolutions."""

from __future__ import annotations

import numpy as np

from tests.ops.sample import Sample

RNG = np.random.default_rng(41)


def normal(*shape: int) -> np.ndarray:
    """Random numbers of this shape."""
    return RNG.normal(size=shape)


LINE, IMAGE, BLOCK = normal(2, 4, 7), normal(2, 4, 5, 4), normal(1, 2, 3, 4, 3)
LINE_WEIGHT, IMAGE_WEIGHT, BLOCK_WEIGHT = normal(6, 4, 3), normal(2, 4, 3, 2), normal(2, 2, 2, 2, 2)
BIAS, PAIR = normal(6), normal(2)
WAVE = LINE + 1j * normal(2, 4, 7)
WAVE_WEIGHT = LINE_WEIGHT + 1j * normal(6, 4, 3)

SAMPLES = {
    "conv1d": [
        Sample((LINE, LINE_WEIGHT, BIAS)), Sample((LINE[0], LINE_WEIGHT)),
        Sample((LINE, LINE_WEIGHT), {"stride": 2, "padding": 2}),
        Sample((LINE, LINE_WEIGHT), {"padding": "same", "dilation": 2}),
        Sample((LINE, LINE_WEIGHT[:, :2], BIAS), {"groups": 2, "padding": "valid"}),
        Sample((WAVE, WAVE_WEIGHT))],
    "conv2d": [
        Sample((IMAGE, IMAGE_WEIGHT, PAIR)), Sample((IMAGE[0], IMAGE_WEIGHT, PAIR)),
        Sample((IMAGE, IMAGE_WEIGHT), {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}),
        Sample((IMAGE, normal(8, 1, 2, 2)), {"groups": 4, "padding": 1}),
        Sample((IMAGE, normal(3, 4, 1, 1)), {"stride": 2})],
    "conv3d": [
        Sample((BLOCK, BLOCK_WEIGHT, PAIR)),
        Sample((BLOCK, BLOCK_WEIGHT), {"stride": (1, 2, 1), "padding": 1})],
    "conv_transpose1d": [
        Sample((LINE, normal(4, 3, 2))), Sample((LINE[0], normal(4, 3, 2))),
        Sample((LINE, normal(4, 3, 3), BIAS),
               {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}),
        Sample((LINE, normal(4, 2, 3)), {"stride": 2, "dilation": 3, "output_padding": 2})],
    "conv_transpose2d": [
        Sample((IMAGE, normal(4, 2, 3, 2), PAIR)),
        Sample((IMAGE, normal(4, 1, 2, 2)), {"stride": (2, 1), "groups": 2, "padding": (0, 1)})],
    "conv_transpose3d": [Sample((BLOCK, normal(2, 2, 2, 1, 2), PAIR), {"stride": (1, 2, 1)})],
    "convolution": [
        Sample((IMAGE, IMAGE_WEIGHT, PAIR, (1, 1), (1, 0), (1, 1), False, (0, 0), 1)),
        Sample((IMAGE, normal(4, 2, 3, 2), None, (2, 1), (0, 0), (1, 1), True, (1, 0), 1))],
    "conv_tbc": [Sample((normal(5, 2, 3), normal(3, 3, 4), normal(4)), {"pad": 1})],
}
SAMPLES.update({f"nn.functional.{name}": SAMPLES[name][:1] for name in (
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "conv_tbc")})
