"""Generated products against float64: odd sizes, transposes, batches, what follows a product."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flambeau.backends import threads
from flambeau.backends.llvm import gemm
from flambeau.backends.llvm.expressions import Builder

# batch, rows, depth, columns
SIZES = [(1, 1, 1, 1), (1, 7, 5, 9), (2, 6, 16, 16), (3, 13, 40, 33), (1, 100, 1000, 37),
         (1, 97, 385, 130), (2, 200, 17, 40), (1, 5, 3, 200), (1, 1, 50, 60), (1, 60, 50, 1)]


def operand(rng, batch, rows, columns, turned, dtype):
    shape = (batch, columns, rows) if turned else (batch, rows, columns)
    a = rng.normal(size=shape).astype(dtype)
    return a.swapaxes(1, 2) if turned else a


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("turned", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_against_float64(size, turned, dtype):
    batch, m, k, n = size
    rng = np.random.default_rng(0)
    a, b = operand(rng, batch, m, k, turned[0], dtype), operand(rng, batch, k, n, turned[1], dtype)
    assert gemm.covers(a, b)
    want = a.astype("f8") @ b.astype("f8")
    allowed = 4 * np.finfo(dtype).eps * k
    found = gemm.multiply(a, b)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, want, rtol=0, atol=allowed * 10)
    gemm.multiply(a, b, out=found, adds=True)
    np.testing.assert_allclose(found, 2 * want, rtol=0, atol=allowed * 20)


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 5), st.integers(1, 420), st.integers(1, 150), st.integers(1, 150),
       st.tuples(st.booleans(), st.booleans()), st.tuples(st.integers(1, 3), st.integers(0, 5)),
       st.booleans(), st.sampled_from(["f4", "f8"]))
def test_any_product(batch, m, k, n, turned, gaps, adds, dtype):
    rng = np.random.default_rng(m * k + n)
    step, offset = gaps
    a = operand(rng, batch, m * step, k + offset, turned[0], dtype)[:, ::step, offset:]
    b = operand(rng, batch, k, n + offset, turned[1], dtype)[:, :, offset:]
    wide = a.astype("f8") @ b.astype("f8")
    before = rng.normal(size=wide.shape).astype(dtype)
    out = before.copy()
    assert gemm.multiply(a, b, out=out, adds=adds) is out
    want = wide + before if adds else wide
    np.testing.assert_allclose(out, want, rtol=0, atol=40 * np.finfo(dtype).eps * (k + 8))


@pytest.mark.parametrize("size", [(1, 0, 5, 9), (0, 4, 5, 9), (1, 4, 0, 9), (2, 4, 5, 0)])
def test_empty_products_are_not_covered(size):
    batch, m, k, n = size
    assert not gemm.covers(np.ones((batch, m, k), "f4"), np.ones((batch, k, n), "f4"))


@pytest.mark.parametrize("turned", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_nan_and_infinity_stay_in_their_row_or_column(turned):
    rng = np.random.default_rng(4)
    a, b = operand(rng, 1, 205, 70, turned[0], "f4"), operand(rng, 1, 70, 83, turned[1], "f4")
    a[0, 100, 3], b[0, 69, 82] = np.inf, np.nan
    found = gemm.multiply(a, b)[0]
    assert np.isinf(found[100, :82]).all() and np.isnan(found[:, 82]).all()
    assert np.isfinite(np.delete(found, 100, 0)[:, :82]).all()


def test_repeated_operands_and_views():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(5, 20, 30)).astype("f4"), rng.normal(size=(30, 24)).astype("f4")
    repeated = np.broadcast_to(b, (5, 30, 24))
    np.testing.assert_allclose(gemm.multiply(a, repeated), a @ b, rtol=1e-4, atol=1e-4)
    parts = a[:, ::2, ::3]
    wide = rng.normal(size=(5, 10, 60)).astype("f4")[:, :, 7:50]
    np.testing.assert_allclose(gemm.multiply(parts, wide), parts @ wide, rtol=1e-4, atol=1e-4)


def test_what_cannot_be_read_is_not_covered():
    a = np.ones((1, 4, 4), "f4")
    for b in (np.ones((1, 8, 8), "f4")[:, ::2, ::2], a[:, :0], a[:, ::-1]):
        assert not gemm.covers(a, b)


def test_a_program_follows_the_product():
    rng = np.random.default_rng(2)
    a, b = (rng.normal(size=size).astype("f4") for size in ((1, 50, 900), (1, 900, 37)))
    row = rng.normal(size=37).astype("f4")
    builder = Builder()
    x, bias = builder.input("f32"), builder.input("f32", "row")
    program = builder.pointwise(builder.on.relu(x + bias))
    found = gemm.multiply(a, b, program, row)
    np.testing.assert_allclose(found, np.maximum(a @ b + row, 0), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("size", [(1, 300, 500, 90), (7, 20, 30, 40)])
def test_results_do_not_depend_on_the_number_of_threads(size):
    batch, m, k, n = size
    rng = np.random.default_rng(3)
    a, b = operand(rng, batch, m, k, 0, "f4"), operand(rng, batch, k, n, 0, "f4")
    before, founds = threads.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            threads.set_num_threads(count)
            founds.append(gemm.multiply(a, b))
    finally:
        threads.set_num_threads(before)
    for found in founds[1:]:
        np.testing.assert_array_equal(found, founds[0])


def test_nan_and_infinity_reach_their_rows_only():
    a, b = np.ones((1, 9, 8), "f4"), np.ones((1, 8, 20), "f4")
    a[0, 3, 2], a[0, 7, 7] = np.nan, np.inf
    found = gemm.multiply(a, b)[0]
    assert np.isnan(found[3]).all() and np.isinf(found[7]).all()
    assert (np.delete(found, [3, 7], 0) == 8).all()
