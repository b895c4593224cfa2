"""Variances and deviations of small tensors."""

from __future__ import annotations

import warnings

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
