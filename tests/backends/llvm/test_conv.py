"""Convolution kernels against NumPy in float64: odd sizes, strides, dilations, groups, axes."""

import functools

import numpy as np
import pytest

from flambeau.backends import conv_kernels, large, threads
from flambeau.backends.numpy import conv as plain

# images, channels, size, channels of the result, kernel, stride, padding, dilation, groups
CASES = [
    (2, 3, (9, 11), 5, (3, 3), 1, 1, 1, 1),
    (1, 4, (7, 7), 8, (3, 3), 2, 1, 1, 1),
    (3, 6, (13, 10), 9, (3, 2), 1, 2, 2, 3),
    (2, 8, (30, 31), 8, (1, 1), 2, 0, 1, 1),
    (2, 8, (20, 21), 8, (3, 3), 1, 1, 1, 8),
    (2, 8, (20, 21), 16, (3, 3), 2, 1, 1, 8),
    (2, 3, (20, 21), 7, (7, 7), 2, 3, 1, 1),
    (2, 3, (50,), 16, (5,), 3, 2, 1, 1),
    (2, 3, (6, 7, 8), 4, (2, 3, 3), (2, 1, 2), (1, 0, 1), 1, 1),
    (1, 2, (5, 5), 3, (5, 5), 1, 0, 1, 1),
    (1, 2, (5, 5), 3, (2, 2), 3, 0, 1, 1),
    (2, 2, (1, 1), 3, (3, 3), 1, 1, 1, 1),
    (1, 2, (8, 9), 3, (2, 2), 4, 0, 3, 1),
    (1, 2, (8, 9), 3, (2, 2), 1, ((2, 0), (1, 3)), 1, 1),
    (17, 5, (6, 5), 40, (3, 3), 1, 1, 1, 1),
    (2, 32, (9, 9), 40, (3, 3), 1, 1, 1, 1),
    (3, 5, (13, 3), 9, (2, 2), 1, 0, 1, 1),
    (2, 4, (30, 1), 11, (3, 1), 1, 1, 1, 1),
    (1, 24, (26, 26), 13, (3, 3), 1, 0, 1, 1),
    (2, 3, (40, 24), 8, (1, 1), 1, 0, 1, 1),
    (1, 2, (5, 3000), 8, (3, 3), 1, 1, 1, 1),
    (2, 6, (12, 9), 12, (3, 3), 2, 1, 2, 6),
    (1, 5, (7, 3), 5, (3, 3), 1, 1, 1, 5),
    (19, 4, (17, 33), 4, (5, 5), 1, 2, 1, 4),
    (2, 7, (9, 20), 2, (3, 3), 1, 1, 1, 1),
    (8, 28, (17, 1), 13, (3, 1), (1, 3), 2, (2, 1), 1),
    (3, 40, (9, 7), 24, (1, 1), 1, 0, 1, 1),
    (1, 40, (30, 33), 24, (1, 1), 1, 0, 1, 1),
    (5, 24, (600,), 40, (1,), 1, 0, 2, 1),
    (3, 8, (6, 7), 12, (1, 1), 1, 0, 1, 2),
    (2, 8, (6, 7), 12, (1, 1), 1, 1, 1, 1),
]


@pytest.fixture(autouse=True)
def always_kernels(monkeypatch):
    monkeypatch.setattr(conv_kernels, "MIN_WORK", 0)


def operands(case, dtype, seed=0):
    n, channels, size, rows, kernel, stride, padding, dilation, groups = case
    rng = np.random.default_rng(seed)
    settings = (stride, padding, dilation, groups)
    x = rng.normal(size=(n, channels, *size))
    w = rng.normal(size=(rows, channels // groups, *kernel))
    g = rng.normal(size=plain.conv_nd(x, w, *settings).shape)
    return [a.astype(dtype) for a in (x, w, g)], settings


def maps(module, x, w, g, settings):
    return (module.conv_nd(x, w, *settings),
            module.conv_nd_input_grad(g, w, x.shape, *settings),
            module.conv_nd_weight_grad(g, x, w.shape, *settings))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_against_numpy(case, dtype):
    arrays, settings = operands(case, dtype)
    founds = maps(conv_kernels, *arrays, settings)
    wants = maps(plain, *[a.astype("f8") for a in arrays], settings)
    for found, want in zip(founds, wants):
        assert found.dtype == dtype and found.shape == want.shape
        scale = max(1.0, np.abs(want).max())
        assert np.abs(found - want).max() <= (1e-5 if dtype == "f4" else 1e-13) * scale


def test_half_types_are_accumulated_in_float32():
    arrays, settings = operands(CASES[0], "f2")
    wants = maps(plain, *[a.astype("f8") for a in arrays], settings)
    for found, want in zip(maps(conv_kernels, *arrays, settings), wants):
        assert found.dtype == np.float16
        np.testing.assert_allclose(found, want, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("case", [CASES[0], CASES[3], CASES[14]], ids=str)
def test_results_do_not_depend_on_the_number_of_threads(case):
    arrays, settings = operands(case, "f4")
    before, founds = threads.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            threads.set_num_threads(count)
            founds.append(maps(conv_kernels, *arrays, settings))
    finally:
        threads.set_num_threads(before)
    for found in founds[1:]:
        for array, first in zip(found, founds[0]):
            np.testing.assert_array_equal(array, first)


@pytest.mark.parametrize("place", [(0, 1, 4, 5), (0, 0, 3, -1), (1, 2, -1, -1), (1, 0, 0, 0)])
def test_nan_stays_in_its_windows(place):
    (x, w, g), settings = operands(CASES[0], "f4")
    x[place] = g[place] = np.nan
    for found, want in zip(maps(conv_kernels, x, w, g, settings)[:2],
                           maps(plain, x, w, g, settings)[:2]):
        np.testing.assert_array_equal(np.isnan(found), np.isnan(want))


@pytest.mark.parametrize("dtype", ["i8", "c8"])
def test_other_dtypes_are_numpy_s(dtype):
    arrays, settings = operands(CASES[1], dtype)
    pairs = zip(maps(conv_kernels, *arrays, settings), maps(plain, *arrays, settings))
    for found, want in pairs:
        np.testing.assert_array_equal(found, want)


def test_views_and_negative_padding():
    (x, w, _), _ = operands((2, 4, (12, 13), 5, (3, 3), 1, 1, 1, 1), "f4")
    turned = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(conv_kernels.conv_nd(turned, w), conv_kernels.conv_nd(x, w))
    np.testing.assert_array_equal(conv_kernels.conv_nd(x, w, 1, -1), plain.conv_nd(x, w, 1, -1))


def test_nothing_is_generated_with_the_numpy_backend(monkeypatch):
    (x, w, _), _ = operands(CASES[0], "f4")
    monkeypatch.setattr(large, "load", functools.cache(lambda: None))
    np.testing.assert_array_equal(conv_kernels.conv_nd(x, w), plain.conv_nd(x, w))
