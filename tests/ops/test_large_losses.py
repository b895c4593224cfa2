"""Losses, gates and distances of large tensors: values and gradients as formulas give them."""

import numpy as np
import pytest

import flambeau as torch
from flambeau.nn import functional

SHAPE = (250, 200)


def _drawn(seed, shape=SHAPE):
    return np.random.default_rng(seed).normal(size=shape)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _found(function, *arrays, dtype):
    """The result and the gradients of its sum, weighted by 1, 2, 3 ... over 1000."""
    tensors = [torch.tensor(a, dtype=dtype, requires_grad=True) for a in arrays]
    out = function(*tensors)
    weights = torch.arange(out.numel(), dtype=dtype).reshape(out.shape) / 1000
    (out * weights).sum().backward()
    return [t.detach().double().numpy() for t in (out, *[t.grad for t in tensors])]


def _bce_logits(x, t):
    return np.log1p(np.exp(-abs(x))) + np.maximum(x, 0) - x * t, _sigmoid(x) - t, -x


def _bce(x, t):
    p = _sigmoid(x)
    return -t * np.log(p) - (1 - t) * np.log(1 - p), (p - t) / (p * (1 - p)), -x


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("logits", [True, False])
def test_binary_cross_entropy(logits, reduction, dtype):
    x, t = _drawn(0), np.random.default_rng(1).random(SHAPE)
    loss, slope, by_target = (_bce_logits if logits else _bce)(x, t)
    function = (functional.binary_cross_entropy_with_logits if logits
                else functional.binary_cross_entropy)
    found = _found(lambda a, b: function(a, b, reduction=reduction),
                   x if logits else _sigmoid(x), t, dtype=dtype)
    weights = np.arange(x.size).reshape(SHAPE) / 1000 if reduction == "none" else np.zeros(SHAPE)
    want = {"none": loss, "mean": loss.mean(), "sum": loss.sum()}[reduction]
    allowed = 2e-4 if dtype is torch.float32 else 1e-9
    np.testing.assert_allclose(found[0], want, rtol=allowed, atol=allowed)
    np.testing.assert_allclose(found[1], slope * weights, rtol=allowed, atol=allowed)
    np.testing.assert_allclose(found[2], by_target * weights, rtol=allowed, atol=allowed)


@pytest.mark.parametrize("dim", [0, 1])
def test_glu(dim):
    x = _drawn(2, (300, 400))
    a, b = np.split(x, 2, dim)
    s = _sigmoid(b)
    weights = np.arange(a.size).reshape(a.shape) / 1000
    found, slope = _found(lambda t: functional.glu(t, dim), x, dtype=torch.float32)
    np.testing.assert_allclose(found, a * s, rtol=1e-5, atol=1e-6)
    want = np.concatenate([weights * s, weights * a * s * (1 - s)], dim)
    np.testing.assert_allclose(slope, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [1, 200])
def test_prelu(count):
    x, w = _drawn(3), _drawn(4, (count,))
    weights = np.arange(x.size).reshape(SHAPE) / 1000
    found, slope, by_weight = _found(functional.prelu, x, w, dtype=torch.float32)
    np.testing.assert_allclose(found, np.where(x > 0, x, x * w), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(slope, weights * np.where(x > 0, 1, w), rtol=1e-5, atol=1e-5)
    want = np.where(x > 0, 0, x * weights).sum(0)
    want = want.sum(keepdims=True) if count == 1 else want
    np.testing.assert_allclose(by_weight, want, rtol=1e-4)


@pytest.mark.parametrize("lead", [((), ()), ((2,), ()), ((2, 1), (3,))], ids=str)
def test_distances(lead):
    x, y = _drawn(5, (*lead[0], 40, 6)), _drawn(6, (*lead[1], 30, 6))
    y[..., 3, :] = x.reshape(-1, 40, 6)[0, 5]
    d = x[..., :, None, :] - y[..., None, :, :]
    want = np.sqrt((d * d).sum(-1))
    weights = np.arange(want.size).reshape(want.shape) / 1000
    with np.errstate(all="ignore"):
        slope = np.nan_to_num(weights / want, posinf=0, neginf=0)[..., None] * d
    found, left, right = _found(torch.cdist, x, y, dtype=torch.float64)
    np.testing.assert_allclose(found, want, atol=1e-6)
    apart = want.min() > 1e-6
    assert not apart  # one pair is the same point: no gradient goes there
    np.testing.assert_allclose(left, _summed(slope.sum(-2), x.shape), atol=1e-6)
    np.testing.assert_allclose(right, _summed(-slope.sum(-3), y.shape), atol=1e-6)


def _summed(a, shape):
    """Added up over the dimensions that were repeated."""
    while a.ndim > len(shape):
        a = a.sum(0)
    for axis, n in enumerate(shape):
        if n == 1 != a.shape[axis]:
            a = a.sum(axis, keepdims=True)
    return a
