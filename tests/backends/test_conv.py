"""Convolution and unfolding against loops, against each other, and against PyTorch."""

import itertools

import ml_dtypes
import numpy as np
import pytest

from flambeau.backends.numpy import conv
from flambeau.backends.numpy.unfold import fold, unfold
from flambeau.backends.numpy.windows import pad_last, pad_pairs, window_count


def random_case(rng, n=None):
    """A random, valid convolution: (x, w, keyword arguments)."""
    n = n or int(rng.integers(1, 4))
    groups = int(rng.choice([1, 1, 2, 3]))
    channels = groups * int(rng.integers(1, 4))
    outs = groups * int(rng.integers(1, 4))
    kernel = rng.integers(1, 4, n)
    dilation = tuple(int(d) for d in rng.integers(1, 3, n))
    padding = tuple(int(p) for p in rng.integers(0, 3, n))
    stride = tuple(int(s) for s in rng.integers(1, 4, n))
    need = np.maximum((kernel - 1) * dilation + 1 - 2 * np.array(padding), 1)
    size = need + rng.integers(0, 5, n)
    x = rng.standard_normal((int(rng.integers(1, 4)), channels, *size))
    w = rng.standard_normal((outs, channels // groups, *kernel))
    return x, w, dict(stride=stride, padding=padding, dilation=dilation, groups=groups)


def by_loops(x, w, stride, padding, dilation, groups):
    """The definition of cross-correlation, a cell at a time."""
    n = x.ndim - 2
    pads = pad_pairs(padding, n)
    padded = np.pad(x, [(0, 0), (0, 0), *pads])
    axes = zip(x.shape[2:], pads, w.shape[2:], stride, dilation, strict=True)
    counts = [window_count(*axis) for axis in axes]
    out = np.zeros((x.shape[0], w.shape[0], *counts), x.dtype)
    width, per = w.shape[1], w.shape[0] // groups
    for cell in itertools.product(*map(range, out.shape)):
        image, channel, *place = cell
        first = channel // per * width
        inside = [slice(first, first + width)]
        for p, s, d, k in zip(place, stride, dilation, w.shape[2:], strict=True):
            inside.append(slice(p * s, p * s + d * (k - 1) + 1, d))
        out[cell] = (padded[image][tuple(inside)] * w[channel]).sum()
    return out


@pytest.mark.parametrize("seed", range(12))
def test_conv_is_its_definition(seed):
    x, w, options = random_case(np.random.default_rng(seed))
    np.testing.assert_allclose(conv.conv_nd(x, w, **options), by_loops(x, w, **options), atol=1e-12)


@pytest.mark.parametrize("block", [conv.BLOCK_BYTES, 64])
@pytest.mark.parametrize("seed", range(12))
def test_three_maps_are_one_form(seed, block, monkeypatch):
    """<g, C(x, w)> = <I(g, w), x> = <W(g, x), w>, whatever the blocking."""
    monkeypatch.setattr(conv, "BLOCK_BYTES", block)
    monkeypatch.setattr(conv, "BLOCK_COLUMNS", block)
    rng = np.random.default_rng(100 + seed)
    x, w, options = random_case(rng)
    y = conv.conv_nd(x, w, **options)
    g = rng.standard_normal(y.shape)
    form = np.vdot(g, y)
    gx = conv.conv_nd_input_grad(g, w, x.shape, **options)
    gw = conv.conv_nd_weight_grad(g, x, w.shape, **options)
    np.testing.assert_allclose(np.vdot(gx, x), form, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(np.vdot(gw, w), form, rtol=1e-10, atol=1e-10)


def test_uneven_padding():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 3, 5, 6)), rng.standard_normal((4, 3, 2, 4))
    pads = ((0, 1), (1, 2))
    padded = np.pad(x, [(0, 0), (0, 0), *pads])
    want = conv.conv_nd(padded, w)
    np.testing.assert_allclose(conv.conv_nd(x, w, padding=pads), want)
    gx = conv.conv_nd_input_grad(want, w, x.shape, padding=pads)
    whole = conv.conv_nd_input_grad(want, w, padded.shape)
    np.testing.assert_allclose(gx, whole[:, :, 0:5, 1:7])


@pytest.mark.parametrize("shape, out", [((0, 2, 5), (0, 4, 3)), ((2, 0, 5), (2, 4, 3))])
def test_empty(shape, out):
    x, w = np.ones(shape), np.ones((4, shape[1], 3))
    assert conv.conv_nd(x, w).shape == out
    assert conv.conv_nd_input_grad(np.ones(out), w, shape).shape == shape
    assert not conv.conv_nd_weight_grad(np.ones(out), x, w.shape).any()


def test_integers_wrap_and_keep_dtype():
    x = np.full((1, 1, 4), 2**62, np.int64)
    y = conv.conv_nd(x, np.full((1, 1, 2), 2, np.int64))
    assert y.dtype == np.int64 and not y.any()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_rounds_once(dtype):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((2, 8, 9)).astype(dtype)
    w = rng.standard_normal((4, 8, 3)).astype(dtype)
    y = conv.conv_nd(x, w)
    wide = conv.conv_nd(x.astype(np.float32), w.astype(np.float32))
    assert y.dtype == dtype and (y == wide.astype(dtype)).all()


def test_fold_is_unfold_transposed():
    rng = np.random.default_rng(5)
    options = dict(kernel=(3, 2), dilation=(1, 2), padding=(1, 0), stride=(2, 1))
    x = rng.standard_normal((2, 3, 6, 7))
    columns = unfold(x, **options)
    g = rng.standard_normal(columns.shape)
    np.testing.assert_allclose(np.vdot(fold(g, (6, 7), **options), x), np.vdot(g, columns))


def test_pad_last_crops():
    x = np.arange(6.0)
    assert pad_last(x, [(-2, 1)], 9.0).tolist() == [2, 3, 4, 5, 9]
    assert pad_last(x, [(-4, -3)]).shape == (0,)


@pytest.mark.parity
@pytest.mark.parametrize("kind", ["float64", "float32", "complex128", "int64"])
@pytest.mark.parametrize("seed", range(12))
def test_conv_as_torch(seed, kind):
    torch = pytest.importorskip("torch")
    x, w, options = random_case(np.random.default_rng(1000 + seed))
    if kind == "int64":
        x, w = x * 5, w * 5
    if kind == "complex128":
        x, w = x + 1j * x[::-1], w - 1j * w[::-1]
    x, w = x.astype(kind), w.astype(kind)
    tx, tw = torch.from_numpy(x), torch.from_numpy(w)
    function = getattr(torch.nn.functional, f"conv{x.ndim - 2}d")
    tolerance = 1e-4 if kind == "float32" else 1e-10
    if kind == "int64":
        want = function(tx, tw, **options).numpy()
        assert (conv.conv_nd(x, w, **options) == want).all()
        return
    want = function(tx.requires_grad_(), tw.requires_grad_(), **options)
    got = conv.conv_nd(x, w, **options)
    assert got.dtype == x.dtype
    np.testing.assert_allclose(got, want.detach().numpy(), atol=tolerance)
    g = torch.randn_like(want)
    gx, gw = torch.autograd.grad(want, (tx, tw), g)
    mine = conv.conv_nd_input_grad(g.numpy(), w.conj(), x.shape, **options)
    np.testing.assert_allclose(mine, gx.numpy(), atol=tolerance)
    mine = conv.conv_nd_weight_grad(g.numpy(), x.conj(), w.shape, **options)
    np.testing.assert_allclose(mine, gw.numpy(), atol=tolerance)


@pytest.mark.parity
@pytest.mark.parametrize("seed", range(12))
def test_transposed_as_torch(seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2000 + seed)
    x, w, options = random_case(rng)
    y = conv.conv_nd(x, w, **options)
    options["output_padding"] = tuple(int(rng.integers(0, s)) for s in options["stride"])
    function = getattr(torch.nn.functional, f"conv_transpose{x.ndim - 2}d")
    try:
        want = function(torch.from_numpy(y), torch.from_numpy(w), **options).numpy()
    except RuntimeError:
        pytest.skip("no valid output size")
    np.testing.assert_allclose(conv.conv_transpose_nd(y, w, **options), want, atol=1e-10)


@pytest.mark.parity
@pytest.mark.parametrize("seed", range(8))
def test_unfold_as_torch(seed):
    torch = pytest.importorskip("torch")
    x, w, options = random_case(np.random.default_rng(3000 + seed), 2)
    del options["groups"]
    kernel = w.shape[2:]
    want = torch.nn.functional.unfold(torch.from_numpy(x), kernel, **options)
    assert (unfold(x, kernel, **options) == want.numpy()).all()
    back = torch.nn.functional.fold(want, x.shape[2:], kernel, **options)
    mine = fold(want.numpy(), x.shape[2:], kernel, **options)
    np.testing.assert_allclose(mine, back.numpy(), atol=1e-12)
