"""Matrix products in the pool: NumPy's results, for every layout and size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flambeau.backends import products


def laid(rng: np.random.Generator, shape: tuple[int, ...], dtype: type, turn: bool) -> np.ndarray:
    """Random values; with ``turn`` the last two axes lie the other way in memory."""
    if turn:
        swapped = (*shape[:-2], shape[-1], shape[-2])
        return rng.standard_normal(swapped).astype(dtype).swapaxes(-2, -1)
    return rng.standard_normal(shape).astype(dtype)


def close(found: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    want = np.matmul(a.astype(np.float64), b.astype(np.float64))
    assert found.dtype == a.dtype and found.flags.c_contiguous
    tolerance = 1e-12 if a.dtype == np.float64 else 1e-5
    np.testing.assert_allclose(found, want, rtol=tolerance, atol=tolerance * a.shape[-1] ** 0.5 * 8)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(0, 200), st.integers(1, 300), st.booleans(), st.booleans(),
       st.sampled_from([np.float32, np.float64]))
def test_matrices(m: int, k: int, n: int, ta: bool, tb: bool, dtype: type) -> None:
    rng = np.random.default_rng(m * k + n)
    a, b = laid(rng, (m, k), dtype, ta), laid(rng, (k, n), dtype, tb)
    close(products.dot(a, b), a, b)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 130), st.integers(1, 70),
       st.integers(1, 130), st.booleans(), st.booleans())
def test_stacks(b1: int, b2: int, m: int, k: int, n: int, ta: bool, tb: bool) -> None:
    rng = np.random.default_rng(m * k + n)
    a = laid(rng, (b1, b2, m, k), np.float32, ta)
    b = laid(rng, (b1, b2, k, n), np.float32, tb)
    close(products.matmul(a, b), a, b)


@pytest.mark.parametrize("part", [np.s_[::2], np.s_[:, ::2], np.s_[::-1], np.s_[:, 3:]])
def test_views(part: tuple) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((600, 700)), rng.standard_normal((700, 500))
    left = a[part]
    close(products.dot(left, b[:left.shape[1]]), left, b[:left.shape[1]])
    heads = rng.standard_normal((4, 64, 8, 32)).transpose(0, 2, 1, 3)
    close(products.matmul(heads, heads.swapaxes(-2, -1)), heads, heads.swapaxes(-2, -1))
    wide = np.broadcast_to(a[None, :300, :300], (4, 300, 300))
    close(products.matmul(wide, wide), wide, wide)


def test_nan_and_infinity_pass_through() -> None:
    a = np.ones((200, 200))
    a[3, 4], a[5, 6] = np.nan, np.inf
    found = products.dot(a, np.ones((200, 200)))
    assert np.isnan(found[3]).all() and np.isinf(found[5]).all() and (found[0] == 200).all()


@pytest.mark.parametrize("shape", [(4, 1, 64, 64), (1, 3, 64, 64), (4, 3, 64, 64)])
def test_stacks_that_repeat_matrices_along_one_dimension(shape: tuple) -> None:
    """As keys that several heads of queries share: one stride does not lead through them all."""
    rng = np.random.default_rng(0)
    a = np.broadcast_to(rng.standard_normal(shape, np.float32), (4, 3, 64, 64))
    b = rng.standard_normal((4, 3, 64, 64), np.float32)
    np.testing.assert_allclose(products.matmul(a, b), np.matmul(a, b), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(products.matmul(b, a), np.matmul(b, a), rtol=1e-4, atol=1e-4)


def test_operands_between_the_places_of_their_dtype() -> None:
    rng = np.random.default_rng(5)
    aligned = rng.standard_normal((200, 200))
    shifted = np.empty(aligned.nbytes + 4, np.uint8)[4:].view(np.float64).reshape(aligned.shape)
    shifted[...] = aligned
    assert not shifted.flags.aligned
    for a, b in ((aligned, aligned), (shifted, aligned), (aligned, shifted)):
        close(products.dot(a, b), a, b)


def test_plans_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "MAX_PLANS", 3)
    monkeypatch.setattr(products, "_plans", {})
    monkeypatch.setattr(products, "_answer", lambda layout: False)
    for n in range(200, 210):
        a = np.ones((n, 100))
        assert (products.dot(a, np.ones((100, 64))) == 100).all()
        assert len(products._plans) <= 3
