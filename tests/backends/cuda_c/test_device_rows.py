"""Programs by rows and reductions on a GPU, beside the same in float64 by NumPy."""

import math

import numpy as np
import pytest

from flambeau.backends.cuda_c import reduce, rows
from flambeau.backends.llvm.program import (
    COMBINES,
    Input,
    Output,
    Pointwise,
    Reduction,
    Rows,
    Step,
)

from .device import DTYPES, as_bf16, from_bf16
from .test_rows import layer_norm, softmax

SHAPES = [(1, 1), (5, 3), (3, 31), (2, 33), (7, 255), (4, 257), (300, 96), (3, 1000), (5, 1024),
          (2, 4096), (1, 20001), (2, 70001)]


def walk(device, program, outs, ins, shape, height=1):
    """The outputs of a program by rows, the same from two grids, by a walk that holds rows or not.

    The bits of both walks are the same where their rows have as many threads.
    """
    results = []
    suits = rows.walk_for(shape[1])
    for walk in dict.fromkeys((suits, rows.Walk(max(suits.threads, 64)))):
        text = rows.print_rows(program, walk)
        block = (walk.threads, walk.together)
        found = device.run(text, (5,), block, outs, ins, *shape, height)
        again = device.run(text, (1,), block, outs, ins, *shape, height)
        for one, other in zip(found, again, strict=True):
            assert one.tobytes() == other.tobytes()
        results.append((walk.threads, found))
    (threads, first), (others, second) = results[0], results[-1]
    for one, other in zip(first, second, strict=True):
        if threads == others:
            assert one.tobytes() == other.tobytes()
        else:
            np.testing.assert_allclose(one, other, 1e-4, 1e-4)
    return first


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind, tolerance", [
    ("f32", 4e-7), ("f64", 1e-15), ("f16", 6e-4), ("bf16", 5e-3),
])
def test_softmax(kind, tolerance, shape, device):
    x = np.random.default_rng(0).standard_normal(shape) * 4
    x[0, 0] = -math.inf if shape[1] > 1 else 1
    given = as_bf16(x) if kind == "bf16" else x.astype(DTYPES[kind])
    (got,) = walk(device, softmax(kind), [(shape, DTYPES[kind])], [given], shape)
    exact = (from_bf16(given) if kind == "bf16" else given).astype(np.float64)
    want = np.exp(exact - exact.max(1, keepdims=True))
    want /= want.sum(1, keepdims=True)
    got = from_bf16(got) if kind == "bf16" else got
    np.testing.assert_allclose(got.astype(np.float64), want, tolerance * 10, tolerance * want.max())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_layer_norm(kind, shape, device):
    dtype = DTYPES[kind]
    rng = np.random.default_rng(1)
    x = (rng.standard_normal(shape) + 0.5).astype(dtype)
    weight, bias = rng.standard_normal((2, shape[1])).astype(dtype)
    outs = [(shape, dtype), ((shape[0],), dtype), ((shape[0],), dtype)]
    ins = [x, weight, bias, np.array([1e-5], dtype)]
    got, mean, scale = walk(device, layer_norm(kind), outs, ins, shape)
    wide = x.astype(np.float64)
    middle = wide.mean(1, keepdims=True)
    deviation = 1 / np.sqrt(wide.var(1, keepdims=True) + 1e-5)
    tolerance = np.finfo(dtype).eps * 40
    np.testing.assert_allclose(mean, middle[:, 0], 0, tolerance * 4)
    if shape[1] > 1:
        np.testing.assert_allclose(scale, deviation[:, 0], tolerance)
        want = (wide - middle) * deviation * weight + bias
        np.testing.assert_allclose(got, want, tolerance * 8, tolerance * 20)


@pytest.mark.parametrize("height", [1, 3, 100])
@pytest.mark.parametrize("shape", [(1, 5), (7, 300), (50, 1025)])
def test_sums_over_rows(shape, height, device):
    rng = np.random.default_rng(2)
    x = rng.standard_normal(shape, np.float32)
    column = rng.standard_normal(shape[0], np.float32)
    steps = (Step("row_sum", (0,)), Step("sub", (0, 2)), Step("mul", (3, 1)))
    program = Rows((Input("f32"), Input("f32", "column")), steps, (Output(4, "row"), Output(3)))
    units = -(-shape[0] // height)
    outs = [np.zeros((units, shape[1]), np.float32), (shape, np.float32)]
    sums, off = walk(device, program, outs, [x, column], shape, height)
    total = x.astype(np.float64) - x.sum(1, keepdims=True, dtype=np.float64)
    np.testing.assert_allclose(off, total, 1e-4, 1e-4)
    np.testing.assert_allclose(sums.sum(0), (total * column[:, None]).sum(0), 1e-3, 1e-3)


@pytest.mark.parametrize("kind", ["f32", "f64", "i32", "i64"])
@pytest.mark.parametrize("shape", [(1, 1), (6, 31), (3, 1000)])
def test_every_row_reduction_and_position(kind, shape, device):
    dtype = DTYPES[kind]
    x = np.random.default_rng(3).integers(-50, 50, shape).astype(dtype)
    names = ("row_sum", "row_max", "row_min", "row_peak")
    steps = [Step(name, (0,)) for name in names]
    steps += [Step(name, (), None, kind) for name in ("column_number", "row_number", "row_length")]
    outputs = [Output(1 + place, "column") for place in range(4)]
    outputs += [Output(5 + place) for place in range(3)]
    outs = [((shape[0],), dtype)] * 4 + [(shape, dtype)] * 3
    found = walk(device, Rows((Input(kind),), tuple(steps), tuple(outputs)), outs, [x], shape)
    wanted = [x.sum(1, dtype=dtype), x.max(1), x.min(1), x.max(1)]
    wanted += [np.indices(shape)[1], np.indices(shape)[0], np.full(shape, shape[1])]
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(got, want.astype(dtype))


def test_extremes_of_rows_keep_nan_and_peaks_pass_over_it(device):
    x = np.arange(900, dtype=np.float32).reshape(3, 300)
    x[1, 7], x[2, 299] = math.nan, math.inf
    steps = tuple(Step(name, (0,)) for name in ("row_max", "row_min", "row_peak"))
    program = Rows((Input("f32"),), steps, tuple(Output(1 + n, "column") for n in range(3)))
    largest, least, peak = walk(device, program, [((3,), np.float32)] * 3, [x], x.shape)
    np.testing.assert_array_equal(largest, [299, math.nan, math.inf])
    np.testing.assert_array_equal(least, [0, math.nan, 600])
    np.testing.assert_array_equal(peak, [299, 599, math.inf])


def reduce_rows(device, reduction, ins, shape):
    """Rows reduced until one piece is left; the same bits from two grids."""
    lines, columns = shape
    pieces = -(-columns // reduce.PIECE)
    outs = [((lines, pieces), DTYPES[reduction.accumulate])]
    text = reduce.print_rows(reduction)
    (found,) = device.run(text, (3,), reduce.THREADS, outs, ins, *shape)
    (again,) = device.run(text, (64,), reduce.THREADS, outs, ins, *shape)
    assert found.tobytes() == again.tobytes()
    if pieces == 1:
        return found[:, 0]
    return reduce_rows(device, reduce.finishing(reduction), [found], (lines, pieces))


def reduce_columns(device, reduction, ins, shape):
    """The middle axis reduced until one piece is left; the same bits from two grids."""
    batches, lines, columns = shape
    pieces = -(-lines // reduce.HEIGHT)
    outs = [((batches, pieces, columns), DTYPES[reduction.accumulate])]
    text = reduce.print_columns(reduction)
    (found,) = device.run(text, (3,), reduce.THREADS, outs, ins, *shape)
    (again,) = device.run(text, (40,), reduce.THREADS, outs, ins, *shape)
    assert found.tobytes() == again.tobytes()
    if pieces == 1:
        return found[:, 0]
    rest = reduce.finishing(reduction)
    return reduce_columns(device, rest, [found], (batches, pieces, columns))


def items(combine, kind, shape):
    rng = np.random.default_rng(4)
    if kind == "bool":
        return rng.random(shape) < 0.999 if combine == "prod" else rng.random(shape) < 0.5
    if combine == "prod":
        return rng.choice([-1.0, 1.0, 1.001, 0.999], shape).astype(DTYPES[kind])
    if kind[0] == "i":
        return rng.integers(-1000, 1000, shape).astype(DTYPES[kind])
    return rng.standard_normal(shape).astype(DTYPES[kind])


def reference(combine, x, accumulate, axis):
    function = {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min}[combine]
    wide = np.float64 if accumulate in ("f32", "f64") else np.int64
    return function(x.astype(wide), axis)


REDUCED = [("f32", "f64"), ("f32", "f32"), ("f64", "f64"), ("i32", "i64"), ("bool", "i64"),
           ("f16", "f32"), ("i16", "i32")]
TOLERANCE = {"f32": 2e-4, "f64": 1e-6, "i32": 0, "i64": 0}


@pytest.mark.parametrize("combine", sorted(COMBINES))
@pytest.mark.parametrize("kind, accumulate", REDUCED)
def test_rows_are_reduced(combine, kind, accumulate, device):
    reduction = Reduction(Pointwise((Input(kind),), (), (0,)), combine, accumulate)
    for shape in ((1, 1), (3, 257), (2, 32769), (1, 100_003)):
        x = items(combine, kind, shape)
        got = reduce_rows(device, reduction, [x], shape)
        want = reference(combine, x, accumulate, 1)
        np.testing.assert_allclose(got, want, TOLERANCE[accumulate], TOLERANCE[accumulate] * 50)


@pytest.mark.parametrize("combine", sorted(COMBINES))
@pytest.mark.parametrize("kind, accumulate", REDUCED)
def test_columns_are_reduced(combine, kind, accumulate, device):
    reduction = Reduction(Pointwise((Input(kind),), (), (0,)), combine, accumulate)
    for shape in ((1, 1, 1), (2, 5, 130), (1, 2500, 7), (3, 1025, 33)):
        x = items(combine, kind, shape)
        got = reduce_columns(device, reduction, [x], shape)
        want = reference(combine, x, accumulate, 1)
        np.testing.assert_allclose(got, want, TOLERANCE[accumulate], TOLERANCE[accumulate] * 50)


def test_a_prologue_of_two_arrays_is_reduced(device):
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((2, 1, 70_001)).astype(np.float32)
    steps = (Step("sub", (0, 1)), Step("square", (2,)))
    loss = Reduction(Pointwise((Input("f32"),) * 2, steps, (3,)), "sum", "f64")
    want = np.square(x.astype(np.float64) - y).sum()
    got = reduce_rows(device, loss, [x, y], x.shape)
    np.testing.assert_allclose(got, [want], 1e-6)
    got = reduce_columns(device, loss, [x, y], (1, 70_001, 1))
    np.testing.assert_allclose(got, [[want]], 1e-6)


@pytest.mark.parametrize("combine", ["max", "min"])
def test_extremes_keep_nan(combine, device):
    x = np.arange(70_000, dtype=np.float32).reshape(2, 35_000)
    x[1, 34_000] = math.nan
    reduction = Reduction(Pointwise((Input("f32"),), (), (0,)), combine, "f32")
    got = reduce_rows(device, reduction, [x], x.shape)
    assert np.isnan(got).tolist() == [False, True]
    got = reduce_columns(device, reduction, [x], (1, *x.shape))
    assert np.isnan(got).sum() == 1
