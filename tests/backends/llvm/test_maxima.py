"""Pooling kernels against NumPy's: the same maxima, places, gradients."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flambeau.backends import pool_kernels
from flambeau.backends.numpy import mean_pool
from flambeau.backends.numpy import pool as plain

# shape, kernel, stride, padding, dilation, ceil mode
CASES = [
    ((2, 3, 9, 11), (2, 2), (2, 2), (0, 0), (1, 1), False),
    ((2, 3, 9, 11), (3, 3), (2, 2), (1, 1), (1, 1), True),
    ((4, 12, 13), (3, 2), (1, 3), (1, 0), (2, 3), False),
    ((5, 40), (4,), (3,), (2,), (1,), True),
    ((2, 3, 6, 7, 8), (2, 3, 2), (2, 1, 2), (1, 1, 0), (1, 2, 1), False),
    ((1, 1, 1, 1), (3, 3), (1, 1), (1, 1), (1, 1), False),
    ((3, 5, 5), (3, 3), (1, 1), (1, 1), (3, 3), False),
]


@pytest.fixture(autouse=True, scope="module")
def always_kernels():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool_kernels, "MIN_ITEMS", 0)
        yield


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_places_and_gradients(case, dtype):
    shape, *window = case
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 3, shape).astype(dtype)  # with many that are equal
    values, places = pool_kernels.max_pool_nd(x, *window)
    want, wanted = plain.max_pool_nd(x, *window)
    np.testing.assert_array_equal(values, want)
    np.testing.assert_array_equal(places, wanted)
    np.testing.assert_array_equal(pool_kernels.max_values_nd(x, *window), want)
    g = rng.normal(size=values.shape).astype(dtype)
    size = shape[len(shape) - len(window[0]):]
    found = pool_kernels.pool_scatter(g, places, size)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, plain.pool_scatter(g, places, size), rtol=1e-5, atol=1e-6)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_windows(data):
    rank = data.draw(st.integers(1, 3))
    kernel = data.draw(st.tuples(*[st.integers(1, 5)] * rank))
    stride = data.draw(st.tuples(*[st.integers(1, 9)] * rank))
    dilation = data.draw(st.tuples(*[st.integers(1, 3)] * rank))
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in kernel)
    least = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    size = [low + data.draw(st.integers(0, 40 // rank)) for low in least]
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = rng.integers(-3, 3, (2, *size)).astype(data.draw(st.sampled_from(["f4", "f8"])))
    x[rng.random(x.shape) < data.draw(st.sampled_from([0, 0.1]))] = np.nan
    window = (kernel, stride, padding, dilation, data.draw(st.booleans()))
    want, wanted = plain.max_pool_nd(x, *window)
    values, places = pool_kernels.max_pool_nd(x, *window)
    np.testing.assert_array_equal(values, want)
    np.testing.assert_array_equal(places, wanted)
    np.testing.assert_array_equal(pool_kernels.max_values_nd(x, *window), want)


def test_nan_and_infinity():
    x = np.full((2, 8, 8), -np.inf, "f4")
    x[0, 2, 3] = x[0, 3, 2] = np.nan
    x[1, 4, 4] = np.inf
    window = (3, 3), (2, 2), (1, 1), (1, 1)
    for found, want in zip(pool_kernels.max_pool_nd(x, *window), plain.max_pool_nd(x, *window)):
        np.testing.assert_array_equal(found, want)


def test_other_dtypes_places_outside_and_views():
    x = np.arange(64).reshape(1, 8, 8)
    window = (2, 2), (2, 2), (0, 0), (1, 1)
    np.testing.assert_array_equal(pool_kernels.max_pool_nd(x, *window)[0], x[:, 1::2, 1::2])
    turned = np.random.default_rng(1).normal(size=(2, 9, 8)).swapaxes(1, 2)
    np.testing.assert_array_equal(pool_kernels.max_pool_nd(turned, *window)[0],
                                  plain.max_pool_nd(turned, *window)[0])
    with pytest.raises((IndexError, ValueError)):
        pool_kernels.pool_scatter(np.ones((1, 2)), np.array([[0, 99]]), (4,))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("averages", [(False, True, None), (True, False, None), (True, True, 7)])
@pytest.mark.parametrize("case", [case for case in CASES if set(case[4]) == {1}], ids=str)
def test_gradients_of_means(case, averages, dtype):
    shape, kernel, stride, padding = case[:4]
    rng = np.random.default_rng(2)
    x = rng.normal(size=shape).astype(dtype)
    allowed = {"rtol": 1e-5, "atol": 1e-6} if dtype == "f4" else {"rtol": 1e-12, "atol": 1e-14}
    found = mean_pool.avg_pool_nd(x, kernel, stride, padding, *averages)
    g, size = rng.normal(size=found.shape).astype(dtype), shape[len(shape) - len(kernel):]
    found = pool_kernels.avg_pool_nd_transpose(g, size, kernel, stride, padding, *averages)
    want = mean_pool.avg_pool_nd_transpose(g.astype("f8"), size, kernel, stride, padding, *averages)
    np.testing.assert_allclose(found, want, **allowed)


@pytest.mark.parametrize("size", [(2,), (3, 4), (5, 4), (1, 1), (2, 3, 1)])
def test_maxima_of_parts(size):
    x = np.random.default_rng(5).integers(-3, 3, (2, *[12, 8, 9][:len(size)])).astype("f4")
    x[0, 3] = np.nan
    found, want = pool_kernels.adaptive_max_pool_nd(x, size), plain.adaptive_max_pool_nd(x, size)
    for a, b in zip(found, want):
        np.testing.assert_array_equal(a, b)
