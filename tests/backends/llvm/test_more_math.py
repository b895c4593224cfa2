"""Inverse and hyperbolic functions, erfc and other logarithms: bounds in ulp, special values."""

import math

import numpy as np
import pytest

from flambeau.backends import large

LONG = np.longdouble
ENOUGH = np.finfo(LONG).nmant > np.finfo(np.float64).nmant
DTYPES = ["f4", "f8"] if ENOUGH else ["f4"]
INF, NAN = np.inf, np.nan
N = 40_000

# name: reference, arguments (uniform up to, or powers of ten from and to), bound in ulp
FUNCTIONS = {
    "exp2": (np.exp2, [(-126, 127)], 1.1),
    "log2": (np.log2, [(0.5, 2), "positive"], 1.9),
    "log10": (np.log10, [(0.5, 2), "positive"], 3.1),
    "tan": (np.tan, [(-1e5, 1e5), (-2, 2)], 2.3),
    "asin": (np.arcsin, [(-1, 1), "small"], 2.7),
    "acos": (np.arccos, [(-1, 1), "small"], 1.5),
    "atan": (np.arctan, [(-5, 5), "any"], 2.7),
    "sinh": (np.sinh, [(-88, 88), "small"], 2.2),
    "cosh": (np.cosh, [(-88, 88), "small"], 1.5),
    "asinh": (np.arcsinh, [(-5, 5), "any"], 1.8),
    "acosh": (np.arccosh, [(1, 9), "positive"], 2.2),
    "atanh": (np.arctanh, [(-1, 1), "small"], 2.1),
}


def arguments(name, ranges, dtype):
    rng = np.random.default_rng(0)
    powers = 37 if dtype == "f4" else 300
    parts = []
    for limits in ranges:
        if isinstance(limits, tuple):
            parts.append(rng.uniform(*limits, N))
            continue
        low, high = (-20, 0) if limits == "small" else (-powers, powers)
        found = 10 ** rng.uniform(low, high, N)
        parts.append(found if limits == "positive" else found * rng.choice([-1, 1], N))
    x = np.concatenate(parts).astype(dtype)
    return np.abs(x) + 1 if name == "acosh" else x


def ulps(got, want):
    rounded = want.astype(got.dtype)
    return np.max(np.abs(got.astype(LONG) - want) / np.spacing(np.abs(rounded)).astype(LONG))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_bound(name, dtype):
    reference, ranges, bound = FUNCTIONS[name]
    x = arguments(name, ranges, dtype)
    assert ulps(large.pointwise(name, x), reference(x.astype(LONG))) < bound


@pytest.mark.parametrize(("dtype", "end", "bound"), [("f4", 9, 5.5), ("f8", 26, 5.5)])
def test_erfc(dtype, end, bound):  # of which the C library has a share
    x = np.linspace(-6, end, N).astype(dtype)
    want = np.array([math.erfc(v) for v in x.tolist()])
    assert ulps(large.pointwise("erfc", x), want.astype(LONG)) < bound


@pytest.mark.parametrize("dtype", DTYPES)
def test_atan2(dtype):
    rng = np.random.default_rng(1)
    y, x = ((10 ** rng.uniform(-20, 20, N) * rng.choice([-1, 1], N)).astype(dtype)
            for _ in range(2))
    want = np.arctan2(y.astype(LONG), x.astype(LONG))
    assert ulps(large.pointwise("atan2", y, x), want) < 2.4


SPECIALS = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -2.0, INF, -INF, NAN, 1e-40, -1e-40, 1e30, -1e30, 3e38]


def same(found, want):
    np.testing.assert_array_equal(np.isnan(found), np.isnan(want))
    known = ~np.isnan(want)
    np.testing.assert_allclose(found[known], want[known], rtol=4 * np.finfo(want.dtype).eps, atol=0)
    np.testing.assert_array_equal(np.signbit(found[known]), np.signbit(want[known]))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "tan"])
def test_special_values(name, dtype):
    x = np.resize(np.array(SPECIALS, dtype), N)
    with np.errstate(all="ignore"):
        want = FUNCTIONS[name][0](x)
    same(large.pointwise(name, x), want)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_special_values_of_erfc(dtype):
    x = np.resize(np.array(SPECIALS, dtype), N)
    same(large.pointwise("erfc", x), np.array([math.erfc(v) for v in x.tolist()]).astype(dtype))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_special_angles(dtype):
    grid = [np.resize(part.ravel(), N) for part in np.meshgrid(SPECIALS, SPECIALS)]
    y, x = (part.astype(dtype) for part in grid)
    same(large.pointwise("atan2", y, x), np.arctan2(y, x))


def test_tan_of_huge_arguments_is_numpy_s():
    x = np.full(N, 1e9, "f4")
    assert large.pointwise("tan", x) is None


GAMMA = {
    "lgamma": [(0.01, 100), (-20, 0.5), (0.9, 2.1), (1, 1e6)],
    "digamma": [(0.01, 100), (1.6, 10), (-20, 0.4), (1, 1e6)],
    "erfinv": [(-1, 1), (-0.01, 0.01)],
}


@pytest.mark.parametrize("name", GAMMA)
def test_what_is_computed_in_float64_is_rounded_once(name):
    special = pytest.importorskip("scipy.special")
    reference = getattr(special, "gammaln" if name == "lgamma" else name)
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.uniform(*limits, N) for limits in GAMMA[name]]).astype("f4")
    want = reference(x.astype("f8"))
    assert ulps(large.pointwise(name, x), want.astype(LONG)) < 0.51
    assert large.pointwise(name, x.astype("f8")) is None


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        ("lgamma", [(0, INF), (-0.0, INF), (-1, INF), (INF, INF), (-INF, INF), (NAN, NAN),
                    (1, 0), (2, 0)]),
        ("digamma", [(0, -INF), (-0.0, INF), (-1, NAN), (-7, NAN), (INF, INF), (-INF, NAN),
                     (NAN, NAN)]),
        ("erfinv", [(0, 0), (-0.0, -0.0), (1, INF), (-1, -INF), (1.5, NAN), (-2, NAN),
                    (NAN, NAN)]),
    ],
)
def test_special_values_of_gamma_functions(name, pairs):
    x, want = (np.resize(np.array(part, "f4"), N) for part in zip(*pairs))
    found = large.pointwise(name, x)
    np.testing.assert_allclose(found, want, rtol=1e-6, atol=1e-7)
    infinite = np.isinf(want) | (x == 0)
    np.testing.assert_array_equal(np.signbit(found[infinite]), np.signbit(want[infinite]))
