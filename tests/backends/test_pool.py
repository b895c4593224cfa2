"""Pooling against loops and against PyTorch."""

import itertools

import numpy as np
import pytest

from flambeau.backends import pool_kernels
from flambeau.backends.numpy import mean_pool, pool


def random_case(rng, dilated=True):
    """A random, valid pooling: (x, kernel, stride, padding, dilation, ceil_mode)."""
    n = int(rng.integers(1, 4))
    kernel = rng.integers(1, 4, n)
    dilation = rng.integers(1, 3, n) if dilated else np.ones(n, int)
    padding = [int(rng.integers(0, k // 2 + 1)) for k in kernel]
    stride = rng.integers(1, 4, n)
    size = dilation * (kernel - 1) + 1 + rng.integers(0, 6, n)
    x = rng.integers(-4, 5, (2, 3, *size)).astype(float)
    values = [tuple(map(int, v)) for v in (kernel, stride, padding, dilation)]
    return x, *values, bool(rng.integers(2))


def as_torch(name, x):
    """The function of that name for x's number of axes, and x as a tensor."""
    torch = pytest.importorskip("torch")
    return torch, getattr(torch.nn.functional, f"{name}{x.ndim - 2}d"), torch.from_numpy(x)


@pytest.mark.parametrize("seed", range(8))
def test_max_pool_is_its_definition(seed):
    x, kernel, stride, padding, dilation, ceil = random_case(np.random.default_rng(seed))
    values, indices = pool.max_pool_nd(x, kernel, stride, padding, dilation, ceil)
    flat = x.reshape(2, 3, -1)
    for cell in itertools.product(*map(range, values.shape)):
        found = []
        for step in itertools.product(*map(range, kernel)):
            terms = zip(cell[2:], stride, padding, step, dilation, strict=True)
            place = tuple(o * s - p + t * d for o, s, p, t, d in terms)
            if all(0 <= i < size for i, size in zip(place, x.shape[2:], strict=True)):
                found.append(x[(*cell[:2], *place)])
        assert values[cell] == max(found) == flat[(*cell[:2], indices[cell])]


@pytest.mark.parity
@pytest.mark.parametrize("seed", range(16))
@pytest.mark.parametrize("special", [False, True])
def test_max_pool_as_torch(seed, special):
    rng = np.random.default_rng(seed)
    x, kernel, stride, padding, dilation, ceil = random_case(rng)
    if special:
        x[rng.random(x.shape) < 0.2] = np.nan
        x[rng.random(x.shape) < 0.3] = -np.inf
    torch, function, tx = as_torch("max_pool", x)
    tx.requires_grad_()
    want, places = function(tx, kernel, stride, padding, dilation, ceil, True)
    values, indices = pool.max_pool_nd(x, kernel, stride, padding, dilation, ceil)
    np.testing.assert_array_equal(values, want.detach().numpy())
    np.testing.assert_array_equal(indices, places.numpy())
    g = torch.randn_like(want)
    (gx,) = torch.autograd.grad(want, tx, g)
    np.testing.assert_allclose(pool.pool_scatter(g.numpy(), indices, x.shape[2:]), gx.numpy())
    back = pool.pool_gather(x, indices, x.ndim - 2)
    np.testing.assert_array_equal(back, values)


@pytest.mark.parity
@pytest.mark.parametrize("seed", range(20))
def test_avg_pool_as_torch(seed):
    rng = np.random.default_rng(seed)
    x, kernel, stride, padding, _, ceil = random_case(rng, dilated=False)
    options = dict(ceil_mode=ceil, count_include_pad=bool(rng.integers(2)))
    if x.ndim > 3 and rng.integers(2):
        options["divisor_override"] = 3
    torch, function, tx = as_torch("avg_pool", x)
    tx.requires_grad_()
    want = function(tx, kernel, stride, padding, **options)
    mine = mean_pool.avg_pool_nd(x, kernel, stride, padding, **options)
    np.testing.assert_allclose(mine, want.detach().numpy())
    g = torch.randn_like(want)
    (gx,) = torch.autograd.grad(want, tx, g)
    size = x.shape[2:]
    mine = mean_pool.avg_pool_nd_transpose(g.numpy(), size, kernel, stride, padding, **options)
    np.testing.assert_allclose(mine, gx.numpy(), atol=1e-12)


@pytest.mark.parity
@pytest.mark.parametrize("seed", range(16))
def test_adaptive_as_torch(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 4))
    x = rng.integers(-4, 5, (2, 3, *rng.integers(1, 9, n))).astype(float)
    out = tuple(int(o) for o in rng.integers(1, 8, n))
    torch, function, tx = as_torch("adaptive_avg_pool", x)
    tx.requires_grad_()
    want = function(tx, out)
    mine = mean_pool.adaptive_avg_pool_nd(x, out)
    np.testing.assert_allclose(mine, want.detach().numpy(), atol=1e-12)
    g = torch.randn_like(want)
    (gx,) = torch.autograd.grad(want, tx, g)
    mine = mean_pool.adaptive_avg_pool_nd_transpose(g.numpy(), x.shape[2:])
    np.testing.assert_allclose(mine, gx.numpy(), atol=1e-12)
    if seed % 2:
        x[rng.random(x.shape) < 0.2] = np.nan
    torch, function, tx = as_torch("adaptive_max_pool", x)
    want, places = function(tx, out, return_indices=True)
    values, indices = pool.adaptive_max_pool_nd(x, out)
    np.testing.assert_array_equal(values, want.numpy())
    np.testing.assert_array_equal(indices, places.numpy())


@pytest.mark.parity
@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(4))
def test_fractional_as_torch(n, kind, seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, 3, *rng.integers(6, 10, n))).astype(kind)
    kernel = tuple(int(k) for k in rng.integers(1, 4, n))
    out = tuple(int(o) for o in rng.integers(1, 4, n))
    samples = rng.random((2, 3, n)).astype(kind)
    function = getattr(torch.nn.functional, f"fractional_max_pool{n}d")
    want, places = function(
        torch.from_numpy(x),
        kernel,
        out,
        return_indices=True,
        _random_samples=torch.from_numpy(samples),
    )
    values, indices = pool.fractional_max_pool_nd(x, kernel, out, samples)
    np.testing.assert_array_equal(values, want.numpy())
    np.testing.assert_array_equal(indices, places.numpy())


@pytest.mark.parity
def test_max_unpool_as_torch():
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 8))
    torch, function, tx = as_torch("max_unpool", x)
    values, indices = pool.max_pool_nd(x, (2, 2), (2, 2), (0, 0), (1, 1))
    want = function(torch.from_numpy(values), torch.from_numpy(indices), 2).numpy()
    np.testing.assert_array_equal(pool.max_unpool_nd(values, indices, (6, 8)), want)


def test_half_and_empty():
    x = np.random.default_rng(0).standard_normal((2, 4, 4)).astype(np.float16)
    y = mean_pool.avg_pool_nd(x, (2, 2), (2, 2), (0, 0))
    wide = mean_pool.avg_pool_nd(x.astype(np.float32), (2, 2), (2, 2), (0, 0))
    assert y.dtype == np.float16 and (y == wide.astype(np.float16)).all()
    empty = np.ones((0, 3, 4))
    assert pool.max_pool_nd(empty, (2,), (2,), (0,), (1,))[0].shape == (0, 3, 2)
    assert mean_pool.avg_pool_nd(empty, (2,), (2,), (0,)).shape == (0, 3, 2)
    assert mean_pool.adaptive_avg_pool_nd(empty, (3,)).shape == (0, 3, 3)
    assert pool.adaptive_max_pool_nd(empty, (3,))[1].shape == (0, 3, 3)
    places = np.zeros((0, 3, 2), np.int64)
    assert pool.pool_scatter(np.ones((0, 3, 2)), places, (4,)).shape == (0, 3, 4)


def test_window_without_input():
    values, indices = pool.max_pool_nd(np.ones((1, 1)), (2,), (1,), (1,), (2,))
    assert values.item() == -np.inf and indices.item() == 1


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("size", [(3,), (7, 5), (1, 9), (3, 4, 7), (40, 61)])
def test_maxima_of_uneven_parts_by_kernels(size, dtype):
    rng = np.random.default_rng(0)
    x = rng.integers(-9, 9, (3, 4, 17, 40, 61)[-2 - len(size):]).astype(dtype)
    x.reshape(-1)[::97] = np.nan
    for each in (x, np.ascontiguousarray(x.swapaxes(0, -1)).swapaxes(0, -1)):
        found = pool_kernels.adaptive_max_pool_nd(each, size)
        for own, want in zip(found, pool.adaptive_max_pool_nd(x, size), strict=True):
            assert own.dtype == want.dtype
            np.testing.assert_array_equal(own, want)
