"""Linear maps along axes of large arrays: kernels have the bits of NumPy's way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from flambeau.backends import large, map_kernels
from flambeau.backends.numpy import axis_map, mean_pool, pad, resize

RNG = np.random.default_rng(0)
DTYPES = [np.dtype(n) for n in ("f4", "f8", "f2", ml_dtypes.bfloat16)]
MAPS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "bilinear": lambda x: resize.resize(x, (70, 131), "bilinear"),
    "one axis": lambda x: resize.resize(x, (64, 150), "bilinear", True),
    "bicubic": lambda x: resize.resize(x, (30, 150), "bicubic"),
    "antialiased": lambda x: resize.resize(x, (31, 40), "bilinear", antialias=True),
    "nearest": lambda x: resize.resize(x, (130, 150), "nearest"),
    "area": lambda x: resize.resize(x, (7, 9), "area"),
    "gradient of bilinear": lambda x: resize.resize_transpose(x, (31, 45), "bilinear"),
    "gradient of bicubic": lambda x: resize.resize_transpose(x, (90, 45), "bicubic"),
    "gradient of area": lambda x: mean_pool.adaptive_avg_pool_nd_transpose(x, (100, 200)),
    "gradient of padding": lambda x: axis_map.apply_transposed(
        x, pad.axis_maps((60, 78), ((2, 2), (1, 1)), "reflect")),
    "uneven means": lambda x: mean_pool.adaptive_avg_pool_nd(x, (5, 80)),
    "some rows": lambda x: axis_map.apply_maps(x, [some(64), None]),
    "some items": lambda x: axis_map.apply_maps(x, [None, some(80)])}


def some(inputs: int) -> axis_map.AxisMap:
    """A map that leaves most outputs without entries."""
    out, source = np.array([3, 3, 5, 80, 3]), np.array([1, 2, 0, 59, 1])
    return axis_map.AxisMap(90, inputs, out, source, np.array([0.5, 0.25, -1.0, 2.0, 3.0]))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", MAPS)
def test_kernels_have_the_bits_of_numpy(name: str, dtype: Any, monkeypatch: Any) -> None:
    x = RNG.standard_normal((3, 5, 64, 80)).astype(dtype)
    x[0, 0, :3, :3] = [[-0.0, np.inf, np.nan]] * 3
    turned = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    found, other = MAPS[name](x), MAPS[name](turned)
    monkeypatch.setattr(large, "MIN_ITEMS", 1 << 40)
    want = MAPS[name](x)
    assert found.dtype == want.dtype and found.flags.c_contiguous
    np.testing.assert_array_equal(found.astype("f8"), want.astype("f8"))
    known = ~np.isnan(want.astype("f8"))
    np.testing.assert_array_equal(np.signbit(found)[known], np.signbit(want)[known])
    np.testing.assert_array_equal(other.astype("f8"), want.astype("f8"))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("columns", [2, 16, 33])
def test_sums_of_rows(columns: int, dtype: str) -> None:
    table = RNG.standard_normal((50, columns)).astype(dtype)
    index = RNG.integers(0, 50, 20_000)
    weights = RNG.standard_normal(20_000).astype(dtype)
    starts = np.array([0, 0, 5, 5, 300, 19_999, 20_000])
    found = map_kernels.sums_of_rows(table, index, weights, starts)
    want = np.zeros((6, columns), dtype)
    for bag, (start, end) in enumerate(zip(starts, starts[1:])):
        for row, weight in zip(index[start:end], weights[start:end]):
            want[bag] += table[row] * weight
    assert found is None or np.array_equal(found, want)
    assert map_kernels.sums_of_rows(table, index[:9], weights[:9], starts[:3]) is None
