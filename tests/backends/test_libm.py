"""The C library's float64 functions on arrays, and the fused multiply-add."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flambeau.backends import libm

NUMBERS = st.floats(-1e50, 1e50).filter(lambda x: x == 0 or abs(x) > 1e-50)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_fma_rounds_once(x, scale, shift):
    exact = float(Fraction(x) * Fraction(scale) + Fraction(shift))
    assert libm.fma(np.array([x]), scale, shift)[0] == exact


@given(st.integers(1, 2**53 - 1), st.integers(0, 60), st.booleans())
def test_fma_near_ties(bits, exponent, negative):
    # x * x has twice the digits of a double, so that x * x + shift often ends close to a tie.
    x = bits * 2.0**-53
    shift = (-1.0 if negative else 1.0) * 2.0**exponent
    exact = float(Fraction(x) ** 2 + Fraction(shift))
    assert libm.fma(np.array([x]), x, shift)[0] == exact


def test_fma_passes_infinities_on():
    out = libm.fma(np.array([np.inf, np.nan, 1.0]), 3.0, 0.1)
    assert out[0] == np.inf and np.isnan(out[1]) and out[2] == 3.1


@pytest.mark.parametrize("kernel", ["AVX512_SKX", "X86_V3"])
@pytest.mark.parametrize("name", ["log", "log1p", "exp", "sin", "cos", "tan"])
def test_equals_the_c_library(monkeypatch, name, kernel):
    report = {name: {"dd": {"current": kernel}}}
    monkeypatch.setattr(libm, "opt_func_info", lambda func_name: report)
    x = np.linspace(1e-3, 1.5, 2000).reshape(40, 50)
    expected = np.array([getattr(math, name)(v) for v in x.ravel()]).reshape(x.shape)
    # The uncached function: NumPy's own kernels are trusted only where they are libm's.
    ours = libm._elementwise.__wrapped__(name)
    assert (ours is getattr(np, name)) == (kernel == "X86_V3")
    if kernel == "AVX512_SKX":
        assert np.array_equal(ours(x), expected)
    assert np.allclose(getattr(libm, name)(x), expected, rtol=4e-16, atol=0)


def test_infinities_at_the_limits():
    x = np.array([709.78, 709.79, 1e6, -1e6])
    expected = [math.exp(709.78), math.inf, math.inf, 0.0]
    assert libm.exp(x).tolist() == expected
    assert [libm._exp_or_inf(v) for v in x.tolist()] == expected
    assert libm.log(np.array([0.0, 1.0])).tolist() == [-math.inf, 0.0]
    assert libm._log_or_minus_inf(0.0) == -math.inf
