"""Sampling many points by kernels, beside NumPy's way and PyTorch."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from flambeau.backends import grid_kernels as kernels
from flambeau.backends.numpy import grid as plain

RNG = np.random.default_rng(0)
SAMPLINGS = list(itertools.product(("bilinear", "nearest"), ("zeros", "border"), (False, True)))


def images(dtype: str, channels: int = 5) -> tuple[np.ndarray, np.ndarray]:
    x = RNG.standard_normal((3, channels, 31, 47)).astype(dtype)
    grid = RNG.uniform(-1.3, 1.3, (3, 53, 61, 2)).astype(dtype)
    edges = np.array([-1, 1, 0, 0.5, -1e30, 1e30, np.inf, -np.inf], dtype)
    grid[0, 0, :8, 0], grid[0, 1, :8, 1] = edges, edges
    return x, grid


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_samples_have_the_bits_of_numpy(sampling: Any, dtype: str) -> None:
    x, grid = images(dtype)
    with np.errstate(all="ignore"):
        want = plain.grid_sample(x, grid, *sampling)
    channels_last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    turned = np.ascontiguousarray(grid.transpose(3, 0, 1, 2)).transpose(1, 2, 3, 0)
    for each, points in ((x, grid), (channels_last, grid), (x, turned)):
        with np.errstate(all="ignore"):
            found = kernels.grid_sample(each, points, sampling)
        np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_gradients(sampling: Any, dtype: str) -> None:
    x, grid = images(dtype)
    grid[0, :2] = 0.25
    g = RNG.standard_normal((3, 5, 53, 61)).astype(dtype)
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == "float32" else {"rtol": 1e-12,
                                                                         "atol": 1e-11}
    found = kernels.grid_sample_input_grad(g, grid, x.shape, sampling)
    want = plain.grid_sample_input_grad(g, grid, x.shape, *sampling)
    np.testing.assert_allclose(found, want, **tolerance)
    found = kernels.grid_sample_grid_grad(g, x, grid, sampling)
    want = plain.grid_sample_grid_grad(g, x, grid, *sampling)
    assert found.shape == grid.shape and found.flags.c_contiguous
    np.testing.assert_allclose(found, want, **tolerance)


@pytest.mark.parity
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_as_torch(sampling: Any) -> None:
    torch = pytest.importorskip("torch")
    x, grid = images("float32")
    grid[0, :2] = 0.25
    mode, padding, aligned = sampling
    t, u = (torch.from_numpy(a).requires_grad_() for a in (x, grid))
    want = torch.nn.functional.grid_sample(t, u, mode, padding, aligned)
    found = kernels.grid_sample(x, grid, sampling)
    np.testing.assert_allclose(found, want.detach().numpy(), 1e-5, 1e-5)
    g = RNG.standard_normal(found.shape).astype("float32")
    image, points = torch.autograd.grad(want, (t, u), torch.from_numpy(g))
    own = kernels.grid_sample_input_grad(g, grid, x.shape, sampling)
    np.testing.assert_allclose(own, image.numpy(), 1e-4, 1e-4)
    own = kernels.grid_sample_grid_grad(g, x, grid, sampling)
    np.testing.assert_allclose(own, points.numpy(), 1e-3, 2e-3)
