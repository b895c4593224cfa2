"""Gathers and scatters on a GPU, beside NumPy's; sums are those of one loop, to the bit."""

import numpy as np
import pytest

from flambeau.backends.cuda_c import places
from flambeau.backends.llvm.array_program import Gather, Scatter

from .device import DTYPES

# batch, rows, names, columns
SHAPES = [(1, 1, 1, 1), (1, 10, 300, 1), (3, 7, 50, 1), (1, 9, 40, 3), (2, 5, 33, 8),
          (1, 50, 64, 32), (2, 300, 513, 70), (1, 1000, 100, 300), (2, 3, 5, 1100)]
GRIDS = [(3, 2, 2), (1, 1, 1), (2, 5, 1)]


def items(kind, shape, seed=0):
    rng = np.random.default_rng(seed)
    if kind in ("f32", "f64", "f16"):
        return rng.standard_normal(shape).astype(DTYPES[kind])
    return rng.integers(0, 2 if kind == "bool" else 100, shape).astype(DTYPES[kind])


def gathered(device, program, x, index, shape, per_batch=False):
    batch, rows, count, columns = shape
    sizes = (batch, rows, count, columns, count if per_batch else 0)
    outs = [((batch, count, columns), DTYPES[program.kind]), np.zeros(1, np.int64)]
    text = places.print_gather(program)
    found = device.run(text, (3,), 128, outs, [x, index], *sizes)
    again = device.run(text, (11,), 32, outs, [x, index], *sizes)
    for one, other in zip(found, again, strict=True):
        assert one.tobytes() == other.tobytes()
    return found


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_gathers(kind, shape, device):
    batch, rows, count, columns = shape
    x = items(kind, (batch, rows, columns))
    rng = np.random.default_rng(1)
    index = rng.integers(0, rows, count)
    got, wrong = gathered(device, Gather(kind, False), x, index, shape)
    np.testing.assert_array_equal(got, x[:, index])
    assert not wrong[0]
    index = rng.integers(0, rows, (batch, count))
    got, _ = gathered(device, Gather(kind, False), x, index, shape, True)
    np.testing.assert_array_equal(got, x[np.arange(batch)[:, None], index])
    index = rng.integers(0, rows, (batch, count, columns))
    got, wrong = gathered(device, Gather(kind, True), x, index, shape)
    np.testing.assert_array_equal(got, np.take_along_axis(x, index, 1))
    assert not wrong[0]


@pytest.mark.parametrize("name", [-1, 7, 1 << 40])
@pytest.mark.parametrize("each", [False, True])
def test_a_name_of_no_row_is_told_and_moves_nothing(name, each, device):
    shape = (1, 7, 4, 3)
    x = items("f32", (1, 7, 3))
    index = np.array([1, 2, name, 6])
    if each:
        index = np.repeat(index[:, None], 3, 1)
    got, wrong = gathered(device, Gather("f32", each), x, index, shape)
    assert wrong[0] == 1
    np.testing.assert_array_equal(got[0], x[0, [1, 2, 0, 6]])
    part = np.ones((1, 4, 3), np.float32)
    for how in ("put", "add"):
        program = Scatter("f32", how, each)
        found, wrong = scattered(device, program, x, part, index, shape)
        assert wrong[0] == 1
        want = x.copy()
        want[0, [1, 2, 6]] = 1 if how == "put" else want[0, [1, 2, 6]] + 1
        np.testing.assert_array_equal(found, want)


def scattered(device, program, whole, part, index, shape, per_batch=False):
    """What a scatter leaves, the same bits from several grids."""
    batch, rows, count, columns = shape
    sizes = (batch, rows, count, columns, count if per_batch else 0)
    ins = [index] if program.how == "count" else [part, index]
    text = places.print_scatter(program)
    grids = [*GRIDS, places.scatter_grid(program, batch, rows, columns, 8)]
    results = [device.run(text, grid, places.THREADS, [whole, np.zeros(1, np.int64)], ins, *sizes)
               for grid in grids]
    for found in results[1:]:
        for one, other in zip(results[0], found, strict=True):
            assert one.tobytes() == other.tobytes()
    return results[0]


def expected(how, whole, part, index):
    """In the order of an index of (batch, count) or (batch, count, columns)."""
    want = whole.copy()
    batches = np.arange(whole.shape[0])
    columns = np.arange(whole.shape[2])
    for number in range(part.shape[1]):
        row = index[:, number]
        place = (batches, row) if row.ndim == 1 else (batches[:, None], row, columns)
        if how == "put":
            want[place] = part[:, number]
        else:
            want[place] += part[:, number] if how == "add" else want.dtype.type(1)
    return want


@pytest.mark.parametrize("how", ["put", "add", "count"])
@pytest.mark.parametrize("kind", ["f32", "i64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_scatters_follow_the_index(how, kind, shape, device):
    batch, rows, count, columns = shape
    whole, part = items(kind, (batch, rows, columns)), items(kind, (batch, count, columns), 2)
    rng = np.random.default_rng(3)
    index = rng.integers(0, rows, count)
    want = expected(how, whole, part, np.broadcast_to(index, (batch, count)))
    got, wrong = scattered(device, Scatter(kind, how, False), whole, part, index, shape)
    assert got.tobytes() == want.tobytes() and not wrong[0]
    index = rng.integers(0, rows, (batch, count))
    want = expected(how, whole, part, index)
    got, _ = scattered(device, Scatter(kind, how, False), whole, part, index, shape, True)
    assert got.tobytes() == want.tobytes()
    index = rng.integers(0, rows, (batch, count, columns))
    want = expected(how, whole, part, index)
    got, wrong = scattered(device, Scatter(kind, how, True), whole, part, index, shape)
    assert got.tobytes() == want.tobytes() and not wrong[0]


@pytest.mark.parametrize("kind", ["f16", "bf16", "bool", "u8", "f64"])
def test_any_kind_is_put(kind, device):
    shape = (2, 20, 30, 17)
    whole, part = items(kind, (2, 20, 17)), items(kind, (2, 30, 17), 4)
    index = np.random.default_rng(5).integers(0, 20, (2, 30))
    got, _ = scattered(device, Scatter(kind, "put", False), whole, part, index, shape, True)
    np.testing.assert_array_equal(got, expected("put", whole, part, index))
