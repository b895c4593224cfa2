"""Interpolation and padding against NumPy and PyTorch; transposes against their maps."""

import numpy as np
import pytest

from flambeau.backends.numpy.pad import pad, pad_transpose
from flambeau.backends.numpy.resize import resize, resize_transpose

MODES = {
    "nearest": (1, 2, 3),
    "nearest-exact": (1, 2, 3),
    "linear": (1,),
    "bilinear": (2,),
    "bicubic": (2,),
    "trilinear": (3,),
    "area": (1, 2, 3),
}
CASES = [(mode, n) for mode, axes in MODES.items() for n in axes]


def compare(x, size, mode, tolerance, scales=None, **options):
    """Both directions beside PyTorch's; with scales, the sizes follow from them."""
    torch = pytest.importorskip("torch")
    tx = torch.from_numpy(x).requires_grad_()
    target = dict(scale_factor=scales) if scales else dict(size=tuple(size))
    want = torch.nn.functional.interpolate(tx, mode=mode, **target, **options)
    size = want.shape[2:]
    if mode == "area":
        scales = None
    mine = resize(x, size, mode, scales=scales, **options)
    assert mine.dtype == x.dtype
    np.testing.assert_allclose(mine, want.detach().numpy(), atol=tolerance)
    ratios = [new / old for new, old in zip(size, x.shape[2:], strict=True)]
    forgets = mode in ("nearest", "bicubic") or options.get("antialias")
    if scales and forgets and {1, 2} & set(ratios):
        return  # PyTorch's forward and backward do not take the same scales there.
    g = torch.randn_like(want)
    (gx,) = torch.autograd.grad(want, tx, g)
    mine = resize_transpose(g.numpy(), x.shape[2:], mode, scales=scales, **options)
    np.testing.assert_allclose(mine, gx.numpy(), atol=tolerance)


@pytest.mark.parity
@pytest.mark.parametrize("mode, n", CASES)
@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(3))
def test_resize_as_torch(mode, n, kind, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, 3, *rng.integers(1, 9, n))).astype(kind)
    size = [int(s) for s in rng.integers(1, 14, n)]
    tolerance = 2e-5 if kind == "float32" else 1e-12
    options = [{}]
    if mode in ("linear", "bilinear", "bicubic", "trilinear"):
        options.append(dict(align_corners=True))
    if mode in ("bilinear", "bicubic") and x.shape[-1] > 1 and size[-1] > 1:
        # PyTorch goes wrong on a width of one, before or after.
        options.append(dict(antialias=True))
    for option in options:
        compare(x, size, mode, tolerance, **option)
    for low, high in ((1, 1.2), (0.5, 2.7)):
        scales = tuple(float(s) for s in rng.uniform(low, high, n).round(2))
        if min(s * i for s, i in zip(scales, x.shape[2:], strict=True)) >= 1:
            for option in options[: 2 if x.shape[-1] * scales[-1] < 2 else 3]:
                compare(x, None, mode, tolerance, scales=scales, **option)


@pytest.mark.parity
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_nearest_falls_as_torch(mode):
    """Cells on a boundary depend on the last bit of the coordinate."""
    for old in (3, 7, 10, 25, 49):
        for new in range(1, 120, 7):
            compare(np.arange(float(old)).reshape(1, 1, old), (new,), mode, 0)


@pytest.mark.parametrize("mode, n", CASES)
def test_transpose_is_the_transpose(mode, n):
    rng = np.random.default_rng(n)
    x = rng.standard_normal((2, *[5, 3, 4][:n]))
    size = [7, 2, 9][:n]
    y = resize(x, size, mode)
    g = rng.standard_normal(y.shape)
    np.testing.assert_allclose(
        np.vdot(resize_transpose(g, x.shape[1:], mode), x), np.vdot(g, y), rtol=1e-5
    )


@pytest.mark.parity
@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize("antialias", [False, True])
def test_resize_uint8_as_torch(mode, antialias):
    torch = pytest.importorskip("torch")
    if antialias and mode == "nearest":
        pytest.skip("nearest has no antialias")
    rng = np.random.default_rng(0)
    for size in ((5, 17), (12, 4)):
        x = rng.integers(0, 256, (2, 3, 8, 9)).astype(np.uint8)
        options = dict(mode=mode, antialias=antialias)
        want = torch.nn.functional.interpolate(torch.from_numpy(x), size, **options).numpy()
        mine = resize(x, size, **options)
        assert mine.dtype == np.uint8
        assert (mine == want).all()


@pytest.mark.parity
@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("seed", range(10))
def test_pad_as_torch(mode, seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 4))
    size = rng.integers(3, 7, n)
    x = rng.standard_normal((2, 3, *size))
    pads = [(int(rng.integers(-1, 3)), int(rng.integers(-1, 3))) for _ in range(n)]
    tx = torch.from_numpy(x).requires_grad_()
    flat = [p for pair in reversed(pads) for p in pair]
    want = torch.nn.functional.pad(tx, flat, mode)
    np.testing.assert_array_equal(pad(x, pads, mode), want.detach().numpy())
    g = torch.randn_like(want)
    (gx,) = torch.autograd.grad(want, tx, g)
    np.testing.assert_allclose(pad_transpose(g.numpy(), pads, mode), gx.numpy(), atol=1e-12)


@pytest.mark.parametrize(
    "mode, name", [("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")]
)
def test_pad_as_numpy(mode, name):
    x = np.arange(24).reshape(2, 3, 4)
    want = np.pad(x, [(0, 0), (2, 1), (3, 2)], name)
    assert (pad(x, [(2, 1), (3, 2)], mode) == want).all()


def test_pad_is_a_copy():
    x = np.ones(3)
    assert not np.shares_memory(pad(x, [(0, 0)]), x)
    assert not np.shares_memory(pad(x, [(0, 0)], "reflect"), x)
