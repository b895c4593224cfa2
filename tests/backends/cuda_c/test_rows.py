import re

import pytest

from flambeau.backends.cuda_c import rows
from flambeau.backends.llvm.program import ROW_REDUCTIONS, Input, Output, Rows, Step


def softmax(kind):
    """Over rows of a kind, in float32 where it is a half kind."""
    inner = kind if kind in ("f32", "f64") else "f32"
    steps = (
        Step("cast", (0,), None, inner),
        Step("row_peak", (1,)),
        Step("sub", (1, 2)),
        Step("decay", (3,)),
        Step("row_sum", (4,)),
        Step("div", (4, 5)),
        Step("cast", (6,), None, kind),
    )
    return Rows((Input(kind),), steps, (Output(7),))


def layer_norm(kind="f32"):
    """Input, weight, bias, epsilon -> normalized rows, and every row's mean and 1/deviation."""
    inputs = (Input(kind), Input(kind, "row"), Input(kind, "row"), Input(kind, "scalar"))
    steps = (
        Step("row_sum", (0,)),  # 4
        Step("row_length", (), None, kind),
        Step("div", (4, 5)),  # 6: mean
        Step("sub", (0, 6)),
        Step("square", (7,)),
        Step("row_sum", (8,)),  # 9
        Step("div", (9, 5)),
        Step("add", (10, 3)),
        Step("rsqrt", (11,)),  # 12
        Step("mul", (7, 12)),
        Step("fma", (13, 1, 2)),  # 14
    )
    return Rows(inputs, steps, (Output(14), Output(6, "column"), Output(12, "column")))


def loops(text):
    return re.findall(r"for \(long long (\w+) =", text)


@pytest.mark.parametrize("kind", ["f32", "f64", "f16", "bf16"])
def test_softmax_walks_a_row_three_times_and_compiles(kind, ptx):
    text = rows.print_rows(softmax(kind))
    assert loops(text) == ["unit", "row", "column", "column", "column"]
    made = ptx(text)
    assert made.count(".entry kernel") == 1
    # five shuffles a reduction, of two words each in float64
    assert made.count("shfl.sync.down") == 2 * 5 * (2 if kind == "f64" else 1)
    assert made.count("bar.sync") == 4


def test_a_dear_value_is_kept_in_the_output_and_read_back():
    text = rows.print_rows(softmax("f32"))
    assert text.count("expf(") == 1
    kept, read = text.index("out0[i] = v4;"), text.index("const float v4 = out0[i];")
    assert kept < read < text.index("out0[i] = v7;")


def test_a_half_row_is_recomputed_for_its_output_cannot_keep_it():
    assert rows.print_rows(softmax("f16")).count("expf(") == 2


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_layer_norm_compiles_with_its_dependent_second_pass(kind, ptx):
    text = rows.print_rows(layer_norm(kind))
    assert loops(text) == ["unit", "row", "column", "column", "column"]
    order = ["in3[0]", "combine_sum_f", "v6 = v4 / v5", "v0 - v6", "v12 = ", "out0[i]"]
    body = text[text.index('extern "C"'):]
    places = [body.index(part) for part in order]
    assert places == sorted(places)
    made = ptx(text)
    assert len(re.findall(r"st\.global\.f(32|64)", made)) >= 3


def test_a_value_of_the_row_is_stored_by_one_thread():
    text = rows.print_rows(layer_norm())
    only = text[text.index("if (threadIdx.x == 0) {"):]
    assert "out1[row] = v6;" in only and "out2[row] = v12;" in only


def test_every_block_waits_before_shared_memory_is_written_again():
    text = rows.print_rows(layer_norm())
    assert text.count("static __device__ __forceinline__ float combine_sum_f32") == 1
    helper = text[: text.index('extern "C"')]
    assert helper.index("parts[0]") < helper.rindex("__syncthreads();") < helper.index("return")


@pytest.mark.parametrize("kind", ["f32", "f64", "i32", "i64"])
def test_every_row_reduction_compiles(kind, ptx):
    steps = tuple(Step(name, (0,)) for name in ROW_REDUCTIONS)
    outputs = tuple(Output(1 + place, "column") for place in range(len(steps)))
    text = rows.print_rows(Rows((Input(kind),), steps, outputs))
    assert loops(text) == ["unit", "row", "column"]
    assert ptx(text).count("shfl.sync.down") >= 5 * len(steps)


@pytest.mark.parametrize("kind", ["f32", "f64", "i32", "i64"])
def test_positions_are_numbers_of_their_kind(kind, ptx):
    names = ("column_number", "row_number", "row_length")
    steps = tuple(Step(name, (), None, kind) for name in names)
    program = Rows((Input("bool"),), steps, tuple(Output(number) for number in range(4)))
    text = rows.print_rows(program)
    for number, place in enumerate(("column", "row", "columns"), 1):
        assert re.search(rf"v{number} = (\(\w+\))?{place};", text)
    assert ".entry kernel" in ptx(text)


def test_sums_over_rows_grow_in_the_unit_s_own_row(ptx):
    steps = (Step("row_sum", (0,)), Step("sub", (0, 2)), Step("mul", (3, 1)))
    inputs = (Input("f32"), Input("f32", "column"))
    text = rows.print_rows(Rows(inputs, steps, (Output(4, "row"), Output(3))))
    assert "out0[unit * columns + column] += v4;" in text
    assert text.index("in1[row]") < text.index("in0[i]")
    assert "atom" not in ptx(text)


def test_the_grid_chooses_no_sum():
    text = rows.print_rows(layer_norm())
    assert text.count("gridDim") == 1 and "unit += gridDim.x" in text


@pytest.mark.parametrize("columns", [20, 300, 1024])
@pytest.mark.parametrize("kind", ["f32", "f64", "f16"])
def test_rows_that_are_held_are_read_once_and_nothing_dear_is_done_twice(kind, columns, ptx):
    walk = rows.walk_for(columns)
    assert walk.threads * walk.held >= columns and walk.threads * walk.together <= 1024
    text = rows.print_rows(softmax(kind), walk)
    assert text.count("in0[i]") == 1 and text.count("exp") == 1
    assert loops(text) == ["unit", "row"]
    made = ptx(text)
    assert ".local" not in made and ("bar.sync" in made) == (walk.threads > 32)


def test_rows_of_a_warp_lie_side_by_side_in_a_block(ptx):
    text = rows.print_rows(layer_norm(), rows.walk_for(96))
    assert "__launch_bounds__(128)" in text and "blockIdx.x * 4 + threadIdx.y" in text
    assert ".maxntid 128" in ptx(text)


def test_rows_that_are_too_long_are_not_held():
    assert rows.walk_for(1025) == rows.Walk()
