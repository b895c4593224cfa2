import math
import warnings

import ml_dtypes
import numpy as np
import pytest

from flambeau.backends import threads
from flambeau.backends.llvm import reduce as kernels
from flambeau.backends.reductions import reduce

N = 40_000
SHAPES = [(N,), (5, 9000), (400, 100), (40_000, 33), (33, 2000), (7, 60, 110), (1, N)]
SHAPES += [(2, 50, 8, 64)]
NAMES = {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min, "mean": np.mean}


def axis_groups(ndim):
    """Every run of neighbouring axes, and all of them."""
    runs = [tuple(range(a, b)) for a in range(ndim) for b in range(a + 1, ndim + 1)]
    return [None, *runs]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
@pytest.mark.parametrize("name", NAMES)
def test_against_numpy(name, dtype):
    rng = np.random.default_rng(0)
    covered = 0
    for shape in SHAPES:
        x = rng.integers(-9, 9, shape).astype(dtype)
        if name == "prod":
            x = np.where(x < 8, 1, 2).astype(dtype) * rng.choice([-1, 1], shape).astype(dtype)
        elif x.dtype.kind == "f":
            x = rng.standard_normal(shape).astype(dtype)
        for axes in axis_groups(len(shape)):
            got = reduce(name, x, axes, False)
            if got is None:
                continue
            covered += 1
            check(name, got, x, axes)
            kept = reduce(name, x, axes, True)
            assert kept.shape == np.sum(x, axis=axes, keepdims=True).shape
            np.testing.assert_array_equal(kept.ravel(), got.ravel())
    assert covered > 15 or (name == "mean" and np.dtype(dtype).kind == "i" and covered == 0)


def check(name, got, x, axes):
    integral = x.dtype.kind == "i" and name in ("sum", "prod")
    wide = np.int64 if integral else np.float64
    with np.errstate(over="ignore"):
        want = NAMES[name](x.astype(wide), axis=axes)
    assert got.shape == want.shape
    assert got.dtype == (np.int64 if integral else x.dtype)
    if x.dtype.kind == "i" or name in ("max", "min"):
        np.testing.assert_array_equal(got, want)
        return
    with np.errstate(over="ignore"):
        want = want.astype(x.dtype)
    eps = np.finfo(x.dtype).eps
    size = 4 * np.sum(np.abs(x), axis=axes) * eps if name == "sum" else 1e-6
    with np.errstate(invalid="ignore"):
        close = np.abs(got - want) <= np.maximum(4 * eps * np.abs(want), size)
    assert np.all(close | (got == want))


def test_overflow_is_silent():
    x = np.full(N, 1e300)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert reduce("prod", x, None, False) == np.inf
        assert reduce("sum", np.full(N, 3e38, np.float32), None, False) == np.inf


def test_every_length_of_a_row():
    for combine in ("sum", "max", "min", "prod"):
        plan = kernels.plain(combine, "f32")
        for length in range(1, 140):
            x = np.linspace(0.9, 1.1, 3 * length, dtype=np.float32)
            got = kernels.run_blocks(plan, x, 3)
            np.testing.assert_allclose(got, NAMES[combine](x.reshape(3, -1), axis=1), rtol=1e-5)


def test_every_number_of_columns_and_rows():
    rng = np.random.default_rng(0)
    for columns in range(1, 71):
        rows = 3 + columns % 20
        x = rng.standard_normal((2, rows, columns)).astype(np.float32)
        got = kernels.run_columns(kernels.plain("sum", "f32"), x, 2, rows)
        np.testing.assert_allclose(got, x.sum(axis=1), rtol=1e-4, atol=1e-5)
        got = kernels.run_columns(kernels.plain("max", "f32"), x, 2, rows)
        np.testing.assert_array_equal(got, x.max(axis=1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_is_propagated_from_anywhere(dtype):
    x = np.random.default_rng(0).standard_normal((300, 200)).astype(dtype)
    for place in (0, 1, 17, 40_007, 59_999):
        y = x.copy()
        y.flat[place] = np.nan
        for name in ("max", "min", "sum", "mean"):
            assert np.isnan(reduce(name, y, None, False))
            rows = np.isnan(reduce(name, y, (1,), False))
            columns = np.isnan(reduce(name, y, (0,), False))
            assert rows.sum() == columns.sum() == 1
            assert rows[place // 200] and columns[place % 200]


def test_infinities_and_extremes():
    x = np.zeros(N, np.float32)
    x[3] = np.inf
    assert reduce("max", x, None, False) == reduce("sum", x, None, False) == np.inf
    x[9] = -np.inf
    assert reduce("min", x, None, False) == -np.inf
    assert np.isnan(reduce("sum", x, None, False))
    low = np.full(N, -np.inf)
    assert reduce("max", low, None, False) == -np.inf
    least = np.full(N, np.iinfo(np.int64).min)
    assert reduce("max", least, None, False) == np.iinfo(np.int64).min


def test_integer_sums_are_int64():
    x = np.full(N, np.iinfo(np.int32).max, np.int32)
    total = reduce("sum", x, None, False)
    assert total.dtype == np.int64 and total == N * np.iinfo(np.int32).max
    flags = np.arange(N) % 3 == 0
    counted = reduce("sum", flags, None, False)
    assert counted.dtype == np.int64 and counted == flags.sum()


def test_float32_sums_are_nearly_exact():
    x = np.random.default_rng(0).random(1 << 20).astype(np.float32)
    exact = math.fsum(x.tolist())
    assert abs(float(reduce("sum", x, None, False)) - exact) <= np.spacing(np.float32(exact))
    assert reduce("mean", x, None, False) == np.float32(exact / x.size)


def test_results_do_not_depend_on_threads(two_threads):
    x = np.random.default_rng(0).standard_normal((512, 515)).astype(np.float32)
    for axes in (None, (0,), (1,)):
        threads.set_num_threads(1)
        alone = reduce("sum", x, axes, False)
        threads.set_num_threads(2)
        np.testing.assert_array_equal(alone, reduce("sum", x, axes, False))


@pytest.mark.parametrize(
    ("name", "array", "axes"),
    [
        ("sum", np.zeros(100, np.float32), None),
        ("max", np.zeros(N, np.complex64), None),
        ("max", np.zeros(N, bool), None),
        ("mean", np.zeros(N, np.int64), None),
        ("median", np.zeros(N, np.float32), None),
        ("sum", np.zeros((200, 400), np.float32), ()),
    ],
)
def test_what_is_not_covered_is_none(name, array, axes):
    assert reduce(name, array, axes, False) is None


LAYOUTS = {
    "dense": lambda x: x,
    "transposed": lambda x: x.transpose(2, 0, 1),
    "reversed axes": lambda x: x.T,
    "rows apart": lambda x: x[:, 1:-1],
    "parts of rows": lambda x: x[:, :, 3:-2],
    "every second": lambda x: x[:, :, ::2],
    "every third": lambda x: x[:, 1:, 2::3],
    "every fourth": lambda x: x[:, :, 1::4],
    "every fifth": lambda x: x[:, :, ::5],
    "some batches": lambda x: x[::2],
    "backwards": lambda x: x[:, ::-1],
    "repeated": lambda x: np.broadcast_to(x[:1], x.shape),
    "spread": lambda x: np.broadcast_to(x[:, :1], x.shape),
    "offset": lambda x: np.lib.stride_tricks.as_strided(x[1:], (40, 50, 60), (4, 0, 4)),
}
SIZES = [(40, 50, 60), (7, 3, 4003), (2, 20_011, 3)]
AXES = [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", SIZES)
def test_any_axes_of_any_layout(layout, size):
    rng = np.random.default_rng(0)
    whole = rng.standard_normal(size).astype(np.float32)
    x = LAYOUTS[layout](whole)
    if layout == "offset" and size != SIZES[0]:
        pytest.skip("made for one size")
    for axes in AXES:
        for keep in (False, True):
            got = reduce("sum", x, axes, keep)
            if x.size < 1 << 15 or math.prod([x.shape[axis] for axis in axes]) == 1:
                assert got is None
                continue
            want = np.sum(x, axes, np.float64, keepdims=keep)
            assert got.shape == want.shape and got.flags.c_contiguous
            np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-5 * x.size ** 0.5)
            np.testing.assert_array_equal(
                reduce("max", x, axes, keep), np.max(x, axes, keepdims=keep))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("step", [2, 3, 4])
def test_items_apart_are_reduced_as_if_they_were_not(step, dtype):
    whole = (np.random.default_rng(1).standard_normal((30, 65_537)) * 50).astype(dtype)
    parts = (whole[:, step - 1::step], whole[:3, step - 1::step], whole[:, :1100 * step:step])
    for x in parts:
        for name in ("sum", "max"):
            for axes in (None, (1,), (0,)):
                got, want = (reduce(name, a, axes, False) for a in (x, np.array(x)))
                np.testing.assert_allclose(got, want, 1e-6 if name == "sum" else 0, 1e-3)


HALVES = [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("axes", [None, (0,), (1,), (0, 2)])
def test_halves_are_summed_in_more_and_rounded_once(dtype, axes):
    x = np.random.default_rng(0).standard_normal((60, 70, 33)).astype(dtype)
    wide = x.astype(np.float64)
    for name, find in (("sum", np.sum), ("mean", np.mean)):
        got = reduce(name, x, axes, False)
        assert got.dtype == dtype
        want = find(wide, axes).astype(np.float32).astype(dtype)
        assert np.mean(got == want) > 0.99
        np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), rtol=1e-2)
    for name, find in (("max", np.max), ("min", np.min)):
        np.testing.assert_array_equal(reduce(name, x, axes, False), find(wide, axes).astype(dtype))
    x[3, 4, 5] = np.nan
    assert np.isnan(reduce("max", x, axes, False).astype(np.float32)).sum() == 1


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16])
@pytest.mark.parametrize("axes", [None, (0,), (1,), (0, 2)])
def test_small_integers(dtype, axes):
    info = np.iinfo(dtype)
    x = np.random.default_rng(0).integers(info.min, info.max, (50, 40, 21)).astype(dtype)
    for name, find in NAMES.items():
        got = reduce(name, x, axes, False)
        if name == "mean":
            assert got is None
            continue
        want = find(x, axis=axes, **({} if name in ("max", "min") else {"dtype": np.int64}))
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


TRUTHS = [np.float32, np.float64, np.int32, np.int64, bool, np.float16, np.uint8, np.int16]


@pytest.mark.parametrize("dtype", TRUTHS)
@pytest.mark.parametrize("axes", [None, (0,), (1,), (0, 2)])
def test_truth_and_counts(dtype, axes):
    x = np.random.default_rng(0).integers(0, 9, (50, 40, 21)).astype(dtype)
    x[:, 1] = 1
    for name, find in (("any", np.any), ("all", np.all), ("count", np.count_nonzero)):
        got = reduce(name, x, axes, False)
        want = find(x, axis=axes)
        assert got.dtype == (np.int64 if name == "count" else np.bool_)
        np.testing.assert_array_equal(got, want)


def test_sums_without_nan():
    x = np.random.default_rng(0).standard_normal((300, 20, 11)).astype(np.float32)
    x[x > 1] = np.nan
    for axes in (None, (0,), (1, 2), (0, 2)):
        np.testing.assert_allclose(reduce("nansum", x, axes, False), np.nansum(x, axes), rtol=1e-4,
                                   atol=1e-4)
        assert reduce("wide sum", x, axes, False).dtype == np.float64


def test_nan_counts_as_true_and_minus_zero_as_false():
    x = np.full(N, -0.0, np.float32)
    assert not reduce("any", x, None, False)
    x[77] = np.nan
    assert reduce("any", x, None, False) and reduce("count", x, None, False) == 1


def test_kernels_refuse_what_they_were_not_made_for():
    plan = kernels.plain("sum", "f32")
    with pytest.raises(ValueError):
        kernels.run_blocks(plan, np.zeros(10), 1)
    with pytest.raises(ValueError):
        kernels.run_blocks(plan, np.zeros(10, np.float32), 3)
    with pytest.raises(ValueError):
        kernels.run_columns(plan, np.zeros((8, 8), np.float32).T[::2], 1, 4)
