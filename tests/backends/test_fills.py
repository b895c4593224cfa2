"""Large arrays of one number, of evenly spaced ones, and triangles, beside NumPy."""

import numpy as np
import pytest

import flambeau as torch
from flambeau.backends import fills

SPACED = [(0.0, 1.0), (5.0, 0.25), (-7.0, 3.0), (100.0, -1e-3), (1e10, 1.5)]


@pytest.mark.parametrize("count", [32_768, 100_003])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("start", "step"), SPACED)
def test_spaced_floats_are_rounded_once(start, step, dtype, count):
    found = fills.spaced(count, np.dtype(dtype), start, step)
    want = (start + np.arange(count) * step).astype(dtype)
    assert found is None or found.dtype == dtype
    np.testing.assert_array_equal(want if found is None else found, want)


@pytest.mark.parametrize("count", [32_768, 100_003])
def test_spaced_from_both_ends(count):
    start, step = np.float64(np.float32(0.1)), np.float64(np.float32(1e-3))
    end = start + step * (count - 1)
    found = fills.spaced(count, np.dtype(np.float32), start, step, end)
    at = np.arange(count)
    want = np.where(at < count // 2, start + step * at, end + -step * (count - 1 - at))
    assert found is None or np.array_equal(found, want.astype(np.float32))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.int16])
@pytest.mark.parametrize("bounds", [(100_003,), (5, 100_003), (-7, 200_001, 3),
                                    (200_001, -7, -3)])
def test_ranges_of_integers(bounds, dtype):
    want = np.arange(*bounds).astype(dtype.np)
    np.testing.assert_array_equal(torch.arange(*bounds, dtype=dtype).numpy(), want)


def test_ranges_far_from_zero():
    far = -(1 << 61)
    assert torch.arange(far, far + 90_000)[-1].item() == far + 89_999


@pytest.mark.parametrize("shape", [(300, 401), (5, 200, 70), (3, 70_000), (70_000, 3)])
@pytest.mark.parametrize("dtype", ["f4", "i8", "?", "c8"])
@pytest.mark.parametrize("diagonal", [-(10**9), -201, -1, 0, 2, 69, 10**9])
def test_triangles(shape, dtype, diagonal):
    a = (np.random.default_rng(0).normal(size=shape) * 5).astype(dtype)
    for part in (a, np.swapaxes(a, -1, -2)):
        for lower, want in ((True, np.tril), (False, np.triu)):
            found = fills.triangle(part, diagonal, lower)
            np.testing.assert_array_equal(found, want(part, diagonal))
            assert found.dtype == part.dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool, torch.bfloat16,
                                   torch.complex64, torch.uint8])
def test_one_number_everywhere(dtype):
    number = True if dtype is torch.bool else 3
    shape, want = (300, 301), np.asarray(number).astype(dtype.np)
    full = torch.full(shape, number, dtype=dtype)
    made = [(full, want), (torch.ones(shape, dtype=dtype), 1), (torch.full_like(full, 0), 0),
            (torch.zeros_like(full.mT), 0), (torch.ones_like(full.mT), 1)]
    for t, value in made:
        assert t.dtype is dtype and (t.numpy() == value).all() if dtype is not torch.bfloat16 else (
            t.float().numpy() == float(value)).all()
    assert made[3][0].stride() == full.mT.stride()
