"""Pointwise operators on large arrays, by kernels made of their forwards or not, give the same."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import flambeau as torch
import flambeau.nn.functional as F
from flambeau.backends import division, large
from flambeau.core import derived_kernels

pytestmark = pytest.mark.skipif(not large.available(), reason="no generated kernels here")

SPECIAL = np.array([0.0, -0.0, 1, -1, 0.5, 2.5, -3.5, np.inf, -np.inf, np.nan, 1e-42, 3e38, 7, -6])
CASES: dict[str, Any] = {
    "nan_to_num": lambda a, b, i, m: torch.nan_to_num(a),
    "nan_to_num with numbers": lambda a, b, i, m: torch.nan_to_num(a, 1.5, 2.0, -3.0),
    "logaddexp": lambda a, b, i, m: torch.logaddexp(b, b + 1),
    "exclusive or of numbers": lambda a, b, i, m: torch.logical_xor(a, b),
    "signbit": lambda a, b, i, m: torch.signbit(a), "threshold": lambda a, b, i, m: (
        F.threshold(a, 0.5, -2.0)), "threshold of integers": lambda a, b, i, m: (
        F.threshold(i, 3, -2)), "copysign of one": lambda a, b, i, m: torch.copysign(b, -1.0),
    "heaviside": lambda a, b, i, m: torch.heaviside(a, b), "isnan": lambda a, b, i, m: a.isnan(),
    "isfinite": lambda a, b, i, m: a.isfinite(), "isinf": lambda a, b, i, m: a.isinf(),
    "sign": lambda a, b, i, m: a.sign(), "not": lambda a, b, i, m: ~m,
    "and": lambda a, b, i, m: m & ~m, "or": lambda a, b, i, m: m | (a > 0),
    "exclusive or": lambda a, b, i, m: m ^ (a > 0), "logical": lambda a, b, i, m: torch.logical_and(
        a, b), "third power": lambda a, b, i, m: b**3, "square": lambda a, b, i, m: i**2,
    "integer bits": lambda a, b, i, m: i & 7, "integer rest": lambda a, b, i, m: i % 7,
    "hypot": lambda a, b, i, m: torch.hypot(a, b), "fmax": lambda a, b, i, m: torch.fmax(a, b),
    "copysign": lambda a, b, i, m: torch.copysign(a, b), "mixed": lambda a, b, i, m: b + i,
    "mixed quotient": lambda a, b, i, m: i / 3, "mask": lambda a, b, i, m: b * m,
    "half": lambda a, b, i, m: torch.nan_to_num(a.half()), "row": lambda a, b, i, m: torch.fmax(
        a.reshape(200, -1), b.reshape(200, -1)[:1]), "turned": lambda a, b, i, m: torch.fmax(
        a.reshape(200, -1).t(), b.reshape(200, -1).t())}


@pytest.mark.parametrize("name", CASES)
def test_results(name: str, monkeypatch: Any) -> None:
    rng = np.random.default_rng(0)
    a = np.tile(SPECIAL, 4000).astype("f4")
    b = rng.permutation(a)
    b[::2] = rng.normal(size=a.size // 2)
    i = rng.integers(-50, 50, a.size)
    inputs = [torch.tensor(x) for x in (a, b, i, b > 0)]
    found = CASES[name](*inputs)
    with monkeypatch.context() as patch:
        patch.setattr(large, "load", functools.cache(lambda: None))
        patch.setattr(large, "_ran", {})
        want = CASES[name](*inputs)
    assert found.dtype is want.dtype and found.stride() == want.stride()
    np.testing.assert_array_equal(found.numpy(), want.numpy())


def test_base_two_sums_of_powers() -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=50_000) * 40 for _ in range(2))
    for dtype, close in (("f4", 3e-7), ("f8", 1e-15)):
        a, b = x.astype(dtype), y.astype(dtype)
        a[:4], b[:4] = [np.inf, -np.inf, np.nan, 2], [np.inf, -np.inf, 1, 2]
        found = torch.logaddexp2(torch.tensor(a), torch.tensor(b)).numpy()
        np.testing.assert_allclose(found, np.logaddexp2(a, b), rtol=close, atol=close)


def test_parameters_that_keep_changing_make_no_kernels() -> None:
    x = torch.randn(40_000)
    for number in range(50):
        assert torch.nan_to_num(x, float(number)).equal(x)
    (known,) = [found for op, found in derived_kernels._kernels.items()
                if op.name == "nan_to_num"]
    assert len(known) <= derived_kernels.MOST_VALUES


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [3, 1000, 1e5])
@pytest.mark.parametrize(("name", "ufunc"), [
    ("fmod", np.fmod), ("remainder", np.remainder), ("floor", np.floor_divide)])
def test_divisions(name: str, ufunc: Any, scale: float, dtype: type) -> None:
    rng = np.random.default_rng(1)
    x = (rng.normal(size=60_000) * scale).astype(dtype)
    y = rng.normal(size=x.size)
    y = (y + np.sign(y) * 0.3).astype(dtype)
    x[::7], y[::7] = np.round(x[::7]), np.sign(y[::7]) * np.ceil(np.abs(y[::7]))
    x[::11] = y[::11] * rng.integers(-9, 9, x[::11].size)
    for divisor in (y, *[np.array(v, dtype) for v in (0.7, -0.7, 3, 0.5)]):
        found = division.divided(name, x, divisor)
        assert found is not None or dtype is np.float32 and scale > 1000 and divisor.size == 1
        if found is not None:
            np.testing.assert_array_equal(found, ufunc(x, divisor))


def test_quotients_too_large_for_the_dtype_are_left() -> None:
    x, y = np.full(40_000, 1e9, np.float32), np.array(0.7, np.float32)
    assert division.divided("fmod", x, y) is None
    assert division.divided("fmod", x, np.array(0, np.float32)) is None
