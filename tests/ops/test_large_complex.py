"""Large arrays of complex numbers, and of floats that no kernel computes, beside NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau.backends import large, slices

N = 40_009
RNG = np.random.default_rng(0)


def numbers(dtype: str, shape: tuple[int, ...] = (N,)) -> np.ndarray:
    a = RNG.standard_normal(shape)
    return (a + 1j * RNG.standard_normal(shape) if dtype[0] == "c" else np.abs(a)).astype(dtype)


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "float64"])
@pytest.mark.parametrize("ufunc", [np.multiply, np.add, np.true_divide, np.power])
def test_slices_have_the_bits_of_numpy(ufunc: Any, dtype: str) -> None:
    x, y = numbers(dtype), numbers(dtype)
    for pair in ((x, y), (x, y[:1]), (np.array(y[0]), x), (x, x)):
        found = slices.run(ufunc, pair)
        if not large.available():
            assert found is None
            return
        want = ufunc(*pair)
        assert found is not None and found.dtype == want.dtype
        np.testing.assert_array_equal(found, want)
    assert slices.run(ufunc, (x, y), x) is x
    np.testing.assert_array_equal(slices.run(ufunc, (y, y)), ufunc(y, y))


@pytest.mark.parametrize("ufunc", [np.absolute, np.conjugate, np.exp, np.log, np.square])
def test_results_may_be_of_another_dtype(ufunc: Any) -> None:
    x = numbers("complex64", (200, 201))
    found = slices.run(ufunc, (x,))
    want = ufunc(x)
    assert found is None or found.dtype == want.dtype and found.shape == want.shape
    assert found is None or np.array_equal(found, want)


def test_what_slices_do_not_cover() -> None:
    x = numbers("complex64", (200, 201))
    for operands in ((x[:3], x[:3]), (x.T, x.T), (x, x.astype("complex128")), (x, x[:1]), (x,),
                     (x.real.astype("int64"),) * 2):
        assert slices.run(np.multiply, operands) is None
    assert slices.run(np.multiply, (x, x), np.empty(x.shape, "complex128")) is None
    assert slices.run(np.modf, (x.real.copy(),)) is None


FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "product": lambda t, u: t * u, "quotient": lambda t, u: t / u, "size": lambda t, u: t.abs(),
    "conjugate": lambda t, u: t * u.conj(), "exp": lambda t, u: t.exp(),
    "angle": lambda t, u: t.angle(), "root": lambda t, u: t.pow(0.5),
    "power": lambda t, u: t ** 1.5, "scaled": lambda t, u: t.mul(2.0 - 1j),
    "in place": lambda t, u: t.clone().mul_(u).div_(2.0).add_(1j)}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_functions_give_what_they_give_of_few(name: str, dtype: str) -> None:
    x, y = numbers(dtype), numbers(dtype)
    found = FUNCTIONS[name](torch.from_numpy(x), torch.from_numpy(y))
    want = [FUNCTIONS[name](torch.from_numpy(x[k:k + 5000]), torch.from_numpy(y[k:k + 5000]))
            for k in range(0, N, 5000)]
    tolerance = {"rtol": 1e-6 if dtype == "complex64" else 1e-14}
    np.testing.assert_allclose(found.numpy(), torch.cat(want).numpy(), **tolerance)


@pytest.mark.parametrize("dim", [None, 0, 1, (0, 2), -1])
def test_sums_of_complex_numbers(dim: Any) -> None:
    x = numbers("complex64", (30, 41, 50))
    wide = x.astype("complex128")
    for each, exact in ((x, wide), (x[:, ::2], wide[:, ::2]), (x.transpose(2, 0, 1),
                                                             wide.transpose(2, 0, 1))):
        t = torch.from_numpy(each)
        np.testing.assert_allclose(t.sum(dim).numpy(), exact.sum(dim), 1e-5, 1e-4)
        np.testing.assert_allclose(t.mean(dim, keepdim=True).numpy(),
                                   exact.mean(dim, keepdims=True), 1e-5, 1e-6)


def test_gradients_of_large_complex_numbers() -> None:
    x, y = numbers("complex64"), numbers("complex64")
    t, u = (torch.from_numpy(a).requires_grad_() for a in (x, y))
    g = torch.from_numpy(numbers("complex64"))
    (t * u).backward(g)
    assert t.grad is not None and u.grad is not None
    np.testing.assert_allclose(t.grad.numpy(), g.numpy() * y.conj(), 1e-5)
    np.testing.assert_allclose(u.grad.numpy(), g.numpy() * x.conj(), 1e-5)
