"""Factors of matrices: by LAPACK where it is found, and by NumPy alone."""

from __future__ import annotations

import numpy as np
import pytest

from flambeau.backends import factor, lapack

SHAPES = [(1, 1), (5, 5), (7, 4), (4, 7), (40, 40), (50, 33), (0, 3), (3, 0)]
DTYPES = ["f4", "f8", "c8", "c16"]


@pytest.fixture(params=["lapack", "numpy"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "numpy":
        monkeypatch.setattr(factor, "routine", lambda name, held: None)
    elif lapack.routine("getrf", np.dtype("f8")) is None:
        pytest.skip("neither NumPy nor SciPy brings LAPACK here")
    return request.param


def matrices(shape: tuple, kind: str, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    a = rng.standard_normal(shape)
    if np.dtype(kind).kind == "c":
        a = a + 1j * rng.standard_normal(shape)
    return a.astype(kind)


def near(kind: str) -> dict:
    tolerance = 2e-3 if kind in ("f4", "c8") else 1e-9
    return {"rtol": tolerance, "atol": tolerance}


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_factors_give_the_matrix(library: str, shape: tuple, kind: str) -> None:
    a = matrices((2, *shape), kind)
    packed, pivots, info = factor.lu(a)
    k = min(shape)
    low = np.tril(packed[..., :k], -1) + np.eye(shape[0], k)
    order = factor.permutation(pivots, shape[0])
    rows = np.take_along_axis(a, order[..., None], -2)
    np.testing.assert_allclose(low @ np.triu(packed[..., :k, :]), rows, **near(kind))
    assert packed.dtype == a.dtype and pivots.dtype == info.dtype == np.int32
    assert not info.any()


def test_a_zero_pivot_is_numbered(library: str) -> None:
    a = np.array([[[1.0, 2.0], [2.0, 4.0]], [[0.0, 1.0], [0.0, 2.0]], [[1.0, 0.0], [0.0, 1.0]]])
    assert factor.lu(a)[2].tolist() == [2, 1, 0]


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("upper", [True, False])
@pytest.mark.parametrize("unit", [True, False])
def test_a_triangle_is_solved(library: str, upper: bool, unit: bool, kind: str) -> None:
    a = matrices((3, 1, 20, 20), kind) / 20 + 2 * np.eye(20, dtype=kind)
    b = matrices((2, 20, 3), kind, 1)
    x = factor.solve_triangular(a, b, upper, unit)
    part = np.triu(a) if upper else np.tril(a)
    if unit:
        part = part * (1 - np.eye(20)) + np.eye(20)
    assert x.shape == (3, 2, 20, 3) and x.dtype == a.dtype
    np.testing.assert_allclose(part @ x, np.broadcast_to(b, x.shape), **near(kind))


def test_a_triangle_with_a_zero_gives_infinity(library: str) -> None:
    found = factor.solve_triangular(np.zeros((1, 1)), np.ones((1, 1)), True, False)
    assert np.isinf(found).all()


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("hermitian", [True, False])
def test_indefinite_systems_are_solved(library: str, hermitian: bool, kind: str) -> None:
    a = matrices((4, 9, 9), kind)
    back = np.swapaxes(a, -1, -2)
    a = a + (back.conj() if hermitian else back)
    b = matrices((4, 9, 2), kind, 1)
    ld, pivots, info = factor.ldl(a, hermitian)
    assert not info.any()
    np.testing.assert_allclose(a @ factor.ldl_solve(ld, pivots, b, hermitian), b, **near(kind))


def test_both_ways_choose_the_same_pivots(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    if lapack.routine("sytrf", np.dtype("f8")) is None:
        pytest.skip("neither NumPy nor SciPy brings LAPACK here")
    cases = [rng.standard_normal((6, 6)) * rng.integers(0, 2, (6, 6)) for _ in range(40)]
    cases = [a + a.T for a in cases]
    by_lapack = [(factor.ldl(a, False), factor.lu(a)) for a in cases]
    monkeypatch.setattr(factor, "routine", lambda name, held: None)
    for a, (ldl, lu) in zip(cases, by_lapack):
        for got, want in zip(factor.ldl(a, False), ldl):
            np.testing.assert_allclose(np.tril(got) if got.ndim == 2 else got,
                                       np.tril(want) if want.ndim == 2 else want, atol=1e-12)
        np.testing.assert_array_equal(factor.lu(a)[1], lu[1])


def test_scipys_addresses_serve_as_well() -> None:
    pytest.importorskip("scipy")
    import ctypes

    address = lapack._from_scipy("dgetrf")
    assert address is not None
    run = lapack.Routine(ctypes.CFUNCTYPE(None)(address), ctypes.c_int32)
    a = np.array([[[2.0, 1.0], [4.0, 3.0]]])
    pivots, info = np.zeros((1, 2), np.int32), np.zeros(1, np.int32)
    run(1, 2, 2, a, 2, pivots, info)  # columns (2, 1) and (4, 3)
    assert pivots.tolist() == [[1, 2]] and info.tolist() == [0]
    np.testing.assert_allclose(a, [[[2.0, 0.5], [4.0, 1.0]]])
