"""Variances and deviations of small tensors."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import flambeau as torch


def test_over_all_but_one_dimension_of_one() -> None:
    x = torch.arange(5.0)
    for found in (x.reshape(1, 5).var(1), x.reshape(5, 1).std(0), x.reshape(1, 5).norm(dim=1)):
        assert found.shape == (1,)
    assert torch.zeros(0, 5).var(0).isnan().all() and torch.zeros(0, 5).var(0).shape == (5,)
    assert x.reshape(1, 5).var().shape == () and x.reshape(1, 5).var(keepdim=True).shape == (1, 1)


def test_of_one_number() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert torch.tensor(3.0).var().isnan()
    assert torch.tensor(3.0).std(correction=0).item() == 0.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_what_they_are_of_stays_as_it_is(dtype: torch.dtype) -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 5.0]], dtype=dtype)
    assert x.var(1).tolist() == [0.5, 2.0] and x.std((0, 1), correction=0).dtype is dtype
    assert x.tolist() == [[1.0, 2.0], [3.0, 5.0]]


def largest_parts():
    """Large arrays in several layouts, each with dimensions to reduce that stand apart or alone."""
    x = np.random.default_rng(0).standard_normal((30, 20, 8, 16)) * 3 + 100
    thin = np.random.default_rng(1).standard_normal((9001, 7))
    for dims in ((0, 2), (1, 3), (0, 2, 3), (1,), (3,)):
        yield x, dims
        yield x.T, dims
        yield x[:, ::2], dims
    for dims in ((0,), (1,), (0, 1)):
        yield thin, dims
        yield thin.T, dims


@pytest.mark.parametrize("name", ["var", "std", "logsumexp"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_ones_over_any_dimensions(name, dtype):
    close = 1e-4 if dtype is torch.float32 else 1e-11
    for array, dims in largest_parts():
        t = torch.from_numpy(array).to(dtype)
        wide = t.double().numpy()
        if name == "logsumexp":
            peak = wide.max(dims, keepdims=True)
            want = np.log(np.exp(wide - peak).sum(dims, keepdims=True)) + peak
        else:
            want = getattr(wide, name)(dims, ddof=1, keepdims=True)
        found = getattr(t, name)(dims, keepdim=True)
        assert found.dtype is dtype and found.is_contiguous()
        np.testing.assert_allclose(found.numpy(), want, rtol=close)


def test_large_equal_numbers_do_not_vary():
    for dims in ((0, 2), (0,), (1,)):
        assert (torch.full((400, 30, 7), 0.1).std(dims) == 0).all()


def test_large_infinities_in_logsumexp():
    x = torch.full((300, 200, 3), float("-inf"))
    x[1, 1, 1] = float("inf")
    for dims in ((0,), (1,), (2,), (0, 2)):
        found = x.logsumexp(dims)
        assert (found == float("inf")).sum() == 1 and found.isinf().all()
