import re

import pytest

from flambeau.backends.cuda_c import reduce
from flambeau.backends.llvm.program import COMBINES, Input, Pointwise, Reduction, Step


def plain(kind, combine, accumulate):
    return Reduction(Pointwise((Input(kind),), (), (0,)), combine, accumulate)


@pytest.mark.parametrize("combine", sorted(COMBINES))
@pytest.mark.parametrize("kind, accumulate", [
    ("f32", "f64"), ("bf16", "f32"), ("bool", "i64"),
])
def test_reductions_compile_along_rows_and_down_columns(combine, kind, accumulate, ptx):
    reduction = plain(kind, combine, accumulate)
    rows, columns = ptx(reduce.print_rows(reduction)), ptx(reduce.print_columns(reduction))
    assert "bar.sync" in rows and ".shared" in rows and ".maxntid 256" in rows
    assert "bar.sync" not in columns and ".shared" not in columns
    for text in (rows, columns):
        assert "atom" not in text and "red.global" not in text


def test_the_prologue_runs_before_the_items_are_combined(ptx):
    steps = (Step("sub", (0, 1)), Step("square", (2,)))
    loss = Reduction(Pointwise((Input("f32"), Input("f32")), steps, (3,)), "sum", "f64")
    for text in (reduce.print_rows(loss), reduce.print_columns(loss)):
        order = ["in1[i]", "v0 - v1", "v2 * v2", "(double)v3", "item + total"]
        places = [text.index(part) for part in order]
        assert places == sorted(places)
        assert len(re.findall(r"ld\.global(\.nc)?\.f32", ptx(text))) >= 2


def test_the_tree_halves_from_the_block_down_and_waits_each_time():
    text = reduce.print_rows(plain("f32", "sum", "f64"))
    assert "apart = 128; apart > 0; apart /= 2" in text
    assert text.count("__syncthreads();") == 3


def test_what_a_piece_adds_up_does_not_depend_on_the_grid():
    text = reduce.print_rows(plain("f32", "sum", "f32"))
    assert text.count("gridDim") == 1 and "unit += gridDim.x" in text and "blockDim" not in text
    text = reduce.print_columns(plain("f32", "sum", "f32"))
    assert text.count("gridDim") == 1 and "place += (long long)gridDim.x * blockDim.x" in text


@pytest.mark.parametrize("combine, kind, start", [
    ("sum", "f32", "(-0.0f)"), ("prod", "f64", "1.0"),
    ("min", "i64", "9223372036854775807LL"), ("max", "i32", "(-2147483647 - 1)"),
    ("max", "f32", "__uint_as_float(0xff800000u)"),
])
def test_totals_start_at_what_the_combine_ignores(combine, kind, start):
    assert f"total = {start};" in reduce.print_rows(plain(kind, combine, kind))


def test_partials_are_reduced_by_the_same_combine_in_the_kind_that_accumulates(ptx):
    steps = (Step("square", (0,)),)
    norm = Reduction(Pointwise((Input("f32"),), steps, (1,)), "sum", "f64")
    rest = reduce.finishing(norm)
    assert rest == plain("f64", "sum", "f64")
    assert reduce.finishing(rest) == rest
    assert "square" not in reduce.print_rows(rest) and ptx(reduce.print_columns(rest))


@pytest.mark.parametrize("accumulate", ["bool", "f16", "bf16", "i8", "u8", "i16"])
def test_kinds_that_cannot_accumulate_are_refused(accumulate):
    for print_one in (reduce.print_rows, reduce.print_columns):
        with pytest.raises(ValueError, match=f"does not accumulate in {accumulate}"):
            print_one(plain("bool", "max", accumulate))


@pytest.mark.parametrize("show", [reduce.print_rows, reduce.print_columns])
def test_items_that_lie_apart_are_refused(show):
    with pytest.raises(ValueError, match="side by side"):
        show(plain("f32", "sum", "f32").with_step(2))
