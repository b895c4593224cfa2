"""Samples of pooling. Elements are far apart, so that no small step changes a maximum."""

from __future__ import annotations

import numpy as np

from tests.ops.sample import Sample

RNG = np.random.default_rng(43)


def apart(*shape: int) -> np.ndarray:
    """A shuffled range: no two elements are close."""
    count = int(np.prod(shape))
    return ((RNG.permutation(count) - count // 2) / 4.0 + 0.1).reshape(shape)


LINE, IMAGE, BLOCK = apart(2, 3, 9), apart(2, 3, 7, 6), apart(1, 2, 5, 4, 6)
ODD = {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 1, "ceil_mode": True}
FAR = {"kernel_size": 2, "stride": 1, "dilation": 2}
MEAN = {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True,
        "count_include_pad": False}


def places(n: int, array: np.ndarray) -> np.ndarray:
    """Distinct flat indices of the doubled last ``n`` axes, one for each element."""
    inner = array.shape[array.ndim - n:]
    grids = np.meshgrid(*[np.arange(s) * 2 for s in inner], indexing="ij")
    flat = np.zeros(inner, np.int64)
    for grid, size in zip(grids, inner):
        flat = flat * (2 * size) + grid
    return np.broadcast_to(flat, array.shape).copy()


MAXIMA = {
    "nn.functional.max_pool1d": [
        Sample((LINE, 2)), Sample((LINE[0], 3)), Sample((LINE,), ODD), Sample((LINE,), FAR),
        Sample((LINE, 2), {"return_indices": True})],
    "nn.functional.max_pool2d": [
        Sample((IMAGE, 2)), Sample((IMAGE[0], (3, 2))), Sample((IMAGE,), ODD),
        Sample((IMAGE,), FAR),
        Sample((IMAGE, 2), {"return_indices": True})],
    "nn.functional.max_pool3d": [
        Sample((BLOCK, 2)), Sample((BLOCK[0], (3, 2, 1))), Sample((BLOCK,), ODD),
        Sample((BLOCK, 2), {"return_indices": True})],
    "nn.functional.max_pool1d_with_indices": [Sample((LINE, 2))],
    "nn.functional.max_pool2d_with_indices": [Sample((IMAGE, 2))],
    "nn.functional.max_pool3d_with_indices": [Sample((BLOCK, 2))],
    "max_pool1d": [Sample((LINE, 2))],
    "max_pool1d_with_indices": [Sample((LINE, 2))],
    "max_pool2d": [Sample((IMAGE, 2))],
    "max_pool3d": [Sample((BLOCK, 2))],
    "nn.functional.adaptive_max_pool1d": [Sample((LINE, 4)), Sample((LINE, 2, True))],
    "nn.functional.adaptive_max_pool2d": [Sample((IMAGE, (3, None))), Sample((IMAGE[0], 2, True))],
    "nn.functional.adaptive_max_pool3d": [Sample((BLOCK, (2, 3, 4)))],
    "nn.functional.adaptive_max_pool1d_with_indices": [Sample((LINE, 4))],
    "nn.functional.adaptive_max_pool2d_with_indices": [Sample((IMAGE, 4))],
    "nn.functional.adaptive_max_pool3d_with_indices": [Sample((BLOCK, 3))],
    "adaptive_max_pool1d": [Sample((LINE, 4))],
    "nn.functional.max_unpool1d": [Sample((LINE, places(1, LINE), 2)),
                                   Sample((LINE[0], places(1, LINE[0]), 2))],
    "nn.functional.max_unpool2d": [Sample((IMAGE, places(2, IMAGE), 2)),
                                   Sample((IMAGE, places(2, IMAGE), 2),
                                          {"output_size": (15, 12)})],
    "nn.functional.max_unpool3d": [Sample((BLOCK, places(3, BLOCK), 2))],
}

MEANS = {
    "nn.functional.avg_pool1d": [
        Sample((LINE, 2)), Sample((LINE[0], 3, 1)), Sample((LINE,), MEAN)],
    "nn.functional.avg_pool2d": [
        Sample((IMAGE, 2)), Sample((IMAGE[0], (3, 2), 1)), Sample((IMAGE,), MEAN),
        Sample((IMAGE, 2), {"divisor_override": 3})],
    "nn.functional.avg_pool3d": [
        Sample((BLOCK, 2)), Sample((BLOCK[0], (3, 2, 1))), Sample((BLOCK,), MEAN)],
    "avg_pool1d": [Sample((LINE, 2))],
    "nn.functional.adaptive_avg_pool1d": [Sample((LINE, 4)), Sample((LINE[0], 3))],
    "nn.functional.adaptive_avg_pool2d": [
        Sample((IMAGE, (3, None))), Sample((IMAGE[0], 2)), Sample((IMAGE, 1))],
    "nn.functional.adaptive_avg_pool3d": [Sample((BLOCK, (2, 3, 4)))],
    "adaptive_avg_pool1d": [Sample((LINE, 4))],
    "nn.functional.lp_pool1d": [Sample((np.abs(LINE), 3, 2)), Sample((LINE, float("inf"), 2))],
    "nn.functional.lp_pool2d": [Sample((IMAGE, 2, 2)), Sample((np.abs(IMAGE), 2.5, (3, 2), 1))],
    "nn.functional.lp_pool3d": [Sample((BLOCK, 2, 2))],
}

STEPS = {n: RNG.uniform(0.1, 0.9, size=(2, 3, n)) for n in (2, 3)}
VOLUME = apart(2, 3, 6, 5, 7)
FRACTIONAL = {
    f"nn.functional.fractional_max_pool{n}d{suffix}": [
        Sample((array, 2, 3), {"_random_samples": STEPS[n]}, fixed=(1,)),
        Sample((array, 2), {"output_ratio": (0.6,) * n, "_random_samples": STEPS[n]}, fixed=(1,))]
    for n, array in ((2, IMAGE), (3, VOLUME)) for suffix in ("", "_with_indices")
}

SAMPLES = {**MAXIMA, **MEANS, **FRACTIONAL}
