"""Products of bfloat16 pairs against float64: odd sizes, transposes, batches, what is added."""

import llvmlite.binding as llvm
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flambeau.backends import products
from flambeau.backends.llvm import pairs
from flambeau.backends.llvm.pair_text import Way, print_multiply

BF16 = np.dtype(ml_dtypes.bfloat16)
WAYS = pairs.ways()
# batch, rows, depth, columns
SIZES = [(1, 1, 1, 1), (1, 5, 7, 3), (1, 16, 32, 16), (3, 33, 65, 47), (1, 64, 64, 64),
         (2, 100, 31, 130), (1, 257, 129, 40), (1, 40, 200, 257), (3, 1, 90, 70)]


def operand(rng, batch, rows, columns, turned):
    shape = (batch, columns, rows) if turned else (batch, rows, columns)
    a = rng.normal(size=shape).astype(BF16)
    return a.swapaxes(1, 2) if turned else a


def product(a, b, way, row=None):
    layout = products.layout_of(a, b)
    assert pairs.readable(layout)
    out = np.full((a.shape[0], a.shape[1], b.shape[2]), 7, BF16)
    run = pairs.planned(layout, way, None if row is None else pairs.ADDED)
    run(out, a, b, *[] if row is None else [row])
    return out


def close(found, a, b, row=0.0):
    want = a.astype("f8") @ b.astype("f8") + np.asarray(row, "f8")
    error = a.shape[2] * np.finfo("f4").eps * 8
    # one rounding to bfloat16's 8 bits, beside those of float32
    np.testing.assert_allclose(found.astype("f8"), want, rtol=2**-8, atol=error)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("turned", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_against_float64(size, turned, way):
    batch, m, k, n = size
    rng = np.random.default_rng(0)
    a, b = operand(rng, batch, m, k, turned[0]), operand(rng, batch, k, n, turned[1])
    close(product(a, b, way), a, b)
    row = rng.normal(size=n).astype(BF16)
    close(product(a, b, way, row), a, b, row)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(WAYS), st.integers(1, 4), st.integers(1, 150), st.integers(1, 150),
       st.integers(1, 150), st.tuples(st.booleans(), st.booleans()),
       st.tuples(st.integers(1, 3), st.integers(0, 5)))
def test_any_product(way, batch, m, k, n, turned, gaps):
    rng = np.random.default_rng(m * k + n)
    step, offset = gaps
    # rows that lie apart, where those of the operand do not lie side by side
    apart = 1 if turned[0] else step
    a = operand(rng, batch, m * apart, k + offset, turned[0])[:, ::apart, offset:]
    b = operand(rng, batch, k, n + offset, turned[1])[:, :, offset:]
    close(product(a, b, way), a, b)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("which", [0, 1])
def test_one_matrix_serves_all_products_of_a_stack(way, which):
    rng = np.random.default_rng(1)
    a, b = operand(rng, 5, 40, 50, False), operand(rng, 5, 50, 60, True)
    both = [a, b]
    both[which] = np.broadcast_to(both[which][:1], both[which].shape)
    close(product(*both, way), *both)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_no_number_stays_in_its_row(way):
    rng = np.random.default_rng(2)
    a, b = operand(rng, 1, 40, 50, False), operand(rng, 1, 50, 60, False)
    a[0, 3, 4], a[0, 7, 8] = np.nan, np.inf
    found = product(a, b, way).astype("f4")
    assert np.isnan(found[0, 3]).all() and np.isinf(found[0, 7]).all()
    rest = np.delete(found[0], (3, 7), axis=0)
    assert np.isfinite(rest).all()


@pytest.mark.parametrize("step", [-1, 2])
def test_other_strides_are_refused(step):
    a, b = np.ones((1, 8, 16), BF16)[:, ::step, ::step], np.ones((1, 16 // abs(step), 8), BF16)
    assert not pairs.readable(products.layout_of(a, b))


@pytest.mark.parametrize("way, cpu, instruction", [
    (Way.TILES, "sapphirerapids", "tdpbf16ps"), (Way.PAIRS, "cooperlake", "vdpbf16ps")])
def test_processors_with_such_instructions_are_given_these(way, cpu, instruction):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        target = llvm.Target.from_triple("x86_64-unknown-linux-gnu")
    except RuntimeError:
        pytest.skip("LLVM was built without x86")
    machine = target.create_target_machine(cpu=cpu)
    text = print_multiply(way, 64, pairs.ADDED)
    assembly = machine.emit_assembly(llvm.parse_assembly(text))
    assert assembly.count(instruction) >= 4
    if way is Way.TILES:
        assert "ldtilecfg" in assembly and "tilerelease" in assembly
