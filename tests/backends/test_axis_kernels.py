"""Scans, extremes and picking along an axis, beside NumPy."""

import numpy as np
import pytest

from flambeau.backends import axis_kernels, large

pytestmark = pytest.mark.skipif(not large.available(), reason="no generated kernels here")

FLOATS = [np.float32, np.float64]
NUMBERS = [*FLOATS, np.int32, np.int64]
SHAPES = [((300, 401), 0), ((300, 401), 1), ((20, 50, 70), 0), ((20, 50, 70), 1),
          ((20, 50, 70), 2), ((2000, 17), 0)]


def numbers(shape, dtype, seed=0):
    return (np.random.default_rng(seed).standard_normal(shape) * 3).astype(dtype)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize(("combine", "ufunc"), [("sum", np.add), ("prod", np.multiply)])
@pytest.mark.parametrize("dtype", [*FLOATS, np.int64])
@pytest.mark.parametrize(("shape", "dim"), SHAPES)
def test_running_values(shape, dim, dtype, combine, ufunc, backward):
    a = numbers(shape, dtype)
    wide = np.float64 if dtype is np.float32 else None
    walked = np.flip(a, dim) if backward else a
    want = ufunc.accumulate(walked, axis=dim, dtype=wide).astype(dtype)
    want = np.flip(want, dim) if backward else want
    np.testing.assert_array_equal(axis_kernels.running(combine, a, dim, backward), want)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("shape", "dim"), SHAPES)
def test_running_logarithms_of_sums(shape, dim, dtype, backward):
    a = numbers(shape, dtype)
    a.reshape(-1)[:3] = a.reshape(-1)[::97] = -np.inf
    a.reshape(-1)[1000], a.reshape(-1)[-7] = np.inf, np.nan
    walked = np.flip(a, dim) if backward else a
    want = np.logaddexp.accumulate(walked.astype(np.float64), axis=dim)
    want = np.flip(want, dim) if backward else want
    close = 1e-6 if dtype is np.float32 else 1e-13
    np.testing.assert_allclose(axis_kernels.running("logsum", a, dim, backward), want, close, close)


@pytest.mark.parametrize("larger", [True, False])
@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize(("shape", "dim"), SHAPES)
def test_running_extremes_and_the_last_places_of_equal_ones(shape, dim, dtype, larger):
    a = np.round(numbers(shape, dtype))
    if dtype in FLOATS:
        places = np.random.default_rng(1).integers(0, a.size, 20)
        a.reshape(-1)[places] = np.nan
        a.reshape(-1)[-100:-50] = -np.inf if larger else np.inf
    values, indices = axis_kernels.running_extremes(a, dim, larger)
    want = (np.maximum if larger else np.minimum).accumulate(a, axis=dim)
    np.testing.assert_array_equal(values, want)
    steps = np.arange(a.shape[dim]).reshape([-1 if k == dim else 1 for k in range(a.ndim)])
    same = (a == want) | (np.isnan(a) & np.isnan(want))
    np.testing.assert_array_equal(indices, np.maximum.accumulate(np.where(same, steps, 0), dim))


def test_running_extremes_of_what_is_least_of_all_begin_at_the_first():
    for a in (np.full((300, 200), -np.inf, np.float32), np.full(40_000, np.iinfo("i4").min, "i4")):
        values, indices = axis_kernels.running_extremes(a, a.ndim - 1, True)
        np.testing.assert_array_equal(values, a)
        assert (indices == np.arange(a.shape[-1])).all()


@pytest.mark.parametrize("larger", [True, False])
@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize(("shape", "dim"), [s for s in SHAPES if s[1] < len(s[0]) - 1])
def test_extremes_are_the_first_of_equal_ones_and_nan(shape, dim, dtype, larger):
    a = numbers(shape, dtype)
    if dtype in FLOATS:
        places = np.random.default_rng(1).integers(0, a.size, 200)
        a.reshape(-1)[places] = np.nan
        a.reshape(-1)[:100] = -0.0
    values, indices = axis_kernels.extremes(a, dim, larger)
    want = (a.argmax if larger else a.argmin)(axis=dim)
    np.testing.assert_array_equal(indices, want)
    found = np.take_along_axis(a, np.expand_dims(want, dim), dim).squeeze(dim)
    np.testing.assert_array_equal(values, found)


@pytest.mark.parametrize("dtype", [*NUMBERS, np.float16, np.bool_, np.complex64])
@pytest.mark.parametrize(("shape", "dim"), [((300, 401), 0), ((20, 50, 70), 1)])
def test_rows_are_taken(shape, dim, dtype):
    a = numbers(shape, dtype)
    index = np.random.default_rng(0).integers(0, shape[dim], (40, 5))
    np.testing.assert_array_equal(axis_kernels.take(a, index, dim), a.take(index, axis=dim))


def parts(shape, dim, dtype):
    """An array, more indices along the dimension than it has places, values for them."""
    a, size = numbers(shape, dtype), list(shape)
    size[dim] += 33
    index = np.random.default_rng(2).integers(0, shape[dim], size)
    return a, index, numbers(size, dtype, 3)


def key_of(index, shape, dim):
    key = list(np.indices(shape, sparse=True))
    line = [-1 if d == dim else 1 for d in range(len(shape))]
    key[dim] = index if index.ndim > 1 else index.reshape(line)
    return tuple(key)


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize(("shape", "dim"), SHAPES[:5])
def test_picking_and_putting_back(shape, dim, dtype):
    a, index, values = parts(shape, dim, dtype)
    want = np.take_along_axis(a, index, dim)
    np.testing.assert_array_equal(axis_kernels.gather(a, index, dim), want)
    row = np.ascontiguousarray(np.moveaxis(index, dim, 0).reshape(index.shape[dim], -1)[:, 0])
    for each in (index, row):
        key = key_of(each, values.shape, dim)
        added, want = a.copy(), a.copy()
        assert axis_kernels.scatter("add", added, each, dim, values)
        np.add.at(want, key, values)
        np.testing.assert_array_equal(added, want)
        put, want = a.copy(), a.copy()
        assert axis_kernels.scatter("put", put, each, dim, values)
        want[key] = values
        np.testing.assert_array_equal(put, want)


@pytest.mark.parametrize("wrong", [-1, 300])
def test_an_index_outside_is_an_error_not_a_crash(wrong):
    a, index, values = parts((300, 401), 0, np.float32)
    index[5, 7] = wrong
    with pytest.raises(IndexError):
        axis_kernels.gather(a, index, 0)
    with pytest.raises(IndexError):
        axis_kernels.scatter("add", a.copy(), index, 0, values)
    with pytest.raises(IndexError):
        axis_kernels.take(a, np.full(300, wrong), 0)


def test_bounds():
    index = np.random.default_rng(0).integers(-5, 1000, 40_001)
    assert axis_kernels.bounds(index) == (index.min(), index.max())
    assert not axis_kernels.are_in_front(index, 1000)
    assert axis_kernels.are_in_front(np.abs(index), 1000)
