"""Copies in another dtype or order, and half types computed in float32."""

import ml_dtypes
import numpy as np
import pytest

from flambeau.backends import conversions, large

N = large.MIN_ITEMS + 17
BF16 = np.dtype(ml_dtypes.bfloat16)


def bits(a):
    return a.view(np.uint16) if a.dtype.itemsize == 2 else a


@pytest.mark.parametrize(("source", "target"), sorted(conversions._CASTS))
def test_casts(source, target):
    source, target = (BF16 if n == "bfloat16" else np.dtype(n) for n in (source, target))
    rng = np.random.default_rng(0)
    if source.kind == "i":
        x = rng.integers(-(1 << 40), 1 << 40, N).astype(source)
    else:
        x = (rng.normal(size=N) * 10.0 ** rng.integers(-9, 9, N)).astype(source)
    found = conversions.astype(x, target)
    narrow = source == np.float64 and target.itemsize == 2 and target.kind != "i"
    want = (x.astype(np.float32) if narrow else x).astype(target)
    assert found.dtype == target and not np.shares_memory(found, x)
    np.testing.assert_array_equal(bits(found), bits(want))
    turned = conversions.astype(x[: 180 * 180].reshape(180, 180).T, target)
    np.testing.assert_array_equal(bits(turned), bits(want)[: 180 * 180].reshape(180, 180).T)


@pytest.mark.parametrize("dtype", [np.dtype(np.float16), BF16])
def test_every_half_and_every_kind_of_rounding(dtype):
    every = np.arange(1 << 16, dtype=np.uint16).view(dtype)
    wide = conversions.astype(every, np.dtype(np.float32))
    np.testing.assert_array_equal(wide, every.astype(np.float32))
    middle = np.arange(1 << 20, dtype=np.uint32) << 12 | np.tile([0, 1, 2047, 2048], 1 << 18)
    given = middle.astype(np.uint32).view(np.float32)
    found, want = conversions.astype(given, dtype), given.astype(dtype)
    known = ~np.isnan(given)
    np.testing.assert_array_equal(bits(found)[known], bits(want)[known])
    assert np.isnan(found[~known].astype(np.float32)).all()


def test_other_casts_are_numpy_s():
    x = np.random.default_rng(1).normal(size=N)
    np.testing.assert_array_equal(conversions.astype(x, np.dtype(np.int64)), x.astype(np.int64))
    single = x[:3].astype(np.float32)
    np.testing.assert_array_equal(conversions.astype(x[:3], BF16), single.astype(BF16))


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8", "?", "f2", BF16, "c8", "u1"])
def test_dense_copies(dtype):
    base = (np.random.default_rng(2).normal(size=(40, 50, 60)) * 9).astype(dtype)
    for view in (base.transpose(2, 0, 1), base[:, ::2], base[..., ::-1], base[3:], base):
        found = conversions.dense(view)
        assert found.flags.c_contiguous and not np.shares_memory(found, base)
        np.testing.assert_array_equal(bits(found), bits(np.array(view, order="C")))


@pytest.mark.parametrize("dtype", [np.dtype(np.float16), BF16])
@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "maximum", "lt", "eq"])
def test_half_types_are_rounded_once(name, dtype):
    rng = np.random.default_rng(3)
    x, y = (rng.normal(size=(200, 210)).astype(dtype) for _ in range(2))
    ufunc = getattr(np, {"sub": "subtract", "mul": "multiply", "div": "divide", "lt": "less",
                         "eq": "equal"}.get(name, name))
    for a, b in ((x, y), (x, y[:1]), (x[:, :1], y), (x.T, y.T), (x, 0.1), (3, y)):
        found = conversions.half_pointwise(name, (a, b))
        wide = [v.astype("f4") if isinstance(v, np.ndarray) else np.float32(v) for v in (a, b)]
        want = ufunc(*wide)
        want = want if want.dtype == bool else want.astype(dtype)
        assert found.dtype == want.dtype and found.strides == want.strides
        np.testing.assert_array_equal(bits(found), bits(want))


def test_half_cases_that_are_not_covered():
    x = np.zeros(N, np.float16)
    cases = [("add", (x, x.astype(BF16))), ("add", (x, "text")), ("sin", (x,)), ("add", (x,)),
             ("add", (x[:9], x[:9])), ("nothing", (x,)), ("neg", (x.astype("f4"),))]
    for name, operands in cases:
        assert conversions.half_pointwise(name, operands) is None


TURNED = [((300, 401), (1, 0)), ((512, 1024), (1, 0)), ((5, 130, 77), (0, 2, 1)),
          ((4, 64, 28, 29), (0, 2, 3, 1)), ((64, 28, 29, 5), (3, 0, 1, 2)),
          ((70, 80, 90), (2, 1, 0)), ((65, 4, 700), (1, 2, 0))]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
@pytest.mark.parametrize(("shape", "order"), TURNED)
def test_turned_arrays_become_dense(shape, order, dtype):
    x = (np.random.default_rng(0).normal(size=shape) * 9).astype(dtype)
    for turned in (x.transpose(order), x[::-1].transpose(order), x[..., ::2].transpose(order)):
        found = conversions.dense(turned)
        assert found.flags.c_contiguous
        np.testing.assert_array_equal(found, turned)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.bool_])
def test_writing_in_place(dtype):
    x = (np.random.default_rng(0).normal(size=(200, 301)) * 9).astype(dtype)
    for values in (x, x.T.copy().T, x[:1], x[:, :1], x[0, 0], 3):
        out = np.zeros_like(x)
        assert conversions.write(out, values)
        want = np.zeros_like(x)
        want[...] = values
        np.testing.assert_array_equal(out, want)
    assert not conversions.write(x[:-1], x[1:])
    assert not conversions.write(np.zeros_like(x), x.astype(np.int32))
    np.testing.assert_array_equal(conversions.copied(x), x)
    assert conversions.copied(x.T).flags.f_contiguous


EDGES = [0, -0.0, 1.5, -1.5, 2147483647, 2147483648, -2147483648, -2147483649, -2147483648.5,
         2147483647.5, 9.2e18, 9.3e18, -9.3e18, -(2.0**63), np.inf, -np.inf, np.nan, 1e30, 0.999,
         4294967296.0, -2147483904.0]


@pytest.mark.parametrize("target", [np.int32, np.int64, np.bool_])
@pytest.mark.parametrize("source", [np.float32, np.float64])
def test_floats_out_of_range_become_the_least_integer(source, target):
    a = np.tile(np.array(EDGES, source), 2000)
    kept = np.trunc(a.astype(np.float64))
    least = 0 if target is np.bool_ else np.iinfo(target).min
    inside = (kept >= least) & (kept < -float(least))
    with np.errstate(invalid="ignore"):
        want = a != 0 if target is np.bool_ else np.where(inside, kept, least).astype(target)
    np.testing.assert_array_equal(conversions.astype(a, np.dtype(target)), want)


@pytest.mark.parametrize("source", ["f4", "f8", "f2", BF16])
def test_floats_wrap_to_bytes_as_int64_does(source):
    numbers = [*EDGES, 255.9, 256.0, 300.7, -0.5, -1.5, -255.9, -257.0, 3e9, -3e9, 2.0**40 + 258.5]
    with np.errstate(over="ignore"):
        a = np.tile(np.array(numbers).astype(source), 2000)
    wide = np.trunc(a.astype(np.float64))
    inside = (wide >= -(2.0**63)) & (wide < 2.0**63)
    want = np.where(inside, wide, 0).astype(np.int64).astype(np.uint8)
    for each in (a, a[:40_000].reshape(200, 200).T):
        found = conversions.unsigned(each, np.dtype(np.uint8))
        here = want if each is a else want[:40_000].reshape(200, 200).T
        np.testing.assert_array_equal(found, here)
        assert found.strides == tuple([step // a.itemsize for step in each.strides])


@pytest.mark.parametrize("size", [40, 400])
@pytest.mark.parametrize("parts", [(1,), (1, 1), (2, 2, 1)])
def test_another_shape_is_a_view_where_there_is_one(size, parts):
    a = np.arange(size * size, dtype=np.float32).reshape(size, size)
    shape = (*parts[1:], -1)
    for array in (a, a.T, a[:, None, :], a.reshape(size, 4, -1).swapaxes(0, 1)):
        found = conversions.reshaped(array, shape)
        np.testing.assert_array_equal(found, array.reshape(shape))
        assert np.shares_memory(found, a) == np.shares_memory(array.reshape(shape), a)
