"""Variances and deviations of small tensors."""

from __future__ import annotations

import warnings

import pytest

import flambeau as torch


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
