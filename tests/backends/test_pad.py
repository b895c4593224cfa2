"""Padding of larger arrays by copies of borders, beside the maps that smaller ones take."""

import ml_dtypes
import numpy as np
import pytest

from flambeau.backends.numpy import pad as pads

CASES = [((2, 60, 70), [(1, 2)]), ((2, 60, 70), [(3, 0), (0, 5)]),
         ((3, 50, 40), [(49, 39), (2, 1)]), ((4, 12, 13, 14), [(1, 1), (2, 3), (4, 5)]),
         ((9000,), [(0, 100)])]
MODES = ("reflect", "replicate", "circular")
DTYPES = [np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16),
          np.dtype(ml_dtypes.bfloat16), np.dtype(np.int64), np.dtype(np.complex64)]


def both_ways(monkeypatch, function, *args):
    found = function(*args)
    with monkeypatch.context() as patch:
        patch.setattr(pads, "MIN_ITEMS", 1 << 40)
        want = function(*args)
    assert found.dtype == want.dtype and found.shape == want.shape and found.flags.c_contiguous
    assert not np.shares_memory(found, args[0])
    return found, want


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("shape", "pairs"), CASES)
def test_padding(monkeypatch, shape, pairs, mode, dtype):
    x = (np.random.default_rng(0).standard_normal(shape) * 9).astype(dtype)
    for given in (x, np.swapaxes(np.swapaxes(x, 0, -1).copy(), 0, -1)):
        found, want = both_ways(monkeypatch, pads.pad, given, pairs, mode)
        np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("shape", "pairs"), CASES)
def test_its_transpose(monkeypatch, shape, pairs, mode, dtype):
    padded = np.pad(np.zeros(shape, bool), [(0, 0)] * (len(shape) - len(pairs)) + pairs).shape
    g = (np.random.default_rng(0).standard_normal(padded) * 9).astype(dtype)
    before = g.copy()
    found, want = both_ways(monkeypatch, pads.pad_transpose, g, pairs, mode)
    np.testing.assert_array_equal(g, before)
    close = {"float16": 1e-2, "bfloat16": 5e-2, "float64": 1e-13}.get(dtype.name, 1e-4)
    wide = np.complex128 if dtype.kind == "c" else np.float64
    np.testing.assert_allclose(found.astype(wide), want.astype(wide), rtol=close, atol=close)


@pytest.mark.parametrize("mode", ["reflect", "circular"])
def test_negative_pads_crop(mode):
    x = np.arange(6000.0).reshape(2, 3000)
    found = pads.pad(x, [(-2, 3)], mode)
    assert found.shape == (2, 3001) and (found[:, :-3] == x[:, 2:]).all()
