"""Products of matrices on a GPU, of any sizes and strides, beside NumPy's in float64."""

import math

import numpy as np
import pytest

from flambeau.backends.cuda_c import contraction
from flambeau.backends.llvm.array_program import Contraction
from flambeau.backends.llvm.program import Input, Pointwise, Step

from .device import DTYPES, as_bf16, from_bf16

# batch, m, n, k
SIZES = [(1, 1, 1, 1), (1, 64, 64, 32), (2, 3, 5, 7), (1, 130, 70, 33), (3, 65, 129, 100),
         (1, 8, 300, 17), (2, 200, 1, 64), (1, 20, 24, 200)]
ORDERS = ["plain", "left turned", "right turned", "both turned", "apart", "same left"]
TOLERANCE = {"f32": 2e-6, "f64": 1e-14, "f16": 1e-3, "bf16": 8e-3}


def stored(kind, x):
    return as_bf16(x) if kind == "bf16" else x.astype(DTYPES[kind])


def exactly(kind, x):
    return (from_bf16(x) if kind == "bf16" else x).astype(np.float64)


def operands(kind, size, order):
    """Both operands as they lie in memory, and their strides as the kernel takes them."""
    batch, m, n, k = size
    rng = np.random.default_rng(0)
    left = stored(kind, rng.standard_normal((batch, m, k)))
    right = stored(kind, rng.standard_normal((batch, k, n)))
    if order in ("left turned", "both turned"):
        left = np.ascontiguousarray(left.transpose(0, 2, 1)).transpose(0, 2, 1)
    if order in ("right turned", "both turned"):
        right = np.ascontiguousarray(right.transpose(0, 2, 1)).transpose(0, 2, 1)
    if order == "apart":
        left = np.repeat(left, 2, 2)[:, :, ::2]
        right = np.repeat(right, 3, 2)[:, :, ::3]
    if order == "same left":
        left = np.broadcast_to(left[:1], left.shape)
    return left, right


def strides_of(x):
    return [step // x.itemsize for step in x.strides]


def multiply(device, program, size, left, right, others=(), tiles=None, across=(False, True)):
    """The result, the same to the bit from two grids."""
    batch, m, n, k = size
    epilogue = program.epilogue
    kind = program.kind if epilogue is None else epilogue.kinds[epilogue.outputs[0]]
    words = [*strides_of(left)[1:], strides_of(left)[0], *strides_of(right)[1:],
             strides_of(right)[0]]
    flat = [base_of(left), base_of(right), *others]
    tile = tiles or contraction.tile_for(program, batch, m, n)
    text = contraction.print_contraction(program, tile, across)
    outs = [((batch, m, n), DTYPES[kind])]
    sizes = (batch, m, n, k, *words)
    (found,) = device.run(text, (2,), tile.threads, outs, flat, *sizes, shared=tile.shared)
    (again,) = device.run(text, (200,), tile.threads, outs, flat, *sizes, shared=tile.shared)
    assert found.tobytes() == again.tobytes()
    return found


def base_of(x):
    """All memory that an array's items lie in, which begins with its first item."""
    while x.base is not None:
        x = x.base
    return x


def check(kind, got, size, left, right):
    wide_left, wide_right = exactly(kind, left), exactly(kind, right)
    want = wide_left @ wide_right
    scale = np.abs(wide_left) @ np.abs(wide_right)
    tolerance = TOLERANCE[kind]
    assert (np.abs(exactly(kind, got) - want) <= tolerance * scale + 1e-30).all()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", ["f32", "f64", "f16", "bf16"])
def test_products_of_any_sizes_and_strides(kind, order, device):
    across = (order in ("left turned", "both turned"), order in ("plain", "left turned"))
    for size in SIZES:
        left, right = operands(kind, size, order)
        got = multiply(device, Contraction(kind), size, left, right, across=across)
        check(kind, got, size, left, right)


@pytest.mark.parametrize("across", [(False, False), (False, True), (True, False), (True, True)])
def test_where_neighbours_are_expected_changes_no_result(across, device):
    size = (2, 72, 80, 48)
    results = []
    for order in ORDERS[:4]:
        left, right = operands("bf16", size, order)
        got = multiply(device, Contraction("bf16"), size, left, right, across=across)
        check("bf16", got, size, left, right)
        results.append(got.tobytes())
    assert len(set(results)) == 1


@pytest.mark.parametrize("kind", ["f32", "f64", "f16", "bf16"])
def test_no_tile_changes_a_sum(kind, device):
    size = (1, 300, 260, 140)
    left, right = operands(kind, size, "plain")
    results = []
    for tile in contraction.tiles_of(Contraction(kind)):
        got = multiply(device, Contraction(kind), size, left, right, tiles=tile)
        check(kind, got, size, left, right)
        results.append(got.tobytes())
    assert len(set(results)) == 1


def test_sums_of_float32_are_in_the_order_of_k(device):
    size = (1, 40, 33, 19)
    left, right = operands("f32", size, "plain")
    got = multiply(device, Contraction("f32"), size, left, right)
    # float64 holds the product of two numbers of float32, and rounds a sum with it twice
    want = np.zeros((40, 33), np.float32)
    for step in range(19):
        product = np.outer(left[0, :, step].astype(np.float64), right[0, step])
        want = (want + product).astype(np.float32)
    np.testing.assert_array_max_ulp(got[0], want, 1)


def gelu_layer(kind, accumulate):
    """gelu(sum * scale + bias) + residual, and what a column is multiplied by."""
    inputs = (Input(accumulate), Input(accumulate, "row"), Input(kind), Input(accumulate, "scalar"),
              Input(accumulate, "column"))
    steps = (
        Step("fma", (0, 3, 1)),  # 5
        Step("const", (), 0.5**0.5, accumulate),
        Step("mul", (5, 6)),
        Step("erf", (7,)),
        Step("const", (), 1.0, accumulate),
        Step("add", (8, 9)),
        Step("mul", (5, 10)),
        Step("const", (), 0.5, accumulate),
        Step("mul", (11, 12)),  # 13
        Step("cast", (2,), None, accumulate),
        Step("fma", (13, 4, 14)),
        Step("cast", (15,), None, kind),
    )
    return Pointwise(inputs, steps, (16,))


@pytest.mark.parametrize("size", [(1, 70, 65, 30), (2, 33, 130, 64)])
@pytest.mark.parametrize("kind", ["f32", "f64", "bf16"])
def test_an_epilogue_takes_rows_columns_arrays_and_scalars(kind, size, device):
    batch, m, n, _ = size
    program = Contraction(kind, gelu_layer(kind, Contraction(kind).accumulate))
    inner = DTYPES[program.accumulate]
    rng = np.random.default_rng(1)
    left, right = operands(kind, size, "plain")
    bias, scale = rng.standard_normal(n).astype(inner), np.array([0.25], inner)
    column = rng.standard_normal(batch * m).astype(inner)
    residual = stored(kind, rng.standard_normal((batch, m, n)))
    got = multiply(device, program, size, left, right, (bias, residual, scale, column))
    y = exactly(kind, left) @ exactly(kind, right) * 0.25 + bias
    want = y * 0.5 * (1 + np.vectorize(math.erf)(y * 0.5**0.5))
    want = want * column.reshape(batch, m, 1) + exactly(kind, residual)
    tolerance = {"f32": 1e-5, "f64": 1e-12, "bf16": 2e-2}[kind]
    np.testing.assert_allclose(exactly(kind, got), want, tolerance, tolerance)


def test_an_epilogue_may_store_another_kind(device):
    size = (1, 20, 30, 40)
    left, right = operands("f16", size, "plain")
    epilogue = Pointwise((Input("f32"),), (), (0,))
    got = multiply(device, Contraction("f16", epilogue), size, left, right)
    want = exactly("f16", left) @ exactly("f16", right)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, 1e-4, 1e-4)


@pytest.mark.parametrize("kind", ["f32", "f64", "f16", "bf16"])
def test_what_is_not_finite_stays_in_its_row_and_column(kind, device):
    size = (1, 70, 70, 50)
    x, y = np.ones((1, 70, 50)), np.ones((1, 50, 70))
    x[0, 3, 4], y[0, 7, 9], y[0, 8, 20] = np.nan, np.inf, -np.inf
    left, right = stored(kind, x), stored(kind, y)
    got = exactly(kind, multiply(device, Contraction(kind), size, left, right))
    want = np.full((70, 70), 50.0)
    want[:, 9], want[:, 20], want[3] = np.inf, -np.inf, np.nan
    np.testing.assert_array_equal(got[0], want)
