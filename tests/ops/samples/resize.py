"""Samples of interpolation, grids, patches and padding."""

from __future__ import annotations

import numpy as np

from tests.ops.sample import Sample

RNG = np.random.default_rng(47)


def normal(*shape: int) -> np.ndarray:
    """Random numbers of this shape."""
    return RNG.normal(size=shape)


LINE, IMAGE, BLOCK = normal(2, 4, 6), normal(2, 4, 4, 5), normal(1, 2, 3, 4, 3)
# Points away from the borders of cells, where slopes jump.
GRID = (np.array([-0.93, -0.41, 0.13, 0.57, 0.87])[RNG.integers(0, 5, (2, 3, 2, 2))]
        + RNG.uniform(-0.02, 0.02, (2, 3, 2, 2)))
GRID_3D = RNG.uniform(-0.9, 0.9, (1, 2, 2, 1, 3))
THETA, THETA_3D = normal(2, 2, 3), normal(1, 3, 4)
COLUMNS = normal(2, 8, 6)


def to(size: object, mode: str, **options: object) -> dict:
    """The keywords of one interpolation."""
    return {"size": size, "mode": mode, **options}


SIZES = {
    "nn.functional.interpolate": [
        Sample((LINE, 9)), Sample((LINE,), to(4, "linear")), Sample((LINE,), to(4, "area")),
        Sample((IMAGE,), {"scale_factor": 2}), Sample((IMAGE,), to((7, 3), "nearest-exact")),
        Sample((IMAGE,), to((7, 3), "bilinear")),
        Sample((IMAGE,), to((7, 3), "bilinear", align_corners=True)),
        Sample((IMAGE,), to((7, 3), "bicubic"), rtol=1e-6),
        Sample((IMAGE,), to((3, 3), "bilinear", antialias=True)),
        Sample((IMAGE,), to((3, 3), "bicubic", antialias=True), rtol=1e-6),
        Sample((IMAGE,), to((3, 3), "lanczos", antialias=True), rtol=1e-6),
        Sample((IMAGE,), {"scale_factor": (1.6, 2.3), "mode": "bilinear"}),
        Sample((IMAGE,), {"scale_factor": 1.7, "recompute_scale_factor": True}),
        Sample((BLOCK,), to(5, "trilinear")), Sample((BLOCK,), to((2, 5, 4), "nearest")),
        Sample((BLOCK,), to(2, "area"))],
    "nn.functional.upsample": [Sample((IMAGE, 7))],
    "nn.functional.upsample_nearest": [Sample((IMAGE, 7))],
    "nn.functional.upsample_bilinear": [Sample((IMAGE, 7))],
}

POINTS = {
    "nn.functional.grid_sample": [
        Sample((IMAGE, GRID, mode, padding, align)) for mode, padding, align in (
            ("bilinear", "zeros", False), ("bilinear", "border", True),
            ("bilinear", "reflection", False), ("nearest", "zeros", True),
            ("bicubic", "zeros", False), ("bicubic", "border", False))] + [
        Sample((BLOCK, GRID_3D, "bilinear", "zeros", False))],
    "grid_sampler": [Sample((IMAGE, GRID, 0, 0, True))],
    "grid_sampler_2d": [Sample((IMAGE, GRID, 2, 1, True))],
    "grid_sampler_3d": [Sample((BLOCK, GRID_3D, 0, 1, True))],
    "nn.functional.affine_grid": [
        Sample((THETA, (2, 1, 3, 4), False)), Sample((THETA_3D, (1, 1, 2, 3, 2), True))],
    "affine_grid_generator": [Sample((THETA, (2, 1, 3, 4), True))],
}

CHANNELS = {
    "pixel_shuffle": [Sample((IMAGE, 2)), Sample((IMAGE[0], 2))],
    "pixel_unshuffle": [Sample((IMAGE[..., :4], 2)), Sample((IMAGE[:, 0, :, :4], 2))],
    "channel_shuffle": [Sample((IMAGE, 2)), Sample((LINE, 4)), Sample((BLOCK, 1))],
    "native_channel_shuffle": [Sample((IMAGE, 2))],
    "nn.functional.unfold": [
        Sample((IMAGE, 2)), Sample((IMAGE[0], (3, 2))),
        Sample((IMAGE, 2), {"dilation": 2, "padding": 1, "stride": (1, 2)})],
    "nn.functional.fold": [
        Sample((COLUMNS, (3, 4), 2)), Sample((COLUMNS[0], (3, 4), 2)),
        Sample((COLUMNS, (3, 2), (2, 2), 1, (0, 1)), {"stride": 1})],
}
CHANNELS.update({f"nn.functional.{name}": CHANNELS[name][:1]
                 for name in ("pixel_shuffle", "pixel_unshuffle", "channel_shuffle")})

PADS = {
    "constant_pad_nd": [Sample((LINE, (1, 2), 3.0)), Sample((IMAGE, (1, -2, 0, 1)))],
    "nn.functional.pad": [
        Sample((LINE, (1, 2))), Sample((IMAGE, (-1, 2, 1, 0)), {"value": 2.5}),
        Sample((LINE, (2, 3), "reflect")), Sample((IMAGE, (2, 1, 0, 3), "reflect")),
        Sample((IMAGE[0], (2, 7, 0, 3), "replicate")), Sample((LINE, (-1, 3), "circular")),
        Sample((BLOCK, (1, 2, 0, 1, 2, 0), "reflect")),
        Sample((BLOCK, (1, 2, 0, 1, 2, 0), "replicate")),
        Sample((BLOCK, (1, 2, 0, 1, 3, 0), "circular"))],
}

SAMPLES = {**SIZES, **POINTS, **CHANNELS, **PADS}
