"""Grid sampling and affine grids against PyTorch and against finite differences."""

import itertools

import numpy as np
import pytest

from flambeau.backends.numpy import grid as kernels

CASES = [
    (n, mode, padding, align)
    for n, mode, padding, align in itertools.product(
        (2, 3), kernels.MODES, kernels.PADDINGS, (False, True)
    )
    if not (n == 3 and mode == "bicubic")
]


def example(n, seed, kind="float64"):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, 3, *rng.integers(1, 6, n))).astype(kind)
    points = rng.uniform(-2.5, 2.5, (2, *rng.integers(1, 5, n), n)).astype(kind)
    return x, points


@pytest.mark.parity
@pytest.mark.parametrize("n, mode, padding, align", CASES)
@pytest.mark.parametrize("kind", ["float64", "float32"])
def test_grid_sample_as_torch(n, mode, padding, align, kind):
    torch = pytest.importorskip("torch")
    tolerance = 1e-4 if kind == "float32" else 1e-11
    for seed in range(2):
        x, points = example(n, seed, kind)
        tx, tg = (torch.from_numpy(a).requires_grad_() for a in (x, points))
        options = dict(mode=mode, padding_mode=padding, align_corners=align)
        want = torch.nn.functional.grid_sample(tx, tg, **options)
        mine = kernels.grid_sample(x, points, **options)
        np.testing.assert_allclose(mine, want.detach().numpy(), atol=tolerance)
        g = torch.randn_like(want)
        gx, gg = torch.autograd.grad(want, (tx, tg), g)
        mine = kernels.grid_sample_input_grad(g.numpy(), points, x.shape, **options)
        np.testing.assert_allclose(mine, gx.numpy(), atol=tolerance)
        mine = kernels.grid_sample_grid_grad(g.numpy(), x, points, **options)
        np.testing.assert_allclose(mine, gg.numpy(), atol=tolerance)


@pytest.mark.parity
@pytest.mark.parametrize("mode", kernels.MODES)
@pytest.mark.parametrize("padding", kernels.PADDINGS)
def test_special_points_as_torch(mode, padding):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((1, 1, 4, 5))
    line = np.array([-1.0, 1, 0, -0.75, 0.6, 0.2, 0.25, np.inf, -np.inf, 1e30])
    points = np.stack(np.broadcast_arrays(line, line[:, None]), -1)[None]
    options = dict(mode=mode, padding_mode=padding)
    for align in (False, True):
        options["align_corners"] = align
        finite = np.isfinite(points).all(-1) & (np.abs(points) < 1e10).all(-1)
        tensors = torch.from_numpy(x), torch.from_numpy(points)
        want = torch.nn.functional.grid_sample(*tensors, **options).numpy()[0, 0]
        with np.errstate(all="ignore"):
            mine = kernels.grid_sample(x, points, **options)[0, 0]
        np.testing.assert_allclose(mine[finite[0]], want[finite[0]], atol=1e-12)


@pytest.mark.parametrize("n, mode, padding, align", CASES)
def test_gradients_by_differences(n, mode, padding, align):
    x, points = example(n, 7)
    options = (mode, padding, align)
    y = kernels.grid_sample(x, points, *options)
    g = np.random.default_rng(1).standard_normal(y.shape)
    gx = kernels.grid_sample_input_grad(g, points, x.shape, *options)
    np.testing.assert_allclose(np.vdot(gx, x), np.vdot(g, y))
    gg = kernels.grid_sample_grid_grad(g, x, points, *options)
    step = 1e-6 * np.random.default_rng(2).standard_normal(points.shape)
    moved = kernels.grid_sample(x, points + step, *options)
    back = kernels.grid_sample(x, points - step, *options)
    difference = np.vdot(g, moved - back) / 2
    np.testing.assert_allclose(np.vdot(gg, step), difference, rtol=1e-4, atol=1e-11)


@pytest.mark.parity
@pytest.mark.parametrize("size", [(3, 4), (1, 5), (2, 3, 4)])
@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_affine_grid_as_torch(size, align, kind):
    torch = pytest.importorskip("torch")
    n = len(size)
    theta = np.random.default_rng(0).standard_normal((2, n, n + 1)).astype(kind)
    tt = torch.from_numpy(theta).requires_grad_()
    want = torch.nn.functional.affine_grid(tt, (2, 3, *size), align)
    tolerance = 1e-5 if kind == "float32" else 1e-12
    mine = kernels.affine_grid(theta, (2, 3, *size), align)
    assert mine.dtype == theta.dtype
    np.testing.assert_allclose(mine, want.detach().numpy(), atol=tolerance)
    g = torch.randn_like(want)
    (gt,) = torch.autograd.grad(want, tt, g)
    mine = kernels.affine_grid_transpose(g.numpy(), (2, 3, *size), align)
    np.testing.assert_allclose(mine, gt.numpy(), atol=tolerance)


def test_empty():
    x, points = np.ones((0, 3, 4, 4)), np.ones((0, 2, 2, 2))
    assert kernels.grid_sample(x, points).shape == (0, 3, 2, 2)
    g = np.ones((0, 3, 2, 2))
    assert kernels.grid_sample_input_grad(g, points, x.shape).shape == x.shape
    assert kernels.grid_sample_grid_grad(g, x, points).shape == points.shape
