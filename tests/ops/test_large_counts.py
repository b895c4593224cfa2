"""Distinct elements, counts and searches of large inputs, beside NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau as torch

N = 40_003


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8", "u1", "i2"])
@pytest.mark.parametrize("shape", [(N,), (200, 300)])
def test_distinct_elements(dtype, shape):
    x = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    t = torch.from_numpy(x.copy())
    want, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    for ask in ({}, {"return_inverse": True}, {"return_counts": True},
                {"return_inverse": True, "return_counts": True}):
        found = t.unique(**ask)
        found = found if isinstance(found, tuple) else (found,)
        wanted = [want, *[inverse.reshape(shape)] * ("return_inverse" in ask),
                  *[counts] * ("return_counts" in ask)]
        assert len(found) == len(wanted)
        for f, w in zip(found, wanted):
            np.testing.assert_array_equal(f.numpy(), w)


def test_every_nan_is_distinct():
    x = torch.ones(N)
    x[5] = x[700] = float("nan")
    values, counts = x.unique(return_counts=True)
    assert values.isnan().tolist() == [False, True, True] and counts.tolist() == [N - 2, 1, 1]


@pytest.mark.parametrize("dtype", ["i4", "i8", "u1"])
@pytest.mark.parametrize("high", [1, 100, 250])
def test_counts(dtype, high):
    x = np.random.default_rng(0).integers(0, high, N).astype(dtype)
    for least in (0, 300):
        found = torch.from_numpy(x.copy()).bincount(minlength=least)
        np.testing.assert_array_equal(found.numpy(), np.bincount(x, minlength=least))


def test_counts_of_many_bins_and_none():
    x = np.random.default_rng(0).integers(0, N - 5, N)
    np.testing.assert_array_equal(torch.from_numpy(x.copy()).bincount().numpy(), np.bincount(x))
    assert torch.zeros(0, dtype=torch.int64).bincount().shape == (0,)


@pytest.mark.parametrize("wrong", [-1, -(1 << 60)])
def test_negative_numbers_are_not_counted(wrong):
    x = torch.zeros(N, dtype=torch.int64)
    x[77] = wrong
    with pytest.raises(RuntimeError, match="non-negative integral inputs"):
        x.bincount()


@pytest.mark.parametrize("right", [False, True])
def test_places_in_a_sequence(right):
    rng = np.random.default_rng(0)
    edges, values = np.sort(rng.random(1000)), rng.random((100, 401))
    t = torch.from_numpy(values.copy())
    for e, v in ((torch.from_numpy(edges.copy()), t), (torch.from_numpy(edges.copy()), t.t())):
        want = np.searchsorted(edges, v.numpy(), "right" if right else "left")
        for narrow, dtype in ((False, torch.int64), (True, torch.int32)):
            found = torch.searchsorted(e, v, right=right, out_int32=narrow)
            assert found.dtype is dtype
            np.testing.assert_array_equal(found.numpy(), want)
            np.testing.assert_array_equal(
                torch.bucketize(v, e, right=right, out_int32=narrow).numpy(), want)


def test_float64_is_rounded_to_half_types_by_way_of_float32():
    x = np.random.default_rng(0).standard_normal(N)
    # this would be rounded up at once, and is even after the first rounding
    x[:2] = 1 + 2**-11 + 1e-12, -(1 + 2**-11 + 1e-12)
    for count in (2, N):
        found = torch.from_numpy(x[:count].copy()).half().numpy()
        np.testing.assert_array_equal(found, x[:count].astype("f4").astype("f2"))
