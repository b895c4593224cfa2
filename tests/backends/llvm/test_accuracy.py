"""The vector math against long double, in units in the last place."""

import math

import numpy as np
import pytest

from flambeau.backends import large

LONG = np.longdouble
ENOUGH = np.finfo(LONG).nmant > np.finfo(np.float64).nmant
DTYPES = [np.float32, np.float64] if ENOUGH else [np.float32]


def logistic(x):
    small = np.exp(-np.abs(x))
    return np.where(x < 0, small, 1) / (1 + small)


# name: reference, largest argument in float32 and float64, bound in ulp
FUNCTIONS = {
    "exp": (np.exp, (88.7, 709.7), 1.0),
    "expm1": (np.expm1, (88.7, 709.7), 1.6),
    "log": (np.log, (1e38, 1e300), 0.9),
    "log1p": (np.log1p, (1e38, 1e300), 0.9),
    "tanh": (np.tanh, (20, 30), 2.5),
    "one_plus_exp": (lambda x: 1 + np.exp(x), (88.7, 709.7), 1.3),
    "sigmoid": (logistic, (88, 700), 2.5),
    "sin": (np.sin, (1e6, 1e6), 0.9),
    "cos": (np.cos, (1e6, 1e6), 0.9),
    "rsqrt": (lambda x: 1 / np.sqrt(x), (1e38, 1e300), 1.5),
}


def arguments(largest, dtype, seed=0):
    rng = np.random.default_rng(seed)
    power = np.log10(largest)
    parts = [
        rng.uniform(-largest, largest, 50_000),
        rng.standard_normal(50_000),
        10 ** rng.uniform(-power, power, 50_000) * rng.choice([-1, 1], 50_000),
    ]
    return np.concatenate(parts).astype(dtype)


def ulps(got, want):
    """Distance in units of the correctly rounded result's last place."""
    rounded = want.astype(got.dtype)
    unit = np.spacing(np.abs(rounded)).astype(LONG)
    return np.max(np.abs(got.astype(LONG) - want) / unit)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_bound(name, dtype):
    reference, sizes, bound = FUNCTIONS[name]
    x = arguments(sizes[dtype is np.float64], dtype)
    if name in ("log", "rsqrt"):
        x = np.abs(x)
    if name == "log1p":
        x = np.where(x <= -1, -x, x)
    want = reference(x.astype(LONG))
    assert ulps(large.pointwise(name, x), want) < bound


def test_erf():
    x = np.linspace(-6.5, 6.5, 40_001)
    want = np.array([math.erf(v) for v in x.tolist()])
    assert ulps(large.pointwise("erf", x), want.astype(LONG)) <= 3
    single = x.astype(np.float32)
    want = np.array([math.erf(v) for v in single.tolist()])
    assert ulps(large.pointwise("erf", single), want.astype(LONG)) < 1.5


def test_power():
    rng = np.random.default_rng(0)
    base = np.abs(rng.standard_normal(100_000) * 5).astype(np.float32)
    exponent = (rng.standard_normal(100_000) * 8).astype(np.float32)
    want = base.astype(LONG) ** exponent.astype(LONG)
    fits = want < np.finfo(np.float32).max
    assert ulps(large.pointwise("pow", base, exponent)[fits], want[fits]) < 0.51


INF, NAN = math.inf, math.nan
SPECIALS = {
    "exp": [(0, 1), (-0.0, 1), (INF, INF), (-INF, 0), (NAN, NAN), (1000, INF), (-1000, 0)],
    "expm1": [(0, 0), (-0.0, -0.0), (INF, INF), (-INF, -1), (NAN, NAN), (1e-40, 1e-40)],
    "log": [(0, -INF), (-0.0, -INF), (-1, NAN), (INF, INF), (-INF, NAN), (NAN, NAN), (1, 0)],
    "log1p": [(-1, -INF), (-2, NAN), (INF, INF), (-0.0, -0.0), (NAN, NAN), (1e-40, 1e-40)],
    "tanh": [(-0.0, -0.0), (INF, 1), (-INF, -1), (NAN, NAN), (50, 1), (1e-40, 1e-40)],
    "one_plus_exp": [(0, 2), (INF, INF), (-INF, 1), (NAN, NAN), (1000, INF), (-1000, 1)],
    "sigmoid": [(0, 0.5), (INF, 1), (-INF, 0), (NAN, NAN), (-0.0, 0.5), (200, 1)],
    "erf": [(-0.0, -0.0), (INF, 1), (-INF, -1), (NAN, NAN), (7, 1), (-7, -1)],
    "sin": [(-0.0, -0.0), (INF, NAN), (NAN, NAN), (1e-40, 1e-40)],
    "cos": [(0, 1), (-0.0, 1), (NAN, NAN), (1e-40, 1)],
    "sqrt": [(-0.0, -0.0), (INF, INF), (-1, NAN), (NAN, NAN)],
    "rsqrt": [(0, INF), (INF, 0), (-1, NAN), (NAN, NAN)],
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SPECIALS)
def test_special_values(name, dtype):
    given, want = np.array(SPECIALS[name], dtype).T
    count = len(given)
    x = np.resize(given, -(-large.MIN_ITEMS // count) * count)
    if name == "sin":
        x[np.isinf(x)] = NAN
    got = large.pointwise(name, x)
    np.testing.assert_array_equal(got, np.resize(want, x.shape))
    known = ~np.isnan(got)
    signs = np.resize(np.signbit(want), x.shape)
    np.testing.assert_array_equal(np.signbit(got[known]), signs[known])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_denormals_are_kept(dtype):
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.resize((np.arange(1, 50) * tiny).astype(dtype), large.MIN_ITEMS)
    np.testing.assert_array_equal(large.pointwise("mul", x, 1.0), x)
    low = np.log(np.finfo(dtype).tiny)
    deep = np.linspace(low - 10, low, large.MIN_ITEMS, dtype=dtype)
    want = np.exp(deep.astype(LONG)) if ENOUGH else np.exp(deep.astype(np.float64))
    assert ulps(large.pointwise("exp", deep), want) <= 1
    want = np.log(x.astype(LONG))
    if ENOUGH:
        assert ulps(large.pointwise("log", x), want) <= 1


def test_special_powers_are_as_in_c():
    values = [0, -0.0, 1, -1, 2, -2, 3, -3, 0.5, -0.5, INF, -INF, NAN, 1e38, -1e38, 1 / 3]
    values += [1e-45, -1e-45, 16777215, 16777217, -7]
    grid = np.meshgrid(*[np.array(values, np.float32)] * 2)
    x, y = (np.resize(part.ravel(), large.MIN_ITEMS) for part in grid)
    with np.errstate(all="ignore"):
        want = np.power(x, y)
    got = large.pointwise("pow", x, y)
    known = ~np.isnan(want)
    assert np.isnan(got[~known]).all()
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[known & ~finite], want[known & ~finite])
    np.testing.assert_array_almost_equal_nulp(got[finite], want[finite], 1)
    np.testing.assert_array_equal(np.signbit(got[known]), np.signbit(want[known]))
