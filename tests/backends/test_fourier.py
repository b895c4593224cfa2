"""Fourier transforms of arrays, by SciPy's code and by NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from flambeau.backends.numpy import fourier

CASES = [((6,), (0,)), ((5,), (0,)), ((1,), (0,)), ((3, 4, 5), (1,)), ((3, 4, 5), (2, 0)),
         ((3, 4, 5), (0, 1, 2))]


@pytest.fixture(params=["numpy", "scipy"], autouse=True)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "scipy":
        found = pytest.importorskip("scipy.fft")
        monkeypatch.setattr(fourier, "_scipy", lambda a: found)
    else:
        monkeypatch.setattr(fourier, "_scipy", lambda a: None)


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
@pytest.mark.parametrize("shape, dims", CASES)
def test_all_three_transforms(shape: tuple, dims: tuple, norm: str, kind: str) -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal(shape).astype(kind)
    z = a + 1j * rng.standard_normal(shape).astype(kind)
    tolerance = 1e-5 if kind == "f4" else 1e-12
    for forward, reference in ((True, np.fft.fftn), (False, np.fft.ifftn)):
        found = fourier.c2c(z, dims, norm, forward)
        want = reference(z.astype("c16"), axes=dims, norm=norm)
        assert found.dtype == z.dtype
        np.testing.assert_allclose(found, want, atol=tolerance * (1 + np.abs(want).max()))
    for onesided, reference in ((True, np.fft.rfftn), (False, np.fft.fftn)):
        found = fourier.r2c(a, dims, norm, onesided)
        want = reference(a.astype("f8"), axes=dims, norm=norm)
        assert found.dtype == z.dtype and found.shape == want.shape
        np.testing.assert_allclose(found, want, atol=tolerance * (1 + np.abs(want).max()))
    half = fourier.r2c(a, dims, norm, True)
    back = fourier.c2r(half, dims, norm, shape[dims[-1]])
    assert back.dtype == a.dtype
    np.testing.assert_allclose(back, a, atol=10 * tolerance)


def test_the_input_stays_as_it_was() -> None:
    a = np.arange(6.0) + 0j
    before = a.copy()
    fourier.c2c(a, (0,), "backward", True)
    fourier.c2r(a, (0,), "backward", 10)
    np.testing.assert_array_equal(a, before)


def test_nothing_is_transformed_to_nothing() -> None:
    assert fourier.c2c(np.empty((0, 3), "c8"), (1,), "backward", True).shape == (0, 3)
    assert fourier.r2c(np.empty((0, 4), "f4"), (1,), "backward", True).shape == (0, 3)
    assert fourier.c2r(np.empty((0, 3), "c8"), (1,), "backward", 4).dtype == np.float32
