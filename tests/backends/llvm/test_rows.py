"""Programs by rows: what they are made of, and their kernels against float64."""

import numpy as np
import pytest

from flambeau.backends import threads
from flambeau.backends.llvm import calls, jit, printer, row_plan, row_printer, rows
from flambeau.backends.llvm.expressions import Builder
from flambeau.backends.llvm.program import Input, Output, Rows, Step

SHAPES = [(1, 1), (7, 5), (33, 10), (5, 95), (6, 96), (9, 129), (64, 256), (3, 4099)]


def program(formula, *layouts, kind="f32"):
    b = Builder()
    symbols = [b.input(kind, layout) for layout in layouts]
    return b.rows(*formula(b.on, *symbols))


def softmax(on, x):
    powers = on.decay(x - on.peak(x))
    return (powers / on.sum(powers),)


def summary(on, x, w, c):
    """Every kind of operand, reduction, output and position."""
    y = x * w + c
    total = on.sum(y)
    top, low = on.max(x), on.min(x)
    place = on.column("f32") + on.length("f32")
    return y - total, (total, "column"), (top - low, "column"), (y, "row"), place * top


def summary_of(x, w, c):
    y = x * w + c[:, None]
    total, top = y.sum(1), x.max(1)
    place = np.arange(x.shape[1]) + x.shape[1]
    return y - total[:, None], total, top - x.min(1), y.sum(0), place * top[:, None]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_kind_of_operand_and_output(shape):
    rng = np.random.default_rng(0)
    x, w, c = (rng.normal(size=n).astype("f4") for n in (shape, shape[1], shape[0]))
    outs = [np.empty(n, "f4") for n in (shape, shape[0], shape[0], shape[1], shape)]
    kernel = rows.rows_kernel(program(summary, "array", "row", "column"))
    kernel.run(outs, (x, w, c), *shape)
    wants = summary_of(*[a.astype("f8") for a in (x, w, c)])
    for out, want in zip(outs, wants):
        np.testing.assert_allclose(out, want, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("segments", [2, 5])
def test_rows_in_segments(shape, segments):
    count, columns = shape
    x = np.random.default_rng(1).normal(size=(segments, count, columns)).astype("f4")
    out = np.empty_like(x)
    rows.rows_kernel(program(softmax, "array")).run((out,), (x,), count, columns, segments)
    powers = np.exp(x.astype("f8"))
    np.testing.assert_allclose(out, powers / powers.sum((0, 2), keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 2), (3, 5, 7), (2, 300, 16), (1, 129, 333), (4, 3, 1000)])
def test_rows_side_by_side(shape):
    batch, length, inner = shape
    rng = np.random.default_rng(2)
    x = rng.normal(size=shape).astype("f4")
    w, c = rng.normal(size=length).astype("f4"), rng.normal(size=(batch, inner)).astype("f4")

    def formula(on, x, w, c):
        y = x * w + c + on.column("f32")
        return softmax(on, y)[0], (on.sum(y), "column"), (on.max(x), "column")

    outs = np.empty_like(x), np.empty_like(c), np.empty_like(c)
    kernel = rows.rows_kernel(program(formula, "array", "row", "column"))
    kernel.run_across(outs, (x, w, c), *shape)
    wide = x.astype("f8")
    y = wide * w[:, None] + c[:, None] + np.arange(length)[:, None]
    powers = np.exp(y - y.max(1, keepdims=True))
    wants = powers / powers.sum(1, keepdims=True), y.sum(1), wide.max(1)
    for out, want in zip(outs, wants):
        np.testing.assert_allclose(out, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_half_kinds_are_widened_and_rounded_to_the_nearest(kind):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    dtype = np.dtype(np.float16 if kind == "f16" else ml_dtypes.bfloat16)
    b = Builder()
    x = b.input(kind).cast("f32")
    made = b.rows((x * b.on.max(x)).cast(kind), (b.on.sum(x), "column"))
    every = np.arange(1 << 16, dtype=np.uint16).view(dtype).astype("f4")
    given = every[np.abs(every) < 200].astype(dtype).reshape(2, -1)
    out, total = np.empty_like(given), np.empty(2, "f4")
    kernel = rows.rows_kernel(made)
    kernel.run((out, total), (given,), *given.shape)
    wide = given.astype("f4")
    want = (wide * wide.max(1, keepdims=True)).astype(dtype)
    np.testing.assert_array_equal(out.view(np.uint16), want.view(np.uint16))
    np.testing.assert_allclose(total, wide.sum(1, dtype="f8"), rtol=1e-4, atol=1e-2)


def test_nan_and_infinity_reach_what_they_should():
    x = np.zeros((4, 50), "f4")
    x[0, 3], x[1, 49], x[2, 7] = np.nan, np.inf, -np.inf

    def formula(on, x):
        return [(reduce(x), "column") for reduce in (on.sum, on.max, on.min)]

    outs = [np.empty(4, "f4") for _ in range(3)]
    rows.rows_kernel(program(formula, "array")).run(outs, (x,), 4, 50)
    np.testing.assert_array_equal(outs[0], [np.nan, np.inf, -np.inf, 0])
    np.testing.assert_array_equal(outs[1], [np.nan, np.inf, 0, 0])
    np.testing.assert_array_equal(outs[2], [np.nan, 0, -np.inf, 0])


@pytest.mark.parametrize("shape", [(700, 64), (300, 1000)])
def test_results_do_not_depend_on_the_number_of_threads(shape):
    rng = np.random.default_rng(3)
    ins = [rng.normal(size=n).astype("f4") for n in (shape, shape[1], shape[0])]
    kernel = rows.rows_kernel(program(summary, "array", "row", "column"))
    before, found = threads.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            threads.set_num_threads(count)
            outs = [np.empty(n, "f4") for n in (shape, shape[0], shape[0], shape[1], shape)]
            kernel.run(outs, ins, *shape)
            found.append(outs)
    finally:
        threads.set_num_threads(before)
    for outs in found[1:]:
        for out, first in zip(outs, found[0]):
            np.testing.assert_array_equal(out, first)


def test_large_outputs_go_past_the_caches_and_are_the_same():
    x = np.random.default_rng(4).normal(size=(1025, 4096)).astype("f4")
    large, small = np.empty_like(x), np.empty_like(x[:100])
    raw = np.empty(x.size + 16, "f4")
    start = (-raw.ctypes.data // 4) % 16
    large = raw[start : start + x.size].reshape(x.shape)
    kernel = rows.rows_kernel(program(softmax, "array"))
    kernel.run((large,), (x,), *x.shape)
    kernel.run((small,), (x[:100],), 100, 4096)
    np.testing.assert_array_equal(large[:100], small)
    np.testing.assert_allclose(large.sum(1), 1, rtol=1e-5)


def test_nothing_is_done_for_empty_arrays():
    kernel = rows.rows_kernel(program(softmax, "array"))
    for shape in [(0, 5), (5, 0)]:
        kernel.run((np.empty(shape, "f4"),), (np.empty(shape, "f4"),), *shape)
    kernel.run_across((np.empty((2, 0, 3), "f4"),), (np.empty((2, 0, 3), "f4"),), 2, 0, 3)


def test_sizes_and_dtypes_are_checked():
    kernel = rows.rows_kernel(program(summary, "array", "row", "column"))
    x, row, column = np.zeros((3, 4), "f4"), np.zeros(4, "f4"), np.zeros(3, "f4")
    outs = (x.copy(), column.copy(), column.copy(), row.copy(), x.copy())
    kernel.run(outs, (x, row, column), 3, 4)
    for ins in [(x, column, column), (x.astype("f8"), row, column), (x, row)]:
        with pytest.raises(ValueError, match="expected|operands"):
            kernel.run(outs, ins, 3, 4)
    with pytest.raises(ValueError, match="segments"):
        kernel.run(outs, (x, row, column), 3, 2, 2)
    with pytest.raises(ValueError, match="sums over rows"):
        kernel.run_across(outs, (x, row, column), 1, 4, 3)


X = (Input("f32"),)


@pytest.mark.parametrize(
    ("steps", "outputs"),
    [
        ((Step("row_sum", (0,)), Step("row_sum", (1,))), (Output(0),)),
        ((Step("row_sum", (3,)),), (Output(0),)),
        ((Step("row_sum", ()),), (Output(0),)),
        ((Step("column_number", (), None, "f16"),), (Output(0),)),
        ((Step("row_sum", (0,)),), (Output(1, "row"),)),
        ((Step("exp", (0,)),), (Output(1, "column"),)),
        ((Step("column_number", (), None, "i64"),), (Output(1, "row"),)),
        ((), (Output(0, "diagonal"),)),
        ((), ()),
        ((Step("add", (0,)),), (Output(0),)),
    ],
)
def test_programs_that_make_no_sense_are_refused(steps, outputs):
    with pytest.raises(ValueError):
        Rows(X, steps, outputs)


def test_a_program_without_elements_is_refused():
    with pytest.raises(ValueError, match="every element"):
        Rows((Input("f32", "column"),), (), (Output(0, "column"),))


def test_what_is_dear_is_kept_in_the_output_between_passes():
    plan = row_plan.make_plan(program(softmax, "array"))
    dear = 3
    assert [turn.reductions for turn in plan.passes] == [(1,), (4,), ()]
    assert plan.passes[1].kept == ((0, dear),) == plan.passes[2].found
    assert dear not in plan.passes[2].values


def test_nothing_is_kept_where_no_output_has_room():
    def formula(on, x):
        powers = on.exp(x)
        return (on.sum(powers * on.sum(powers)), "column"),

    plan = row_plan.make_plan(program(formula, "array"))
    assert not any(turn.kept or turn.found for turn in plan.passes)
    x = np.random.default_rng(5).normal(size=(3, 40)).astype("f4")
    out = np.empty(3, "f4")
    rows.rows_kernel(program(formula, "array")).run((out,), (x,), 3, 40)
    np.testing.assert_allclose(out, np.exp(x.astype("f8")).sum(1) ** 2, rtol=1e-5)


@pytest.mark.parametrize("formula", [softmax, summary])
@pytest.mark.parametrize("together", [1, 4])
def test_what_cannot_be_is_not_printed_and_results_stay_the_same(formula, together):
    layouts = ("array", "row", "column")
    made = program(formula, *layouts[: formula.__code__.co_argcount - 1])
    bits = jit.host().vector_bytes
    lanes = row_printer.lanes_for(made, bits, 1)
    rng = np.random.default_rng(6)
    for columns, extent in ((lanes - 1, "short"), (3 * lanes, "whole")):
        found = []
        for walk in (row_printer.Walk(together, 1),
                     row_printer.Walk(together, 1, extent=extent, paired=True)):
            text = row_printer.print_rows(made, bits, walk)
            library = jit.load(text, (printer.KERNEL,))
            found.append((text, library.address(printer.KERNEL)))
        assert len(found[1][0]) < len(found[0][0])
        ins = [rng.normal(size=shape).astype("f4") for shape, _ in zip(
            ((8, columns), (columns,), (8,)), made.inputs)]
        results = []
        for _, address in found:
            outs = [np.zeros({"array": (8, columns), "column": 8, "row": columns}[o.layout], "f4")
                    for o in made.outputs]
            calls.launch(address, 1, 1, *outs, *ins, 8, columns, 8)
            results.append([out.tobytes() for out in outs])
        assert results[0] == results[1]


@pytest.mark.parametrize("vector_bytes", [16, 32, 64])
def test_text_for_other_hosts_is_accepted(vector_bytes):
    import llvmlite.binding as llvm

    from flambeau.backends.llvm import across_printer, jit

    jit.host()
    for made in (program(softmax, "array"), program(summary, "array", "row", "column")):
        for walk in [row_printer.Walk(4, 1), row_printer.Walk(1, 4, fetches=True)]:
            llvm.parse_assembly(row_printer.print_rows(made, vector_bytes, walk)).verify()
    text = across_printer.print_across(program(softmax, "array"), vector_bytes)
    llvm.parse_assembly(text).verify()
